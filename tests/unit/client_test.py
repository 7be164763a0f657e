"""What a program that asks through app.client loses when something goes wrong: time and an approval, never a wrong one.

The gateway is a double behind a real socket, which answers as it is told.
"""

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.client import (
    AsyncClient,
    Client,
    Decision,
    Explained,
    GatewayUnreachable,
    NoDecision,
    RequestRefused,
    ToolCall,
    Verdict,
)

Script = Callable[[socket.socket, bytes], None]


def decision(name: str = "d1", verdict: str = "approve") -> dict:
    return {
        "id": name, "verdict": verdict, "rules": [], "reason": "fine", "remedy": "", "layer": "policy", "cached": False,
        "degraded": False, "policy_version": "v1", "duration_us": 5, "commands": [],
    }  # fmt: skip


def http(body: bytes, status: int = 200, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def echo(connection: socket.socket, body: bytes) -> None:
    """Approve every call under the name of its command."""
    asked = json.loads(body)
    named = [decision(call["input"]["command"]) for call in asked.get("calls", [asked])]
    connection.sendall(http(json.dumps({"decisions": named} if "calls" in asked else named[0]).encode()))


class Gateway:
    """Takes connections and lets `script` answer each request; counts both."""

    def __init__(self, path: Path, script: Script = echo) -> None:
        self.path, self.script = str(path), script
        self.connections = self.requests = 0
        self.heads: list[bytes] = []
        self.open: list[socket.socket] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    if not (data := connection.recv(1 << 20)):
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(buffer) < size:
                    buffer += connection.recv(1 << 20)
                body, buffer = buffer[:size], buffer[size:]
                self.heads.append(head)
                self.requests += 1
                self.script(connection, body)
        except OSError:
            return

    def hang_up(self) -> None:
        for connection in self.open:
            connection.close()
        self.open.clear()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # a close alone leaves the accept that is under way
        self.listener.close()
        self.hang_up()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "g")
    yield made
    made.stop()


@pytest.fixture(params=["threads", "asyncio"])
def ask(request, gateway) -> Iterator[Callable[..., list[Decision]]]:
    """Ask with either client about one command or several, one after the other on one client."""
    runner = asyncio.Runner()
    options = {"agent": "a", "socket_path": gateway.path, "deadline_s": 5.0}
    clients: dict[str, Client | AsyncClient] = {}

    def ask(*commands: str, **more) -> list[Decision]:
        kind = Client if request.param == "threads" else AsyncClient
        client = clients.setdefault(str(more), kind(**options | more))
        found = [client.validate("Bash", {"command": command}) for command in commands]
        if isinstance(client, Client):
            return found
        return [runner.run(_awaited(one)) for one in found]

    async def _awaited(one):
        return await one

    yield ask
    for client in clients.values():
        if isinstance(client, Client):
            client.close()
        else:
            runner.run(client.close())
    runner.close()


def test_calls_one_after_the_other_use_one_connection(ask, gateway) -> None:
    assert [one.id for one in ask("one", "two", "three")] == ["one", "two", "three"]
    assert (gateway.connections, gateway.requests) == (1, 3)


GARBAGE = {
    "no HTTP": b"approve\r\n\r\n",
    "no JSON": http(b"<html>approve</html>"),
    "JSON of something else": http(b'{"ok": true}'),
    "an unknown verdict": http(json.dumps(decision(verdict="allow")).encode()),
    "a verdict of another case": http(json.dumps(decision(verdict="APPROVE")).encode()),
    "no verdict": http(b"{}"),
    "an empty body": http(b""),
    "no length": b'HTTP/1.1 200 OK\r\n\r\n{"verdict": "approve"}',
    "an impossible length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "an endless length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "a length of another script": "HTTP/1.1 200 OK\r\nContent-Length: \u0663\r\n\r\n".encode() + b"{}",
    "a head without end": b"X" * 100_000,
    "two answers for one question": http(json.dumps(decision()).encode()) * 2,
    "deep nesting": http(b"[" * 100_000),
    "not UTF-8": http(b'{"id": "\xff"}'),
    "an approval with status 500": http(json.dumps(decision()).encode(), 500),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_decision_is_a_block_that_says_so_and_ends_the_connection(ask, gateway, garbage) -> None:
    gateway.script = lambda connection, _: connection.sendall(garbage)
    found = ask("one")[0]
    assert (found.verdict, found.layer, found.degraded) == (Verdict.BLOCK, "client", True)
    assert found.reason
    assert found.remedy
    gateway.script = echo
    assert ask("two")[0].id == "two"


def test_a_gateway_that_dies_in_the_middle_of_a_call_is_a_block(ask, gateway) -> None:
    half = http(json.dumps(decision()).encode())[:-10]

    def die(connection: socket.socket, _: bytes) -> None:
        connection.sendall(half)
        gateway.stop()
        connection.shutdown(socket.SHUT_RDWR)

    assert ask("one")[0].id == "one"
    gateway.script = die
    assert ask("two")[0].verdict == "block"
    assert "does not answer" in ask("three")[0].reason


def test_a_slow_gateway_costs_the_deadline_and_its_late_answer_is_never_taken_for_another(ask, gateway) -> None:
    def late(connection: socket.socket, body: bytes) -> None:
        time.sleep(0.4)
        echo(connection, body)

    gateway.script = late
    found = ask("slow", deadline_s=0.1)[0]
    assert (found.verdict, found.id) == (Verdict.BLOCK, "")
    assert found.duration_us >= 100_000
    gateway.script = echo
    time.sleep(0.5)
    assert ask("quick", deadline_s=0.1)[0].id == "quick"


def test_a_gateway_that_sends_a_byte_at_a_time_does_not_stretch_the_deadline(ask, gateway) -> None:
    def drip(connection: socket.socket, body: bytes) -> None:
        for byte in http(json.dumps(decision()).encode()):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    gateway.script = drip
    started = time.monotonic()
    assert ask("one", deadline_s=0.2)[0].verdict == "block"
    assert time.monotonic() - started < 3  # all of it takes 6 s


def test_a_connection_that_ended_while_nobody_asked_costs_nothing(ask, gateway) -> None:
    assert ask("one")[0].id == "one"
    gateway.hang_up()
    assert ask("two")[0].id == "two"


def test_a_connection_that_ends_under_the_question_is_asked_again_once(ask, gateway) -> None:
    assert ask("one")[0].id == "one"

    def gone(connection: socket.socket, body: bytes) -> None:
        gateway.script = echo
        connection.shutdown(socket.SHUT_RDWR)

    gateway.script = gone
    assert ask("two")[0].id == "two"
    gateway.script = lambda connection, _: connection.shutdown(socket.SHUT_RDWR)
    before = gateway.requests
    assert ask("three")[0].verdict == "block"
    assert gateway.requests - before == 2


def test_what_comes_unasked_is_never_the_answer_to_the_next_question(ask, gateway) -> None:
    assert ask("one")[0].id == "one"
    for connection in gateway.open:
        connection.sendall(http(json.dumps(decision("forged")).encode()))
    time.sleep(0.05)
    assert ask("two")[0].id == "two"
    assert gateway.connections == 2


def test_a_refused_request_blocks_and_names_field_and_remedy(ask, gateway) -> None:
    problem = {"detail": "too long", "field": "agent", "remedy": "shorten it"}
    gateway.script = lambda connection, _: connection.sendall(http(json.dumps(problem).encode(), 400))
    assert ask("one")[0].reason == "too long (agent). Remedy: shorten it"
    with pytest.raises(RequestRefused) as raised:
        ask("one", raise_on_failure=True)
    assert raised.value.problem == problem


def test_no_gateway_is_a_block_or_an_exception_for_who_wants_one(ask, tmp_path) -> None:
    nowhere = str(tmp_path / "none")
    assert "weir status" in ask("one", socket_path=nowhere)[0].reason
    with pytest.raises(GatewayUnreachable):
        ask("one", socket_path=nowhere, raise_on_failure=True)
    for odd in ("\0", "x" * 1000):
        assert ask("one", socket_path=odd)[0].verdict == "block"


def test_a_client_whose_project_does_not_run_blocks(tmp_path) -> None:
    home = str(tmp_path / ".weir")
    assert "weir up" in Client(home=home).validate("Bash", {"command": "ls"}).reason
    assert "weir up" in asyncio.run(AsyncClient(home=home).validate("Bash", {"command": "ls"})).reason


def test_what_cannot_be_written_as_json_is_a_block_and_the_rest_is_asked(gateway) -> None:
    with Client("a", socket_path=gateway.path) as client:
        odd: list[dict] = [{"command": object()}, {"command": "\ud800"}]
        calls = [client.call("Bash", {"command": "first"}), *(client.call("Bash", one) for one in odd)]
        found = client.validate_many([*calls, client.call("Bash", {"command": "last"})])
    assert [one.verdict for one in found] == ["approve", "block", "block", "approve"]
    assert (found[0].id, found[3].id) == ("first", "last")


def many(number: int, size: int = 1) -> list[ToolCall]:
    return [ToolCall("Bash", {"command": f"{n}".ljust(size)}, "a", cwd="/srv") for n in range(number)]


@pytest.mark.parametrize(("calls", "requests"), [(many(0), 0), (many(1), 1), (many(2_500), 3), (many(20, 100_000), 3)])
def test_many_calls_are_answered_in_their_order_however_many_requests_they_take(gateway, calls, requests) -> None:
    wanted = [call.input["command"] for call in calls]
    with Client(socket_path=gateway.path) as client:
        assert [one.id for one in client.validate_many(calls)] == wanted
    assert gateway.requests == requests

    async def ask() -> list[Decision]:
        async with AsyncClient(socket_path=gateway.path) as client:
            return await client.validate_many(calls)

    assert [one.id for one in asyncio.run(ask())] == wanted


def test_fewer_answers_than_calls_are_none(gateway) -> None:
    gateway.script = lambda connection, _: connection.sendall(http(json.dumps({"decisions": [decision()]}).encode()))
    with Client(socket_path=gateway.path) as client:
        assert [one.verdict for one in client.validate_many(many(2))] == ["block", "block"]


def test_a_thousand_tasks_share_few_connections_and_each_gets_its_own_answer(gateway) -> None:
    async def ask() -> list[Decision]:
        async with AsyncClient("a", socket_path=gateway.path, deadline_s=60) as client:
            return await asyncio.gather(*(client.validate("Bash", {"command": f"{n}"}) for n in range(1000)))

    assert [one.id for one in asyncio.run(ask())] == [f"{n}" for n in range(1000)]
    assert gateway.connections <= 64


def test_a_cancelled_task_leaves_no_answer_for_the_next_one(gateway) -> None:
    def late(connection: socket.socket, body: bytes) -> None:
        time.sleep(0.1)
        echo(connection, body)

    async def ask() -> str:
        async with AsyncClient("a", socket_path=gateway.path, deadline_s=60) as client:
            await client.validate("Bash", {"command": "warm"})
            gateway.script = late
            task = asyncio.create_task(client.validate("Bash", {"command": "given up"}))
            await asyncio.sleep(0.02)
            task.cancel()
            return (await client.validate("Bash", {"command": "next"})).id

    assert asyncio.run(ask()) == "next"


def test_threads_share_a_client_and_each_gets_its_own_answer(gateway) -> None:
    wrong: list[str] = []
    with Client("a", socket_path=gateway.path, deadline_s=60) as client:

        def ask(number: int) -> None:
            names = [f"{number} {count}" for count in range(50)]
            wrong.extend(name for name in names if client.validate("Bash", {"command": name}).id != name)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert not wrong
    assert gateway.connections <= 60


def test_a_child_process_never_reads_the_answers_of_its_parent(gateway) -> None:
    with Client("a", socket_path=gateway.path, deadline_s=60) as client:
        assert client.validate("Bash", {"command": "parent"}).id == "parent"
        child = os.fork()
        if not child:
            found = client.validate("Bash", {"command": "child"}).id
            os._exit(0 if found == "child" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert gateway.connections == 2
        assert client.validate("Bash", {"command": "again"}).id == "again"
        assert gateway.connections == 2


def test_over_tcp_the_token_is_sent_and_never_shown() -> None:
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            heads.append(connection.recv(1 << 16))
            connection.sendall(http(json.dumps(decision()).encode()))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(url=url, token="sesame", deadline_s=5) as client:
        assert client.validate("Bash", {"command": "ls"}).verdict == "approve"
        thread.join()
        listener.close()
        assert b"\r\nAuthorization: Bearer sesame\r\n" in heads[0]
        failed = client.validate("Bash", {"command": "ls"})
    assert failed.verdict == "block"
    assert "sesame" not in failed.reason + failed.remedy
    with pytest.raises(ValueError, match="http://host:port"):
        Client(url="https://example")


def test_an_explanation_that_nobody_gives_is_a_block_without_one(gateway) -> None:
    body = json.dumps({"decision": decision("d1", "block"), "explanation": {"verdict": "block"}}).encode()
    gateway.script = lambda connection, _: connection.sendall(http(body))

    async def ask() -> Explained:
        async with AsyncClient("a", socket_path=gateway.path) as client:
            return await client.explain("Bash", {"command": "ls"})

    with Client("a", socket_path=gateway.path) as client:
        assert client.explain("Bash", {"command": "ls"}) == asyncio.run(ask())
        assert client.explain("Bash", {"command": "ls"}).explanation == {"verdict": "block"}
        assert all(head.startswith(b"POST /v1/explain ") for head in gateway.heads)
        gateway.script = echo
        found = client.explain("Bash", {"command": "ls"})
        assert (found.decision.verdict, found.decision.layer, found.explanation) == ("block", "client", None)


def test_who_asks_and_where_comes_from_the_client_unless_the_call_says_otherwise(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WEIR_AGENT", "env")
    monkeypatch.setenv("WEIR_SESSION", "s1")
    monkeypatch.chdir(tmp_path)
    call = Client().call("Bash", {})
    assert (call.agent, call.session, call.cwd) == ("env", "s1", str(tmp_path))
    call = Client("a", "s2", "/srv").call("Bash", {}, session="s3", wait_ms=5)
    assert (call.agent, call.session, call.cwd, call.wait_ms) == ("a", "s3", "/srv", 5)
    assert issubclass(GatewayUnreachable, NoDecision)
