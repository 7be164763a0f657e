"""Where everything is: environment first, then defaults; imports nothing of ours but its neighbours.

WEIR_HOME (default ./.weir), REDIS_URL, DATABASE_URL, WEIR_WRITER_URL and WEIR_* override; what is not
given is derived from WEIR_HOME, so that two clones on one machine never meet.
"""

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from config.mounted import mount_above

SOCKET_PATH_MAX: Final = 100
ADMIN_POLICIES: Final = Path("/etc/weir/policies")
ROOT: Final = Path(__file__).resolve().parent.parent


class HomeUnusable(Exception):
    """The project's folder cannot be what it must be; the message has the remedy."""


@dataclass(frozen=True)
class Settings:
    """One project's places. Paths are absolute; URLs are complete; `*_url` of servers that Weir starts
    point at Unix sockets in `sockets`.
    """

    home: Path
    sockets: Path
    project: str
    redis_url: str
    redis_given: bool
    reader_url: str
    database_given: bool
    gateway_socket: Path
    gateway_port: int
    flower_port: int
    policies: Path
    mount_point: Path
    validate_workers: int
    deadline_ms: int
    escalation_s: int

    @property
    def mounts(self) -> Path:
        """Folder with one folder a mount: journal, chunk cache, streams."""
        return self.home / "mounts"

    @property
    def spool(self) -> Path:
        """Folder of the gateway's decision spool."""
        return self.home / "spool"

    @property
    def run(self) -> Path:
        """Folder of pid files, ports and supervisor state."""
        return self.home / "run"

    @property
    def secrets(self) -> Path:
        """Folder (0700) of generated passwords."""
        return self.home / "secrets"

    @property
    def logs(self) -> Path:
        """Folder of process logs."""
        return self.home / "logs"

    @property
    def key_prefix(self) -> str:
        """Prefix of every Redis key and channel of this project."""
        return f"weir:{self.project}:"


def load(environ: dict[str, str] | None = None) -> Settings:
    """Return the settings of the project in WEIR_HOME; creates its folders and its project id once."""
    env = dict(os.environ) if environ is None else environ
    here = _project_folder(env)
    home = Path(env.get("WEIR_HOME") or here / ".weir").resolve()
    _make_private(home)
    sockets = socket_folder(home, env)
    redis_url = env.get("REDIS_URL", "")
    database_url = env.get("DATABASE_URL", "")
    return Settings(
        home=home,
        sockets=sockets,
        project=env.get("WEIR_PROJECT") or _project_id(home),
        redis_url=redis_url or f"unix://{quote(str(sockets))}/redis.sock",
        redis_given=bool(redis_url),
        reader_url=database_url or own_postgres_url("weir_reader", sockets, home / "secrets" / "reader.pgpass"),
        database_given=bool(database_url),
        gateway_socket=(home if len(f"{home}/gateway.sock") <= SOCKET_PATH_MAX else sockets) / "gateway.sock",
        gateway_port=int(env.get("WEIR_GATEWAY_PORT", "8787")),
        flower_port=int(env.get("WEIR_FLOWER_PORT", "5555")),
        policies=policies_folder(env),
        mount_point=mount_place(Path(env.get("WEIR_MOUNT") or (home.parent if home.name == ".weir" else here) / "mnt")),
        validate_workers=int(env.get("WEIR_VALIDATE_WORKERS", "2")),
        deadline_ms=int(env.get("WEIR_DEADLINE_MS", "45")),
        escalation_s=max(int(env.get("WEIR_ESCALATION_S", "300")), 1),
    )


def mount_place(folder: Path) -> Path:
    """Return a folder as the kernel names what is mounted there, by no link: else nobody would find the mount again.
    The last component is not looked at: it may be a mount that hangs.
    """
    whole = Path(os.path.abspath(folder))  # noqa: PTH100  resolve() would look
    return whole.parent.resolve() / whole.name


def _project_folder(env: Mapping[str, str]) -> Path:
    """Return where `.weir` and `mnt` are: here, or beside the mount that this folder is in. A project's own `.weir` is
    never in its mount, and one further above may be anybody's.
    """
    here = Path.cwd()
    mount = mount_above(here)
    if mount is None:
        return here
    if not env.get("WEIR_HOME") and not (mount.parent / ".weir" / "project").is_file():
        raise HomeUnusable(f"{here} is in a mount of Weir, and its project is not beside {mount}: set WEIR_HOME")
    return mount.parent


def _make_private(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set WEIR_HOME, or go to the project's folder"
        raise HomeUnusable(f"{home} cannot be made ({error.strerror}): {remedy}") from error


def policies_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the default rules are; creates nothing."""
    return Path(environ.get("WEIR_POLICIES") or ROOT / "config" / "policies")


def admin_policies(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return where the administrator's rules are. A variable adds a place and takes none away: it may be an agent's."""
    given = environ.get("WEIR_ADMIN_POLICIES", "")
    return [ADMIN_POLICIES, *([Path(given)] if given else [])]


def writer_url(settings: Settings) -> str:
    """Return the URL of the writing role. Called by worker processes and migrations only."""
    given = os.environ.get("WEIR_WRITER_URL", "")
    return given or own_postgres_url("weir_writer", settings.sockets, settings.secrets / "writer.pgpass")


def own_postgres_url(role: str, sockets: Path, passfile: Path, database: str = "weir") -> str:
    """Return the URL of `role` on the Postgres that Weir starts. Quoted: a folder may have blanks, `&` or `%` in it."""
    where = urlencode({"host": sockets, "passfile": passfile}, quote_via=quote)
    return f"postgresql://{role}@/{database}?{where}"


def socket_folder(home: Path, env: dict[str, str]) -> Path:
    """Return where sockets live: WEIR_HOME/sockets, or a 0700 folder elsewhere if that path is too long."""
    inside = home / "sockets"
    if len(str(inside)) + len("/.s.PGSQL.5432") <= SOCKET_PATH_MAX:
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside
    base = Path(env.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = base / f"weir-{os.getuid()}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise HomeUnusable(f"{folder} is not a private folder of this user; remove it or set XDG_RUNTIME_DIR")
    return folder


def _project_id(home: Path) -> str:
    path = home / "project"
    if not path.exists():
        fresh = path.with_name(f"project.{os.getpid()}")
        fresh.write_text(uuid.uuid4().hex)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text().strip()
