"""Who may steer: not an agent, nor what an agent started. A guard rail for one user id; docs/security.md says more."""

import os
from pathlib import Path
from typing import Final

from app.core.errors import RequestInvalid

_AGENT: Final = b"WEIR_AGENT="


def refuse_agents(what: str) -> None:
    """Raise RequestInvalid when this process or one of its ancestors carries an agent's environment."""
    pid = os.getpid()
    while pid > 1:
        if _has_agent(pid):
            raise RequestInvalid(f"`weir {what}` is refused to agents (WEIR_AGENT in process {pid}): ask a person")
        pid = _parent(pid)


def _has_agent(pid: int) -> bool:
    try:
        return any(word.startswith(_AGENT) for word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return False


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
