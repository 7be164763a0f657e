"""Compile what judges and the gateway's part (config/compiled.py) to C; nothing where that was done for these sources.

A build is made aside and put in place whole. Builds of other sources that nobody can find any more go.
"""

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from config.compiled import ANSWERING, BUILDS, JUDGING, ROOT, Part, folder

KEPT = 2


def main() -> int:
    """Build what need be; 1 where it cannot be built."""
    return max(built(part) for part in (JUDGING, ANSWERING))


def built(part: Part) -> int:
    if folder(part=part).is_dir():
        return 0
    BUILDS.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # `make down`: what was made aside goes
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = folder(part=part)
        if build.is_dir():
            return 0
        began = time.monotonic()
        what = "that judges: about a minute" if part is JUDGING else "of the gateway: some 20 s"
        print(f"compiling the code {what}, once for each change of it", flush=True)
        with tempfile.TemporaryDirectory(dir=BUILDS, prefix=".making-") as aside:
            whole = Path(aside) / "build"
            compiled_into(whole, Path(aside) / "c", part)
            if folder(part=part) != build:
                print("the sources changed meanwhile: not kept")
                return 1
            whole.rename(build)
        forget_old(part)
        print(f"compiled in {time.monotonic() - began:.0f} s")
    return 0


def compiled_into(build: Path, generated: Path, part: Part) -> None:
    os.chdir(ROOT)
    os.environ["MYPY_CACHE_DIR"] = str(BUILDS / ".types")  # the other one is of other options
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    sources = [f"{name.replace('.', '/')}.py" for name in part.modules]
    extensions = mypycify(sources, opt_level=part.optimised, debug_level="0", target_dir=str(generated))
    command = build_ext(Distribution({"name": "weir-compiled", "ext_modules": extensions}))
    command.build_lib, command.build_temp, command.parallel = str(build), str(generated / "o"), 2
    command.ensure_finalized()
    command.run()


def forget_old(part: Part) -> None:
    length = len(folder(part=part).name)
    builds = [path for path in BUILDS.iterdir() if path.is_dir() and path.name[0] != "." and len(path.name) == length]
    for path in sorted(builds, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
