#!/bin/sh
# From bare Debian (python3, make, apt) to a ready .venv. Does only what is missing; when nothing is, it ends at once.
# Packages come from where this machine's own apt and pip configuration says.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE  # compiled once here, instead of at each start of a dozen processes

say() { printf 'set-up: %s\n' "$*" >&2; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }

python=${WEIR_PYTHON:-python3}
command -v "$python" >/dev/null || fail "python3 is missing: apt-get install python3"
wanted=$(cat requirements.lock pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1)
stamp=.venv/.weir-set-up

# `import` of the one module that is built here, not only its files: a changed libfuse or python shows
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x .venv/bin/weir ] && .venv/bin/python -c 'import llfuse' 2>/dev/null; then
    exit 0
fi
began=$(date +%s)

# A Python built without a profile (as pyenv does by default) makes every decision and file operation 1.2 to 1.5 times
# slower. Where the one on PATH is clearly slower than the system's, and the system's can build what is needed, the
# system's is taken. WEIR_PYTHON names another.
loop_ms() {
    "$1" - 2>/dev/null <<'END' || echo 0
import ensurepip, pathlib, sys, sysconfig, time, venv

class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

best = 9.0
for _ in range(7):
    start = time.process_time()
    for number in range(20_000):
        point = Point(number, (number,))
        {"a": point.x}.get("a")
        ("%d-%s" % (number, "x")).split("-")
    best = min(best, time.process_time() - start)
whole = (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists() and sys.version_info >= (3, 11)
print(int(best * 1e5) if whole else 0)
END
}
if [ -z "${WEIR_PYTHON:-}" ] && [ -x /usr/bin/python3 ] && [ "$(command -v python3)" != /usr/bin/python3 ]; then
    ours=$(loop_ms python3)
    theirs=$(loop_ms /usr/bin/python3)
    if [ "$theirs" -gt 0 ] && [ $((theirs * 100)) -lt $((ours * 85)) ]; then
        say "taking /usr/bin/python3: it runs $((ours * 10 / theirs / 10)).$((ours * 10 / theirs % 10)) times as fast as the python3 of PATH (WEIR_PYTHON=... names another)"
        python=/usr/bin/python3
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python 3.11 or newer is needed, $("$python" --version) is here; name another with WEIR_PYTHON=/path/to/python3"

# --- system packages: llfuse is built from source against libfuse 2, fusermount lets a normal user mount

missing=
need() { missing="$missing $1"; }
command -v cc >/dev/null || need build-essential
command -v pkg-config >/dev/null || need pkg-config
{ command -v pkg-config >/dev/null && pkg-config --exists fuse; } || need libfuse-dev
"$python" - <<'END' || need python3-dev
import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())
END
"$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
{ command -v fusermount3 || command -v fusermount; } >/dev/null || need fuse3
command -v unshare >/dev/null || need util-linux
[ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "missing:$missing (no apt-get here; install what provides them)"
    if [ "$(id -u)" -ne 0 ]; then
        fail "system packages are missing. Run this line, then again what you ran:
  sudo apt-get install --yes --no-install-recommends$missing"
    fi
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of names
    install() { apt-get install --yes --no-install-recommends $missing >"$log" 2>&1; }
    install || { apt-get update >>"$log" 2>&1 && install; } || {
        missing=$(printf '%s' "$missing" | sed 's/fuse3/fuse/')  # where fuse3 is absent
        install
    } || { tail -n 20 "$log" >&2; fail "apt-get could not install$missing"; }
    rm -f "$log"
fi
[ -e /dev/fuse ] || say "there is no /dev/fuse: mounts will not work (load the module fuse, or give the container the device)"

# --- the virtual environment, exactly as locked
base=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
if ! { [ -x .venv/bin/python ] && [ "$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))')" = "$base" ]; }; then
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
uv=$(command -v uv || true)
[ -n "$uv" ] && "$uv" --version >/dev/null 2>&1 || uv=
if [ -z "$uv" ]; then
    [ -x .venv/bin/uv ] || { say "fetching uv"; .venv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
    uv=.venv/bin/uv
fi

# uv does not read pip's configuration: hand over what this machine set there
pip_setting() { "$python" -m pip config get "global.$1" 2>/dev/null || .venv/bin/python -m pip config get "global.$1" 2>/dev/null || true; }
lines() { printf '%s' "$1" | tr '\n\t' '  ' | tr -s ' ' | sed 's/^ //; s/ $//'; }
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
extra=${PIP_EXTRA_INDEX_URL:-$(pip_setting extra-index-url)}
links=${PIP_FIND_LINKS:-$(pip_setting find-links)}
cert=${PIP_CERT:-$(pip_setting cert)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$(lines "$index")}"
[ -z "$extra" ] || export UV_INDEX="${UV_INDEX:-$(lines "$extra")}"
[ -z "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$(lines "$links" | tr ' ' ',')}"
[ -z "$cert" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$cert}"
export UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"  # as pip does; the lock's hashes decide what is taken
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
export UV_LINK_MODE="${UV_LINK_MODE:-copy}"

say "installing the locked packages"
"$uv" pip sync --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
# the project itself, editable; its build backend is fetched once and cached
"$uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
.venv/bin/python -m compileall -q app workers fuse_mount config
.venv/bin/python -c 'import llfuse'
printf '%s\n' "$wanted" >"$stamp"
say "ready in $(($(date +%s) - began)) s"
