"""Steps between which another thread may run, while thousands of rules are loaded.

Compiled code (docs/adr/0005-judging-as-c.md) keeps the interpreter until it is through; a generator that is not
compiled looks at each of its steps whether another thread waits for it. So
this module must stay out of what is compiled.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def paced(items: Iterable[T]) -> Iterator[T]:
    """Return the same items."""
    for item in items:  # noqa: UP028  # `yield from` would not look
        yield item
