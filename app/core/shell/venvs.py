"""Virtual environments made anew: `--clear` deletes all that lies in their folder."""

import re
from typing import Final

from app.core.shell.form import Touch
from app.core.shell.operands import touch
from app.core.shell.reading import Frame

MODULES: Final = frozenset(("venv", "virtualenv"))
_CLEARS: Final = re.compile(r"--cl(?:e(?:ar?)?)?|-[a-z]*c[a-z]*")
_VALUED_TEXT: Final = """
-p --python --prompt --index --index-url --default-index --find-links -f -i --link-mode --app-data --creators --seeder
--activators --pip --setuptools --wheel --exclude-newer
"""
_VALUED: Final = frozenset(_VALUED_TEXT.split())
_OWN: Final = frozenset((".venv", "venv", "env"))
"""Folders that by their name hold nothing else."""


def cleared(after: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return the folders behind `venv` that are emptied."""
    if not any(_CLEARS.fullmatch(word) for word in after):
        return ()
    found, skip = [], False
    for word in after:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _VALUED
        elif word.rstrip("/").rpartition("/")[2] not in _OWN:
            found.append(touch("delete", word, frame))
    return tuple(found)


def cleared_by_uv(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Return what `uv venv --clear` empties."""
    return cleared(words[words.index("venv") + 1 :], frame) if "venv" in words else ()
