"""Small parts of the command line: times, paths, odd names, names of mounts, the generated configuration."""

import configparser
import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url
from supervisor.options import UnhosedConfigParser

from app.adapters import backoff
from app.adapters.supervision import Supervisord, procfile
from app.core.errors import RequestInvalid
from app.core.ids import ROOT_INODE
from app.core.tree import ROOT_NODE
from app.entry import wait
from app.entry.cli import main
from app.entry.cli.log import project_path
from app.entry.cli.times import parse_time_ns
from app.ports import LoggedEvent, Program
from app.services import exporting, importing, mounting
from app.services.event_lines import as_object, show_time
from app.services.mounting import MountWish
from config import settings as weir_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path):
    return weir_settings.load({"WEIR_HOME": str(tmp_path / "h"), "WEIR_MOUNT": str(tmp_path / "mnt")})


def event(path):
    return LoggedEvent("files", 1, "write", 0, "a", "", "", "", "t", path, 7, "o", "main", 1, 1, "applied", 3)


def test_a_name_that_is_not_utf8_is_kept_in_base64():
    assert as_object(event(b"caf\xe9"))["path_b64"] == "Y2Fm6Q=="
    assert "path_b64" not in as_object(event("café".encode()))


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # these tests may be run inside of a mount


@pytest.mark.usefixtures("outside")
def test_a_path_below_the_mount_is_the_projects_path(settings):
    assert project_path(settings, f"{settings.mount_point}/current/src/a.py") == b"src/a.py"
    assert project_path(settings, "src/../src/a.py") == b"src/a.py"
    for outside in ("/etc/passwd", "../x", "src/../../x", ".."):
        with pytest.raises(RequestInvalid, match="outside of the project"):
            project_path(settings, outside)


@pytest.mark.usefixtures("outside")
def test_the_log_of_a_path_outside_of_the_project_is_wrong_usage_and_not_an_empty_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "h"))
    monkeypatch.setattr(sys, "argv", ["weir", "log", "../x"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert "outside of the project" in said.err


def test_the_list_of_commands_cuts_no_sentence(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["weir", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_times_are_ages_or_iso_and_anything_else_is_refused():
    assert show_time(parse_time_ns("2026-11-23T20:15:00+00:00", "--since")) == "2026-11-23T20:15:00.000Z"
    assert parse_time_ns("1h", "--since") < parse_time_ns("1m", "--since")
    assert parse_time_ns("", "--since") == 0
    with pytest.raises(RequestInvalid, match="--until"):
        parse_time_ns("tomorrow-ish", "--until")


def test_every_line_of_the_procfile_is_exec_and_servers_come_first():
    programs = procfile((ROOT / "Procfile").read_text())
    assert all(program.command.startswith("exec ") for program in programs)
    assert [program.name for program in programs][:2] == ["redis", "postgres"]
    assert len(programs) == 12


def test_percent_signs_and_quotes_reach_the_program_unchanged(settings):
    text = Supervisord(settings)._section(Program("x", """exec celery -n x@%h --say "it's" """.strip(), nice=5), 10)
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    command = parser["program:x"]["command"] % {}
    assert "x@%h" in command
    assert '\\"it\'s\\"' in command
    assert "nice -n 5" in command


@pytest.mark.parametrize("argument", ["a ;b", "a #b", "a  #  ;;b", "it's \"b\"", "a\\;b", "a\\", "50%s %(x)s", "ö $HOME `x`"])
def test_an_argument_of_any_signs_reaches_its_program_unchanged(settings, argument):
    wish = MountWish(Path("/x") / argument, "n", options=("noatime",))
    parser = UnhosedConfigParser()
    parser.read_string("".join(Supervisord(settings)._sections(mounting.mount_programs(wish, "python"))))
    command = parser.saneget("program:mount-n", "command", expansions={"ENV_WEIR_BLANK": " "})
    inner = shlex.split(command)[-1]
    assert shlex.split(inner)[:5] == ["exec", "python", "-m", "fuse_mount", f"/x/{argument}"]


@pytest.mark.parametrize(("asked", "told"), [("bogus", "no option of a mount; there are: allow_other"), ("max_read", "takes a number"), ("ro,size=1m", "'size=1m'")])
def test_an_option_that_no_mount_takes_is_refused_before_anything_is_started(settings, tmp_path, asked, told):
    with pytest.raises(RequestInvalid, match=told):
        mounting.checked(settings, MountWish(tmp_path / "second", "", options=(asked,)), "")
    assert mounting.checked(settings, MountWish(tmp_path / "second", "", options=("allow_other,max_read=4096", "no_xattrs")), "")


def test_a_folder_with_a_line_break_in_its_name_is_refused_before_anything_is_started(settings, tmp_path):
    with pytest.raises(RequestInvalid, match="control character"):
        mounting.checked(settings, MountWish(tmp_path / "a\nb", "second"), "")


@pytest.mark.parametrize("name", ["main", "import-1", "../x", "Ä", "a" * 64])
def test_a_mount_name_that_is_no_plain_word_is_refused(settings, tmp_path, name):
    with pytest.raises(RequestInvalid, match="--name"):
        mounting.checked(settings, MountWish(tmp_path / "second", name), "")


def test_a_mount_is_refused_where_something_is(settings, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for folder, kind in ((tmp_path / "full", ""), (tmp_path / "b", "fuse"), (settings.mount_point / "in", "")):
        with pytest.raises(RequestInvalid):
            mounting.checked(settings, MountWish(folder, ""), kind)


@pytest.mark.parametrize("place", ["/proc/x", "/proc/1/status", "/sys/x", "relative-file", "/dev/null/x"])
def test_a_folder_that_cannot_be_mounted_at_is_one_line_and_no_traceback(tmp_path, monkeypatch, capsys, place):
    (tmp_path / "relative-file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("WEIR_MOUNT", str(tmp_path / "mnt"))
    monkeypatch.setattr(sys, "argv", ["weir", "mount", place])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert said.err.startswith(f"weir: {(tmp_path / place)}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("into", [b"../x", b"/etc/x", b"a/../../x", b"..", b"a\0b"])
def test_an_import_into_a_place_outside_the_project_is_refused_before_anything_is_done(tmp_path, into):
    def never(*_: object):
        raise AssertionError("something was done")

    parts = importing.ImportParts("p" * 32, None, never, never, frozenset())
    with pytest.raises(RequestInvalid, match="--into"):
        importing.import_folder(parts, tmp_path, importing.Options(into))


def test_an_export_into_a_mount_or_the_state_folder_is_refused_also_by_way_of_a_link(tmp_path):
    mount = tmp_path / "mnt"
    (mount / "current").mkdir(parents=True)
    (tmp_path / "link").symlink_to(mount / "current")
    for target in (mount, mount / "current" / "out", tmp_path / "link" / "out", tmp_path / "x" / ".." / "mnt"):
        with pytest.raises(RequestInvalid, match="Weir's own"):
            exporting.export_tree(None, target, own=[mount])


def test_a_program_that_fails_on_and_on_is_tried_every_ten_seconds():
    process = SimpleNamespace(backoff=500, delay=time.time() + 500)
    backoff.shorten(SimpleNamespace(process=process))
    assert process.backoff <= 10
    assert process.delay <= time.time() + 10


def test_two_mounts_of_one_folder_name_get_two_names(settings, tmp_path):
    first = mounting.checked(settings, MountWish(tmp_path / "a" / "Second View", ""), "")
    mounting.remember(settings, first)
    second = mounting.checked(settings, MountWish(tmp_path / "b" / "Second View", ""), "")
    assert (first.name, second.name) == ("second-view", "second-view-2")


def test_a_ready_file_of_a_dead_process_counts_for_nothing(tmp_path):
    ready = tmp_path / "redis.ready"
    assert not wait.is_ready(ready)
    ready.write_text("999999999")
    assert not wait.is_ready(ready)
    ready.write_text("1")
    assert wait.is_ready(ready)


def test_an_export_into_a_folder_that_cannot_be_made_is_one_line_and_no_traceback(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RequestInvalid, match="cannot be made"):
        exporting.export_tree(EmptyStore(), tmp_path / "file" / "out")


class EmptyStore:
    """A store with nothing but the root."""

    def load_tree(self):
        nodes = {ROOT_INODE: ROOT_NODE}
        return SimpleNamespace(nodes=nodes, dentries={}, aliases={}, head=SimpleNamespace(position=0))


def test_a_mount_point_is_named_as_the_kernel_names_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = weir_settings.load({"WEIR_HOME": str(tmp_path / "h"), "WEIR_MOUNT": str(tmp_path / "link" / "mnt")})
    assert found.mount_point == tmp_path.resolve() / "real" / "mnt"


def test_a_home_with_blanks_and_signs_in_its_name_reaches_its_own_servers(tmp_path):
    home = tmp_path / "my & 50% +x#"
    found = weir_settings.load({"WEIR_HOME": str(home)})
    for url in (found.reader_url, weir_settings.writer_url(found)):
        words = conninfo_to_dict(url)
        assert words["host"] == str(found.sockets)
        assert Path(words["passfile"]).parent == home / "secrets"
    assert parse_url(found.redis_url)["path"] == f"{found.sockets}/redis.sock"


def test_the_mount_is_beside_the_home_that_is_named_wherever_the_command_is_given(tmp_path: Path, monkeypatch) -> None:
    """`WEIR_HOME=/p/.weir weir status` in another folder said that the mount does not answer."""
    (tmp_path / "p").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    named = {"WEIR_HOME": str(tmp_path / "p" / ".weir"), "PATH": "/usr/bin"}
    assert weir_settings.load(named).mount_point == tmp_path.resolve() / "p" / "mnt"
    assert weir_settings.load(named | {"WEIR_MOUNT": str(tmp_path / "m")}).mount_point == tmp_path.resolve() / "m"
