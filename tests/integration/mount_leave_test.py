"""A change that a rule escalates is refused with a ticket, and passes once a person has approved it: mount, courier, workers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mount_undone_test import Ring, until  # noqa: E402

pytestmark = pytest.mark.timeout(180)
RULES = """
rules:
  - {id: keys, touch: {path: ["*.pem"]}, on: [write], decide: escalate, reason: Keys are a person's business.}
"""


@pytest.fixture(scope="module")
def ring(server_folder: Path, redis_server, postgres_server, start_worker) -> Iterator[Ring]:
    folder = server_folder / "leave"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "r.yaml").write_text(RULES)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")} | {
        "WEIR_HOME": str(folder / "h"),
        "WEIR_MOUNT": str(folder / "m"),
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": postgres_server.reader_url,
        "WEIR_WRITER_URL": postgres_server.writer_url,
        "WEIR_POLICIES": str(folder / "rules"),
    }
    start_worker(environ, "files,record,experts", "--pool", "solo", name="test-leave")
    found = Ring(folder, environ)
    yield found
    found.stop()


def run(ring: Ring, command: str, agent: str = "a1") -> bool:
    """Tell whether a command of an agent succeeds."""
    environ = ring.environ | {"WEIR_AGENT": agent, "WEIR_SESSION": "s1"}
    return subprocess.run(["sh", "-ec", command], cwd=ring.tree, env=environ, stderr=subprocess.DEVNULL).returncode == 0


def ticket_of(ring: Ring, command: str, agent: str = "a1") -> str:
    assert not run(ring, command, agent)
    ticket = ring.said("last-denial")["ticket"]
    assert ticket
    assert ticket in ring.said("last-denial")["remedy"]
    return ticket


def waiting(ring: Ring) -> dict[str, dict]:
    return {one["ticket"]: one for one in map(json.loads, ring.weir("approvals", "--json").splitlines())}


def answer(ring: Ring, ticket: str, word: str) -> None:
    until(lambda: ticket in waiting(ring), "no person sees the ticket")
    assert json.loads(ring.weir("approvals", word, ticket, "--json"))["won"]


def test_a_change_that_a_person_approves_passes_for_who_asked_and_is_stored_with_its_ticket(ring: Ring) -> None:
    ticket = ticket_of(ring, "echo key > site.pem")
    assert ticket_of(ring, "echo key > site.pem") == ticket
    until(lambda: ticket in waiting(ring), "no person sees the ticket")
    shown = waiting(ring)[ticket]
    assert (shown["agent"], shown["tool"], shown["rules"]) == ("a1", "filesystem", ["keys"])
    assert shown["input"] == {"operation": "create", "path": "site.pem"}
    answer(ring, ticket, "approve")
    until(lambda: run(ring, "echo key > site.pem && chmod 600 site.pem && echo more >> site.pem"), "it is still refused")
    assert not run(ring, "echo other > site.pem", agent="a2")
    assert not run(ring, "rm site.pem"), "leave to write was taken for leave to remove"
    assert not run(ring, "echo key > another.pem")
    ring.settle()
    assert (ring.tree / "site.pem").read_text() == "key\nmore\n"
    events = [one for one in ring.logged() if one["path"] == "site.pem"]
    assert {one["kind"] for one in events} >= {"create", "write", "setattr"}
    assert {(one["outcome"], one["decision"]) for one in events} == {("applied", ticket)}


def test_what_a_person_denies_stays_refused_and_may_be_asked_anew(ring: Ring) -> None:
    ticket = ticket_of(ring, "echo key > denied.pem")
    answer(ring, ticket, "deny")
    until(lambda: ticket_of(ring, "echo key > denied.pem") != ticket, "the old ticket is still named")


def test_a_mount_that_thinks_a_change_approved_is_set_right_by_the_store(ring: Ring) -> None:
    ticket = ticket_of(ring, "echo key > forged.pem")
    folder = Path(ring.environ["WEIR_HOME"]) / "mounts" / "main" / "tickets"
    (folder / ticket).rename(folder / f"{ticket}.approve")
    until(lambda: run(ring, "echo key > forged.pem"), "the mount does not think so")
    ring.settle()
    until(lambda: not (ring.tree / "forged.pem").exists(), "the store took what nobody approved")
    assert ring.said("last-denial")["by"] == "store"
