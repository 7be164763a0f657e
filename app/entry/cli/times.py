"""Times as people give them: 2026-11-23, 2026-11-23T20:15, or an age: 90s, 15m, 2h, 3d."""

import datetime as dt
import re
import time
from typing import Final

from app.core.errors import RequestInvalid

_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_time_ns(text: str, name: str) -> int:
    """Return nanoseconds since the epoch, 0 for ''; raises RequestInvalid naming the option. Local time if no zone."""
    if not text:
        return 0
    age = re.fullmatch(r"(\d+)([smhdw])", text)
    if age:
        return time.time_ns() - int(age[1]) * _UNIT_S[age[2]] * 1_000_000_000
    try:
        return int(dt.datetime.fromisoformat(text).astimezone().timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError) as error:
        raise RequestInvalid(f"{name} {text!r} is no time: 2026-11-23T20:15, or an age like 15m, 2h, 3d") from error


def plain(text: str) -> str:
    """Return text that cannot steer a terminal or look like a line of its own: agents choose their names."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
