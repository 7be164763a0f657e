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
        "trap 'rm -rf lib' EXIT; cd /usr",
        "d=build; trap 'rm -rf \"$d\"' EXIT; d=/usr",
        "f=README.md; trap 'cat $f' EXIT; f=.env",
        "cleanup(){ rm -rf build; }; trap cleanup EXIT; cleanup(){ rm -rf /usr; }",
        "trap 'rm -rf objects' EXIT; cd .git",
        "if cd /usr; false; then :; else rm -rf lib; fi",
        "if cd /usr; false; then :; elif true; then rm -rf lib; fi",
        "d=build; if false; then :; elif d=/usr; false; then :; else rm -rf $d/lib; fi",
        "f=README.md; if f=.env; false; then :; else cat $f; fi",
        "if cd .git; false; then :; else rm -rf objects; fi",
        "d=/usr; [ -d build ] && d=build && echo using; rm -rf $d/lib",
        "d=/usr && false && d=build && true || rm -rf $d/lib",
        "f=.env; [ -f README.md ] && f=README.md && echo using; cat $f",
        "d=build; for i in *; do rm -rf $d; d=/usr; done",
        "for i in *; do rm -rf lib; cd /usr; done",
        "for i in $(seq 3); do rm -rf usr; cd ..; done",
        "f=README.md; for i in *.py; do cat $f; f=.env; done",
        "for i; do rm -rf lib; cd /usr; done",
        'set -- build dist /usr; while [ $# -gt 0 ]; do rm -rf "$1"; shift; done',
        'f(){ while [ $# -gt 0 ]; do rm -rf "$1"; shift; done; }; f build dist /usr',
        "d=build; e=build; g=build; while :; do rm -rf $d; d=$e; e=$g; g=/usr; done",
        "set -- /usr; [ -f x ] && set -- build; rm -rf $1/lib",
        "set -- /usr; for i in $(ls); do set -- build; done; rm -rf $1/lib",
        "set -- /usr build; false && shift; rm -rf $1",
        "set -- /usr; set -- build < missing; rm -rf $1/lib",
        "f(){ echo; }; [ -f x ] && f(){ rm -rf /usr; }; f",
        "f(){ echo; }; if true; then f(){ rm -rf /usr; }; fi; f",
        "f(){ rm -rf build; }; for i in 1; do f(){ rm -rf /usr; }; done; f",
        "{ break; cd /usr; }; rm -rf lib",
        "{ return; cd /usr; }; rm -rf lib",
        "f(){ break; cd /usr; }; f; rm -rf lib",
        "d=build; f(){ break; d=/usr; }; for i in 1; do f; done; rm -rf $d/lib",
        "d=build; break(){ :; }; for i in 1; do break; d=/usr; done; rm -rf $d/lib",
        "d=build; for i in 1; do break & d=/usr; done; rm -rf $d/lib",
        "f(){ d=/usr; re'turn'; d=build; }; f; rm -rf $d/lib",
        "d=build; case x in x) d=/usr;& y) rm -rf $d/lib;; esac",
        "cd a/b/c; cd ../../..; rm -rf etc",
        "cd .git; cd ../nope; rm -rf objects",
        "unset OLDPWD; cd /usr; unset OLDPWD; cd /srv/project/x; rm -rf lib",
        "ln -s /usr build; cd build; rm -rf lib",
        "ln -s .git k; cd k; rm -rf objects",
        "a=/usr; f(){ local a=(build); }; f; rm -rf ${a[0]}/lib",
        "a=/usr; f(){ local a; a=(build); }; f; rm -rf ${a[0]}/lib",
        "d=/usr; local d=build; rm -rf $d/lib",
        "a=(build build); printf -v 'a[1]' /usr; rm -rf ${a[1]}",
        "a=build; read 'a[0]' <<< /usr; rm -rf $a",
        "a=(build /usr); unset 'a[0]'; rm -rf ${a[1]}",
        "a=build; a+=(/usr); rm -rf ${a[1]}",
        "d=build; read -a d e <<< /usr; rm -rf $d/lib",
        "d=build; mapfile -t d extra <<< /usr; rm -rf $d/lib",
        "d=build; read -pd d <<< /usr; rm -rf $d/lib",
        "d=build; printf -v d -- /usr; rm -rf $d/lib",
        "BASH_REMATCH=build; [[ /usr =~ .* ]]; rm -rf $BASH_REMATCH/lib",
        "readonly d=/usr; mapfile -t d <<< build; rm -rf $d/lib",
        "alias cd=:\ncd /usr\nrm -rf lib",
        "x=README.md; for x in .env; do break; done; cat $x",
        "x=README.md; case x in x) x=.env;; esac; cat $x",
        "x=.env; [ -f README.md ] && x=README.md; cat $x",
        "if true; then cd ~/.aws; fi; cat credentials",
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
        "trap - EXIT",
        "trap - INT TERM; ls",
        "cd /usr/lib && ls; cd /srv/project; cat README.md",
        "cd /etc && ls; cd /srv/project && npm run build",
        "for f in a b; do echo $f; done",
        'for f in *.txt; do wc -l "$f"; done',
        "i=0; while [ $i -lt 3 ]; do echo $i; i=$((i+1)); done",
        "git pull && cd src && make; ls",
        "if [ -d build ]; then rm -rf build; fi; mkdir build",
        'case "$1" in a) echo a;; *) echo b;; esac',
        "set -e; cd src && npm ci && npm test",
    ],
)
def test_everyday_work_with_jobs_folders_and_functions_is_approved(command: str) -> None:
    assert judged(command) is Verdict.APPROVE
