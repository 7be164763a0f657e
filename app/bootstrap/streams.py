"""Wiring of a mount's streams."""

from typing import TYPE_CHECKING

from config.settings import Settings

if TYPE_CHECKING:
    from app.services.streaming import Streamer


def streamer(settings: Settings, mount: str) -> "Streamer":
    """What writes the streams of a mount; not started yet."""
    from app.adapters.stream_files import FolderStreams
    from app.bootstrap import file_event_reader
    from app.services.streaming import Streamer

    return Streamer(file_event_reader(settings), FolderStreams(settings.mounts / mount / "streams"))
