# `make` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools that a machine lacks are put here, never into the system (but for Debian packages).
TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS)/go/bin:$(TOOLS)/bin:$(PATH)

CARGO_DENY := 0.20.2

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build-deps ## build, and start a gateway on the built-in settings
	@cargo build --locked --release
	@exec target/release/modgate serve

test: test-deps ## everything but what needs the outside
	cargo test --locked

test-live: test-deps ## against the real public Go module proxy
	cargo test --locked --release --test it -- --ignored --nocapture --test-threads 1 live::

audit-log: test-deps ## the checksum log, audited by x/mod's own client, while its process is killed 200 times
	cargo test --locked --test it -- --ignored --nocapture sumdb_audit::

bench: test-deps ## the pure parts; h1 beside Go's; look-ups; the checksum log; an index of a million entries; whether time tells anything
	cargo bench --locked --bench pure
	cargo bench --locked --bench dirhash
	cargo bench --locked --bench look_ups
	cargo bench --locked --bench log
	cargo bench --locked --bench index
	cargo bench --locked --bench timing

check: build-deps $(TOOLS)/bin/cargo-deny ## formatting, lints, documentation, dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

audit: $(TOOLS)/bin/cargo-deny ## known vulnerabilities in dependencies; fetches the advisory database
	cargo deny check advisories

container: build-deps ## the container image's steps without an engine; as root
	deploy/container/try.sh

build-deps: ## what the build needs: cmake, a C compiler (Debian packages)
	@tests/install-deps.sh build

test-deps: build-deps ## what the tests need besides: Go, curl, git, promtool, systemd-analyze, nginx, Caddy
	@tests/install-deps.sh test

$(TOOLS)/bin/cargo-deny:
	cargo install --locked --debug cargo-deny --version $(CARGO_DENY) --root $(TOOLS) --target-dir target/tools

.PHONY: help run test test-live audit-log bench check audit container build-deps test-deps
