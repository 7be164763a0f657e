"""A gateway on real sockets, with doubles for broker, worker, person, policy and spool."""

import asyncio
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import uvloop

from app.core.decisions import (
    DecisionRecord,
    Judgement,
    RuleRef,
    ToolCall,
    ValidateBatch,
    Verdict,
    ruling,
    validate_reply,
)
from app.core.errors import BrokerUnavailable, JournalFull
from app.core.messages import FORMAT, decode, encode
from app.core.policy import Explanation
from app.entry.gateway import access, openapi
from app.entry.gateway.connection import HttpConnection
from app.entry.gateway.explaining import Explainer
from app.entry.gateway.pressure import Pressure
from app.entry.gateway.site import GatewaySite
from app.services.escalation import EscalationReply, EscalationRequest
from app.services.escalation_desk import EscalationDesk
from app.services.task_line import TaskLine
from app.services.validation import Validation
from app.telemetry.metrics import Metrics

TOKEN = "a-token"


class Rules:
    """A policy: 'rm' blocks, 'ask' escalates, 'script' depends on a file, 'boom' fails, the rest is approved."""

    def __init__(self) -> None:
        self.version = "v1"

    def judge(self, call: ToolCall) -> Judgement:
        text = json.dumps(call.input)
        if "boom" in text:
            raise ZeroDivisionError(text)
        verdict = Verdict.BLOCK if "rm" in text else Verdict.ESCALATE if "ask" in text else Verdict.APPROVE
        reads = ("script",) if "script" in text else ()
        rules = (RuleRef("no-rm", "default.yaml", 3),) if verdict is Verdict.BLOCK else ()
        return Judgement(verdict, rules, f"{verdict.value} by rule", "think again", self.version, reads=reads)

    def explain(self, call: ToolCall) -> Explanation:
        if "slow" in call.input["command"]:
            time.sleep(0.5)
        if "odd" in call.input["command"]:
            raise ValueError(call.input)
        judgement = self.judge(call)
        return Explanation(judgement.verdict, judgement.reason, judgement.remedy, (), (), self.version, ())


class Worker:
    """Broker and worker in one: implements Tasks and ReplyBox. `mode`: answers | silent | gone | frozen | torn."""

    address = "replies"

    def __init__(self) -> None:
        self.mode = "answers"
        self.rules = Rules()
        self.batches: list[ValidateBatch] = []
        self.delay_s = 0.0
        self._replies: queue.Queue[bytes] = queue.Queue()

    def send(self, name: str, payload: bytes, queue: str) -> str:
        assert (name, queue) == ("weir.validate", "validate")
        if self.mode == "gone":
            raise BrokerUnavailable("gone")
        if self.mode == "frozen":
            time.sleep(0.6)
            raise BrokerUnavailable("frozen")
        batch = decode(ValidateBatch, payload)
        self.batches.append(batch)
        if self.mode == "answers":
            time.sleep(self.delay_s)
            self.reply(batch)
        elif self.mode == "torn":
            self._replies.put(b"\x93torn")
        return "task"

    def reply(self, batch: ValidateBatch) -> None:
        rulings = tuple(ruling(self.rules.judge(call)) for call in batch.calls)
        layers = ("policy",) * len(rulings)
        reply = validate_reply(batch.batch_id, "task-1", "w", rulings, layers, 10)
        self._replies.put(encode(reply))

    def wait(self, timeout_s: float) -> bytes | None:
        try:
            return self._replies.get(timeout=min(timeout_s, 0.02))
        except queue.Empty:
            return None

    @property
    def calls(self) -> list[ToolCall]:
        return [call for batch in self.batches for call in batch.calls]


class Plain:
    """A Seal without a secret."""

    def sign(self, place: bytes, body: bytes) -> bytes:
        return place + b"|" + body

    def open(self, place: bytes, value: bytes) -> bytes | None:
        return value.removeprefix(place + b"|") if value.startswith(place + b"|") else None


class Experts:
    """Broker, experts worker and person in one: implements Tasks and ReplyBox. `mode`: keeps | silent | gone; `says` is
    what a ticket's state is at once.
    """

    address = "expert-replies"

    def __init__(self) -> None:
        self.mode = "keeps"
        self.says = "waiting"
        self.sent: list[EscalationRequest] = []
        self.tried = 0
        self._replies: queue.Queue[bytes] = queue.Queue()

    def send(self, name: str, payload: bytes, queue: str) -> str:
        assert (name, queue) == ("weir.escalate", "experts")
        self.tried += 1
        if self.mode == "gone":
            raise BrokerUnavailable("gone")
        body = Plain().open(b"weir.escalate", payload)
        request = decode(EscalationRequest, body or b"")
        if self.mode == "keeps":
            self.sent.append(request)
            self.end(request.ticket, self.says)
        return "task"

    def end(self, ticket: str, state: str, layer: str = "person") -> None:
        if state == "waiting":
            self.say(EscalationReply(FORMAT, ticket, state))
        else:
            self.say(EscalationReply(FORMAT, ticket, state, f"{ticket}.e", layer, f"{state} by ann"))

    def say(self, reply: EscalationReply) -> None:
        self._replies.put(encode(reply))

    def wait(self, timeout_s: float) -> bytes | None:
        try:
            return self._replies.get(timeout=min(timeout_s, 0.02))
        except queue.Empty:
            return None

    @property
    def tickets(self) -> list[str]:
        return list(dict.fromkeys(request.ticket for request in self.sent))


class Spool:
    def __init__(self) -> None:
        self.full = False
        self.filled = 0.0
        self.records: list[Any] = []
        self.appends = 0
        self.next_sequence = 1

    def append_encoded(self, records: Sequence[bytes], first: int) -> None:
        if self.full:
            raise JournalFull("no room")
        assert first == self.next_sequence
        self.appends += 1
        self.records.extend(msgspec.msgpack.decode(record, type=DecisionRecord) for record in records)
        self.next_sequence = len(self.records) + 1
        assert [record.sequence for record in self.records] == list(range(1, self.next_sequence))


class Client:
    """One raw HTTP connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(5)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def post(self, path: str, body: bytes, **headers: str) -> SimpleNamespace:
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        host = "" if "Host" in headers else "Host: 127.0.0.1\r\n"
        head = f"POST {path} HTTP/1.1\r\n{host}Content-Length: {len(body)}\r\n{extra}\r\n"
        self.send(head.encode() + body)
        return self.read()

    def get(self, path: str, **headers: str) -> SimpleNamespace:
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}\r\n".encode())
        return self.read()

    def read(self) -> SimpleNamespace:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers.get("content-length", "0"))
        while len(self.buffer) < size:
            self._more()
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        is_json = "json" in headers.get("content-type", "")
        return SimpleNamespace(
            status=int(lines[0].split()[1]),
            headers=headers,
            body=body,
            json=json.loads(body) if is_json and body else None,
        )

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionResetError(f"closed after {self.buffer!r}")
        self.buffer += data

    def at_end(self) -> bool:
        return self.socket.recv(10) == b""


class Stack:
    """A running gateway and its doubles."""

    def __init__(self, folder: Path, flags: dict[str, bool], deadline_ms: int, patience_ms: int) -> None:
        self.worker, self.spool, self.rules, self.metrics = Worker(), Spool(), Rules(), Metrics()
        self.experts = Experts()
        self.patience_ms = patience_ms
        self.path = folder / "g.sock"
        self.port = 0
        self.deadline_ms = deadline_ms
        self._flags = flags
        self._clients: list[Client] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        line = TaskLine(self.worker, self.worker, self._loop.call_soon_threadsafe, lambda name: None)
        self.validation = Validation(
            "p" * 32,
            self.rules,
            self.spool,
            line,
            self.metrics,
            workers=2,
            deadline_ms=self.deadline_ms,
            flags=self._flags,
        )
        gate = access.Gate({TOKEN: access.ALL_SCOPES, "hook-token": frozenset({"validate"})})
        slow = TaskLine(self.experts, self.experts, self._loop.call_soon_threadsafe, lambda name: None)
        self.desk = EscalationDesk(
            "p" * 32, slow, Plain(), self.validation.settle, self.metrics, patience_ms=self.patience_ms
        )
        self.site = GatewaySite(
            self.validation, self.desk, self.metrics, gate, openapi.encode(), Explainer(self.rules.explain)
        )
        line.start(self.validation.on_reply, self.validation.on_failure)
        slow.start(self.desk.on_reply, self.desk.on_failure)
        self.validation.sweep()
        self.desk.look()
        Pressure(self.site.connections, lambda: self.spool.filled, self.metrics).tick()
        unix = await self._loop.create_unix_server(lambda: HttpConnection(self.site, over_tcp=False), str(self.path))
        tcp = await self._loop.create_server(lambda: HttpConnection(self.site, over_tcp=True), "127.0.0.1", 0)
        self.port = tcp.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        unix.close()
        tcp.close()
        for connection in list(self.site.connections):
            connection.transport.close()
        line.stop(2)
        slow.stop(2)

    def start(self) -> None:
        self.thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        for client in self._clients:
            client.socket.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self.thread.join(5)

    def unix(self) -> Client:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        return self._opened(connection)

    def tcp(self) -> Client:
        return self._opened(socket.create_connection(("127.0.0.1", self.port)))

    def _opened(self, connection: socket.socket) -> Client:
        client = Client(connection)
        self._clients.append(client)
        return client

    def bash(self, command: str, client: Client | None = None, **fields: Any) -> Any:
        call = {"tool": "Bash", "input": {"command": command}, "agent": "a1"} | fields
        own = client or self.unix()
        try:
            return own.post("/v1/validate", json.dumps(call).encode()).json
        finally:
            if client is None:
                own.socket.close()

    def figure(self, name: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.metrics.text().splitlines() if line.startswith(name))


def wait_until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(deadline_ms: int = 45, patience_ms: int = 300_000, **flags: bool) -> Stack:
        stack = Stack(tmp_path, flags, deadline_ms, patience_ms)
        stack.start()
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.stop()


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    # half a second instead of 45 ms: these tests are about answers, not about a busy machine
    return make_stack(deadline_ms=500)
