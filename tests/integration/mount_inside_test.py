"""The command line inside of a mount is the project's own: it makes no second project there, and ends in no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.entry.cli.log import project_path
from config.settings import load

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("WEIR_HOME", "WEIR_MOUNT", "REDIS_URL", "DATABASE_URL", "WEIR_WRITER_URL")


@pytest.fixture
def inside(mount: LoneMount, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in a mount, which is where we are."""
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    folder = mount.tree / "a" / "current"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_the_project_is_the_one_beside_the_mount(mount: LoneMount, inside: Path) -> None:
    (mount.folder / ".weir").mkdir(mode=0o700)
    (mount.folder / ".weir" / "project").write_text("7" * 32)
    settings = load()
    assert (settings.project, settings.home) == ("7" * 32, mount.folder / ".weir")
    assert settings.mount_point == mount.folder / "mnt"
    assert os.listdir(inside) == []
    for given in ("f", "./f", str(inside / "f")):
        assert project_path(settings, given) == b"a/current/f"


def test_where_no_project_is_beside_it_one_line_says_what_to_do(mount: LoneMount, inside: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from app.entry.cli import main; main()", "log"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    wanted = f"weir: {inside} is in a mount of Weir, and its project is not beside {mount.root}: set WEIR_HOME\n"
    assert done.stderr == wanted
    assert os.listdir(inside) == []
