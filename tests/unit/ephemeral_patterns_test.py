"""Which names have no history: `.weirignore` is read as git reads a `.gitignore`, and a mistake in it records."""

import pytest

from app.core.ephemeral import DEFAULT, LINES_MAX, EphemeralPatterns
from app.core.ids import LOCAL
from fuse_mount.local_inodes import LocalInodes


@pytest.mark.parametrize(
    ("text", "above", "name", "directory", "ephemeral"),
    [
        (DEFAULT, b"", b"node_modules", True, True),
        (DEFAULT, b"packages/web", b"node_modules", True, True),
        (DEFAULT, b"", b"node_modules", False, False),
        (DEFAULT, b"src", b"__pycache__", True, True),
        (DEFAULT, b"", b"target", True, False),
        (DEFAULT, b"", b"venv", True, False),
        (b"/build", b"", b"build", True, True),
        (b"/build", b"src", b"build", True, False),
        (b"*.log\n!keep.log\n", b"a", b"x.log", False, True),
        (b"*.log\n!keep.log\n", b"a", b"keep.log", False, False),
        (b"# *.log\n", b"a", b"x.log", False, False),
        (b"docs/**/out/\n", b"docs/a/b", b"out", True, True),
        (b"*\n", b"", b".weirignore", False, False),
        (b"\xff\n*.o\n", b"\xfe", b"\xff.o", False, True),
        (b"node_modules/\n", b"node_modules", b"fresh", True, False),
        (b"", b"", b"node_modules", True, False),
    ],
)
def test_a_name_is_ephemeral_where_the_file_says_so(
    text: bytes, above: bytes, name: bytes, *, directory: bool, ephemeral: bool
) -> None:
    assert EphemeralPatterns(text).begin_at(above, name, directory=directory) is ephemeral


def test_a_line_that_is_no_pattern_is_named_and_the_others_hold() -> None:
    patterns = EphemeralPatterns(b"*.o\n!\n\xff\n")
    assert [problem.split(":")[0] for problem in patterns.problems] == ["line 2", "line 3"]
    assert patterns.begin_at(b"", b"a.o", directory=False)


def test_of_a_file_that_would_hold_up_the_mount_nothing_holds() -> None:
    patterns = EphemeralPatterns(b"*.o\n" * (LINES_MAX + 1))
    assert patterns.problems
    assert not patterns.begin_at(b"", b"a.o", directory=False)


def test_a_number_of_the_disk_that_is_used_again_is_another_inode_while_the_kernel_knows_the_old_one() -> None:
    class Was:
        st_ino, st_nlink, st_mode = 77, 1, 0o100644

    inodes = LocalInodes(b"/x")
    old = inodes.found(1, b"a", 77)
    assert old == LOCAL + 77
    inodes.removed(1, b"a", Was())  # type: ignore[arg-type]
    fresh = inodes.found(1, b"b", 77)
    assert fresh != old
    inodes.forget(old, 1)
    assert set(inodes.known) == {fresh}
    inodes.forget(fresh, 1)
    assert not inodes.known
    assert inodes.found(1, b"b", 77) == LOCAL + 77


def test_a_directory_is_known_as_long_as_anything_in_it_is_whatever_is_forgotten_first() -> None:
    inodes = LocalInodes(b"/x")
    top = inodes.found(5, b"node_modules", 10)
    below = inodes.found(top, b"a", 11)
    inodes.forget(top, 1)
    assert inodes.place(below) == b"/x/5/node_modules/a"
    inodes.moved((5, b"node_modules"), (6, b"node_modules"), 10)
    assert inodes.place(below) == b"/x/6/node_modules/a"
    inodes.forget(below, 1)
    assert not inodes.known
