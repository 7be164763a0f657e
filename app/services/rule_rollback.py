"""Putting the user's rules back as they were in a version that is kept: tried with all other rules first, then at once.

Other tiers stay as they are: the default pack comes with the program, the project's own file with the project, the
administrator's from the administrator. So the version that results is another one where those have changed since.
"""

from collections.abc import Sequence

import msgspec

from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.policy import RuleFile, compile_policy
from app.core.policy.source import Tier
from app.ports import RuleBook


class RolledBack(msgspec.Struct, frozen=True):
    """`version`: whose files of the user's are in place now; `before`, `now`: the versions in force ('' for none)."""

    version: str
    before: str
    now: str
    files: tuple[str, ...]


def roll_back(book: RuleBook, beginning: str) -> RolledBack:
    """Put back the kept version that begins so, by default the last whose user's files are not those of now; raises
    RequestInvalid, PolicyInvalid or SetupError with nothing changed.
    """
    version, contents = _wanted(book, beginning)
    policy = compile_policy(files := book.replaced(Tier.USER, contents))
    before = _keep_now(book)
    book.put_back(contents)
    book.keep(files)
    return RolledBack(version, before, policy.version, tuple(sorted(contents)))


def _wanted(book: RuleBook, beginning: str) -> tuple[str, dict[str, bytes]]:
    now = book.contents(Tier.USER)
    if beginning:
        contents = _users(book.version(beginning))
        if contents == now:
            raise RequestInvalid(f"the user's files of {beginning} are those of now: nothing to put back")
        return next((one.version for one in book.kept() if one.version.startswith(beginning)), beginning), contents
    for kept in book.kept():
        contents = _users(book.version(kept.version))
        if contents != now:
            return kept.version, contents
    raise RequestInvalid("no kept version has other files of the user's: `weir policy show` lists what is kept")


def _users(files: Sequence[RuleFile]) -> dict[str, bytes]:
    return {file.name: file.content for file in files if file.tier is Tier.USER}


def _keep_now(book: RuleBook) -> str:
    try:
        files = book.now()
        version = compile_policy(files).version
    except PolicyInvalid:
        return ""  # what does not load was never in force
    return book.keep(files) and version
