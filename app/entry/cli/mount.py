"""`weir mount DIR` and `weir umount DIR`: the same project once more, with its own journal and courier."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from app import bootstrap
from app.core.errors import RequestInvalid, SetupError, WeirError
from app.entry.cli.control import refuse_agents
from app.entry.cli.logs import tail
from app.services import mounting
from app.services.mounting import MountWish
from app.services.status import mount_places
from config import settings as weir_settings
from config.settings import Settings

READY_S: Final = 30.0
DRAIN_S: Final = 40.0
_POLL_S: Final = 0.05
_MOUNT: Final = b"fuse_mount"
_COURIER: Final = b"app.entry.courier"
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Folder = Annotated[Path, typer.Argument(help="An empty folder; made if it is not there.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("mount")(mount)
    app.command("umount")(umount)


def mount(
    folder: Folder,
    *,
    agent: Annotated[str, typer.Option(help="Who its writes are by, where the process does not say.")] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every change.")] = False,
    durability: Annotated[str, typer.Option(help="journal, or store: close and fsync wait for Postgres.")] = "journal",
    options: Annotated[list[str] | None, typer.Option("-o", help="A mount option, such as allow_other.")] = None,
    name: Annotated[str, typer.Option(help="Its name in events and conflicts; else the folder's.")] = "",
    as_json: Json = False,
) -> None:
    """Mount the project at a further folder."""
    refuse_agents("mount")
    if durability not in {"journal", "store"}:
        raise RequestInvalid(f"--durability {durability!r}: journal or store")
    settings = weir_settings.load()
    place = weir_settings.mount_place(folder)
    wish = MountWish(place, name, agent, durability, read_only, tuple(options or ()))
    _clear_dead(settings, place)
    wish = mounting.checked(settings, wish, bootstrap.mount_kind(place))
    with _made(place):
        supervised = _start(settings, wish)
        _wait_mounted(settings, wish)
    if as_json:
        print(json.dumps({"path": str(place), "name": wish.name, "supervised": supervised}))
    else:
        print(f"{place / 'current'} is the project, as {wish.name}; weir umount {folder} ends it")


def _clear_dead(settings: Settings, place: Path) -> None:
    """Unmount what is left of a mount whose process died without it; one that is known may be on its way back."""
    if bootstrap.mount_kind(place).startswith("fuse") and str(place) not in {p.path for p in mount_places(settings)}:
        try:
            place.stat()
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                bootstrap.unmount(place)


@contextlib.contextmanager
def _made(place: Path) -> Iterator[None]:
    """Make a folder; what was made goes again where nothing comes to be mounted on it."""
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "choose a folder that can be made"
        raise RequestInvalid(f"{place} cannot be made ({error.strerror}); {remedy}") from error
    try:
        yield
    except WeirError:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def _start(settings: Settings, wish: MountWish) -> bool:
    """Start courier and mount under the supervisor, or detached where none runs; return which."""
    supervisor = bootstrap.supervisor(settings)
    if supervisor.alive():
        mounting.remember(settings, wish)
        supervisor.add(mounting.mount_programs(wish, sys.executable))
        return True
    with contextlib.closing(bootstrap.file_event_reader(settings)) as store:
        store.head("files")  # where nothing runs, that is said at once; a mount would wait
    settings.logs.mkdir(mode=0o700, exist_ok=True)
    with _log(settings, wish).open("ab") as log:
        argv = ["sh", "-c", mounting.mount_command(wish, sys.executable)]
        # it outlives this command on purpose, and brings its own courier
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    mounting.remember(settings, wish, process.pid)
    return False


def _log(settings: Settings, wish: MountWish) -> Path:
    return settings.logs / f"mount-{wish.name}.log"


def _wait_mounted(settings: Settings, wish: MountWish) -> None:
    give_up = time.monotonic() + READY_S
    while not bootstrap.mount_kind(wish.folder):
        if time.monotonic() > give_up:
            said = "\n".join(tail(_log(settings, wish), 8))
            end_mount(settings, wish.folder)
            raise SetupError(f"{wish.folder} was not mounted within {READY_S:g} s; the mount said:\n{said}")
        time.sleep(_POLL_S)


def umount(folder: Folder, *, as_json: Json = False) -> None:
    """End what `weir mount` mounted. Its writes are shipped first."""
    refuse_agents("umount")
    settings = weir_settings.load()
    place = weir_settings.mount_place(folder)
    end_mount(settings, place)
    print(json.dumps({"path": str(place), "mounted": False}) if as_json else f"{place} is unmounted")


def end_mount(settings: Settings, folder: Path) -> None:
    """Stop a mount and then its courier, each drained, and forget them."""
    known = mounting.known_mount(settings, folder)
    if known.name == "main":
        raise RequestInvalid(f"{folder} is the main mount: `weir down` ends it with everything else")
    supervisor = bootstrap.supervisor(settings)
    if known.pid:
        _end_process(known.pid, _MOUNT)
    elif supervisor.alive():
        for name in (f"mount-{known.name}", f"courier-{known.name}"):
            supervisor.stop([name], DRAIN_S)
            supervisor.remove(name)
    bootstrap.unmount(folder)
    # one whose mount was killed goes on alone, and as long as the store is away
    _end_process(mounting.courier_pid(settings, known.name), _COURIER)
    mounting.forget(settings, known.name)


def _end_process(pid: int, program: bytes) -> None:
    """End a detached program, if the process of that number is one; killed only when it does not drain in time."""
    give_up = time.monotonic() + DRAIN_S
    with contextlib.suppress(OSError):
        if _runs(pid, program):
            os.kill(pid, signal.SIGTERM)
        while _runs(pid, program) and time.monotonic() < give_up:
            time.sleep(_POLL_S)
        if _runs(pid, program):
            os.kill(pid, signal.SIGKILL)


def _runs(pid: int, program: bytes) -> bool:
    return pid > 0 and program in Path(f"/proc/{pid}/cmdline").read_bytes()
