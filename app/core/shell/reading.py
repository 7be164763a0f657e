"""The state of one reading: commands found so far, doubts, and the budget that bounds it.

A Frame is one place of execution: its scope, its text, its standard input and the wrappers around it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tree_sitter import Node

from app.core.shell.form import Command
from app.core.shell.scope import Scope
from app.core.shell.syntax import Parsed, parse_inner

if TYPE_CHECKING:
    from app.core.shell.stored import Scripts

STEPS_MAX: Final = 1200
"""The whole budget of one reading: 430 plain commands, which are 2,000 nodes, take 861. A step costs 3 to 8 us of
compiled code, and what it finds as much again where rules are asked, so that no text within the bounds takes 20 ms.
"""
STEP_BYTES: Final = 32
VALUE_STEP: Final = 128
"""Characters of a value, or of a command's words, that cost as much as a step does."""
STEP_ITEMS: Final = 4
DEPTH_MAX: Final = 24
NODE_DEPTH_MAX: Final = 80
VALUE_MAX: Final = 64 * 1024


class Frame(NamedTuple):
    """`stdin` None is the caller's own, empty input; `base` is the span in the outermost text, inside an inner one."""

    scope: Scope
    source: bytes
    bodies: tuple[str, ...] = ()
    stdin: str | None = None
    wrappers: tuple[str, ...] = ()
    base: tuple[int, int] | None = None
    depth: int = 0
    calls: tuple[str, ...] = ()
    looped: bool = False
    piped: bool = False
    extra: tuple[Node, ...] = ()

    def text(self, node: Node) -> str:
        """Return the source text of a node."""
        return self.source[node.start_byte : node.end_byte].decode()

    def span(self, node: Node) -> tuple[int, int]:
        """Return where a node stands in the outermost text."""
        return self.base or (node.start_byte, node.end_byte)


class Reading:
    """Collects; the functions that walk are given, so that words, launchers and statements can call each other."""

    __slots__ = (
        "_trees",
        "commands",
        "depth",
        "doubts",
        "judged",
        "run_node",
        "run_text",
        "run_words",
        "scripts",
        "steps",
        "substituted",
        "traps",
    )

    def __init__(
        self,
        run_node: "Callable[[Reading, Node, Frame], str]",
        run_text: "Callable[[Reading, str, Frame], str]",
        run_words: "Callable[[Reading, list[str], Frame, tuple[int, int]], str]",
        scripts: "Scripts | None" = None,
    ) -> None:
        self.commands: list[Command] = []
        self.doubts: list[str] = []
        self.judged: set[tuple[str, str]] = set()
        self.steps = 0
        self.depth = 0
        self.substituted = 0
        self.traps: list[tuple[str, Frame, Scope]] = []
        self._trees: dict[str, Parsed] = {}
        self.run_node = run_node
        self.run_text = run_text
        self.run_words = run_words
        self.scripts = scripts

    def doubt(self, reason: str) -> None:
        """Note that the text as a whole is not understood."""
        if reason not in self.doubts:
            self.doubts.append(reason)

    def spent(self) -> bool:
        """Count a step; True when the budget is gone, which is a doubt."""
        self.steps += 1
        if self.steps > STEPS_MAX:
            self.doubt("too-complex")
        return self.steps > STEPS_MAX

    def parsed(self, text: str) -> Parsed:
        """Parse an inner text, once however often it is read; parsing counts as steps by the length of the text, two
        a byte where it has errors: looking for what was meant takes up to 35 us a byte.
        """
        tree = self._trees.get(text)
        if tree is None:
            self.weigh_text(text)
            tree = self._trees[text] = parse_inner(text)
            if tree.doubt:
                self.steps += 2 * len(text)
        return tree

    def weigh(self, items: int) -> None:
        """Count what one step does for many items as several steps."""
        self.steps += items // STEP_ITEMS

    def weigh_text(self, text: str) -> None:
        """Count what is read through from end to end as steps by its length."""
        self.steps += len(text) // STEP_BYTES

    def weigh_value(self, text: str) -> None:
        """Count what is copied, split and compared as steps by its length."""
        self.steps += len(text) // VALUE_STEP

    def emit(self, command: Command) -> None:
        """Keep a command, once; long words are long to judge."""
        self.steps += sum([len(word) for word in command.words]) // VALUE_STEP
        if not self.commands or self.commands[-1] != command:
            self.commands.append(command)
