"""Where a mount is impossible nothing is started, and one line says what is needed once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

WEIR = Path(sys.executable).parent / "weir"


def up_without(folder: Path, prepare: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    home = folder / "h"
    environ = os.environ | {"WEIR_HOME": str(home), "WEIR_MOUNT": str(folder / "m")}
    script = f'{prepare} && exec unshare --map-user=1000 "$0" up'
    argv = ["unshare", "-m", "sh", "-c", script, str(WEIR)]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False), home


def test_a_fuse_device_that_may_not_be_opened_is_named_with_the_line_that_mends_it(short_path):
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(short_path / "closed"))
        ran, home = up_without(short_path, f"mount --bind {short_path / 'closed'} /dev/fuse")
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "sudo chmod 666 /dev/fuse" in ran.stderr
    assert not (home / "run").exists()


def test_a_user_without_fusermount_is_told_what_to_install(short_path):
    (short_path / "bin").mkdir()
    ran, home = up_without(short_path, f"U=$(command -v unshare); export PATH={short_path / 'bin'}; /bin/ln -s $U $PATH")
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "sudo apt-get install -y fuse3" in ran.stderr
    assert not (home / "run").exists()
