"""What a mount shows of a file that another one changed ends with the notification, whatever changes come amid it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from quiet_mount import THEIRS, Mount

from app.core.operations import Make
from fuse_mount.shown import Shown

FILE = (THEIRS << 32) + 1


def changed() -> Shown:
    """Return what is shown of a file whose content has just changed."""
    mount = Mount()
    mount.hear(mount.store.foreign(Make(1, b"f", FILE, 0o100644, 0, 0)))
    shown = Shown({})
    shown.keep(FILE, mount.state.tree.nodes[FILE], contents=True)
    return shown


def test_a_change_of_attributes_amid_the_notification_of_one_of_content_leaves_nothing_old_shown() -> None:
    shown = changed()
    before = shown.before[FILE]
    marks = shown.marks({FILE: False})
    shown.keep(FILE, before.node, contents=False)
    assert shown.told(marks) == []
    again = shown.told(shown.marks({FILE: True}))
    assert again == [FILE], "the pages of what was read in between"
    assert shown.told(shown.marks({FILE: False})) == []
    assert not shown.before


def test_the_newest_is_shown_once_the_kernel_was_told_and_nobody_read_meanwhile() -> None:
    shown = changed()
    marks = shown.marks({FILE: False})
    shown.before[FILE].answers += 1
    assert shown.told(marks) == [FILE]
    assert shown.told(shown.marks({FILE: False})) == []
    assert not shown.before
