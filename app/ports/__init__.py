"""What services and entry points ask of the outside world: behaviour, units and errors; no vendor.

Every method may raise the `Unavailable` of its server; nothing else unless it says so.
"""

from app.ports.broker import (
    ChunkCache,
    DroppedMessages,
    FeedPublisher,
    FeedSubscriber,
    LocalChunks,
    Replies,
    ReplyBox,
    SharedDecisions,
    Tasks,
)
from app.ports.gate import DecisionSpool, PathRules, Policy, SpoolRecords, Spools
from app.ports.journals import JournalRecords, Journals, OperationLog, Parking, PlacedRecord, TailDamage
from app.ports.logs import (
    ChainReport,
    DecisionWriter,
    EventFilter,
    FileEventReader,
    FileEventWriter,
    LoggedDecision,
    LoggedEvent,
    LogHead,
    LogReader,
    LogUpkeep,
    TreeSnapshot,
)
from app.ports.mounts import KernelCache, MountJournal, MountParts, StreamFiles
from app.ports.processes import Program, ProgramState, Server, Supervisor
from app.ports.rules import KeptVersion, ProjectRules, RuleBook
from app.ports.tickets import ChangeLeave, EndedTicket, Seal, Ticket, TicketBox, TicketReader, Tickets

__all__ = [
    "ChainReport",
    "ChangeLeave",
    "ChunkCache",
    "DecisionSpool",
    "DecisionWriter",
    "DroppedMessages",
    "EndedTicket",
    "EventFilter",
    "FeedPublisher",
    "FeedSubscriber",
    "FileEventReader",
    "FileEventWriter",
    "JournalRecords",
    "Journals",
    "KeptVersion",
    "KernelCache",
    "LocalChunks",
    "LogHead",
    "LogReader",
    "LogUpkeep",
    "LoggedDecision",
    "LoggedEvent",
    "MountJournal",
    "MountParts",
    "OperationLog",
    "Parking",
    "PathRules",
    "PlacedRecord",
    "Policy",
    "Program",
    "ProgramState",
    "ProjectRules",
    "Replies",
    "ReplyBox",
    "RuleBook",
    "Seal",
    "Server",
    "SharedDecisions",
    "SpoolRecords",
    "Spools",
    "StreamFiles",
    "Supervisor",
    "TailDamage",
    "Tasks",
    "Ticket",
    "TicketBox",
    "TicketReader",
    "Tickets",
    "TreeSnapshot",
]
