"""The canonical form of a shell text, and the marks by which values carry what is not known about them.

A value is a str. UNKNOWN stands for text that only the run would show, NUMBER for digits of it, NETWORK for bytes
that came from another machine, SECRET for bytes of a credential, FOREIGN for what nobody could read where it lay: bytes
that came out of an archive or a cipher, or from outside the project. BELOW stands for the rest of a path that a listing
gave: behind the folder that it was asked for, without `..`. Input that holds one of these is refused at once.
"""

from typing import Final, NamedTuple

UNKNOWN: Final = "\ue000"
NETWORK: Final = "\ue001"
SECRET: Final = "\ue002"
FOREIGN: Final = "\ue003"
NUMBER: Final = "\ue004"
BELOW: Final = "\ue005"
MARKS: Final = (UNKNOWN, NETWORK, SECRET, FOREIGN, NUMBER, BELOW)
SHOWN: Final = str.maketrans(
    {UNKNOWN: "<?>", NUMBER: "<number>", NETWORK: "<net>", SECRET: "<secret>", FOREIGN: "<foreign>", BELOW: "<?>"}
)


class Touch(NamedTuple):
    """A path that a command reads, writes, deletes or sends; `where` are its classes (places.classify)."""

    access: str
    path: str
    where: tuple[str, ...]


class Command(NamedTuple):
    """One simple command. `program` is words[0] without a standard folder; `span` counts characters of the source.

    `facts` are what the reading found out beyond words: remote-code, unknown-code, sends-secret, ...
    `unresolved`: at least one word is not known statically.
    """

    program: str
    words: tuple[str, ...]
    wrappers: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)
    facts: frozenset[str] = frozenset()
    touches: tuple[Touch, ...] = ()
    unresolved: bool = False


class Form(NamedTuple):
    """All commands of a text in reading order; `doubts` say why the text as a whole is not understood."""

    commands: tuple[Command, ...] = ()
    doubts: tuple[str, ...] = ()


ANY: Final = BELOW + "*"
"""In a listed path: any name, as a shell's glob says it. In code it is as unknown as any mark: a name may be code."""


def as_glob(path: str) -> str:
    """Return a path with what a listing named as a plain glob: that much of it is known."""
    return path if path.isascii() else path.replace(ANY, "*")


def marks_of(value: str) -> str:
    """Return the marks that `value` carries, each once."""
    return "".join([mark for mark in MARKS if mark in value]) if not value.isascii() else ""


def unknown(*sources: str) -> str:
    """Return an unknown value that carries the marks of its sources; it may be anything, so no path below a folder."""
    return marks_of(UNKNOWN + "".join(sources)).replace(BELOW, "")
