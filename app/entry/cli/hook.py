"""`weir hook claude-code`: an agent's hook JSON on stdin, its contract's JSON on stdout.

Exit codes are only 0 (with an answer) and 2 (refused): agents take every other end of a hook, also a crash or a signal,
as leave to go on. So the exception hook and the stopping signals end with 2, and a gateway that is away is a deny.
Standard library only, and little of it: this runs before every tool call.
"""

import json
import os
import signal
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final

from app.gateway_socket import GatewayUnreachable, find_socket, post

if TYPE_CHECKING:
    import typer

REFUSED: Final = 2
AGENTS: Final = ("claude-code",)
INPUT_BYTES_MAX: Final = 64 * 1024 * 1024
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_URL_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def main(arguments: list[str]) -> int:
    """Answer one hook; returns 0 after an answer, 2 otherwise."""
    sys.excepthook = _refuse_crash
    for number in _SIGNALS:
        signal.signal(number, _refuse_signal)
    if arguments in (["--help"], ["-h"]):
        print("usage: weir hook claude-code < hook.json\n\nReads the agent's hook JSON, prints its contract's answer.")
        return 0
    if len(arguments) != 1 or arguments[0] not in AGENTS:
        return _refuse(f"usage: weir hook {'|'.join(AGENTS)}")
    return _write(_ask(arguments[0], sys.stdin.buffer.read(INPUT_BYTES_MAX)))


def _ask(agent: str, body: bytes) -> bytes:
    try:
        answer = post(find_socket(), f"/v1/hooks/{agent}{_name(os.environ.get('WEIR_AGENT', ''))}", body)
        answered = answer.json()
    except GatewayUnreachable as error:
        return deny(f"Weir is not reachable, so nothing was decided: {error}")
    if answer.status != 200 or not isinstance(answered, dict):
        return deny(f"Weir answered with status {answer.status}; see `weir status`")
    return answer.body


def _name(agent: str) -> str:
    safe = "".join(
        letter if letter in _URL_SAFE else "".join(f"%{byte:02X}" for byte in os.fsencode(letter)) for letter in agent
    )
    return f"?agent={safe}" if safe else ""


def deny(reason: str) -> bytes:
    """Return a deny in the contract."""
    output = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason}
    return json.dumps({"hookSpecificOutput": output}).encode()


def _write(answer: bytes) -> int:
    try:
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()
    except OSError as error:
        return _refuse(f"the answer could not be written: {error}")
    return 0


def _refuse(reason: str) -> int:
    print(f"weir hook: {reason}", file=sys.stderr, flush=True)
    return REFUSED


def _refuse_signal(number: int, _frame: object) -> None:
    os.write(2, b"weir hook: stopped by signal %d before an answer\n" % number)
    os._exit(REFUSED)


def _refuse_crash(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    os.write(2, f"weir hook: failed ({kind.__name__}: {error}); the call is refused\n".encode("utf-8", "replace"))
    os._exit(REFUSED)


def register(app: "typer.Typer") -> None:
    """Add the command (for `--help`; `weir hook` itself is dispatched to `main` without typer)."""
    import typer

    @app.command("hook", help="Answer an agent's hook: its JSON on stdin, its contract's JSON on stdout.")
    def hook(agent: str = typer.Argument(help=f"One of: {', '.join(AGENTS)}")) -> None:
        sys.exit(main([agent]))
