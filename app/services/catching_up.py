"""Waits until the store has what programs wrote through this machine's mounts, for who reads the store next."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from app.core.errors import StoreUnavailable
from app.services.status import read_within

_ANSWER_S: Final = 2.0
_LOOK_S: Final = 0.05


class _Place(NamedTuple):
    incarnation: int
    sequence: int
    acked: int


def wait_for_mounts(
    mounts: Sequence[Path], wait_s: float, tell: Callable[[int, int], None] = lambda _stored, _of: None
) -> None:
    """Return once the store has all events that the mounts had when this was called; those that come later are not
    waited for. `tell(stored, of)`. Raises StoreUnavailable, naming the mount, after `wait_s`; a mount that does not
    answer is not waited for: `weir status` tells of it.
    """
    until = time.monotonic() + wait_s
    for mount in mounts:
        asked = _position(mount)
        if asked is not None:
            _wait_for(mount, asked, until, tell)


def _wait_for(mount: Path, asked: _Place, until: float, tell: Callable[[int, int], None]) -> None:
    now: _Place | None = asked
    while now is not None and now.incarnation == asked.incarnation and now.acked < asked.sequence:
        if time.monotonic() > until:
            raise StoreUnavailable(
                f"the store lacks {asked.sequence - now.acked} events that were written to {mount}; see `weir status`,"
                " or take what it has with --wait 0"
            )
        tell(now.acked - asked.acked, asked.sequence - asked.acked)
        time.sleep(_LOOK_S)
        now = _position(mount)


def _position(mount: Path) -> _Place | None:
    said = read_within(mount / "debug" / "position", _ANSWER_S)
    try:
        shown = json.loads(said or b"")
        return _Place(int(shown["incarnation"]), int(shown["sequence"]), int(shown["acked"]))
    except (ValueError, KeyError):
        return None
