"""The canonical form: what would run, as words, wherever the text hides it."""

import pytest

from app.core.shell import canonical
from app.core.shell.places import classify
from app.core.shell.scope import Scope
from app.core.shell.script import Frame, Reading, run_node, run_text, run_words
from app.core.shell.syntax import parse, plain_words


def lines(text: str) -> list[str]:
    return [" ".join((c.program, *c.words[1:])) for c in canonical(text, "/home/u/p", "/home/u/p").commands]


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /",
        "r''m -rf /",
        '"rm" -rf /',
        "\\rm -rf /",
        "rm\t-rf\t/",
        "rm \\\n-rf /",
        "$'\\x72m' -rf /",
        "rm${IFS}-rf${IFS}/",
        "X=rm; $X -rf /",
        "a=r b=m; $a$b -rf /",
        "$(echo rm) -rf /",
        "`echo rm` -rf /",
        "{rm,-rf,/}",
        "rm >/dev/null -rf /",
        "/bin/rm -rf /",
        "command rm -rf /",
        "exec rm -rf /",
        "time rm -rf /",
        "! rm -rf /",
        "sh -c 'rm -rf /'",
        "bash -lc 'rm -rf /'",
        "bash -c 'sh -c \"rm -rf /\"'",
        "eval 'rm -rf /'",
        "sudo rm -rf /",
        "sudo -u root rm -rf /",
        "env -i A=1 rm -rf /",
        "env -S 'rm -rf /'",
        "nohup rm -rf /",
        "nice -n 5 rm -rf /",
        "timeout -k 1 5 rm -rf /",
        "stdbuf -oL rm -rf /",
        "setsid rm -rf /",
        "busybox rm -rf /",
        "chroot / rm -rf /",
        "unshare -r rm -rf /",
        "su -c 'rm -rf /'",
        "su root -c 'rm -rf /'",
        "watch 'rm -rf /'",
        "script -qc 'rm -rf /' x",
        "trap 'rm -rf /' EXIT",
        "ssh h 'rm -rf /'",
        "docker exec c rm -rf /",
        "kubectl exec p -- rm -rf /",
        "git -c alias.x='!rm -rf /' x",
        "tar cf a --checkpoint-action=exec='rm -rf /' b",
        "rsync -e 'rm -rf /' a b:c",
        "awk 'BEGIN{system(\"rm -rf /\")}'",
        "python3 -c 'import os; os.system(\"rm -rf /\")'",
        'python -c \'import subprocess; subprocess.run(["rm","-rf","/"])\'',
        "perl -e 'system(\"rm -rf /\")'",
        'node -e \'require("child_process").execSync("rm -rf /")\'',
        "ruby -e '`rm -rf /`'",
        "echo / | xargs rm -rf",
        "echo 'rm -rf /' | sh",
        "printf 'rm -rf /' | bash",
        "echo cm0gLXJmIC8= | base64 -d | sh",
        "echo 726d202d7266202f | xxd -r -p | sh",
        "echo '/ fr- mr' | rev | sh",
        "bash <<< 'rm -rf /'",
        "cat <<EOF | sh\nrm -rf /\nEOF",
        "sh <<'EOF'\nrm -rf /\nEOF",
        "cat <(rm -rf /)",
        "echo $((1+$(rm -rf /)))",
        "coproc rm -rf /",
        "f(){ rm -rf /; }; f",
        'f(){ "$@"; }; f rm -rf /',
        "alias z='rm -rf /'; z",
        "if a; then rm -rf /; fi",
        "for x in /; do rm -rf $x; done",
        "case a in a) rm -rf /;; esac",
        "(rm -rf /)",
        "{ rm -rf /; }",
        "ls & rm -rf /",
        "read X <<< rm; $X -rf /",
        'x=(rm -rf /); "${x[@]}"',
        "x=rm; y=x; ${!y} -rf /",
        "X=xrm; ${X#x} -rf /",
        "X=RM; ${X,,} -rf /",
        "X=aarm; ${X:2} -rf /",
        "X=rmz; ${X/z/} -rf /",
        "echo 'rm -rf /' > x.sh; bash x.sh",
        "printf 'rm -rf /' > x; chmod +x x; ./x",
        "echo 'rm -rf /' | tee x; sh x",
        "find . -exec rm -rf / \\;",
        "parallel rm -rf ::: /",
        "echo ez -es / | tr ezs mrf; X='rm -rf /'; $X",
    ],
)
def test_the_inner_command_is_seen_through_every_disguise(text: str) -> None:
    seen = [line.replace('"', "") for line in lines(text)]
    assert "rm -rf /" in seen, seen


def test_wrappers_and_spans_say_where_a_command_stands() -> None:
    form = canonical("ls; sudo nohup rm x")
    assert form.commands[1].wrappers == ("sudo", "nohup")
    assert form.commands[1].span == (4, 19)


def test_what_cannot_be_known_is_marked_and_not_guessed() -> None:
    for text in ("rm $X", "$X", 'rm "$(cat list)"', "echo $1", 'bash -c "$X"'):
        assert any(command.unresolved for command in canonical(text).commands), text


def test_plain_words_are_what_the_parser_would_say() -> None:
    for text in ("git status", "ls -la a/b", "a=b", "make -j 4 X=1", "if", "time ls", "echo a=b,c:d@e%f+g"):
        words = plain_words(text)
        if words is None:
            continue
        reading = Reading(run_node, run_text, run_words)
        parsed = parse(text)
        assert parsed.root is not None
        run_node(reading, parsed.root, Frame(Scope("", ""), parsed.source))
        assert [c.words for c in reading.commands] == [c.words for c in canonical(text).commands], text


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "root"),
        ("/*", "root"),
        ("/etc", "system-root"),
        ("/et[c]/x", "system"),
        ("~", "home-root"),
        ("~/*", "home-root"),
        ("/home/u", "home-root"),
        ("~/x", "home"),
        ("a/b", "project"),
        (".", "project-root"),
        ("*", "project-root"),
        ("./a/../b", "project"),
        ("/home/u/p/x", "project"),
        ("../../../etc/passwd", "system"),
        ("/tmp/x", "temp"),
        ("/tmp", "temp-root"),
        ("/dev/sda", "device"),
        ("/dev/null", "null"),
        (".env", "secret"),
        ("~/.ssh/id_rsa", "secret"),
        ("~/.aws/credential?", "secret"),
        (".git/config", "git"),
        (".weir/x", "weir"),
        ("~/.bashrc", "persistence"),
        (".git/hooks/pre-commit", "persistence"),
        ("/dev/tcp/a/1", "remote"),
        ("/home/u/p/../../../etc", "system-root"),
        ("~/../../etc/x", "system"),
    ],
)
def test_a_path_is_classed_by_where_it_leads(path: str, kind: str) -> None:
    assert kind in classify(path, "/home/u/p", "/home/u/p")


def test_env_examples_and_public_keys_are_no_secrets() -> None:
    for path in (".env.example", "~/.ssh/id_rsa.pub", "docs/credentials.md", "src/secret.py"):
        assert "secret" not in classify(path, "/home/u/p", "/home/u/p"), path
