"""Which rules guard the project's paths against file operations: one look for most paths, whatever the rules are.

A rule that says `on: [write]` guards what its `touch.path` matches; one that approves guards nothing. Mount and store
worker ask the same functions: the mount before it journals, the store before it folds, and the store's word stands.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from app.core.decisions import Verdict
from app.core.nodes import Node, is_directory
from app.core.policy.glob import compiled_bytes, path_expression, path_stem
from app.core.policy.match import Rule

INSIDE_MAX: Final = 100_000
"""How many names a directory may hold for its move to be looked into: 0.3 s of the mount's lock; more is refused."""
_ANY: Final = frozenset(("write", "delete", "change"))
_WRITE: Final = frozenset(("write",))
_CHANGE: Final = frozenset(("change",))
_DELETE: Final = frozenset(("delete",))
ACCESSES: Final = {
    "read": frozenset[str](),
    "create": _WRITE,
    "mkdir": _WRITE,
    "mknod": _WRITE,
    "symlink": _WRITE,
    "write": _WRITE,
    "truncate": _WRITE,
    "setattr": _CHANGE,
    "setxattr": _CHANGE,
    "removexattr": _CHANGE,
    "unlink": _DELETE,
    "rmdir": _DELETE,
}
"""Event kinds as the accesses of a rule's `touch`; link and rename, and what is not known, are all of them."""


class Denial(NamedTuple):
    """Why a path may not be touched."""

    verdict: Verdict
    rule: str
    reason: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """Return it in one line, as an event's outcome and a log have it."""
        return f"{self.verdict.value}: {self.reason} [{self.rule}]"


class Listing(Protocol):
    """A tree whose directories can be listed."""

    def node(self, inode: int) -> Node | None:
        """See TreeState."""

    def entries(self, directory: int) -> list[tuple[bytes, int]]:
        """Return (name, inode) of a directory."""


class PathGuards:
    """Immutable. `stems`: what every path that an anchored pattern matches begins with."""

    __slots__ = ("guards", "loose", "stems")

    def __init__(self, rules: Iterable[Rule] = (), before: "PathGuards | None" = None) -> None:
        guarding = [rule for rule in rules if rule.on_write and rule.verdict is not Verdict.APPROVE]
        guarding.sort(key=lambda rule: rule.verdict is not Verdict.BLOCK)
        self.guards: list[tuple[Rule, Expression]]
        self.stems: tuple[bytes, ...]
        self.loose: Expression | None
        if before is not None and [id(rule) for rule in guarding] == [id(rule) for rule, _ in before.guards]:
            self.guards, self.stems, self.loose = before.guards, before.stems, before.loose
            return
        self.guards = [(rule, _expression(rule.on_write)) for rule in guarding]
        stems = {pattern: path_stem(pattern) for rule in guarding for pattern in rule.on_write}
        self.stems = tuple({stem.encode() for stem in stems.values() if stem})
        loose = tuple(pattern for pattern, stem in stems.items() if not stem)
        self.loose = _expression(loose) if loose else None

    def refusal(self, operation: str, path: bytes) -> Denial | None:
        """Return why an operation (an event kind) on a project path (no leading slash) is refused, or None."""
        if path.startswith(self.stems) or (self.loose is not None and self.loose.fullmatch(path)):
            return self._closer(ACCESSES.get(operation, _ANY), path)
        return None

    def _closer(self, accesses: frozenset[str], path: bytes) -> Denial | None:
        for rule, expression in self.guards:
            if (not rule.accesses or rule.accesses & accesses) and accesses and expression.fullmatch(path):
                return Denial(rule.verdict, rule.id, rule.reason, rule.remedy)
        return None

    def reaches_into(self, directory: bytes) -> bool:
        """Tell whether a rule could match anything below a directory; True may be wrong, False is not."""
        inside = directory + b"/"
        return self.loose is not None or any(stem.startswith(inside) or inside.startswith(stem) for stem in self.stems)

    def refusal_of_move(self, old: bytes, new: bytes, inside: Iterable[bytes] | None) -> Denial | None:
        """Return why a directory may not move, by what is `inside` it (each below it, with a leading slash); None there
        is more than is looked at.
        """
        if inside is None:
            return Denial(
                Verdict.BLOCK,
                "directory-too-large",
                f"This directory holds more than {INSIDE_MAX} names and a rule may guard one of them.",
                "Move it in parts.",
            )
        for below in inside:
            denial = self.refusal("rename", old + below) or self.refusal("rename", new + below)
            if denial is not None:
                return denial
        return None


def is_policy(reason: str) -> bool:
    """Tell whether a rejection's reason is a rule's (see Denial.text)."""
    return reason == "policy" or reason.startswith(("block: ", "escalate: "))


def names_inside(tree: Listing, directory: int, most: int = INSIDE_MAX) -> list[bytes] | None:
    """Return the path of each name below a directory, with a leading slash; None where there are more than `most`."""
    found: list[bytes] = []
    waiting = [(directory, b"")]
    while waiting:
        inode, above = waiting.pop()
        for name, child in tree.entries(inode):
            found.append(above + b"/" + name)
            if is_directory(tree.node(child)):
                waiting.append((child, found[-1]))
        if len(found) > most:
            return None
    return found


def _expression(patterns: tuple[str, ...]) -> "Expression":
    found: Expression = compiled_bytes(tuple([path_expression(pattern) for pattern in patterns]))
    return found


class Expression(Protocol):
    """A compiled RE2 over bytes."""

    def fullmatch(self, text: bytes) -> object:
        """Return a match of the whole text, or None."""
