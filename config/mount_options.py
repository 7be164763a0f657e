"""What `-o` of a mount takes: what the kernel and libfuse make of it, and words of our own. Imports nothing of ours."""

from collections.abc import Iterable
from typing import Final

OWN: Final = {
    "no_xattrs": "no extended attributes: a write asks for none",
    "open_sections": "debug/ and streams/ are readable by everybody who reaches the mount",
}
FLAGS: Final = frozenset(
    {
        *("allow_other", "allow_root", "async", "atime", "dev", "dirsync", "exec", "noatime", "nodev"),
        *("noexec", "nonempty", "nosuid", "ro", "rw", "suid", "sync"),
    }
)
NUMBERS: Final = frozenset({"congestion_threshold", "max_background", "max_read"})


def words(asked: Iterable[str]) -> set[str]:
    """Return the single options of `-o a,b -o c`."""
    return {word for text in asked for word in text.split(",") if word}


def problem(asked: Iterable[str]) -> str:
    """Return why a mount would not take these options; '' where it does."""
    for word in sorted(words(asked)):
        name, _, value = word.partition("=")
        if name in NUMBERS and not value.isdecimal():
            return f"-o {word!r}: {name} takes a number, as in {name}=16"
        if name not in NUMBERS and word not in FLAGS and word not in OWN:
            known = ", ".join([*sorted(FLAGS | set(OWN)), *(f"{number}=N" for number in sorted(NUMBERS))])
            return f"-o {word!r} is no option of a mount; there are: {known}"
    return ""
