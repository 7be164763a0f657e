"""`weir hook claude-code --home DIR`: an agent's hook JSON on stdin, its contract's JSON on stdout.

The project is pinned where the hook is installed (`weir hook settings` prints that); the folder in which the agent
stands has no say in who decides.

Exit codes are only 0 (with an answer) and 2 (refused): agents take every other end of a hook, also a crash or a signal,
as leave to go on. So the exception hook and the stopping signals end with 2, and a gateway that is away is a deny.
Standard library only, and little of it: this runs before every tool call.
"""

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from app.gateway_place import find_socket, pinned_home
from app.gateway_socket import GatewayUnreachable, post

if TYPE_CHECKING:
    import typer

REFUSED: Final = 2
AGENTS: Final = ("claude-code",)
USAGE: Final = "weir hook claude-code [--home /path/to/.weir] | weir hook settings [--home /path/to/.weir]"
INPUT_BYTES_MAX: Final = 64 * 1024 * 1024
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_URL_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def main(arguments: list[str]) -> int:
    """Answer one hook; returns 0 after an answer, 2 otherwise."""
    sys.excepthook = _refuse_crash
    for number in _SIGNALS:
        signal.signal(number, _refuse_signal)
    if arguments in (["--help"], ["-h"]):
        print(f"usage: {USAGE} < hook.json\n\nReads the agent's hook JSON, prints its contract's answer.")
        print("`weir hook settings` prints what to put into the agent's settings.")
        return 0
    name, *rest = arguments or [""]
    home = _home(rest)
    if home is None or name not in (*AGENTS, "settings"):
        return _refuse(f"usage: {USAGE}")
    if name == "settings":
        return _settings(home)
    return _write(_ask(name, sys.stdin.buffer.read(INPUT_BYTES_MAX), home))


def _home(arguments: list[str]) -> str | None:
    match arguments:
        case []:
            return ""
        case ["--home", home] if home:
            return home
        case _:
            return None


def _settings(home: str) -> int:
    try:
        place = pinned_home(home=home)
    except GatewayUnreachable as error:
        return _refuse(str(error))
    words = [str(Path(sys.argv[0]).absolute()), "hook", "claude-code", "--home", str(place)]
    hook = {"type": "command", "command": shlex.join(words), "onFailure": "block"}
    print(json.dumps({"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}}, indent=2))
    return 0


def _ask(agent: str, body: bytes, home: str) -> bytes:
    try:
        answer = post(find_socket(home=home), f"/v1/hooks/{agent}{_name(os.environ.get('WEIR_AGENT', ''))}", body)
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

    @app.command("hook", help="Answer an agent's hook. Its JSON on stdin, its contract's on stdout.")
    def hook(
        agent: str = typer.Argument(help=f"One of: {', '.join(AGENTS)}; or `settings`: print the agent's settings."),
        home: str = typer.Option("", help="The project's .weir folder, by its whole path; else WEIR_HOME."),
    ) -> None:
        sys.exit(main([agent, *(["--home", home] if home else [])]))
