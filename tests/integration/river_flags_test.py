"""Every optimisation can be taken back: switched off one and all, both flows go on, only slower; and on again."""

import json
import shutil
import time
from pathlib import Path

import psycopg
import pytest

TEXT = b"the same line again and again\n" * 4000
"""Smaller as zstd."""


def tree_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def debug(mount: Path, name: str) -> dict:
    return json.loads((mount / "debug" / name).read_text())


def until(true, what: str) -> None:
    give_up = time.monotonic() + 20
    while not true():
        assert time.monotonic() < give_up, what
        time.sleep(0.05)


def decided(stack, command: str) -> tuple[str, str]:
    told = json.loads(stack.weir("validate", "--json", "--", command).stdout)
    return told["verdict"], told["layer"]


@pytest.mark.timeout(300)
def test_with_every_flag_off_both_flows_work_and_what_was_made_is_there_when_they_are_on_again(plain_stack) -> None:
    stack = plain_stack
    assert not any(debug(stack.mount, "flags").values()), "a flag did not reach the mount"
    second = stack.folder / "second"
    assert stack.weir("mount", str(second)).returncode == 0
    made = stack.current / "made"
    made.mkdir()
    (made / "text").write_bytes(TEXT)
    for number in range(40):
        (made / f"f{number}").write_text(str(number))
        (made / f"f{number}").rename(made / f"g{number}")
    (made / "g0").unlink()
    wanted = tree_of(made)
    until(lambda: (second / "current/made/g39").exists() and tree_of(second / "current/made") == wanted, "another tree")
    feed = debug(second, "health")["feed"]
    assert feed["by_pubsub"] == 0 < feed["by_catch_up"], "without the feed, events are read from the store"
    assert stack.weir("umount", str(second)).returncode == 0
    for verdict, command in (("approve", "ls -la"), ("block", "rm -rf /")):
        assert [decided(stack, command) for _ in range(3)] == [(verdict, "policy")] * 3, "a cache answered"
    with psycopg.connect(stack.reader_url) as connection:
        assert connection.execute("select distinct encoding from chunks").fetchall() == [("raw",)]
    assert not any((Path(stack.environ["WEIR_HOME"]) / "chunks").rglob("*"))
    stack.down()
    stack.environ["WEIR_FLAGS"] = ""
    stack.up()
    assert tree_of(made) == wanted
    (made / "more").write_bytes(TEXT[:-1])
    until(lambda: debug(stack.mount, "position")["acked"] >= debug(stack.mount, "position")["sequence"], "not acked")
    with psycopg.connect(stack.reader_url) as connection:
        assert ("zstd",) in connection.execute("select distinct encoding from chunks").fetchall()
    shutil.rmtree(made)
