"""Where the time goes between a close on one mount and the content on another: what Redis was told, and when.

Redis itself writes down each command that it carries out (MONITOR), so nothing is added to what is measured. A version is
looked at where the commands between its close and its first reading are one each: versions that overtook each other, or
went together, say nothing of a stage.
"""

import re
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from redis import Redis, RedisError

from app.adapters.redis.connection import plain_url
from config.settings import Settings

_LINE: Final = re.compile(rb'^\+?([0-9.]+) \[\d+ [^\]]*\] "(\w+)" "([^"]*)"')
_SENT, _TAKEN, _TOLD, _ASKED = "sent", "taken", "told", "content asked of Redis"
STAGES: Final = (
    ("the courier sends (journal, waking, composing)", "began", _SENT),
    ("a store worker takes it (broker)", _SENT, _TAKEN),
    ("it is in Postgres and told (worker's process, transaction)", _TAKEN, _TOLD),
    ("another mount has folded it (pub/sub, fold, kernel told; the reader's rest)", _TOLD, "opened"),
    ("the content is read (open, fetch where it did not come along)", "opened", "seen"),
    ("all, from the begin of the close", "began", "seen"),
)


class Command(NamedTuple):
    """What happened, and when (monotonic)."""

    at_ns: int
    kind: str


class Moments(NamedTuple):
    """Of one version: the close began, the open that showed it began, its content was there."""

    began_ns: int
    opened_ns: int
    seen_ns: int


class Overheard:
    """Everything that Redis is told by the ring while this is open."""

    def __init__(self, settings: Settings) -> None:
        self.commands: list[Command] = []
        self._client = Redis.from_url(plain_url(settings.redis_url), socket_timeout=None, protocol=2)
        self._prefix = settings.key_prefix.encode()
        self._ahead_ns = time.time_ns() - time.monotonic_ns()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._connection = self._client.connection_pool.get_connection()
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        time.sleep(0.1)
        self._connection.disconnect()
        self._client.close()

    def _listen(self) -> None:
        while True:
            try:
                line = self._connection.read_response(disable_decoding=True)
            except (RedisError, OSError, ValueError, AttributeError):
                return
            found = _LINE.match(line)
            kind = self._kind(found[2].upper(), found[3]) if found else ""
            if found and kind:
                self.commands.append(Command(int(float(found[1]) * 1e6) * 1000 - self._ahead_ns, kind))

    def _kind(self, verb: bytes, key: bytes) -> str:
        match verb:
            case b"LPUSH" if key.endswith(b"files"):
                return _SENT
            case b"BRPOP" if key.endswith(b"files"):  # for the next one
                return _TAKEN
            case b"PUBLISH" if key == self._prefix + b"feed:files":
                return _TOLD
            case b"MGET" if key.startswith(self._prefix + b"chunk:"):
                return _ASKED
        return ""


def print_stages(commands: Sequence[Command], versions: Sequence[Moments]) -> None:
    """Print each stage's p50, p90 and p99 in ms, of those versions that stand alone."""
    alone = [found for one in versions if (found := _stood_alone(commands, one))]
    print(f"{len(alone)} of {len(versions)} versions stand alone; their content was asked of Redis for {sum(_ASKED in one for one in alone)}")
    for name, start, end in STAGES if alone else ():
        took = sorted((one[end] - one[start]) / 1e6 for one in alone)
        p50, p90, p99 = (took[int(len(took) * share)] for share in (0.5, 0.9, 0.99))
        print(f"{name:78} {p50:8.2f} {p90:8.2f} {p99:8.2f} ms")


def _stood_alone(commands: Sequence[Command], one: Moments) -> dict[str, int] | None:
    found = {"began": one.began_ns, "opened": one.opened_ns, "seen": one.seen_ns}
    first = bisect_left(commands, one.began_ns, key=lambda command: command.at_ns)
    last = bisect_right(commands, one.seen_ns, key=lambda command: command.at_ns)
    for command in commands[first:last]:
        if command.kind in found and command.kind != _TAKEN:
            return None
        found.setdefault(command.kind, command.at_ns)
    return found if {_SENT, _TAKEN, _TOLD} <= found.keys() else None
