"""More of the grammar of rewrites: programs, tools and constructs that run a text given to them."""

import base64
import gzip
import shlex
from collections.abc import Callable
from typing import Final

Q = shlex.quote


def _hex(code: str) -> str:
    return code.encode().hex()


def _ansi(code: str) -> str:
    return "$'" + "".join(f"\\x{byte:02x}" for byte in code.encode()) + "'"


def _named(code: str) -> str:
    return "$'" + "".join(f"\\{byte:03o}" if byte % 2 else f"\\x{byte:02x}" for byte in code.encode()) + "'"


def _gzipped(code: str) -> str:
    return base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode()


def _replacement(code: str) -> str:
    return code.replace("\\", "\\\\").replace("/", "\\/").replace("&", "\\&")


def _argv(code: str) -> str:
    return ",".join(repr(word) for word in ("sh", "-c", code))


def _placed(code: str, form: str, otherwise: str) -> str:
    """`form` with the code in it; where the code holds what the form cannot carry, `otherwise`."""
    return form.format(code) if not set("'\"\\\n{}$`%") & set(code) else otherwise.format(Q(code))


LAUNCHES: Final[tuple[Callable[[str], str], ...]] = (
    lambda c: f"env -S {Q('sh -c ' + Q(c))}",
    lambda c: f"env -u X A=1 -S{Q('bash -c ' + Q(c))}",
    lambda c: f"busybox sh -c {Q(c)}",
    lambda c: f"busybox nohup busybox ash -c {Q(c)}",
    lambda c: f"toybox timeout 5 sh -c {Q(c)}",
    lambda c: f"printf '%s\\0' {Q(c)} | xargs -0 -I% sh -c %",
    lambda c: f"printf '%s\\0' sh -c {Q(c)} | xargs -0 -n 3 env",
    lambda c: f"xargs -I@ sh -c {Q(c)} <<< x",
    lambda c: f"parallel ::: {Q(c)}",
    lambda c: f"parallel -j1 sh -c ::: {Q(c)}",
    lambda c: f"find . -maxdepth 0 -exec sh -c {Q(c)} x {{}} +",
    lambda c: f"find . -execdir bash -c {Q(c)} \\;",
    lambda c: f"fd . -x sh -c {Q(c)}",
    lambda c: _placed(c, "awk 'BEGIN {{ system(\"{0}\") }}'", "awk 'BEGIN {{ system(ENVIRON[\"C\"]) }}' C={0}"),
    lambda c: _placed(c, "awk 'BEGIN {{ \"{0}\" | getline }}'", "sh -c {0}"),
    lambda c: _placed(c, "awk 'BEGIN {{ print 1 | \"{0}\" }}'", "sh -c {0}"),
    lambda c: f"sed -n {Q('1e ' + c)} README.md" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"echo x | sed {Q('s/x/' + _replacement(c) + '/e')}" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"python3 -c {Q(f'import subprocess; subprocess.run([{_argv(c)}])')}",
    lambda c: f"python -c {Q(f'__import__({chr(34)}os{chr(34)}).system({c!r})')}",
    lambda c: f"python3 - <<'PY_1'\nimport os\nos.system({c!r})\nPY_1",
    lambda c: f"perl -e {Q('exec(' + repr(c) + ')')}" if "'" not in c and "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"ruby -e {Q('system(' + repr(c) + ')')}",
    lambda c: f"node -e {Q(f'require({chr(34)}child_process{chr(34)}).execSync({c!r})')}",
    lambda c: f"php -r {Q('system(' + repr(c) + ');')}",
    lambda c: f"lua -e {Q('os.execute(' + repr(c) + ')')}",
    lambda c: f"make -f - x <<< {Q('x:' + chr(10) + chr(9) + c.replace('$', '$$'))}",
    lambda c: f"make --eval {Q('x: ; ' + c)} x" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"git -c alias.z={Q('!' + c)} z",
    lambda c: f"git config alias.z {Q('!' + c)}; git z",
    lambda c: f"git -c core.pager={Q(c)} log",
    lambda c: f"git -c core.fsmonitor={Q(c)} status",
    lambda c: f"git bisect run sh -c {Q(c)}",
    lambda c: f"git submodule foreach {Q(c)}",
    lambda c: f"git rebase -x {Q(c)} HEAD~1",
    lambda c: f"GIT_PAGER={Q(c)} git log",
    lambda c: f"docker exec web sh -c {Q(c)}",
    lambda c: f"docker run --rm -it alpine sh -c {Q(c)}",
    lambda c: f"docker compose exec -T web bash -c {Q(c)}",
    lambda c: f"kubectl exec -n x pod/web -- sh -c {Q(c)}",
    lambda c: f"ssh -o BatchMode=yes host {Q(c)}",
    lambda c: f"ssh -o {Q('ProxyCommand=' + c)} host",
    lambda c: f"nsenter -t 1 -m sh -c {Q(c)}",
    lambda c: f"unshare -r sh -c {Q(c)}",
    lambda c: f"chroot . sh -c {Q(c)}",
    lambda c: f"script -qec {Q(c)} /dev/null",
    lambda c: f"trap {Q(c)} 0",
    lambda c: f"trap {Q(c)} DEBUG; ls",
    lambda c: f"eval eval {Q(Q(c))}",
    lambda c: f"eval {_ansi(c)}",
    lambda c: f"bash -c {_named(c)}",
    lambda c: f'x={_ansi(c)}; eval "$x"',
    lambda c: f'sh -c "$(echo {_hex(c)} | xxd -r -p)"',
    lambda c: f'bash -c "$(base64 -d <<< {base64.b64encode(c.encode()).decode()})"',
    lambda c: f"echo {_gzipped(c)} | base64 -d | gunzip | sh",
    lambda c: f"echo {base64.b32encode(c.encode()).decode()} | base32 -d | sh",
    lambda c: f"printf %s {Q(c[::-1])} | rev | sh" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"openssl base64 -d <<< {base64.b64encode(c.encode()).decode()} | sh",
    lambda c: f"{{ echo {Q(c)}; }} | bash",
    lambda c: f"tee >(bash) <<< {Q(c)}",
    lambda c: f"exec bash -c {Q(c)}",
    lambda c: f"exec 3<<< {Q(c)}; bash <&3",
    lambda c: f"coproc sh -c {Q(c)}",
    lambda c: f"coproc W {{ {c}\n}}",
    lambda c: f'f() {{ sh -c "$1"; }}; f {Q(c)}',
    lambda c: f'f() {{ "$@"; }}; f sh -c {Q(c)}',
    lambda c: f"ls() {{ {c}\n}}; ls",
    lambda c: f"alias ll={Q('sh -c ' + Q(c))}; ll" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f'a=(sh -c {Q(c)}); "${{a[@]}}"',
    lambda c: f"declare -x C={Q(c)}; sh -c 'eval \"$C\"'",
    lambda c: f'mapfile -t L <<< {Q(c)}; eval "${{L[*]}}"' if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"IFS= read -r -d '' C <<< {Q(c)}; eval \"$C\"",
    lambda c: f"select x in a; do {c}\nbreak; done",
    lambda c: f"(( 1 )) && {{ {c}\n}}",
    lambda c: f"[[ -n x ]] && {{ {c}\n}}",
    lambda c: f"for ((i=0; i<1; i++)); do {c}\ndone",
    lambda c: f"case x in *) {c}\n;& esac",
    lambda c: f"echo ${{x:-$({c}\n)}}",
    lambda c: f"echo $((0 + $({c}\n)))",
    lambda c: f"cat <<END_3\n$({c}\n)\nEND_3",
    lambda c: f'[ "$({c}\n)" = x ]',
    lambda c: f"tar cf /dev/null --checkpoint=1 --checkpoint-action=exec={Q(c)} README.md",
    lambda c: f"tar -I {Q('sh -c ' + Q(c))} -cf x.tar README.md",
    lambda c: f"rsync -e {Q('sh -c ' + Q(c))} a host:b",
    lambda c: f"split --filter={Q(c)} README.md",
    lambda c: f"npx -c {Q(c)}",
    lambda c: f"npm exec -c {Q(c)}",
    lambda c: f"uv run sh -c {Q(c)}",
    lambda c: f"poetry run bash -c {Q(c)}",
    lambda c: f"conda run -n x sh -c {Q(c)}",
    lambda c: f"bundle exec sh -c {Q(c)}",
    lambda c: f"strace -f -o /dev/null sh -c {Q(c)}",
    lambda c: f"gdb --batch -ex {Q('shell ' + c)}" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"vim -es {Q('+!' + c)} +q" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"expect -c {Q('spawn sh -c {' + c + '}')}" if not set("{}") & set(c) else f"sh -c {Q(c)}",
    lambda c: f"screen -dmS x sh -c {Q(c)}",
    lambda c: f"systemd-run --user sh -c {Q(c)}",
    lambda c: f"hyperfine {Q(c)}",
    lambda c: f"go test -exec {Q('sh -c ' + Q(c))} ./...",
    lambda c: f"watchexec -- sh -c {Q(c)}",
    lambda c: f"echo {Q(c)} | at now",
    lambda c: f"socat - EXEC:{Q('sh -c ' + Q(c))}",
    lambda c: f"nc -l 1 -c {Q(c)}",
    lambda c: f"pwsh -Command {Q('sh -c ' + Q(c))}",
    lambda c: f"taskset 1 ionice -c 3 chrt -i 0 stdbuf -o0 sh -c {Q(c)}",
    lambda c: f"time -p nice -n 19 setsid -w timeout --signal=KILL 9 bash -c {Q(c)}",
    lambda c: f"command -p builtin eval {Q(c)}",
    lambda c: f"sudo -u nobody -- env A=1 sh -c {Q(c)}",
    lambda c: f"doas sh -c {Q(c)}",
    lambda c: f"su - root -c {Q(c)}",
    lambda c: f"runuser -u x -- sh -c {Q(c)}",
    lambda c: f"flock -n /tmp/l sh -c {Q(c)}",
    lambda c: f"chronic sh -c {Q(c)}",
    lambda c: f"printf '#!/bin/sh\\n%s\\n' {Q(c)} > x.sh && sh ./x.sh",
    lambda c: f"cat > x.sh <<'END_4'\n{c}\nEND_4\nsource x.sh",
    lambda c: f"echo {Q(c)} | tee x.sh; bash x.sh",
    lambda c: f"cp /dev/stdin x.sh <<< {Q(c)}; bash x.sh",
    lambda c: f"cat > x.py <<'END_5'\nimport os\nos.system({c!r})\nEND_5\npython3 x.py",
    lambda c: f"printf 'x:\\n\\t%s\\n' {Q(c)} > Makefile; make x" if "\n" not in c else f"sh -c {Q(c)}",
    lambda c: f"BASH_ENV=<(echo {Q(c)}) bash -c :",
    lambda c: f"PROMPT_COMMAND={Q(c)}",
)
