#!/bin/sh
# The programs that tests run on a mount. `make test` calls this; who only runs Weir needs none of them.
# With arguments: those programs alone, as the benchmarks' peers.
set -eu
missing=
need() { command -v "$1" >/dev/null || missing="$missing ${2:-$1}"; }
if [ $# -eq 0 ]; then
    need cc build-essential
    set -- git make npm patch rsync tar vim
fi
for program in "$@"; do need "$program"; done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    printf 'missing:%s\n  sudo apt-get install --yes --no-install-recommends%s\n' "$missing" "$missing" >&2
    exit 1
fi
printf 'set-up: installing for tests or benchmarks:%s\n' "$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086  # a list of names
install() { apt-get install --yes --no-install-recommends $missing >"$log" 2>&1; }
install || { apt-get update >>"$log" 2>&1 && install; } || { tail -n 20 "$log" >&2; exit 1; }
rm -f "$log"
