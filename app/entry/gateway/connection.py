"""One HTTP/1.1 connection: httptools in, answers out in the order of the requests (pipelining), everything bounded.

A whole web framework costs 4-5 times the request; this costs one callback a header. Bounds: 32 KiB of headers, 1 MiB of
body, 64 unanswered requests (then reading pauses). What does not parse is answered once and the connection closed. A
refused body is drained for a while, so that the peer reads the answer and not a reset.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from app.core.errors import WeirError
from app.entry.gateway.heads import Head, KnownHeads
from app.entry.gateway.problems import Problem
from app.entry.gateway.requests import Line, Request

HEAD_BYTES_MAX: Final = 32 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024
PIPELINE_MAX: Final = 64
DRAIN_BYTES_MAX: Final = 32 * 1024 * 1024
BARRED_S: Final = 2.0
IDLE_NS_MAX: Final = 75_000_000_000
SILENT_NS_MAX: Final = 15_000_000_000
"""How long a new connection may be silent: who has never asked holds a place that another could have."""
ARRIVAL_NS_MAX: Final = 15_000_000_000
_HEADERS: Final = frozenset({b"host", b"origin", b"authorization", b"content-type", b"expect", b"content-length"})
_known: Final = KnownHeads()
FAULTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
    WeirError,
)
"""What a fault in serving a request would raise; the parser turns those in its callbacks into one error of its own."""


class Site(Protocol):
    """What connections serve."""

    def serve(self, request: Request) -> None:
        """Answer a whole request, now or later."""

    def refuse(self, request: Request, problem: Problem) -> None:
        """Answer a request that did not arrive whole."""

    def joined(self, connection: "HttpConnection") -> Problem | None:
        """Take a new connection in; a problem refuses it."""

    def left(self, connection: "HttpConnection") -> None:
        """Forget a closed connection."""


class HttpConnection(Line):
    """Parser callbacks and the queue of answers of one connection: an asyncio.Protocol by what it has."""

    def __init__(self, site: Site, *, over_tcp: bool) -> None:
        super().__init__(over_tcp=over_tcp)
        self._site = site
        self.last_ns = 0
        self._begun_ns = 0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._order: deque[Request] = deque()
        self._current: Request | None = None
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._drained_bytes = -1
        self._barred: Problem | None = None
        self._asked = False
        self._paused = False
        self._full = False
        self._held = False
        self._feeding = False
        self._fed = b""

    @property
    def transport(self) -> asyncio.Transport:
        """Return the transport of an open connection."""
        assert self._transport is not None
        return self._transport

    @property
    def idle(self) -> bool:
        """Tell whether no request is under way."""
        return not self._order and self._current is None

    @property
    def owes(self) -> bool:
        """Tell whether a whole request waits for its answer."""
        return bool(self._order)

    def is_stale(self, now_ns: int) -> bool:
        """Tell whether nothing came for too long between requests, or a request takes too long to arrive."""
        if self._current is not None:
            return now_ns - self._begun_ns > ARRIVAL_NS_MAX
        return not self._order and now_ns - self.last_ns > (IDLE_NS_MAX if self._asked else SILENT_NS_MAX)

    def give_up(self) -> None:
        """End a stale connection; who sent a part of a request is told, in its own contract."""
        if self._current is None:
            self._close()
        else:
            detail = f"the request took longer than {ARRIVAL_NS_MAX // 10**9} s to arrive"
            self._refuse_all(Problem(408, "slow-request", detail, "send it at once"))

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self.last_ns = time.monotonic_ns()
        self._barred = self._site.joined(self)
        if self._barred is not None:
            # not refused yet: a hook takes every answer but its own contract's for leave, so its path has to be known
            asyncio.get_running_loop().call_later(BARRED_S, self._refuse_barred)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See asyncio.Protocol."""
        self._transport = None
        self._order.clear()
        self._site.left(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.last_ns = time.monotonic_ns()
        self._asked = True
        if self._drained_bytes >= 0:
            self._drain(len(data))
            return
        self._feeding = True
        head = _known.of(data) if self._current is None and not self.closing and self._barred is None else None
        problem = self._feed(data) if head is None else self._take(head, data)
        self._feeding = False
        if problem is not None:
            self._refuse_all(problem)
        elif len(self._order) > PIPELINE_MAX and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        order = self._order
        if not order or order[0].done is not None:
            self.flush()

    def eof_received(self) -> bool:
        """See asyncio.Protocol: a peer that only stopped writing still gets its answers, also to half a request."""
        self.closing = True
        if self._current is not None:
            self._refuse_all(Problem(400, "cut-short", "the request ends before its end", "send it whole"))
        return bool(self._order)

    def _take(self, head: Head, data: bytes) -> Problem | None:
        """Serve a request whose head was parsed before; the parser does not see it."""
        method, path, query, headers, body_from, _ = head
        request = Request(self, self.over_tcp, self.last_ns, method, path, query, headers, data[body_from:])
        self._order.append(request)
        try:
            self._site.serve(request)
        except FAULTS as error:
            return _failed(error)
        request.body = b""  # read, and until the answer goes it would be cold memory
        return None

    def _feed(self, data: bytes) -> Problem | None:
        self._fed = data if self._current is None else b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, Problem):
                return cause
            return _failed(cause or error)
        except httptools.HttpParserUpgrade:
            return Problem(400, "upgrade", "this server speaks HTTP/1.1 only", "send no Upgrade header", "Upgrade")
        except httptools.HttpParserError as error:
            return Problem(400, "malformed-http", f"not an HTTP/1.1 request: {error}", "use an HTTP client")
        if self._current is not None and not self._current.started_ns:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                return _head_too_large()
        return None

    # ---- httptools

    def on_message_begin(self) -> None:
        """See httptools."""
        self._current = Request(self, self.over_tcp)
        self._begun_ns = time.monotonic_ns()
        self._head_bytes = self._body_bytes = 0
        self._body = []

    def on_url(self, url: bytes) -> None:
        """See httptools; a long target comes in pieces."""
        assert self._current is not None
        self._current.path += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """See httptools."""
        assert self._current is not None
        value = value or b""
        self._count_head(len(name) + len(value))
        name = name.lower()
        if name in _HEADERS:
            if name in self._current.headers:
                raise Problem(400, "repeated-header", "a header stands twice", "send it once", name.decode())
            self._current.headers[name] = value

    def _count_head(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > HEAD_BYTES_MAX:
            raise _head_too_large()

    def on_headers_complete(self) -> None:
        """See httptools."""
        request = self._current
        assert request is not None
        request.started_ns = time.monotonic_ns()
        request.method = self._parser.get_method()
        request.path, _, request.query = request.path.partition(b"?")
        request.keep_alive = self._parser.should_keep_alive()
        headers = request.headers
        if self._barred is not None:
            raise self._barred
        if self._parser.should_upgrade():
            raise Problem(400, "upgrade", "this server speaks HTTP/1.1 only", "send no Upgrade header", "Upgrade")
        if int(headers.get(b"content-length", b"0")) > BODY_BYTES_MAX:
            raise _body_too_large()
        if headers.get(b"expect", b"").lower() == b"100-continue" and not self._order:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX:
            raise _body_too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        request, self._current = self._current, None
        assert request is not None
        request.started_ns = self.last_ns  # a call has arrived when all of it has
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._order.append(request)
        if self.closing:
            return
        self.closing = not request.keep_alive
        if self._fed and request.keep_alive:
            _known.learn(self._fed, request.method, request.path, request.query, request.headers, request.body)
        self._site.serve(request)
        request.body = b""

    # ---- answering

    def flush(self) -> None:
        """Write what is answered at the front of the order; called again when an answer comes."""
        order = self._order
        if self._feeding or self._transport is None or (order and order[0].done is None):
            return
        if len(order) == 1 and not (self._paused or self.closing):
            self._transport.write(cast("bytes", order.popleft().done))
        else:
            self._flush_many(self._transport)

    def _flush_many(self, transport: asyncio.Transport) -> None:
        order, ready = self._order, list[bytes]()
        while order and (data := order[0].done) is not None:
            order.popleft()
            ready.append(data)
        if ready:
            transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if order:
            return
        if self._paused:
            self._paused = False
            self._read_on()
        if self.closing and self._drained_bytes < 0:
            transport.close()
        elif self.closing and ready and transport.can_write_eof():
            transport.write_eof()

    def close_when_answered(self) -> None:
        """Take no further request."""
        self.closing = True
        if self._current is None:
            self.flush()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: a peer that does not read its answers is not read either."""
        self._full = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = False
        self._read_on()

    def hold(self) -> None:
        """Read nothing until `release`: the gateway as a whole has to wait."""
        self._held = True
        if self._transport is not None:
            self._transport.pause_reading()

    def release(self) -> None:
        """Read again what is not paused for another reason."""
        self._held = False
        self._read_on()

    def _read_on(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not (self._paused or self._full or self._held):
            self._transport.resume_reading()

    def _refuse_all(self, problem: Problem) -> None:
        request = self._current or Request(self, self.over_tcp)
        if self._current is not None and not request.method:
            request.method = self._parser.get_method()
        request.keep_alive = False
        request.path = request.path.partition(b"?")[0]
        self._current = None
        self._order.append(request)
        self._drained_bytes = 0
        self.closing = True
        self._site.refuse(request, problem)
        asyncio.get_running_loop().call_later(2, self._close)

    def _refuse_barred(self) -> None:
        if self._barred is not None and self._drained_bytes < 0 and self._transport is not None:
            self._refuse_all(self._barred)

    def _drain(self, size_bytes: int) -> None:
        self._drained_bytes += size_bytes
        if self._drained_bytes > DRAIN_BYTES_MAX:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


Factory = Callable[[], HttpConnection]


def _failed(error: BaseException) -> Problem:
    # not ours to hide: told on stderr by the loop, and the caller is answered
    asyncio.get_running_loop().call_exception_handler({"message": "a request failed", "exception": error})
    return Problem(500, "internal", "the gateway failed on this request", "try again; see the gateway's log")


def _head_too_large() -> Problem:
    return Problem(431, "large-headers", f"the headers pass {HEAD_BYTES_MAX} bytes", "send fewer or shorter headers")


def _body_too_large() -> Problem:
    remedy = "send large content as a file, and its path; or split the calls"
    return Problem(413, "large-body", f"the body passes {BODY_BYTES_MAX} bytes", remedy)
