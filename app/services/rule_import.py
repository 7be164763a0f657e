"""Bringing in another tool's rules as a file of the user's own: taken whole with all other rules, or not at all."""

from pathlib import Path
from typing import Any, Final

import msgspec

from app.core.errors import RequestInvalid
from app.core.policy import compile_policy
from app.core.policy.claude_rules import claude_entries
from app.core.policy.codex_rules import codex_entries
from app.core.policy.foreign import ABOUT, Entry, Untranslated, file_text, translation
from app.core.policy.source import Tier
from app.ports import RuleBook

BYTES_MAX: Final = 1024 * 1024
_OURS: Final = f'about: "{ABOUT} '.encode()
KINDS: Final = ("claude", "codex")


class Imported(msgspec.Struct, frozen=True):
    """What became of it: `file` is '' where nothing was written."""

    version: str
    file: str
    rules: tuple[dict[str, Any], ...]
    untranslated: tuple[Untranslated, ...]
    text: str


def import_rules(book: RuleBook, kind: str, source: Path, name: str, home: Path, *, writes: bool) -> Imported:
    """Translate `source`, load all rules with the result, then write it as the user's `name`.yaml; the rules before it
    are kept. Raises RequestInvalid, PolicyInvalid, with nothing changed.
    """
    found = translation(_entries(kind, source, home), name)
    content = file_text(found.rules, str(source))
    users = book.contents(Tier.USER)
    if not users.get(f"{name}.yaml", _OURS).startswith(_OURS):
        raise RequestInvalid(f"{name}.yaml is a file of your own; choose another --name")
    if writes and not found.rules and f"{name}.yaml" in users:
        raise RequestInvalid(f"nothing in {source} becomes a rule (--dry-run says why); the earlier import stays")
    files = book.replaced(Tier.USER, users | {f"{name}.yaml": content})
    policy = compile_policy(files)
    if not writes:
        return Imported(policy.version, "", found.rules, found.untranslated, content.decode())
    book.keep(book.now())
    written = book.add(f"{name}.yaml", content)
    book.keep(files)
    return Imported(policy.version, str(written), found.rules, found.untranslated, content.decode())


def _entries(kind: str, source: Path, home: Path) -> list[Entry]:
    try:
        with source.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise RequestInvalid(f"{source} cannot be read: {error.strerror}") from error
    if len(content) > BYTES_MAX:
        raise RequestInvalid(f"{source} is larger than {BYTES_MAX} bytes; it is no rules file")
    if kind == "claude":
        return claude_entries(content, str(source), str(home))
    return codex_entries(content, str(source))
