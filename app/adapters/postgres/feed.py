"""Feed messages of what one transaction appended: small enough for pub/sub, header always whole."""

from collections.abc import Iterator, Sequence
from typing import Final

from app.core.messages import FILES, FORMAT, FeedEvent, FeedMessage, OriginRange

MESSAGE_BYTES_MAX: Final = 384 * 1024
_EVENT_BYTES: Final = 120


def feed_messages(
    project: str, incarnation: int, previous: bytes, events: Sequence[FeedEvent]
) -> tuple[FeedMessage, ...]:
    """Return messages for consecutive events of one incarnation; `previous` is the hash before the first."""
    messages = []
    for part, size_bytes in _parts(events):
        first, last = part[0], part[-1]
        span = OriginRange(incarnation, first.sequence, last.sequence, first.position)
        exceptions = tuple(event.position for event in part if event.outcome.kind != "applied")
        carried = tuple(part) if size_bytes <= MESSAGE_BYTES_MAX else ()
        messages.append(
            FeedMessage(
                FORMAT, project, FILES, first.position, last.position, previous, last.hash, (span,), exceptions, carried
            )
        )
        previous = last.hash
    return tuple(messages)


def _parts(events: Sequence[FeedEvent]) -> Iterator[tuple[Sequence[FeedEvent], int]]:
    start, size_bytes = 0, 0
    for index, event in enumerate(events):
        more = len(event.request) + _EVENT_BYTES + 48 * len(event.outcome.chunks)
        if size_bytes and size_bytes + more > MESSAGE_BYTES_MAX:
            yield events[start:index], size_bytes
            start, size_bytes = index, 0
        size_bytes += more
    if events:
        yield events[start:], size_bytes
