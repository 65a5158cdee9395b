#!/usr/bin/env bash
# Builds the static binary and lays out the image's files in a folder: what the Containerfile copies, and what try.sh runs.
#   layout.sh FOLDER
set -euo pipefail
root=${1:?layout.sh FOLDER}
cd "$(dirname "$0")/../.."

target=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags are for the binary alone, not for build scripts. glibc is linked in, its resolver too.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target"

mkdir -p "$root/etc/ssl/certs" "$root/etc/modgate" "$root/data"
cp "${CARGO_TARGET_DIR:-target}/$target/release/modgate" "$root/modgate"
strip "$root/modgate"
cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'modgate:x:65532:65532::/data:/modgate\n' >"$root/etc/passwd"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
# A new volume takes its owner from here.
chown 65532:65532 "$root/data"
chmod 0700 "$root/data"
