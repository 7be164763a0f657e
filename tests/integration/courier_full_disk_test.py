"""A journal on a disk that is full: the call fails, what returned before it is whole, and it goes on when there is room."""

import importlib.util
import subprocess
import sys
from pathlib import Path


def test_a_full_disk_fails_the_call_and_leaves_whole_records_only(tmp_path):
    there = Path(__file__).resolve().parents[1] / "unit" / "journal_files_test.py"
    spec = importlib.util.spec_from_file_location("journal_files", there)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    script = module.full_disk(
        tmp_path,
        f"import os; open({str(tmp_path / 'ballast')!r}, 'wb').write(b'x' * 50_000)",
        f"os.unlink({str(tmp_path / 'ballast')!r})",
    )
    shell = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell, sys.executable, script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "whole\n", done.stderr
