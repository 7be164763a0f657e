"""kill -9 of each part while writers and validators run: what returned is in the store once, and the stack heals by itself."""

import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def descend(pid: int) -> list[int]:
    return [below for child in children(pid) for below in (child, *descend(child))]


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def server_of(stack, name: str) -> int:
    """Return the pid of the server itself, not of the process that watches it."""
    watcher = stack.pid(name)
    wanted = {"redis": ("valkey-server", "redis-server"), "postgres": ("postgres -D", "bin/postgres", "postgres ")}[
        name
    ]
    below = [
        p
        for p in (watcher, *descend(watcher))
        if any(w in command(p) for w in wanted) and "app.entry" not in command(p)
    ]
    return below[0]


NAMES = ("mount", "courier", "gateway", "beat", "store", "record", "validate", "maintenance", "experts")
GROUPS = (*NAMES, "store children", "validate children", "redis", "postgres")


def pids_of(stack, name: str) -> list[int]:
    if name in {"redis", "postgres"}:
        return [server_of(stack, name)]
    process, _, part = name.partition(" ")
    return children(stack.pid(process)) if part else [stack.pid(process)]


def mounted(path: Path) -> bool:
    try:
        return os.path.ismount(path) and (path / "current").is_dir()
    except OSError:
        return False


@pytest.mark.timeout(900)
def test_what_returned_is_stored_once_whoever_is_killed(own_stack, witness) -> None:
    stack = own_stack
    healed: dict[str, float] = {}
    folder = stack.current / "chaos"
    folder.mkdir()
    with witness.witnesses(folder, stack.gateway) as seen:
        time.sleep(2)
        for name in GROUPS:
            for pid in pids_of(stack, name):
                stack.kill(pid)
            time.sleep(1)
            healed[name] = witness.wait_until(
                lambda: stack.ready() and mounted(stack.mount), 60, f"healed after kill -9 of {name}"
            )
            time.sleep(1)
    print("\nhealed after (s):", {name: round(took, 1) for name, took in healed.items()})
    print(
        "returned:",
        len(seen.created),
        "creates,",
        len(seen.renamed),
        "renames,",
        len(seen.decisions),
        "decisions; refused:",
        dict(seen.refused),
    )
    assert len(seen.created) > 500
    assert len(seen.decisions) > 500

    def drained() -> bool:
        position = json.loads((stack.mount / "debug" / "position").read_text())
        return position["position"] == stack.position() and position.get("sequence") == position.get("acked")

    witness.wait_until(drained, 60, "everything in the journal is in the store")
    check_files(stack, witness, seen, folder)
    check_decisions(stack, witness, seen)


def check_files(stack, witness, seen, folder: Path) -> None:
    assert witness.gaps(stack.reader_url) == []
    events = witness.file_events(stack.reader_url)
    made = Counter(path.rpartition(b"/")[2].decode() for _, kind, _, _, path in events if kind == "create")
    twice = [name for name in seen.created if made[name] != 1]
    assert not twice, f"create events: {[(name, made[name]) for name in twice[:5]]}"
    there = {entry.name: entry for entry in os.scandir(folder)}
    lost = [name for name in seen.contents if name not in there]
    assert not lost, lost[:5]
    wrong = [name for name, data in seen.contents.items() if (folder / name).read_bytes() != data]
    assert not wrong, wrong[:5]
    out = stack.folder / "out"
    assert stack.weir("export", str(out)).returncode == 0
    exported = [name for name, data in seen.contents.items() if (out / "chaos" / name).read_bytes() != data]
    assert not exported, exported[:5]
    assert subprocess.run(["diff", "-r", str(folder), str(out / "chaos")], capture_output=True).returncode == 0


def check_decisions(stack, witness, seen) -> None:
    def recorded() -> Counter[str]:
        printed = stack.weir("log", "--decisions", "--json", "--limit", "1000000").stdout
        return Counter(json.loads(line)["id"] for line in printed.splitlines())

    witness.wait_until(lambda: set(seen.decisions) <= set(recorded()), 60, "every answered validation is recorded")
    kept = recorded()
    assert [i for i in seen.decisions if kept[i] != 1] == []
    assert len(set(seen.decisions)) == len(seen.decisions)
