"""What holds at a point of a script: where it stands, what variables hold, whether a statement was run at all."""

from functools import cache
from pathlib import Path

import pytest

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy

PACK = Path(__file__).resolve().parents[3] / "config" / "policies"


@cache
def pack() -> Policy:
    return load_policy([PACK])


def judged(command: str) -> Verdict:
    return pack().judge(ToolCall("Bash", {"command": command}, "claude", "", "/srv/project")).verdict


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf $!/usr",
        'rm -rf "$!"/*',
        'rm -rf "${!}"/etc',
        "echo x > $!/etc/passwd",
        "cat .e$!nv",
        "cat .env$!",
        "cp .e$!nv a",
        "git reset --ha$!rd",
        "find / -del$!ete",
        "BASH_ARGV0=/; rm -rf ${0}usr",
        "rm -rf ${UID/0//}usr",
        "rm -rf ${SECONDS/0//}usr",
        "x=([0]=/usr); rm -rf $x",
        "x=([3]=.env); cat ${x[3]}",
        "x=([0]=-delete); find / $x",
        "x=([0]=-c [1]='rm -rf /usr'); sh \"${x[@]}\"",
        "f(){ local x=([0]=/usr); rm -rf $x; }; f",
        "jobs -x rm -rf /usr",
        "jobs -x git push --force",
        "jobs -lx git push --force",
        "pushd -n /usr; popd; rm -rf lib",
        "pushd /usr -n; popd; rm -rf lib",
        "pushd -n /etc && popd && echo x > passwd",
        "cd /usr; cd /tmp & rm -rf lib",
        "pushd /usr; popd & rm -rf lib",
        "cd /usr; cd - & rm -rf lib",
        "cd /usr; coproc cd /tmp; rm -rf lib",
        "x=/usr; x=build & rm -rf $x",
        "x=/usr; { x=build; } & rm -rf $x",
        "x=/usr; f(){ x=build; }; f & rm -rf $x",
        "x=.env; x=a & cat $x",
        "cd /usr; cd /tmp/nonexist; rm -rf lib",
        "cd /usr; cd /tmp extra; rm -rf lib",
        "cd /usr; cd -Z /tmp; rm -rf lib",
        "cd /usr; cd /tmp < missing; rm -rf lib",
        "cd /usr; nohup cd /tmp; rm -rf lib",
        "cd /usr; echo x | xargs cd /tmp; rm -rf lib",
        "cd /usr; f(){ return; cd /tmp; }; f; rm -rf lib",
        "x=.env; f(){ return; x=a; }; f; cat $x",
        "x=/usr; { x=build; } < missing; rm -rf $x",
        "cd ~; cd nonexist; rm -rf *",
        "x=build; wait -p x; rm -rf $x/*",
        "x=build; wait -px; rm -rf $x/usr",
        "x=(a b); unset 'x[1]'; rm -rf ${x[1]}/*",
        "x=(build); unset 'x[0]'; rm -rf \"${x[0]}\"/usr",
        "git clean -nf -x --no-dry-run -d",
        "git clean -n --no-dry-run -fdx",
        "git clean -n --no-dry -fdx",
        "find . -name .env -exec cat {} +",
        "find . -name id_rsa -exec cat {} +",
        "find . -name '.e*' -exec cp {} a \\;",
    ],
)
def test_what_a_shell_would_delete_write_or_show_elsewhere_is_not_approved(command: str) -> None:
    assert judged(command) is not Verdict.APPROVE


@pytest.mark.parametrize(
    "command",
    [
        "find . -name '*.py' -exec grep -l TODO {} +",
        "find . -name '*.pyc' -delete",
        "cd src && make && cd - && ls",
        "cd src; cd ..; make test",
        'for f in *.py; do [ -f "$f" ] || continue; echo $f; done',
        'f() { if [ -z "$1" ]; then return 1; fi; echo "$1"; }; f x',
        "echo $UID $SECONDS $0",
        "mkdir -p /tmp/x.$$ && echo a > /tmp/x.$$/f",
        'while read -r l; do echo "$l"; done < list.txt',
        'x=(a b c); echo "${x[@]}"',
        "jobs -l",
        "git clean -n",
        "wait",
        "cd build > /dev/null && cmake ..",
        "pushd docs > /dev/null; make html; popd > /dev/null",
        "time make test",
        "nohup python train.py > log.txt 2>&1 &",
        "timeout 60 pytest -q",
    ],
)
def test_everyday_work_with_jobs_folders_and_functions_is_approved(command: str) -> None:
    assert judged(command) is Verdict.APPROVE
