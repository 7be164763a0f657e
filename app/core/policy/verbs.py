"""What the sub-command of a program says that it does: look, change, or neither.

Programs with sub-commands name them alike: `list`, `get-things`, `things:list`, `cluster node show`. A command line
*asks* where nouns lead to a verb that looks, and no word before it changes anything or speaks of credentials. It is
for programs of which nothing else is known, so whatever is doubtful does not ask.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from app.core.shell.names import CODERS, PREFIXES, SHELLS
from app.core.shell.touches import LISTERS, QUIET, READERS, WRITERS

_LOOKS_TEXT: Final = """
list ls lst show status stat stats info describe view inspect version versions help search find log logs tree
history check verify validate diff lint current doctor summary usage whoami whence which where count display
lookup query explain preview graph outdated audit events ps ping about available enum enumerate details detail
download downloads get
"""
LOOKS: Final = frozenset(_LOOKS_TEXT.split())
_CHANGES_TEXT: Final = """
delete del rm rmi remove create add set unset put post push send upload publish deploy run exec execute eval
start stop restart reload kill install uninstall update upgrade downgrade drop destroy apply sync import
export copy cp mv move write edit enable disable reset login logout grant revoke attach detach mount umount
unmount format flash erase wipe restore rollback migrate share call invoke trigger clear purge prune clean new
init connect join leave submit cancel approve merge close open release register unregister rename patch
replace scale shell ssh tunnel use switch fork clone transfer terminate halt suspend resume pause unpause lock
unlock assign bind unbind rotate renew sign encrypt decrypt dump backup load save pull fetch forward proxy
serve watch tail follow modify change configure setup bootstrap provision promote demote drain cordon taint
reboot shutdown boot power alias insert truncate flush vacuum repair rebuild reindex link unlink block unblock
ban allow deny accept reject eject burn dd shred hide mark tag untag label annotate schedule snapshot freeze
thaw cp2 broadcast notify mail
"""
CHANGES: Final = frozenset(_CHANGES_TEXT.split())
_NAMED_ALIKE_TEXT: Final = """
backup backups snapshot release schedule tag label alias lock
"""
NAMED_ALIKE: Final = frozenset(_NAMED_ALIKE_TEXT.split())
"""Words of CHANGES that are also what is listed: `x snapshot list`."""
_SECRETS_TEXT: Final = """
secret secrets token tokens key keys apikey apikeys credential credentials creds password passwords passwd
passphrase auth kv variable variables env envs environment config configs cookie cookies session sessions
certificate certificates cert certs connection connections login otp totp mfa keychain keyring vault identity
passkey passkeys pat
"""
SECRETS: Final = frozenset(_SECRETS_TEXT.split())
_NOUN: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_:.][a-z0-9]+)*\Z")
_PARTS: Final = re.compile(r"[-_:.]")
_ENDS: Final = ("list", "info", "stats", "status")
_NO_LOOK: Final = (
    "blacklist",
    "whitelist",
    "blocklist",
    "denylist",
    "allowlist",
    "greylist",
    "unlist",
    "delist",
    "enlist",
)
_NOUNS_MAX: Final = 4
_PLURAL_MIN: Final = 4
_OTHERS: Final = (
    frozenset(PREFIXES)
    | SHELLS
    | frozenset(CODERS)
    | READERS
    | LISTERS
    | QUIET
    | WRITERS
    | {"git", "uvx", "npx", "bunx", "pnpx", "pipx"}
)
"""Programs without sub-commands, or with rules of their own."""
_TRIES: Final = frozenset(("--dry-run", "--dryrun", "--simulate", "--just-print", "--no-act", "--what-if", "--whatif"))
_NO_PLURAL: Final = ("ss", "us", "is", "os", "kubernetes", "postgres", "windows", "jenkins", "https", "dns", "tls")
NOUN, LOOK, CHANGE, OTHER = range(4)
ASKS: Final = frozenset(("asks",))
TRIES: Final = frozenset(("tries",))
NOTHING: Final = frozenset[str]()


def said_of(program: str, words: Sequence[str], valued: frozenset[str]) -> frozenset[str]:
    """Return the facts `asks` (it only looks) and `tries` (a dry run) of a command line."""
    if program in _OTHERS:
        return NOTHING
    if asks(program, words, valued):
        return ASKS
    ended = words.index("--") if "--" in words else len(words)
    return NOTHING if _TRIES.isdisjoint(words[1:ended]) else TRIES


@lru_cache(maxsize=4096)
def kind_of(word: str) -> int:
    """Tell what one word of a command line is; what changes, or is secret, in any part of it counts first."""
    if _NOUN.match(word) is None:
        return OTHER
    parts = _PARTS.split(word)
    if not CHANGES.isdisjoint(parts) or not SECRETS.isdisjoint(parts):
        return CHANGE
    if parts[0] in LOOKS or (len(parts) > 1 and parts[-1] in LOOKS and "_" not in word):
        return LOOK
    looks = len(parts) == 1 and word.endswith(_ENDS) and not word.endswith(_NO_LOOK)
    return LOOK if looks else NOUN


def asks(program: str, words: Sequence[str], valued: frozenset[str]) -> bool:
    """Tell whether this command line only asks; `valued` are the program's global options that take a value."""
    if kind_of(program) == CHANGE:
        return False
    before, at, unsure = _to_verb(words, valued)
    if at == len(words):
        return len(before) == 1 and not unsure and _is_plural(before[0])
    if kind_of(words[at]) != LOOK or len(before) > _NOUNS_MAX:
        return False
    return not _names_a_secret(words[at:]) and not (unsure and _changes_later(words[at + 1 :]))


def _to_verb(words: Sequence[str], valued: frozenset[str]) -> tuple[list[str], int, bool]:
    """The nouns before the first word that is none, where that stands (or the end), and whether an option before it
    may have taken a word.
    """
    nouns: list[str] = []
    unsure = skip = False
    for index, word in enumerate(words[1:], 1):
        if skip:
            skip = False
        elif word[:1] == "-":
            skip = word in valued
            unsure = unsure or not (skip or "=" in word) or word == "--"
        elif kind_of(word) == NOUN or (word in NAMED_ALIKE and _looks_next(words, index)):
            nouns.append(word)
        else:
            return nouns, index, unsure
    return nouns, len(words), unsure


def _looks_next(words: Sequence[str], index: int) -> bool:
    return index + 1 < len(words) and kind_of(words[index + 1]) == LOOK


def _is_plural(word: str) -> bool:
    """`x snapshots` alone lists them."""
    if len(word) <= _PLURAL_MIN or not word.endswith("s") or word.endswith(_NO_PLURAL):
        return False
    return CHANGE not in {kind_of(word[:-1]), kind_of(word[:-2])}


def _changes_later(words: Sequence[str]) -> bool:
    return any(kind_of(word) == CHANGE for word in words if word[:1] != "-")


def _names_a_secret(words: Sequence[str]) -> bool:
    return any(not SECRETS.isdisjoint(_PARTS.split(word)) for word in words)
