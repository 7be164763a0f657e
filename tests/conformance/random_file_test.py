"""One file under random reads, writes, appends, truncations, mappings and copies through several handles at once: what
is read is always what a plain sequence of bytes would hold, while versions are sealed, shipped, confirmed and evicted.
"""

import mmap
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

LARGEST = 700_000  # some chunks of 128 KiB
STEPS = 300
FULL_S = 240


class Story:
    """A file, its model, and the last steps for whoever reads a failure."""

    def __init__(self, path: Path, seed: int, settle: Callable[[bool], None]) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.settle = settle
        self.model = bytearray()
        self.last: deque[tuple[object, ...]] = deque(maxlen=25)
        self.handles = [os.open(path, os.O_RDWR | os.O_CREAT, 0o644), os.open(path, os.O_RDWR)]
        self.appender = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.steps = (
            [self.write] * 6 + [self.read] * 6 + [self.append] * 2 + [self.truncate] * 2 + [self.grow] + [self.map_write] * 3 + [self.map_read] * 2
            + [self.reopen, self.sync, self.drop, self.copy, self.allocate, self.rename, self.whole, self.quiet, self.rewrite]
        )  # fmt: skip

    def at(self, *, within: bool = False) -> int:
        """An offset, often at or near an edge."""
        top = len(self.model) if within else LARGEST
        near = self.random.choice((0, 4096, 131_072, 262_144, len(self.model), top)) + self.random.randint(-3, 3)
        return max(0, min(near if self.random.random() < 0.4 else self.random.randint(0, max(top, 1)), top))

    def data(self) -> bytes:
        size = self.random.choice((1, 3, 100, 4096, 4097, 65_536, 131_072, self.random.randint(1, 200_000)))
        return self.random.randbytes(size) if self.random.random() < 0.9 else bytes(size)

    def hold(self, offset: int, data: bytes) -> None:
        if offset > len(self.model):
            self.model.extend(bytes(offset - len(self.model)))
        self.model[offset : offset + len(data)] = data

    def check(self, what: str, found: bytes, wanted: bytes) -> None:
        if found != wanted:
            first = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
            steps = "\n".join(map(str, self.last))
            raise AssertionError(f"{what}: {len(found)} bytes for {len(wanted)}, other from {first} on, after\n{steps}")

    def step(self) -> None:
        call = self.random.choice(self.steps)
        call()
        size = os.fstat(self.random.choice(self.handles)).st_size
        assert size == len(self.model), f"size {size} for {len(self.model)} after\n" + "\n".join(map(str, self.last))

    # -- steps

    def write(self) -> None:
        offset, data = self.at(), self.data()
        self.last.append(("write", offset, len(data)))
        assert os.pwrite(self.random.choice(self.handles), data, offset) == len(data)
        self.hold(offset, data)

    def read(self) -> None:
        offset, size = self.at(), len(self.data())
        self.last.append(("read", offset, size))
        found = os.pread(self.random.choice(self.handles), size, offset)
        self.check("read", found, bytes(self.model[offset : offset + size]))

    def append(self) -> None:
        data = self.data()
        if len(self.model) < LARGEST:
            self.last.append(("append", len(data)))
            os.write(self.appender, data)
            self.hold(len(self.model), data)

    def truncate(self) -> None:
        size = self.at(within=True)
        self.last.append(("truncate", size))
        if self.random.random() < 0.5:
            os.truncate(self.path, size)
        else:
            os.ftruncate(self.random.choice(self.handles), size)
        del self.model[size:]

    def grow(self) -> None:
        size = max(self.at(), len(self.model))
        self.last.append(("grow", size))
        os.ftruncate(self.random.choice(self.handles), size)
        self.hold(size, b"")

    def map_write(self) -> None:
        if not self.model:
            return
        offset, data = self.at(within=True), self.data()
        data = data[: len(self.model) - offset]
        self.last.append(("map-write", offset, len(data)))
        with mmap.mmap(self.random.choice(self.handles), len(self.model)) as mapped:
            mapped[offset : offset + len(data)] = data
            if self.random.random() < 0.5:
                mapped.flush()
        self.hold(offset, data)

    def map_read(self) -> None:
        if self.model:
            offset = self.at(within=True)
            self.last.append(("map-read", offset))
            with mmap.mmap(self.handles[0], len(self.model), access=mmap.ACCESS_READ) as mapped:
                self.check("mapped", mapped[offset : offset + 70_000], bytes(self.model[offset : offset + 70_000]))

    def reopen(self) -> None:
        which = self.random.randrange(len(self.handles))
        self.last.append(("reopen", which))
        os.close(self.handles[which])
        self.handles[which] = os.open(self.path, os.O_RDWR)

    def rewrite(self) -> None:
        data = self.data()
        self.last.append(("rewrite", len(data)))
        self.path.write_bytes(data)
        self.model[:] = data

    def sync(self) -> None:
        self.last.append(("fsync",))
        os.fsync(self.random.choice(self.handles))

    def drop(self) -> None:
        self.last.append(("drop the kernel's pages",))
        os.posix_fadvise(self.handles[0], 0, 0, os.POSIX_FADV_DONTNEED)

    def copy(self) -> None:
        if len(self.model) < 1000:
            return
        half = len(self.model) // 2
        source, target, size = self.random.randint(0, half // 2), half, self.random.randint(1, half // 2)
        self.last.append(("copy", source, target, size))
        done = os.copy_file_range(self.handles[0], self.handles[1], size, source, target)
        self.hold(target, bytes(self.model[source : source + done]))

    def allocate(self) -> None:
        offset, size = self.at(within=True), self.random.randint(1, 5000)
        self.last.append(("allocate", offset, size))
        os.posix_fallocate(self.handles[0], offset, size)
        self.hold(max(offset + size, len(self.model)), b"")

    def rename(self) -> None:
        self.last.append(("rename and back",))
        other = self.path.with_name(f"{self.path.name}.other")
        self.path.rename(other)
        other.rename(self.path)

    def whole(self) -> None:
        self.last.append(("read the whole",))
        self.check("whole", self.path.read_bytes(), bytes(self.model))

    def quiet(self) -> None:
        forget = self.random.random() < 0.5
        self.last.append(("all is confirmed", "and forgotten" if forget else ""))
        self.settle(forget)

    def close(self) -> None:
        for handle in (*self.handles, self.appender):
            os.close(handle)


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneMount]:
    one = LoneMount(tmp_path_factory.mktemp("random") / "one")
    yield one
    counters = one.ask("figures")["counters"]  # type: ignore[index]
    assert one.stop() == 0, one.log.read_text()
    assert not [name for name in counters if " in " in name or name.startswith("own operation")]


def settled(mount: LoneMount) -> Callable[[bool], None]:
    def settle(forget: bool) -> None:
        mount.ask("bound", 0 if forget else 1 << 28)
        time.sleep(0.01)

    return settle


def test_the_native_filesystem_holds_the_same_bytes(tmp_path: Path) -> None:
    story = Story(tmp_path / "file", 1, lambda forget: None)
    for _ in range(STEPS):
        story.step()
    story.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_file_under_random_operations_holds_what_was_written(mount: LoneMount, seed: int) -> None:
    story = Story(mount.tree / f"file{seed}", seed, settled(mount))
    for _ in range(STEPS):
        story.step()
    story.close()
    mount.settle()
    story.check("at the end", story.path.read_bytes(), bytes(story.model))


@pytest.mark.full
@pytest.mark.timeout(600)
def test_files_under_random_operations_for_minutes(mount: LoneMount) -> None:
    end, seed, steps = time.monotonic() + FULL_S, 1000, 0
    while time.monotonic() < end:
        story = Story(mount.tree / f"long{seed}", seed, settled(mount))
        print(f"seed {seed}")
        for _ in range(3000):
            story.step()
        steps += 3000
        story.close()
        story.path.unlink()
        seed += 1
    print(f"{steps} operations on {seed - 1000} files")
