#!/usr/bin/env bash
# Installs what the build or the tests need and the machine lacks: Debian packages by apt (as root, or by sudo),
# a Go toolchain from the Go module proxy into .tools/, and single programs out of Debian packages there too.
#   install-deps.sh build | test
set -euo pipefail
cd "$(dirname "$0")/.."

# The oldest Go that the tests work with, and the one that is fetched where there is none.
go_minor_min=24
go_version=1.26.8
# Of its zips, as the public checksum database vouches for them.
go_sha256_amd64=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7
go_sha256_arm64=02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99

packages() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { echo "please install: ${missing[*]}" >&2; exit 1; }
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

go_is_new_enough() {
    local minor
    minor=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ -n "$minor" ] && [ "$minor" -ge "$go_minor_min" ]
}

# A toolchain is a module like any other; its zip has no executable bits.
fetch_go() {
    local arch proxy module sha256 zip
    case "$(uname -m)" in
        x86_64) arch=amd64 sha256=$go_sha256_amd64 ;;
        aarch64) arch=arm64 sha256=$go_sha256_arm64 ;;
        *) echo "please install Go 1.$go_minor_min or newer" >&2; exit 1 ;;
    esac
    proxy=${GOPROXY:-$(sed -n 's/^const PUBLIC_PROXY: &str = "\(.*\)";$/\1/p' src/config/keys.rs)}
    proxy=${proxy%%[,|]*}
    module="golang.org/toolchain@v0.0.1-go$go_version.linux-$arch"
    zip=$(mktemp)
    echo "fetching Go $go_version into .tools/go" >&2
    curl -fsSL "$proxy/${module/@//@v/}.zip" -o "$zip"
    echo "$sha256  $zip" | sha256sum --check --status || { echo "Go $go_version from $proxy is not what it should be" >&2; rm -f "$zip"; exit 1; }
    rm -rf .tools/go .tools/unpacked
    mkdir -p .tools/unpacked
    unzip -q "$zip" -d .tools/unpacked
    mv ".tools/unpacked/$module" .tools/go
    chmod +x .tools/go/bin/* .tools/go/pkg/tool/*/*
    rm -rf "$zip" .tools/unpacked
}

# Puts a program of a Debian package into .tools/bin, where the machine has none. Installed, the package would start a server.
#   unpacked PACKAGE PATH-OF-A-PROGRAM
unpacked() {
    local package=$1 program=$2 dir sudo=()
    ! command -v "${program##*/}" >/dev/null || return 0
    command -v apt-get >/dev/null || { echo "please install: ${program##*/}" >&2; exit 1; }
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    apt-cache show "$package" >/dev/null 2>&1 || "${sudo[@]}" apt-get update -qq
    dir=$(mktemp -d)
    echo "fetching ${program##*/} into .tools/bin" >&2
    (cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$package" && dpkg-deb --extract "$package"_*.deb unpacked)
    mkdir -p .tools/bin
    mv "$dir/unpacked/$program" .tools/bin/
    rm -rf "$dir"
}

case "${1:-}" in
    build)
        packages cmake cmake cc gcc c++ g++
        ;;
    test)
        packages curl curl git git unzip unzip systemd-analyze systemd
        export PATH="$PWD/.tools/go/bin:$PWD/.tools/bin:$PATH"
        go_is_new_enough || fetch_go
        unpacked prometheus usr/bin/promtool
        unpacked nginx usr/sbin/nginx
        unpacked caddy usr/bin/caddy
        ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
esac
