"""The client of programs with an event loop."""

import asyncio
import os
import select
import time
from collections.abc import Sequence
from typing import Any, Final, Self, Unpack

from app.client.asking import EXPLAIN, Caller, CallFields, Explained, Part, decisions, explained, parts, single
from app.core.decisions import Decision, ToolCall
from app.gateway_socket import (
    Address,
    Answer,
    AnswerReader,
    GatewayUnreachable,
    NoDecision,
    check_peer,
    request,
    unreachable,
)

OPEN_MAX: Final = 64


class AsyncClient(Caller):
    """See Caller. For one event loop at a time; any number of tasks, who share at most 64 connections."""

    _home: tuple[int, asyncio.AbstractEventLoop] | None = None
    _idle: "list[_Line]"
    _places: asyncio.Semaphore

    async def validate(self, tool: str, tool_input: dict[str, Any], **fields: Unpack[CallFields]) -> Decision:
        """Ask about one call."""
        return await self.validate_call(self.call(tool, tool_input, **fields))

    async def validate_call(self, call: ToolCall) -> Decision:
        """Ask about one call that is made already (see `call`)."""
        return (await self._ask(single(call)))[0]

    async def validate_many(self, calls: Sequence[ToolCall]) -> list[Decision]:
        """Ask about many calls, at most 1,000 a request and the requests beside each other; answers in their order."""
        answers = await asyncio.gather(*(self._ask(part) for part in parts(calls)))
        return [decision for answer in answers for decision in answer]

    async def explain(self, tool: str, tool_input: dict[str, Any], **fields: Unpack[CallFields]) -> Explained:
        """See Client.explain."""
        part, started_ns = single(self.call(tool, tool_input, **fields), EXPLAIN), time.monotonic_ns()
        try:
            return explained(await self._exchange(part))
        except NoDecision as error:
            return Explained(self._failed(error, part, started_ns)[0], None)

    async def close(self) -> None:
        """Close the connections that are kept; the client may still be used."""
        self._settle_in()
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # transports close in the next round

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, part: Part) -> list[Decision]:
        started_ns = time.monotonic_ns()
        try:
            return decisions(await self._exchange(part), part)
        except NoDecision as error:
            return self._failed(error, part, started_ns)

    def _settle_in(self) -> None:
        home = os.getpid(), asyncio.get_running_loop()
        if self._home != home:
            # connections of another loop cannot be used here, and those of a parent process would mix up answers
            self._home, self._idle, self._places = home, [], asyncio.Semaphore(OPEN_MAX)

    async def _exchange(self, part: Part) -> Answer:
        self._settle_in()
        if part.refusal is not None:
            raise part.refusal
        address = self._address()
        with unreachable(address):
            asked = request(part.route, part.body, address.token)
            async with asyncio.timeout(self._deadline_s + part.wait_s), self._places:
                return await self._ask_kept(asked) or await self._ask_on(await _open(address), asked, AnswerReader())

    async def _ask_kept(self, asked: bytes) -> Answer | None:
        while self._idle:
            line, reader = self._idle.pop(), AnswerReader()
            if not line.is_quiet():
                line.close()
                continue
            try:
                return await self._ask_on(line, asked, reader)
            except (OSError, GatewayUnreachable):
                if reader.began:
                    raise
        return None

    async def _ask_on(self, line: "_Line", asked: bytes, reader: AnswerReader) -> Answer:
        keep = False
        try:
            answer = await line.ask(asked, reader)
            keep = answer.stays_open
            return answer
        finally:  # also where the task is cancelled: the answer is still on its way
            if keep:
                self._idle.append(line)
            else:
                line.close()


class _Line(asyncio.Protocol):
    """One connection with at most one question on it; what comes unasked closes it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader()
        self._answer: asyncio.Future[Answer] | None = None

    def is_quiet(self) -> bool:
        """Tell whether it is open and nothing came, also nothing that the loop has not read yet."""
        if self._transport is None or self._transport.is_closing():
            return False
        look = select.poll()
        look.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not look.poll(0)

    async def ask(self, asked: bytes, reader: AnswerReader) -> Answer:
        if self._transport is None:
            raise GatewayUnreachable("the gateway closed without an answer; see `weir status`")
        self._reader, self._answer = reader, asyncio.get_running_loop().create_future()
        self._transport.write(asked)
        try:
            return await self._answer
        finally:
            self._answer = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()
            return
        try:
            answer = self._reader.feed(data)
        except GatewayUnreachable as error:
            self._answer.set_exception(error)
            return
        if answer is not None:
            self._answer.set_result(answer)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(GatewayUnreachable("the gateway closed without an answer; see `weir status`"))


async def _open(address: Address) -> _Line:
    loop = asyncio.get_running_loop()
    if address.socket_path:
        transport, line = await loop.create_unix_connection(_Line, address.socket_path)
        try:
            check_peer(transport.get_extra_info("socket"))
        except BaseException:
            line.close()
            raise
    else:
        _, line = await loop.create_connection(_Line, address.host, address.port)
    return line
