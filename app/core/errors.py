"""The one error tree.

WeirError
├── PayloadRefused          bytes from another process do not decode, or carry another format
├── JournalError
│   ├── JournalCorrupt      a record fails its checksum before the tail
│   ├── JournalForeign      the journal belongs to another project or origin
│   └── JournalFull         the bound is reached and nothing drains (ENOSPC)
├── Unavailable             a server is gone for now; try again
│   ├── StoreUnavailable    Postgres
│   ├── BrokerUnavailable   Redis as broker, reply list, cache or feed
│   └── ContentUnavailable  a chunk could not be had within its deadline (EIO)
├── StoreRefused            Postgres refused the statement (role, constraint, time-out): a retry cannot help
├── ChainBroken             a row's hash is not the hash of what it holds
├── PolicyInvalid           a rule file does not parse or its own examples fail: names file, line, remedy
├── RequestInvalid          a caller's input is wrong: names the field and the remedy
└── SetupError              something is missing on this machine: names the thing and the remedy
"""


class WeirError(Exception):
    """Root of all errors that Weir raises on purpose."""


class PayloadRefused(WeirError):
    """Bytes from another process do not decode, or carry another format."""


class JournalError(WeirError):
    """A journal or spool cannot be used as asked."""


class JournalCorrupt(JournalError):
    """A record before the tail fails its checksum."""


class JournalForeign(JournalError):
    """The journal belongs to another project or origin."""


class JournalFull(JournalError):
    """The journal's bound is reached and nothing drains."""


class Unavailable(WeirError):
    """A server is gone for now; the caller may try again."""


class StoreUnavailable(Unavailable):
    """Postgres cannot be reached."""


class BrokerUnavailable(Unavailable):
    """Redis cannot be reached."""


class ContentUnavailable(Unavailable):
    """A chunk could not be had within its deadline."""


class StoreRefused(WeirError):
    """Postgres refused the statement; a retry cannot help."""


class ChainBroken(WeirError):
    """A row's hash is not the hash of what it holds."""


class PolicyInvalid(WeirError):
    """A rule file does not parse, or its own examples fail."""


class RequestInvalid(WeirError):
    """A caller's input is wrong."""


class SetupError(WeirError):
    """Something is missing on this machine; `remedy` is what to do, and the message's end."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}: {remedy}" if remedy else what)
        self.what, self.remedy = what, remedy
