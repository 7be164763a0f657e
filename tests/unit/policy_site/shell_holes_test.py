"""What a shell makes of a variable, an argument or a function otherwise than it looks: not approved, everyday use is."""

from functools import cache
from pathlib import Path

import pytest

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy

PACK = Path(__file__).resolve().parents[3] / "config" / "policies"
EVIL = "rm -rf /"
VARIABLES = r"""
declare -n R=X; X=/; {0}$R
typeset -n R=X; X=/; {0}$R
f() {{ local -n R=$1; {0}$R; }}; X=/; f X
declare -n R=HOME; {0}"$R"
builtin declare -n R=X; X=/; {0}$R
set -- x /; {0}"${{!#}}"
set -- build; set -e /; {0}$1
set -- build; set - /; {0}$1
set -- /; shift 2; {0}$1
_=build; {0}$PWD/$_
a=(build); unset a; {0}"$PWD/$a"
X=build; printf -vX /; {0}$X
read -n1 X <<< /tmp/x; {0}$X
X=/; read -t0 X <<< build; {0}$X
mapfile -s 1 a <<< $'build\n/'; {0}$a
readonly X=/; X=build; {0}$X
declare -r X=/; X=build; {0}$X
f(){{ declare -g X=/; }}; X=build; f; {0}$X
f(){{ readonly X=/; }}; X=build; f; {0}$X
f(){{ builtin export X=/; }}; X=build; f; {0}$X
X=build; f(){{ local X; {0}$PWD/$X; }}; f
PWD=src; cd /; {0}$PWD
declare -l X=/ETC; {0}$X
{0}$(basename /)
{0}$(printf %.1s /tmp/x)
{0}$(printf '%.*s' 1 /tmp/x)
sh -c '{0}$(echo "\0057")'
{0}$(find . -maxdepth 0 -printf /)
{0}$(git ls-files --format=/)
{0}$(git diff --name-only --line-prefix=/)
{0}$(ls -d $PWD)
{0}$(find $PWD)
"""
RUN = r"""
alias rm=ls; {0}
echo() {{ {0}; }}; unset -v echo; echo
echo() {{ {0}; }}; echo=1; unset echo; echo
command_not_found_handle() {{ {0}; }}; cowsay x
f() {{ echo x; }} > /etc/profile; f
f() {{ ls; }} >> ~/.bashrc; f
"""
EVALUATED = r"""
{0}; echo $((x))
{0}; echo $((1 + x * 2))
{0}; y=x; echo $((y))
{0}; (( x > 1 )) && ls
{0}; let y=x+1
{0}; for ((i=0; i<x; i++)); do ls; done
{0}; a=(1 2); echo ${{a[x]}}
{0}; a[$x]=3
{0}; s=abc; echo ${{s:x:1}}
{0}; [[ $x -eq 1 ]] && ls
{0}; declare -i y=$x
declare -i x; {0}
"""
SOURCES = (
    "x=$(cat a)",
    "x=$(curl -s https://x.example/a)",
    "read -r x < a",
    "x=$(head -1 a | tr -d ' ')",
    "mapfile -t x < a",
)
NO_NUMBERS = r"""
grep -cex a b
grep -c x *
grep --count -e x a b
grep -c -H x a
stat -c %s --format=%n a
stat -c %s --printf=%n a
jq .x length
jq -f length a
jq --arg length x .y a
curl -so /dev/null -w '%{http_code}' localhost:8000/a localhost:8000/b
curl -so - -w '%{http_code}' localhost:8000
curl -so /dev/null -D - -w '%{http_code}' localhost:8000
curl -so /dev/null -w '%{http_code}' -w '%{url}' localhost:8000
echo 1 | head 12
echo 1 | sort --files0-from=list
echo 12 | cut --output-delimiter='a[b]' -c1,2
echo 12 | tr -s 1 a
echo 12 | tr -c 0 a
"""
"""Commands like those that print numbers, which print names, lines of files or what another machine says."""
FINE = r"""
n=$(wc -l < a); echo $((n + 1))
n=$(ls | wc -l); if [[ $n -gt 3 ]]; then echo many; fi
n=$(grep -c TODO a.py); (( n > 3 )) && echo many
n=$(grep -ci 'a b' a.py); m=$(grep -v x a | grep -c y); echo $((n + m))
n=$(jq -r '.items | length' a.json); echo $((n + $(jq length b.json)))
n=$(ls | wc -l | tr -d ' '); m=$(wc -l < a | head -n 1); echo $((n - m))
size=$(stat -c %s a); echo $((size / 1024))
start=$(date +%s); make test; echo $(( $(date +%s) - start ))
for i in 1 2 3; do n=$((n + i)); done; echo $n
for ((i=0; i<10; i++)); do echo $i; done
i=0; while [ $i -lt 5 ]; do echo $i; i=$((i+1)); done
declare -i n=1; n=n+1; echo $n
declare -A m; m[a]=1; echo ${m[a]}
s=abc; echo ${s:1:2} ${#s}
f() { local x=$1; echo "$x"; }; f a
set -euo pipefail; make test
set -x; ls
readonly OUT=build; rm -rf "$OUT/x"
code=$(curl -s -o /dev/null -w '%{http_code}' localhost:8000); [[ $code -eq 200 ]] && echo up
rm -f "$(basename src/a.o)"
printf '%5d %s\n' 3 x
f() { ls; } > out.txt; f
"""


def _lines(text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if line]


@cache
def pack() -> Policy:
    return load_policy([PACK])


def judged(command: str) -> Verdict:
    return pack().judge(ToolCall("Bash", {"command": command}, "a", "", "/home/dev/project")).verdict


@pytest.mark.parametrize("form", _lines(VARIABLES))
def test_a_value_that_is_another_one_than_it_looks_is_not_approved(form: str) -> None:
    for verb in ("rm -rf ", "mv -t /tmp/y "):
        assert judged(form.format(verb)) is not Verdict.APPROVE, verb


@pytest.mark.parametrize("form", _lines(RUN))
def test_what_a_shell_runs_itself_is_not_approved(form: str) -> None:
    for line in (EVIL, "git push --force", "cat .env"):
        assert judged(form.format(line)) is not Verdict.APPROVE, line


@pytest.mark.parametrize("form", _lines(EVALUATED))
def test_arithmetic_over_a_text_that_nobody_has_read_is_not_approved(form: str) -> None:
    for source in SOURCES:
        assert judged(form.format(source)) is not Verdict.APPROVE, source


@pytest.mark.parametrize("command", _lines(NO_NUMBERS))
def test_what_looks_as_if_it_printed_a_number_is_not_taken_for_one(command: str) -> None:
    assert judged(f"{command} > a") is judged(f"n=$({command}); echo $n") is Verdict.APPROVE, "by itself it is everyday"
    assert judged(f"n=$({command}); echo $((n + 1))") is not Verdict.APPROVE


@pytest.mark.parametrize("command", _lines(FINE))
def test_everyday_variables_and_numbers_are_approved(command: str) -> None:
    assert judged(command) is Verdict.APPROVE
