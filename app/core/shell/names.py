"""What programs are called: the name under which rules know a program, and the tables of the ones that run others."""

import re
from functools import lru_cache
from posixpath import normpath
from typing import Final

_FOLDERS: Final = re.compile(
    r"(?:/usr)?(?:/local)?/s?bin|/opt/homebrew/s?bin|/opt/local/bin|/snap/bin|/usr/libexec|/nix/store/[^/]+/bin|/run/current-system/sw/bin"
    r"|~/\.local/bin|~/\.cargo/bin|~/go/bin|(?:.*/)?\.?v?env/bin|(?:.*/)?node_modules/\.bin"
)
_VERSIONED: Final = re.compile(
    r"(python|pip|pypy|perl|ruby|php|lua|luajit|node|tclsh|gcc|g\+\+|clang|pydoc|idle|bash|zsh|ksh)-?[\d.]+\Z"
)
_SAME: Final = {
    "nodejs": "node",
    "pypy": "python",
    "luajit": "lua",
    "gawk": "awk",
    "mawk": "awk",
    "nawk": "awk",
    "gsed": "sed",
    "ggrep": "grep",
    "grm": "rm",
    "gfind": "find",
    "gtar": "tar",
    "bsdtar": "tar",
    "vi": "vim",
    "nvim": "vim",
    "ex": "vim",
    "view": "vim",
    "ncat": "nc",
    "netcat": "nc",
    "powershell": "pwsh",
    "egrep": "grep",
    "fgrep": "grep",
    "podman": "docker",
    "nerdctl": "docker",
    "toybox": "busybox",
    "gxargs": "xargs",
    "fdfind": "fd",
    "docker-compose": "docker compose",
    "tofu": "terraform",
    "oc": "kubectl",
    "k": "kubectl",
    "kubecolor": "kubectl",
    "bun": "bun",
    "batcat": "bat",
}
SHELLS: Final = frozenset(
    ["sh", "bash", "zsh", "dash", "ksh", "ash", "mksh", "fish", "csh", "tcsh", "rbash", "yash", "oksh", "posh"]
)
CODERS: Final = {
    "python": ("-c",),
    "perl": ("-e", "-E"),
    "ruby": ("-e",),
    "node": ("-e", "--eval", "-p", "--print"),
    "php": ("-r",),
    "lua": ("-e",),
    "deno": ("eval",),
    "bun": ("-e", "--eval"),
    "osascript": ("-e",),
    "pwsh": ("-c", "-Command", "-command", "-EncodedCommand", "-e"),
    "Rscript": ("-e",),
    "tclsh": (),
    "expect": ("-c",),
    "julia": ("-e", "-E", "--eval", "--print"),
    "groovy": ("-e",),
    "ipython": ("-c",),
}
# program -> options that take a value, and how many words stand before the inner command
PREFIXES: Final[dict[str, tuple[frozenset[str], int]]] = {
    name: (frozenset(values.split()), skip)
    for name, values, skip in (
        (
            "sudo",
            (
                "-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir --chroot --role --type"
                " --close-from"
            ),
            0,
        ),
        ("doas", "-u -C", 0),
        ("pkexec", "--user", 0),
        ("run0", "--user -u", 0),
        ("nohup", "", 0),
        ("setsid", "", 0),
        ("nice", "-n --adjustment", 0),
        ("ionice", "-c -n -t --class --classdata", 0),
        ("timeout", "-k -s --kill-after --signal", 1),
        ("gtimeout", "-k -s", 1),
        ("time", "-f -o --format --output", 0),
        ("stdbuf", "-i -o -e --input --output --error", 0),
        ("builtin", "", 0),
        ("busybox", "", 0),
        ("chroot", "--userspec --groups", 1),
        (
            "unshare",
            (
                "--map-user --map-group --map-users --map-groups -S -G -R -w --setuid --setgid --root --wd"
                " --propagation --kill-child"
            ),
            0,
        ),
        ("nsenter", "-t -S -G --target --setuid --setgid", 0),
        ("taskset", "", 1),
        ("chrt", "-T -P -D", 1),
        ("strace", "-e -o -p -s -u -a -S -E -P -I -b -O -U -X --env --trace --signal --user --attach", 0),
        ("ltrace", "-e -o -p -s -u -n", 0),
        ("systemd-run", "-p -u --unit --property --slice -E --setenv --uid --gid --on-active --on-calendar -M", 0),
        ("fakeroot", "-l -s -i -b", 0),
        ("xvfb-run", "-s -n -e -f -p -w", 0),
        ("dbus-run-session", "", 0),
        ("caffeinate", "-t -w", 0),
        ("coproc", "", 0),
        ("unbuffer", "", 0),
        ("rlwrap", "-a -b -c -f -H -m -s", 0),
        ("firejail", "", 0),
        ("bwrap", "--bind --ro-bind --dev --proc --tmpfs --chdir --dir", 0),
        ("proot", "-r -b -w", 0),
        ("prlimit", "", 0),
        ("setarch", "", 1),
        ("linux64", "", 0),
        ("linux32", "", 0),
        ("runuser", "-u -g -G", 0),
        ("gosu", "", 1),
        ("su-exec", "", 1),
        ("setpriv", "--reuid --regid --groups --inh-caps --ambient-caps --bounding-set", 0),
        ("cgexec", "-g", 0),
        ("numactl", "-C -m -N -i", 0),
        ("dotenv", "-f -e", 0),
        ("direnv exec", "", 1),
        ("noglob", "", 0),
        ("nocorrect", "", 0),
        ("then", "", 0),
        ("do", "", 0),
        ("!", "", 0),
        ("else", "", 0),
        ("{", "", 0),
        ("uv run", "--with --python -p --extra --group --project --directory --env-file --with-requirements", 0),
        ("poetry run", "", 0),
        ("pipenv run", "", 0),
        ("pdm run", "", 0),
        ("hatch run", "", 0),
        ("rye run", "", 0),
        ("pixi run", "-e --environment", 0),
        ("bundle exec", "", 0),
        ("conda run", "-n -p --name --prefix --cwd", 0),
        ("mamba run", "-n -p", 0),
        ("micromamba run", "-n -p", 0),
        ("asdf exec", "", 0),
        ("mise exec", "", 0),
        ("rbenv exec", "", 0),
        ("pyenv exec", "", 0),
        ("nvm exec", "", 1),
        ("op run", "--env-file", 0),
        ("chpst", "-u -U -e -n", 0),
        ("softlimit", "", 0),
        ("envdir", "", 1),
        ("aws-vault exec", "", 1),
        ("faketime", "-f", 1),
        ("torsocks", "", 0),
        ("proxychains", "-f", 0),
        ("proxychains4", "-f", 0),
        ("perf stat", "-e -r -o", 0),
        ("perf record", "-e -F -o", 0),
        ("valgrind", "", 0),
        ("gdb --args", "", 0),
        ("entr", "", 0),
        ("coverage run", "--source --rcfile", 0),
        ("flock", "-w -E --wait --timeout --conflict-exit-code", 1),
        ("ts-node", "", 9),
        ("sem", "-j", 0),
        ("chronic", "", 0),
        ("fnm exec", "--using", 0),
        ("volta run", "--node --npm --yarn", 0),
        ("stack exec", "--package --cwd", 0),
        ("cabal exec", "", 0),
        ("opam exec", "--switch", 0),
        ("meson devenv", "-C -w", 0),
        ("tox exec", "-e", 0),
        ("mix cmd", "--app", 0),
        ("rustup run", "", 1),
        ("bun x", "", 0),
        ("ifne", "", 0),
        ("daemonize", "-p -o -e -u -c -l", 0),
        ("start-stop-daemon", "", 9),
    )
}


@lru_cache(maxsize=4096)
def program_of(name: str) -> str:
    """Return the name that rules use for a program: no standard folder, no version; a script keeps its path."""
    if "/" in name:
        folder, _, base = normpath(name).rpartition("/")
        if not base or _FOLDERS.fullmatch(folder) is None:
            return name
        name = base
    name = name.removesuffix(".exe")
    found = _VERSIONED.match(name)
    if found is not None:
        name = found[1]
    return _SAME.get(name, name)
