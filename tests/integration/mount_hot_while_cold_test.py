"""While the store does not answer and readers wait for content that only it has, everything else is as quick as before."""

import errno
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mount_cut_off_test import descend, frozen, second, settled, wait_for  # noqa: E402, F401 - a fixture

COMMON_MS, TIMES = 3.0, 1.5
ROUNDS, CALLS, READERS = 7, 200, 3


def quick_calls(tree: Path) -> dict[str, Callable[[int], object]]:
    """Return calls by name, each told how many came before it."""

    def read(_: int) -> None:
        descriptor = os.open(tree / "hot", os.O_RDONLY)
        assert len(os.read(descriptor, 4096)) == 4096
        os.close(descriptor)

    def create(number: int) -> None:
        descriptor = os.open(tree / f"made{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, b"x" * 4096)
        os.close(descriptor)

    return {
        "stat": lambda _: os.stat(tree / "hot"),
        "absent": lambda number: os.path.exists(tree / f"absent{number}"),
        "read": read,
        "create": create,
        "rename": lambda number: os.rename(tree / f"made{number}", tree / f"moved{number}"),
        "unlink": lambda number: os.unlink(tree / f"moved{number}"),
        "list": lambda _: os.listdir(tree / "few"),
    }


def p99_ms(tree: Path) -> dict[str, float]:
    """Return for each call the median over rounds of a round's p99."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, call in quick_calls(tree).items():
            took = []
            for number in range(CALLS):
                start = time.perf_counter()
                call(number)
                took.append(1000 * (time.perf_counter() - start))
            found.setdefault(name, []).append(sorted(took)[int(0.99 * CALLS)])
    return {name: statistics.median(values) for name, values in found.items()}


@pytest.mark.full
@pytest.mark.timeout(240)
def test_readers_that_wait_for_a_stopped_store_slow_nobody_down(own_stack, second: Path) -> None:  # noqa: F811
    here, there = own_stack.current, second / "current"
    (here / "few").mkdir()
    for number in range(READERS):
        (here / f"cold{number}").write_bytes(os.urandom(100_000))
    (here / "hot").write_bytes(b"h" * 4096)
    wait_for(lambda: settled(own_stack, own_stack.mount, second), "both mounts have everything")
    assert (there / "hot").read_bytes() == b"h" * 4096
    before = p99_ms(there)
    wait_for(lambda: settled(own_stack, own_stack.mount, second), "both mounts have everything", 60)
    postgres = [own_stack.pid("postgres"), *descend(own_stack.pid("postgres"))]
    stop, refused = threading.Event(), []

    def read_cold(number: int) -> None:
        while not stop.is_set():
            try:
                (there / f"cold{number}").read_bytes()
            except OSError as error:
                refused.append(error.errno)

    with frozen(*postgres):
        readers = [threading.Thread(target=read_cold, args=(number,)) for number in range(READERS)]
        for reader in readers:
            reader.start()
        time.sleep(0.5)
        assert all(reader.is_alive() for reader in readers)
        meanwhile = p99_ms(there)
        stop.set()
        for reader in readers:
            reader.join(30)
    assert set(refused) <= {errno.EIO}
    assert refused, "nobody waited for the store"
    print({name: (round(before[name], 2), round(meanwhile[name], 2)) for name in before})
    over = {name: ms for name, ms in meanwhile.items() if ms >= max(COMMON_MS, TIMES * before[name])}
    assert not over, before
    assert (there / "cold0").read_bytes() == (here / "cold0").read_bytes()
