"""What the simulator may be told to do wrong, and how it says that an invariant does not hold."""

PLANTED = {
    "dedupe": "the store appends what it has seen",
    "gap-check": "the store takes a batch that does not follow",
    "recovery": "a start does not seal the unsealed writes of the journal before",
    "journal-first": "a call returns before its record is in the journal",
    "gap-fill": "a mount does not read the positions that pub/sub lost",
    "undo": "a foreign event is folded over the pending requests instead of beneath them",
    "resend": "the courier trusts the broker",
    "fresh-incarnation": "a start goes on with the sequence numbers of the incarnation before",
    "base-record": "the journal does not say what unsealed writes were made to",
    "fsync": "fsync returns without the journal on the disk",
    "chunk-check": "the store takes content whose chunks it does not have",
    "sync-older": "a start builds on older journals without forcing them to the disk",
}


class Broken(AssertionError):
    """An invariant of docs/protocol.md does not hold."""
