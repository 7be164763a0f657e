"""Variables before a program, or exported, by which it would run, load or believe something else."""

from functools import cache
from pathlib import Path

import pytest

from app.adapters.policy_files import load_policy
from app.core.decisions import ToolCall, Verdict
from app.core.policy import Policy

PACK = Path(__file__).resolve().parents[3] / "config" / "policies"
CARRYING = {
    "PS4": "$(rm -rf ~)",
    "LESS": "+!rm -rf ~",
    "MAKEFLAGS": "--eval=$(shell rm -rf ~)",
    "CFLAGS": "$(shell rm -rf ~)",
    "ANY_NAME": "$(shell rm -rf ~)",
    "OTHER": "rm -rf ~",
    "GIT_CONFIG_PARAMETERS": "'core.fsmonitor=rm -rf ~'",
    "GIT_CONFIG_KEY_0": "core.fsmonitor",
    "GIT_TRACE": "/home/dev/.bashrc",
    "GIT_PAGER": "rm -rf ~",
    "KUBECTL_EXTERNAL_DIFF": "x",
    "CC": "rm -rf ~",
    "CXX": "/tmp/x",
    "GOFLAGS": "-toolexec=rm",
    "RUSTC_WRAPPER": "/tmp/x",
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER": "/tmp/x",
    "_JAVA_OPTIONS": "-javaagent:/tmp/x",
    "JAVA_OPTS": "-XX:OnError=rm",
    "npm_config_script_shell": "/tmp/x",
    "HOME": "/etc",
    "PYTHONPATH": "/tmp/x",
    "PYTEST_ADDOPTS": "-p /tmp/x",
    "NODE_OPTIONS": "-r ./x",
    "VIMINIT": ":!rm -rf ~",
    "LUA_INIT": "os.execute('rm')",
    "FZF_DEFAULT_COMMAND": "rm -rf ~",
    "AWS_CONFIG_FILE": "x",
    "HTTPS_PROXY": "http://evil.example:1",
    "BASH_ENV": "x",
    "LD_PRELOAD": "./x.so",
    "UNHEARD_OF_EDITOR": "/tmp/x",
    "UNHEARD_OF_OPTS": "--run=/tmp/x",
}
FINE = r"""
NODE_OPTIONS=--max-old-space-size=4096 npm run build
PYTHONPATH=src pytest
PYTHONPATH=. python -m app
GIT_PAGER=cat git log
PAGER=cat git diff
CC=clang make
CC=gcc-12 CXX=g++-12 cmake -B build
CFLAGS='-O2 -Wall' make
GIT_EDITOR=true git commit --amend
NODE_ENV=test npm test
ENV=test node app.js
DATABASE_URL=postgres://localhost/x python manage.py test
RUST_BACKTRACE=1 cargo test
RUSTFLAGS='-C target-cpu=native' cargo build
GOOS=linux GOARCH=amd64 CGO_ENABLED=0 go build
GOFLAGS=-mod=mod go build
PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 python a.py
GIT_TERMINAL_PROMPT=0 git fetch
GIT_AUTHOR_NAME='A B' git commit -m x
MAKEFLAGS=-j4 make
JAVA_OPTS='-Xmx2g -Xms1g' ./gradlew build
PYTEST_ADDOPTS='-q --color=yes' pytest
MSG="hello world" ./run.sh
OPTS='--run=/tmp/x'; echo $OPTS
git -c core.quotepath=false status
git -c user.name=x -c user.email=y commit -m z
git -c credential.helper= fetch
"""
GIT = r"""
git -c diff.x.textconv=rm diff
git -c core.alternateRefsCommand='rm -rf ~' fetch
git -c trailer.x.command='rm -rf ~' commit -m x
git -c merge.x.driver='rm -rf ~' merge y
git -c include.path=/tmp/x status
X='rm -rf ~' git --config-env=core.fsmonitor=X status
git --config-env core.fsmonitor=X status
env 'BASH_FUNC_ls%%=() { rm -rf /; }' bash -c ls
"""
UNSEEN = r"""
X=$(cat a); PATH=$X ls
PATH=$OLDPATH ls
env PATH=$X ls
export "PATH=$X"; ls
declare -x "PATH=$X"; ls
read PATH < x; ls
read -a PATH < x; ls
mapfile PATH < x; ls
printf -v PATH %s /tmp/evil; ls
for PATH in /tmp/evil; do ls; done
bash -c 'read PATH <<< /tmp/evil; ls'
unset PATH; ls
: ${PATH:=/x}; ls
getopts a PATH; ls
PATH=(/tmp/x); ls
PATH=/a PATH=$PATH ls
PATH+=$PATH; ls
echo PATH; read PATH < x; ls
export LD_PRELOAD; read LD_PRELOAD <<< ./x.so; ls
set -a; read LD_PRELOAD <<< ./x.so; ls
"""
ITSELF = r"""
PATH=$PATH ls
PATH="${PATH}" ls
PATH=$PATH; ls
export PATH
export PATH="$PATH"
export FOO=$PATH
LD_PRELOAD= ls
unset LD_LIBRARY_PATH; ls
"""
UNDER_TEMP = (
    "rm -rf ..",
    "rm -rf ../..",
    "mv ../../* .",
    "rm -rf /tmp/a",
    "rm -rf /tmp/a/*",
    "chmod -R 0 /tmp/a/b/../b",
)


@cache
def pack() -> Policy:
    return load_policy([PACK])


def judged(command: str, cwd: str = "/home/dev/project") -> Verdict:
    return pack().judge(ToolCall("Bash", {"command": command}, "a", "", cwd)).verdict


def _lines(text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if line]


@pytest.mark.parametrize("name", CARRYING)
def test_a_variable_that_carries_code_is_not_approved_however_it_is_given(name: str) -> None:
    value = '"' + CARRYING[name].replace("$", "\\$") + '"'
    forms = (
        "{0}={1} make",
        "env {0}={1} make",
        "env -i A=1 {0}={1} make",
        "export {0}={1}; make",
        "nice env {0}={1} ls",
    )
    forms += ("declare -x {0}={1}; make", "{0}={1}; export {0}; make", "f() {{ make; }}; {0}={1} f")
    for form in forms:
        assert judged(form.format(name, value)) is not Verdict.APPROVE, form


@pytest.mark.parametrize("command", _lines(GIT))
def test_a_setting_that_makes_git_run_something_is_not_approved(command: str) -> None:
    assert judged(command) is not Verdict.APPROVE


@pytest.mark.parametrize("command", _lines(FINE))
def test_everyday_variables_are_approved(command: str) -> None:
    assert judged(command) is Verdict.APPROVE


@pytest.mark.parametrize("command", _lines(UNSEEN))
def test_where_programs_are_found_or_what_they_load_is_set_unseen_and_not_approved(command: str) -> None:
    assert judged(command) is not Verdict.APPROVE


@pytest.mark.parametrize("command", _lines(ITSELF))
def test_a_search_path_that_stays_as_it_is_is_approved(command: str) -> None:
    assert judged(command) is Verdict.APPROVE


@pytest.mark.parametrize("command", UNDER_TEMP)
def test_what_is_above_a_project_in_the_temporary_folder_is_no_temporary_file(command: str) -> None:
    assert judged(command, "/tmp/a/b/project") is not Verdict.APPROVE
    assert judged("rm -rf /tmp/build-1", "/tmp/a/b/project") is Verdict.APPROVE
