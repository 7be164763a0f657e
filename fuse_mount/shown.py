"""What the kernel is shown of a file that another mount has just changed: the version before, until it is forgotten.

The kernel keeps a size and pages apart, and joins them by itself: bytes of one version under the size of another are
what nobody wrote (a longer size shows zeros, a shorter one cuts). What it asked for before a notification it does not
take as the size, whatever the answer. **So size, times and bytes change together, and only when the kernel holds
nothing of the version before and nobody is reading**:
- from the fold on, look-up, getattr and read still answer with the version before, attributes for no time at all, and
  an `open` waits;
- when the last handle is closed, or after 20 ms (of the change, or of the last read that waited for its content, 5 s at
  most), the kernel is told to forget the inode; that waits for every page that a read of it has locked;
- if no read was answered meanwhile (its page may have come after the notification had passed), the newest version is
  shown, and `open` goes on; else the kernel is told again, three times at most.

An own change of the file ends this at once: it is made to the newest version. `before` is changed with llfuse.lock
held.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from app.core.tree import Node

TRIES: Final = 3
CLOSE_S: Final = 0.02
COLD_S: Final = 5.0
OPEN_S: Final = 0.1
OPENS_MAX: Final = 8
LONGEST_S: Final = 0.25


class Before:
    """The node as it was, since when another one is there, how many changes there were since and whether one was of the
    content, how many reads were answered from it meanwhile, and how many times the kernel was told.
    """

    __slots__ = ("answers", "changes", "contents", "node", "since_s", "tries", "waited_s")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.since_s = self.waited_s = time.monotonic()
        self.changes = 0
        self.contents = False
        self.answers = 0
        self.tries = 0


class Mark(NamedTuple):
    """How far an inode was when a notification began that takes its attributes, and unless `attributes_only` pages."""

    inode: int
    before: Before
    answers: int
    changes: int
    attributes_only: bool


class Shown:
    """By inode, what is shown though it is not the newest. `handles`: how many are open; `page_waits`: how many
    handlers wait while the kernel keeps pages locked for them; `opens`: how many wait here. `closed` is called when the
    last handle of one of them is closed, and when what a notification of one would have waited for is over.
    """

    def __init__(self, handles: Mapping[int, int]) -> None:
        self.before: dict[int, Before] = {}
        self.handles = handles
        self.page_waits: Counter[int] = Counter()
        self.opens = 0
        self.closed: Callable[[], None] = lambda: None
        self._newest = threading.Condition(threading.Lock())

    def keep(self, inode: int, node: Node, *, contents: bool) -> None:
        """Go on showing `node`, unless something older is shown still."""
        before = self.before.get(inode)
        if before is None:
            before = self.before[inode] = Before(node)
        before.changes += 1
        before.contents = before.contents or contents

    def drop(self, inode: int) -> None:
        """Show the newest version from now on."""
        if self.before.pop(inode, None) is not None and self.opens:
            with self._newest:
                self._newest.notify_all()

    def clear(self) -> None:
        """Show the newest version of everything."""
        for inode in list(self.before):
            self.drop(inode)

    def released(self, inode: int) -> None:
        """A handle was closed."""
        if inode in self.before and not self.handles.get(inode):
            self.closed()

    def waited(self, inode: int) -> None:
        """The last handler that waited while the kernel kept pages locked goes on: who reads gets its answer yet."""
        before = self.before.get(inode)
        if before is not None:
            before.waited_s = time.monotonic()
            self.closed()

    def wait(self, inode: int, timeout_s: float) -> None:
        """Wait until the newest version is shown; llfuse.lock is not held."""
        with self._newest:
            self.opens += 1
            self._newest.wait_for(lambda: inode not in self.before, timeout_s)
            self.opens -= 1

    def read_until_s(self, inode: int) -> float:
        """Return until when (monotonic) a notification waits for those who read the inode, 0 where nobody does."""
        before = self.before.get(inode)
        if before is None or not self.handles.get(inode):
            return 0.0
        latest_s = before.since_s + COLD_S
        return latest_s if inode in self.page_waits else min(before.waited_s + CLOSE_S, latest_s)

    def marks(self, inodes: Mapping[int, bool] | None) -> list[Mark]:
        """Note, before notifications of these (True: of attributes only; None: of all) are sent, how far they are."""
        chosen = dict.fromkeys(list(self.before), False) if inodes is None else inodes
        found = [(inode, self.before.get(inode), only) for inode, only in chosen.items()]
        return [Mark(inode, one, one.answers, one.changes, only) for inode, one, only in found if one is not None]

    def told(self, marks: Iterable[Mark]) -> list[int]:
        """The kernel has had the notifications: show the newest; return the inodes of which it must be told again."""
        again = []
        for mark in marks:
            before = mark.before
            if self.before.get(mark.inode) is not before:
                continue
            if mark.attributes_only and before.contents:
                again.append(mark.inode)  # its pages must go too: what said so may have gone out before
            elif before.changes == mark.changes or time.monotonic() >= before.since_s + LONGEST_S:
                before.tries += 1
                if before.answers != mark.answers:
                    again.append(mark.inode)
                if before.answers == mark.answers or before.tries == TRIES:
                    self.drop(mark.inode)
        return again
