#!/bin/bash
# The promise of the README on a bare Debian: debootstrap a chroot with python3 and make, put a clean clone in,
# then `make up` (cold, warm, again while it runs) and `make down` there. Root only; everything goes when it ends.
# Mirror, certificates, apt and pip configuration are this machine's own. WEIR_BARE=DIR keeps the base between runs.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "bare: run as root: sudo make bare" >&2; exit 1; }
[ -e /dev/fuse ] || { echo "bare: no /dev/fuse here" >&2; exit 1; }
command -v debootstrap >/dev/null || { apt-get install --yes debootstrap >/dev/null || { apt-get update && apt-get install --yes debootstrap; } >/dev/null; }
say() { printf 'bare: %s\n' "$*"; }

if [ "${1:-}" != inside ]; then
    # namespaces of mounts and processes of its own: whatever happens, nothing is left mounted or running
    exec unshare --mount --pid --fork --kill-child --propagation private -- bash "$0" inside
fi

keep=${WEIR_BARE:-}
root=$(mktemp -d "${TMPDIR:-/var/tmp}/weir-bare-XXXXXX")
trap 'umount --recursive --lazy "$root" 2>/dev/null || true; for m in dev/shm dev proc sys; do umount --lazy "$root/$m" 2>/dev/null || true; done; rm -rf --one-file-system "$root"' EXIT
began=$(date +%s)
. /etc/os-release
suite=${WEIR_BARE_SUITE:-$VERSION_CODENAME}
# the first address that this machine's apt has the suite's main section from
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null | awk -v s="$suite" '$1 == s && $2 == "main" {print $3; exit}')
[ -n "$mirror" ] || mirror=$(awk -v s="$suite" '/^URIs:/ {u=$2} /^Suites:/ {for (i=2;i<=NF;i++) if ($i==s) {print u; exit}} $1=="deb" && $3==s {print $2; exit}' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null)
[ -n "$mirror" ] || { echo "bare: this machine's apt names no mirror of $suite" >&2; exit 1; }
if [ -n "$keep" ] && [ -e "$keep/base.tar" ]; then
    tar -C "$root" -xf "$keep/base.tar"
else
    debootstrap --variant=minbase --include=python3,make "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 30 "$root.log" >&2; exit 1; }
    rm -f "$root.log"
    [ -z "$keep" ] || { mkdir -p "$keep"; tar -C "$root" -cf "$keep/base.tar" .; }
fi
say "Debian $suite with python3 and make in $(($(date +%s) - began)) s"

mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    [ ! -e "$file" ] || install -D -m 644 "$(readlink -f "$file")" "$root$file"
done
# under a name of its own: installing ca-certificates in there writes the usual bundle anew
bundle=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
[ ! -e "$bundle" ] || install -D -m 644 "$(readlink -f "$bundle")" "$root/etc/ssl/this-machine.crt"
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
git clone --quiet --no-local . "$root/root/weir"

# the caller's proxies and pip settings, and nothing else of its environment
mapfile -t kept < <(env | grep -iE '^(pip_(index_url|extra_index_url|default_timeout)|https?_proxy|no_proxy)=' || true)
[ ! -e "$bundle" ] || kept+=(PIP_CERT=/etc/ssl/this-machine.crt SSL_CERT_FILE=/etc/ssl/this-machine.crt)
in_chroot() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "${kept[@]}" sh -c "cd /root/weir && $1"; }
timed() {
    local from; from=$(date +%s.%N)
    in_chroot "$2"
    say "$1: $(echo "$(date +%s.%N) $from" | awk '{printf "%.1f", $1 - $2}') s"
}
timed "make up, cold" "make up"
timed "make up, on the running stack" "make up"
in_chroot ".venv/bin/weir status && .venv/bin/weir doctor"
timed "make down" "make down"
timed "make up, warm" "make up"
timed "make down" "make down"
left=$( (find "$root/proc" -maxdepth 2 -name root -lname "$root*" 2>/dev/null || true) | wc -l)
[ "$left" -eq 0 ] || { say "$left processes are left after make down"; exit 1; }
echo "1 passed, 0 failed"
