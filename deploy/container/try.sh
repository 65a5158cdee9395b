#!/usr/bin/env bash
# The image without a container engine: its files as a root of their own, read-only but for /data, as its user. As root:
#   try.sh
# Starts the gateway there, publishes, fetches, asks healthcheck, stops it, and says what it saw.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "try.sh takes root: it makes a root of its own" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'status=$?; [ -z "${pid:-}" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"; exit $status' EXIT

"$here/layout.sh" "$work/root"
if ldd "$work/root/modgate" 2>/dev/null | grep -q '=>'; then echo "the binary is not static" >&2; exit 1; fi
mkdir "$work/data" "$work/root/dev"
chown 65532:65532 "$work/data"

# Mounts of its own, so that nothing outside sees them: the image, its volume, and the /dev that every engine gives a container.
# $0 is the folder, the rest what the binary is given.
inside='mount --rbind "$0/root" "$0/root" && mount -o remount,ro,bind "$0/root" && mount --bind "$0/data" "$0/root/data" &&
    mount -t tmpfs -o mode=0755,size=64k tmpfs "$0/root/dev" && mknod -m 0666 "$0/root/dev/null" c 1 3 &&
    mknod -m 0666 "$0/root/dev/random" c 1 8 && mknod -m 0666 "$0/root/dev/urandom" c 1 9 &&
    exec env -i MODGATE_DATA_DIR=/data MODGATE_SERVER__LISTEN=0.0.0.0:18080 MODGATE_SERVER__ALLOW_PLAIN=true \
        MODGATE_SERVER__PUBLIC_URL=http://127.0.0.1:18080 MODGATE_UPSTREAM__GOPROXY=off \
        "$(command -v chroot)" --userspec=65532:65532 "$0/root" /modgate "$@"'

(exec unshare --mount bash -c "$inside" "$work" serve) >"$work/out" 2>"$work/log" &
pid=$!
for _ in $(seq 100); do curl -fsS -o /dev/null http://127.0.0.1:18080/ 2>/dev/null && break; sleep 0.1; done
curl -fsS http://127.0.0.1:18080/ >/dev/null || { cat "$work/log" >&2; exit 1; }
unshare --mount bash -c "$inside" "$work" healthcheck

# What is published comes back as it went.
git init -q "$work/lib"
printf 'module try.example.com/lib\n' >"$work/lib/go.mod"
git -C "$work/lib" add go.mod
git -C "$work/lib" -c user.name=try -c user.email=try@example.com commit -q -m try
git -C "$work/lib" archive --format=zip --prefix=try.example.com/lib@v1.0.0/ -o "$work/lib.zip" HEAD
curl -fsS --user "admin:$(cat "$work/data/admin-token")" --upload-file "$work/lib.zip" http://127.0.0.1:18080/api/packages/default/go/upload
curl -fsS http://127.0.0.1:18080/try.example.com/lib/@v/v1.0.0.zip | cmp - "$work/lib.zip"

ls -ln "$work/data"
grep -E '^(Uid|CapEff)' "/proc/$pid/status"
touch "/proc/$pid/root/etc/written" 2>/dev/null && { echo "its root can be written" >&2; exit 1; }
kill -TERM "$pid"
wait "$pid"
pid=
echo "ok: static, $(stat -c %s "$work/root/modgate") bytes, read-only root, user 65532"
