"""The control of the cached figures: httptools on an asyncio protocol, the same answer to every request.

`python -m tests.performance.bare_http SOCKET`: what a gateway in Python could at most answer here.
"""

import asyncio
import sys
from typing import Any

import httptools
import uvloop

_BODY = b'{"id":"0","layer":"none","cached":true,"degraded":false,"duration_us":0,%b}' % (b'"shown":"' + b"x" * 320 + b'"')
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Bare(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(_ANSWER)


async def main(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Bare, path, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
