"""No layer answers with a verdict that the world, the clock or a newer policy has overtaken.

Gateway and worker stand here as they do in their processes: key and local cache, fingerprint and shared cache, each with
a policy of its own that may be swapped between and within batches. After each change of the world (branch, minute of the
week, a script's content, where a link leads, what was asked before and how often) a cached answer has to be what a
judgement made anew says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.adapters.policy_files import Place, load_policy
from app.core.decisions import Asked, Judgement, Ruling, ToolCall, ValidateBatch, ValidateReply
from app.core.messages import decode
from app.core.policy import Policy
from app.core.policy.source import Tier
from app.core.shell.places import absolute
from app.core.shell.stored import Lack
from app.services.decision_cache import AsyncLRUCache, cache_key
from app.services.questions import encode_question
from app.services.worker_validation import WorkerValidator

PROJECT = "p" * 32
RULES = """rules:
  - {{id: main, match: Bash(git push *), decide: {push}, reason: Main is shared., when: {{branch: main}}}}
  - {{id: topic, match: Bash(git push *), decide: approve, reason: Topics are ours., when: {{branch: topic-*}}}}
  - {{id: night, match: Bash(make deploy), decide: block, reason: Nobody is there., when: {{time: "{night}"}}}}
  - {{id: deploy, match: Bash(make deploy), decide: approve, reason: It deploys.}}
  - {{id: rest, match: ["Bash(ls *)", "Bash(bash x.sh)", "Bash(cat *)", "Write(inside/**)"], decide: {rest}, reason: It is harmless.}}
  - {{id: cron, match: Bash(ls *), decide: block, reason: Not on Sundays., when: {{time: "sun 00:00-23:59", agent: cron}}}}
"""
COMMANDS = ["git push x", "git push x; ls", "make deploy", "ls", "ls -la; make deploy", "bash x.sh", "cat link/f", "ls; timeout 5 bash ./x.sh"]
BRANCHES = ["main", "topic-1", "other", "", None]
MINUTES = [*range(0, 7 * 1440, 1009), None]
SCRIPTS = ["ls\n", "rm -rf /\n", "git push x\n"]
LINKS = ["inside", "/etc", "/nonexistent"]

steps = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 2 * len(COMMANDS) + 1)),
    st.tuples(st.just("ask"), st.integers(0, 2 * len(COMMANDS) + 1)),
    st.tuples(st.just("branch"), st.integers(0, len(BRANCHES) - 1)),
    st.tuples(st.just("minute"), st.integers(0, len(MINUTES) - 1)),
    st.tuples(st.sampled_from(["script", "link", "gateway", "worker", "within"]), st.integers(0, 2)),
    st.tuples(st.just("later"), st.sampled_from([1, 100, 299, 301])),
)


class Held:
    """A policy as a process holds it; with `next_one` it is swapped between a batch's first look and its judging."""

    def __init__(self, policy: Policy, world: Any) -> None:
        self.policy, self.world = policy, world
        self.next_one: Policy | None = None

    @property
    def version(self) -> str:
        return self.policy.version

    def judge(self, call: Asked) -> Judgement:
        if self.next_one is not None:
            self.policy, self.next_one = self.next_one, None
        return self.policy.judge(call, self.world)


class Shelf:
    """A shared cache in a dictionary, as replies are told to it."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Ruling] = {}
        self.forged = self.stale = 0

    def get(self, fingerprints: Sequence[bytes], policy_version: str) -> dict[bytes, Ruling]:
        found = {name: self.kept[name] for name in fingerprints if name in self.kept}
        return {name: one for name, one in found.items() if one.ground.policy_version == policy_version}

    def put(self, entries: Sequence[tuple[bytes, Ruling]], ttl_s: int) -> None:
        self.kept.update(entries)


class Ring:
    """Gateway, worker and world; `hits` counts answers of caches."""

    def __init__(self, policies: list[Policy], folder: Path) -> None:
        self.policies, self.folder = policies, folder
        self.name, self.minute, self.now_ns = BRANCHES[0], MINUTES[0], 0
        self.asked = self.hits = 0
        self.gateway = policies[0]
        self.worker = Held(policies[0], self)
        self.local = AsyncLRUCache(6, clock_ns=lambda: self.now_ns)
        self.validator = WorkerValidator(PROJECT, "w", self.worker, self, Shelf())
        self.reply = b""
        calls = [ToolCall("Bash", {"command": text}, agent, "", str(folder)) for text in COMMANDS for agent in ("a", "cron")]
        path = str(folder / "link" / "f")
        self.calls = [*calls, *[ToolCall("Write", {"file_path": path, "content": ""}, agent, "", str(folder)) for agent in ("a", "cron")]]

    def branch(self, folder: str) -> str | None:
        return self.name

    def minute_of_week(self) -> int | None:
        return self.minute

    def script(self, path: str) -> bytes | Lack:
        """The script's content lies in the store; the calls run in the folder that it is mounted at."""
        inside = absolute(str(self.folder), "")
        if not path.startswith(f"{inside}/"):
            return Lack.ELSEWHERE
        file = self.folder / path.removeprefix(f"{inside}/")
        return file.read_bytes() if file.is_file() else Lack.ABSENT

    def push(self, address: str, reply: bytes) -> None:
        self.reply = reply

    def take(self, kind: str, number: int) -> None:
        match kind:
            case "ask":
                self.ask(self.calls[number])
            case "branch":
                self.name = BRANCHES[number]
            case "minute":
                self.minute = MINUTES[number]
            case "script":
                (self.folder / "x.sh").write_text(SCRIPTS[number])
            case "link":
                (self.folder / "link").unlink(missing_ok=True)
                (self.folder / "link").symlink_to(LINKS[number])
            case "gateway":
                self.gateway = self.policies[number]
            case "worker":
                self.worker.policy = self.policies[number]
            case "within":
                self.worker.next_one = self.policies[number]
            case _:
                self.now_ns += number * 1_000_000_000

    def ask(self, call: ToolCall) -> None:
        self.asked += 1
        version = self.gateway.version
        key = cache_key(version, encode_question(call, version))
        found = self.local.get_nowait(key)
        if found is not None:
            self.right(found, self.gateway, call)
            return
        held = self.worker.policy
        self.validator.answer(ValidateBatch(2, PROJECT, "b", "reply", 45, (call,), version), "task")
        reply = decode(ValidateReply, self.reply)
        if reply.layers[0] == "shared-cache":
            self.right(reply.rulings[0], held, call)
        self.local.set_nowait(key, reply.rulings[0])

    def right(self, found: Ruling, policy: Policy, call: ToolCall) -> None:
        self.hits += 1
        anew = policy.judge(call, self)
        assert (found.verdict, found.ground.policy_version) == (anew.verdict, policy.version), call


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[Policy]:
    made = []
    for said in (("block", "22:00-06:00", "approve"), ("approve", "10:00-14:00", "approve"), ("block", "00:00-23:59", "block")):
        folder = tmp_path_factory.mktemp("rules")
        (folder / "a.yaml").write_text(RULES.format(push=said[0], night=said[1], rest=said[2]))
        made.append(load_policy([Place(folder, Tier.USER)]))
    return made


@pytest.mark.parametrize("cases", [500, pytest.param(5_000, marks=pytest.mark.thorough), pytest.param(100_000, marks=pytest.mark.full)])
def test_no_cached_verdict_survives_a_change_of_what_it_read(policies: list[Policy], tmp_path: Path, cases: int) -> None:
    (tmp_path / "inside").mkdir()
    count = {"asked": 0, "hits": 0}

    @settings(max_examples=cases // 50, deadline=None, database=None, derandomize=True, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, min_size=150, max_size=250))
    def histories(taken: list[tuple[str, int]]) -> None:
        ring = Ring(policies, tmp_path)
        for kind, number in taken:
            ring.take(kind, number)
        count["asked"] += ring.asked
        count["hits"] += ring.hits

    histories()
    assert count["asked"] >= cases
    assert count["hits"] > cases / 20  # else nothing was tried
