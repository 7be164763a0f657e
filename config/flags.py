"""Flags as a plain dict, read once by each process at its start; imports nothing of ours."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("flags.toml")
_WORDS: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def load_flags(environ: Mapping[str, str] = os.environ, file: Path = FILE) -> dict[str, bool]:
    """Return every flag; raises ValueError for a value that is no boolean and for a name that does not exist."""
    flags = tomllib.loads(file.read_text())["flags"]
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{file.name}: {name} must be true or false")  # noqa: TRY004  a value of a file, not a type
    return {**flags, **_overrides(environ.get("WEIR_FLAGS", ""), flags)}


def _overrides(text: str, known: Mapping[str, bool]) -> dict[str, bool]:
    chosen = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, word = part.partition("=")
        if name not in known or word.lower() not in _WORDS:
            raise ValueError(f"WEIR_FLAGS: {part!r} is not one of {', '.join(known)} with =on or =off")
        chosen[name] = _WORDS[word.lower()]
    return chosen
