"""The client library: asks a gateway whether a tool call may happen; Client for threads, AsyncClient for asyncio.

    from app.client import Client
    decision = Client().validate("Bash", {"command": "ls -la"})

Fail closed: where no gateway decides (away, too slow, not a gateway, a request that it refuses) the answer is a
Decision with verdict block and layer `client` that says why; with `raise_on_failure` it is NoDecision instead.
Connections are kept and carry one question at a time; one on which anything went wrong is closed, never asked again. A
question goes out a second time only where a kept connection turns out to have ended before a byte of an answer.
"""

from app.client.asking import CallFields, Explained, RequestRefused
from app.client.asynchronous import AsyncClient
from app.client.synchronous import Client
from app.core.decisions import Decision, ToolCall, Verdict
from app.gateway_socket import GatewayUnreachable, NoDecision

__all__ = [
    "AsyncClient",
    "CallFields",
    "Client",
    "Decision",
    "Explained",
    "GatewayUnreachable",
    "NoDecision",
    "RequestRefused",
    "ToolCall",
    "Verdict",
]
