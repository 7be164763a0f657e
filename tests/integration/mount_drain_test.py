"""A mount that is stopped leaves nothing half done: its journal ends with events, ready for the courier."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

from app.adapters.journal.folder import MountFolder  # noqa: E402
from app.adapters.journal.reader import JournalReader  # noqa: E402
from app.core.frames import RecordType  # noqa: E402
from app.core.operations import decode_request  # noqa: E402

PROJECT = "0" * 32


def journalled(folder: Path) -> list[str]:
    """Return the types of all events in the journals of a mount."""
    home = MountFolder(folder / "home" / "alone", PROJECT)
    found: list[str] = []
    for incarnation in home.incarnations():
        reader = JournalReader(home.files(incarnation))
        for placed in reader.poll():
            if placed.record.type == RecordType.OPERATION:
                found.append(decode_request(placed.record.body).operation_type)
        reader.close()
    return found


def test_what_a_program_left_open_is_an_event_when_the_mount_has_stopped(short_path: Path) -> None:
    mount = LoneMount(short_path / "one")
    mount.ask("set", "shipping", False)
    held = (mount.tree / "held").open("wb", buffering=0)
    held.write(b"not closed yet")
    assert mount.stop() == 0
    try:
        held.close()
    except OSError:
        pass
    assert journalled(short_path / "one") == ["create", "write"]
