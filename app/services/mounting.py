"""Further mounts of a project: their names, what is known of them, and the two programs that each of them is.

`run/mounts/<name>.json` holds {"path", "pid"}; pid is 0 where a supervisor runs the mount. A name is an origin:
mounted again under the same name, it goes on with the same folder.
"""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from app.core.errors import RequestInvalid
from app.ports import Program
from app.services.status import MountPlace, mount_places, read_object
from config import mount_options
from config.settings import Settings

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_RESERVED: Final = {"main"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class MountWish(NamedTuple):
    """What `weir mount` was asked for."""

    folder: Path
    name: str
    agent: str = ""
    durability: str = "journal"
    read_only: bool = False
    options: tuple[str, ...] = ()


def checked(settings: Settings, wish: MountWish, kind_of: str) -> MountWish:
    """Return the wish with a name; raises RequestInvalid where it cannot be. `kind_of`: what is mounted there now."""
    _check_words(wish)
    places = mount_places(settings)
    name = wish.name or _free_name(wish.folder.name, places)
    if not _NAME.fullmatch(name) or name in _RESERVED or name.startswith("import-"):
        raise RequestInvalid(f"--name {name!r}: a-z, 0-9, '.', '_', '-', at most 63, and not `main` or `import-...`")
    if kind_of and wish.folder == settings.mount_point:
        raise RequestInvalid(f"{wish.folder} is the main mount, the project is there already: name another folder")
    if kind_of and not kind_of.startswith("fuse"):
        raise RequestInvalid(f"{wish.folder} is a mount point of another kind ({kind_of}): name another folder")
    if kind_of:
        raise RequestInvalid(f"{wish.folder} is a mount point already ({kind_of}): weir umount {wish.folder}")
    for place in places:
        if place.name == name and place.path != str(wish.folder):
            raise RequestInvalid(f"the name {name!r} is taken by {place.path}; give another with --name")
    _check_folder(settings, wish.folder)
    return wish._replace(name=name)


def _check_words(wish: MountWish) -> None:
    if problem := mount_options.problem(wish.options):
        raise RequestInvalid(problem)
    for word in (str(wish.folder), wish.agent):
        if _CONTROL.search(word):
            raise RequestInvalid(f"{word!r} has a control character: choose another folder or name")


def _check_folder(settings: Settings, folder: Path) -> None:
    if folder.is_relative_to(settings.mount_point) or folder.is_relative_to(settings.home):
        raise RequestInvalid(f"{folder} is inside {settings.mount_point} or {settings.home}: choose another")
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise RequestInvalid(f"{folder} cannot be looked at ({error.strerror}); choose another") from error
    if taken:
        raise RequestInvalid(f"{folder} is not an empty folder; choose one that is empty or not there")


def _free_name(wanted: str, places: Sequence[MountPlace]) -> str:
    base = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("-._")[:50] or "mount"
    taken = {place.name for place in places} | _RESERVED
    return next(name for name in (base, *(f"{base}-{n}" for n in range(2, 10_000))) if name not in taken)


def mount_command(wish: MountWish, python: str) -> str:
    """Return the mount's command line for sh; the courier is a program of its own."""
    argv = [python, "-m", "fuse_mount", str(wish.folder), "--mount", wish.name, "--durability", wish.durability]
    argv += ["--agent", wish.agent] if wish.agent else []
    argv += ["--read-only"] if wish.read_only else []
    argv += [part for option in wish.options for part in ("-o", option)]
    return f"exec {shlex.join(argv)}"


def mount_programs(wish: MountWish, python: str) -> list[Program]:
    """Return the courier and the mount as supervised programs; the mount stops first."""
    courier = f"exec {shlex.join([python, '-m', 'app.entry.courier', '--mount', wish.name])}"
    return [
        Program(f"courier-{wish.name}", courier),
        Program(f"mount-{wish.name}", f"{mount_command(wish, python)} --external-courier"),
    ]


def remember(settings: Settings, wish: MountWish, pid: int = 0) -> None:
    """Write down a mount for `weir status` and `weir umount`."""
    folder = settings.run / "mounts"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / f"{wish.name}.json").write_text(json.dumps({"path": str(wish.folder), "pid": pid}))


def courier_pid(settings: Settings, name: str) -> int:
    """Return the process that last said it was a mount's courier; 0 where none has."""
    return int(read_object(settings.mounts / name / "courier.json").get("pid", 0))


def forget(settings: Settings, name: str) -> None:
    """Forget a mount; its journal and origin stay."""
    (settings.run / "mounts" / f"{name}.json").unlink(missing_ok=True)


def known_mount(settings: Settings, folder: Path) -> MountPlace:
    """Return the mount at a folder; raises RequestInvalid naming those there are."""
    places = mount_places(settings)
    for place in places:
        if place.path == str(folder):
            return place
    others = ", ".join(place.path for place in places if place.name != "main")
    raise RequestInvalid(f"{folder} is no mount of this project; there are: {others or 'none besides the main one'}")
