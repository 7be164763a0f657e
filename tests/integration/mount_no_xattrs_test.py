"""`-o no_xattrs`: a mount without extended attributes is a filesystem without them, and asks for none at a write."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))

from lone_mount import LoneMount  # noqa: E402


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[LoneMount]:
    mount = LoneMount(tmp_path / "bare", "-o", "no_xattrs,noatime")
    yield mount
    mount.stop()


def test_xattr_calls_say_not_supported_and_content_is_as_ever(mount: LoneMount) -> None:
    path = mount.tree / "file"
    for number in range(3):
        path.write_bytes(b"%d" % number * 100_000)
        assert path.read_bytes() == b"%d" % number * 100_000
    for call in (
        lambda: os.setxattr(path, "user.a", b"1"),
        lambda: os.getxattr(path, "user.a"),
        lambda: os.removexattr(path, "user.a"),
        lambda: os.listxattr(path),
    ):
        with pytest.raises(OSError, match="not supported") as refused:
            call()
        assert refused.value.errno == errno.EOPNOTSUPP
    os.chmod(path, 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
