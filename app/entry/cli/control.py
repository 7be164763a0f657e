"""Who may steer: not an agent, nor what an agent started. A guard rail for one user id; docs/security.md says more."""

import os
from pathlib import Path
from typing import Final

from app.core.errors import RequestInvalid

WEIR_AGENT: Final = frozenset({"WEIR_AGENT"})
AGENTS: Final = WEIR_AGENT | {
    "AI_AGENT",
    "CLAUDECODE",
    "CLAUDE_CODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    "OPENCODE",
}
"""Variables that coding agents set for what they start."""


def refuse_agents(what: str, marks: frozenset[str] = WEIR_AGENT) -> None:
    """Raise RequestInvalid when this process or one of its ancestors carries an agent's environment."""
    pid = os.getpid()
    while pid > 1:
        mark = _mark(pid, marks)
        if mark:
            raise RequestInvalid(f"`weir {what}` is refused to agents ({mark} in process {pid}): ask a person")
        pid = _parent(pid)


def _mark(pid: int, marks: frozenset[str]) -> str:
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((name for word in words if (name := word.partition(b"=")[0].decode(errors="replace")) in marks), "")


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
