"""Times that programs set, however odd: as the native filesystem, and the nearest that can be held where none can."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))

from lone_mount import LoneMount  # noqa: E402

SECOND = 10**9
HELD = [0, 1, -1, 999_999_999, -SECOND + 1, -(2**31) * SECOND, (2**31) * SECOND - 1, 2**31 * SECOND, 2**32 * SECOND + 7,
        9_223_372_036 * SECOND]  # fmt: skip
BEYOND = [2**40, 2**55, 2**62, 2**63 - 1]


def times_after(path: Path, atime_ns: int, mtime_ns: int) -> tuple[int, int]:
    os.utime(path, ns=(atime_ns, mtime_ns))
    found = path.stat()
    return found.st_atime_ns, found.st_mtime_ns


@pytest.fixture(scope="module")
def mount(tmp_path_factory):
    mount = LoneMount(tmp_path_factory.mktemp("times"))
    yield mount
    mount.stop()


def test_each_odd_time_is_kept_as_natively(mount, tmp_path):
    ours, native = mount.tree / "file", tmp_path / "file"
    for path in (ours, native):
        path.write_bytes(b"x")
    for time_ns in HELD:
        assert times_after(ours, time_ns, -time_ns // 7) == times_after(native, time_ns, -time_ns // 7)
    assert mount.process.poll() is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_time_that_cannot_be_held_becomes_the_nearest_one_that_can(mount, sign):
    path = mount.tree / "far"
    path.write_bytes(b"x")
    for seconds in BEYOND:
        wanted = sign * seconds * SECOND
        assert times_after(path, wanted, wanted) == (sign * HELD[-1],) * 2
