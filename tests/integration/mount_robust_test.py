"""What would freeze or corrupt a mount whose kernel caches are told of foreign changes: many of them at once, a slow
disk under a directory, dirty mapped pages; and what becomes of a mount that is taken away while it is used.
"""

# ruff: noqa: E501 - stories read better unbroken

import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "mount_site"))
from lone_mount import LoneMount  # noqa: E402

FOREIGN, WORST_S = 5_000, 1.0
SIZE = 3 * 131_072


def test_five_thousand_foreign_changes_while_a_client_makes_and_removes_names_in_the_same_folder(mount: LoneMount) -> None:
    folder = mount.tree / "d"
    folder.mkdir()
    for number in range(500):
        (folder / f"known{number}").touch()
    mount.settle()
    stop, worst, rounds = threading.Event(), [0.0], [0]

    def client() -> None:
        while not stop.is_set():
            start = time.monotonic()
            (folder / "mine").touch()
            (folder / "mine").unlink()
            worst[0] = max(worst[0], time.monotonic() - start)
            rounds[0] += 1

    thread = threading.Thread(target=client)
    thread.start()
    before = mount.ask("figures")["counters"].get("invalidations", 0)  # type: ignore[index]
    for number in range(FOREIGN):
        mount.ask("expire", "d", f"known{number % 500}")
        if number % 10 == 0:
            mount.ask("foreign", "create", f"d/theirs{number}")
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    mount.settle()
    sent = mount.ask("figures")["counters"]["invalidations"] - before  # type: ignore[index]
    print(f"{sent} notifications while {rounds[0]} pairs were made and removed; the slowest pair took {worst[0] * 1000:.0f} ms")
    assert sorted(os.listdir(folder)) == sorted([f"known{n}" for n in range(500)] + [f"theirs{n}" for n in range(0, FOREIGN, 10)])
    assert rounds[0] > 20
    assert worst[0] < WORST_S


def test_a_slow_disk_under_fsync_of_a_folder_delays_no_notification_of_other_files(mount: LoneMount) -> None:
    (mount.tree / "d").mkdir()
    (mount.tree / "other").write_text("old")
    mount.settle()
    assert (mount.tree / "other").read_text() == "old"
    mount.ask("slow-sync", 3.0)
    folder = os.open(mount.tree / "d", os.O_RDONLY)
    syncing = threading.Thread(target=os.fsync, args=(folder,))
    syncing.start()
    time.sleep(0.2)
    start = time.monotonic()
    mount.ask("foreign", "write", "other", "new")
    while (mount.tree / "other").read_text() != "new":
        assert time.monotonic() - start < 2
        time.sleep(0.005)
    took_s = time.monotonic() - start
    assert syncing.is_alive(), "the disk was not slow"
    (mount.tree / "made meanwhile").write_text("x")
    assert time.monotonic() - start < 2
    print(f"seen after {took_s * 1000:.0f} ms")
    assert took_s < 1
    mount.ask("slow-sync", 0)
    syncing.join()
    os.close(folder)


def test_a_foreign_version_over_a_dirty_shared_mapping_leaves_one_whole_version(mount: LoneMount) -> None:
    path = mount.tree / "f"
    for number in range(5):
        path.write_bytes(b"a" * SIZE)
        mount.settle()
        file = os.open(path, os.O_RDWR)
        with mmap.mmap(file, SIZE) as mapped:
            mapped[5:9] = b"MINE"
            mapped[SIZE - 9 : SIZE - 5] = b"MINE"
            mount.ask("foreign", "write", "f", "b" * SIZE)
            time.sleep(0.05 * number)
            seen = mapped[:]
        os.close(file)
        mine = bytearray(b"a" * SIZE)
        mine[5:9] = mine[SIZE - 9 : SIZE - 5] = b"MINE"
        mount.settle()
        time.sleep(0.1)
        mount.settle()
        shown = path.read_bytes()
        mount.ask("bound", 0)
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        cold = os.pread(file, SIZE, 0)
        os.close(file)
        assert shown == cold, "what is cached is not what the store holds"
        assert shown in (bytes(mine), b"b" * SIZE), (number, shown[:12], shown[-12:], seen[:12], seen[-12:])


def test_a_mount_in_use_is_not_taken_away_and_a_lazy_unmount_waits_for_the_last_close(mount: LoneMount) -> None:
    held = os.open(mount.tree / "held", os.O_RDWR | os.O_CREAT)
    busy = subprocess.run(["umount", str(mount.root)], capture_output=True, text=True, check=False)
    assert busy.returncode
    assert "busy" in busy.stderr
    (mount.tree / "still").write_text("here")
    subprocess.run(["umount", "-l", str(mount.root)], check=True)
    assert os.write(held, b"written after the name was gone") == 31
    assert mount.process.poll() is None
    os.close(held)
    assert mount.process.wait(15) == 0
    mount._close()
    mount.start()
    assert (mount.tree / "held").read_text() == "written after the name was gone"
    assert (mount.tree / "still").read_text() == "here"
