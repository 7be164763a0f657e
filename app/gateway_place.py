"""Which gateway a program believes: the one of the project it is pinned to, never of the folder it happens to stand in.

An agent writes folders and chooses where it stands. A `.weir` that it planted, with a listener of its own behind it,
would approve whatever it asks. So a hook and a client are told the project (`--home`, WEIR_HOME), or ask the one in
the folder that Weir is installed in; only a person's own look at rule files searches from the current folder upwards.
Standard library only; nothing is created.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.gateway_socket import GatewayUnreachable

INSTALLED: Final = Path(__file__).resolve().parents[1] / ".weir"
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def find_home(environ: Mapping[str, str], start: Path) -> Path | None:
    """Return the WEIR_HOME that is named, or the nearest `.weir` at or above `start`: for a person's eyes."""
    if environ.get("WEIR_HOME"):
        return Path(environ["WEIR_HOME"])
    return _nearest(start)


def pinned_home(environ: Mapping[str, str] = os.environ, home: str = "", installed: Path = INSTALLED) -> Path:
    """Return the project that decides: `home`, WEIR_HOME, or the installation's; raises GatewayUnreachable."""
    named = home or environ.get("WEIR_HOME", "")
    if named:
        if not named.startswith("/"):
            raise GatewayUnreachable(
                f"the project is named as {named!r}, which is another one in every folder; name it by its whole path"
            )
        return Path(named)
    if (installed / "run").is_dir():
        return installed
    raise GatewayUnreachable(_nothing_named())


def find_socket(environ: Mapping[str, str] = os.environ, home: str = "", installed: Path = INSTALLED) -> str:
    """Return the path of that project's socket; raises GatewayUnreachable, also where others may write there."""
    place = pinned_home(environ, home, installed)
    try:
        for folder in (place, place / "run"):
            _check_ours(folder)
        return str(json.loads((place / "run" / "gateway.json").read_bytes())["socket"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GatewayUnreachable(f"no gateway runs for {place}; start it with `weir up`") from error


def _check_ours(folder: Path) -> None:
    about, me = folder.stat(), os.geteuid()
    if about.st_mode & _OTHERS:
        raise GatewayUnreachable(f"others may write in {folder}, and so answer for Weir; chmod 700 {folder}")
    if about.st_uid not in {0, me} and me != 0:
        raise GatewayUnreachable(f"{folder} belongs to user {about.st_uid}, who could answer for Weir; name your own")


def _nothing_named() -> str:
    remedy = "name it by --home or WEIR_HOME, the whole path of its .weir folder; `weir up` makes one"
    try:
        found = _nearest(Path.cwd())
    except OSError:
        found = None
    if found is None:
        return f"no Weir project is named; {remedy}"
    return f"no Weir project is named, and {found} is not believed for lying there: anybody can make one; {remedy}"


def _nearest(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / ".weir" / "run").is_dir():
            return folder / ".weir"
    return None
