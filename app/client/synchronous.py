"""The client of programs without an event loop."""

import os
import time
from collections.abc import Sequence
from typing import Any, Final, Self, Unpack

from app.client.asking import EXPLAIN, Caller, CallFields, Explained, Part, decisions, explained, parts, single
from app.core.decisions import Decision, ToolCall
from app.gateway_socket import (
    Answer,
    AnswerReader,
    Connection,
    GatewayUnreachable,
    NoDecision,
    request,
    unreachable,
)

IDLE_MAX: Final = 8


class Client(Caller):
    """See Caller. May be shared by threads, each of which has a connection while it asks; survives a fork."""

    _idle: tuple[int, list[Connection]] = (0, [])
    """The process that opened them, and connections that nobody uses; append and pop are single steps, so no lock."""

    def validate(self, tool: str, tool_input: dict[str, Any], **fields: Unpack[CallFields]) -> Decision:
        """Ask about one call."""
        return self.validate_call(self.call(tool, tool_input, **fields))

    def validate_call(self, call: ToolCall) -> Decision:
        """Ask about one call that is made already (see `call`)."""
        return self._ask(single(call))[0]

    def validate_many(self, calls: Sequence[ToolCall]) -> list[Decision]:
        """Ask about many calls, at most 1,000 a request; the answers are in their order."""
        return [decision for part in parts(calls) for decision in self._ask(part)]

    def explain(self, tool: str, tool_input: dict[str, Any], **fields: Unpack[CallFields]) -> Explained:
        """Ask why a call would be decided as it would; nothing is recorded."""
        part, started_ns = single(self.call(tool, tool_input, **fields), EXPLAIN), time.monotonic_ns()
        try:
            return explained(self._answer(part))
        except NoDecision as error:
            return Explained(self._failed(error, part, started_ns)[0], None)

    def close(self) -> None:
        """Close the connections that are kept; the client may still be used."""
        while (connection := self._pop()) is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, part: Part) -> list[Decision]:
        started_ns = time.monotonic_ns()
        try:
            return decisions(self._answer(part), part)
        except NoDecision as error:
            return self._failed(error, part, started_ns)

    def _answer(self, part: Part) -> Answer:
        if part.refusal is not None:
            raise part.refusal
        until = time.monotonic() + self._deadline_s + part.wait_s
        address = self._address()
        with unreachable(address):
            asked = request(part.route, part.body, address.token)
            kept, reader = self._quiet(), AnswerReader()
            if kept is not None:
                try:
                    return self._ask_on(kept, asked, until, reader)
                except TimeoutError:
                    raise
                except (OSError, GatewayUnreachable):
                    if reader.began:
                        raise
            return self._ask_on(Connection(address, until), asked, until, AnswerReader())

    def _ask_on(self, connection: Connection, asked: bytes, until: float, reader: AnswerReader) -> Answer:
        keep = False
        try:
            answer = connection.ask(asked, until, reader)
            keep = answer.stays_open and len(self._idle[1]) < IDLE_MAX
            return answer
        finally:
            if keep and self._idle[0] == os.getpid():
                self._idle[1].append(connection)
            else:
                connection.close()

    def _quiet(self) -> Connection | None:
        if self._idle[0] != os.getpid():
            # a connection that parent and child both read would give one the other's answer
            self.close()
            self._idle = os.getpid(), []
        while (connection := self._pop()) is not None:
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def _pop(self) -> Connection | None:
        try:
            return self._idle[1].pop()
        except IndexError:
            return None
