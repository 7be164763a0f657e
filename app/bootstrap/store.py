"""The event store's parts."""

from typing import TYPE_CHECKING

from app.ports import DecisionWriter, FileEventWriter, LogReader
from app.services.path_check import PathCheck
from config.settings import Settings

if TYPE_CHECKING:
    from app.adapters.postgres.spans import PostgresSpans


def file_event_writer(settings: Settings, check: PathCheck) -> FileEventWriter:
    """The files log, writing role: in worker processes only, after fork. `check` refuses paths with a reason."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.file_writer import PostgresFileWriter
    from config.flags import load_flags
    from config.settings import writer_url

    pool = open_pool(writer_url(settings), 2, writing=True, name="weir files")
    keeps_deltas = load_flags()["chunk_deltas"]
    return PostgresFileWriter(pool, check_path=check.path, check_move=check.move, keeps_deltas=keeps_deltas)


def decision_writer(settings: Settings) -> DecisionWriter:
    """The decisions log, writing role: in worker processes only, after fork."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.decisions import PostgresDecisionWriter
    from config.settings import writer_url

    return PostgresDecisionWriter(open_pool(writer_url(settings), 2, writing=True, name="weir decisions"))


def log_upkeep(settings: Settings) -> "PostgresSpans":
    """What the files log needs now and then, writing role: in worker processes only, after fork."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.spans import PostgresSpans
    from config.settings import writer_url

    return PostgresSpans(open_pool(writer_url(settings), 1, writing=True, name="weir upkeep"), settings.project)


def file_event_reader(settings: Settings) -> LogReader:
    """Both logs and the tree, reading role."""
    from app.adapters.postgres.connections import open_pool
    from app.adapters.postgres.file_reader import PostgresFileReader

    return PostgresFileReader(open_pool(settings.reader_url, 2, name="weir reader"), settings.project)
