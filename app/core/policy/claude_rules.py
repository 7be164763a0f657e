"""Permissions of Claude's settings.json: `deny` is block, `ask` is escalate, `allow` is approve; the strictest wins in
both. Its command patterns mean here what they mean there: a prefix of words, and no second command behind it.
"""

import re
from typing import Any, Final

import msgspec

from app.core.decisions import Verdict
from app.core.errors import RequestInvalid
from app.core.policy.foreign import Entry

_DECIDES: Final = {"deny": Verdict.BLOCK, "ask": Verdict.ESCALATE, "allow": Verdict.APPROVE}
_EDITS: Final = ("Edit", "Write", "MultiEdit", "NotebookEdit")
_READS: Final = ("Read", "Glob", "Grep", "LS", "NotebookRead")
_MORE: Final = re.compile(r"[|;&<>\n`]|\$\(")
_QUOTED: Final = re.compile(r"[\"'\\]")
_ASSIGNS: Final = re.compile(r"\w+=")
_NAME: Final = re.compile(r"\w[\w-]*")
_HOST: Final = re.compile(r"(\*\.)?[^*/\s]+|\*")
_SETTINGS: Final = frozenset(("defaultMode", "additionalDirectories", "disableBypassPermissionsMode"))


class _NotSaid(Exception):
    """Why an entry has no rule of ours."""


def claude_entries(content: bytes, source: str, home: str) -> list[Entry]:
    """Return the entries of a settings file; raises RequestInvalid where it is none. `home` is what `~` stands for."""
    permissions = _permissions(content, source)
    text = content.decode(errors="replace").splitlines()
    found = []
    for key, value in permissions.items():
        if key not in _DECIDES:
            why = "is a setting of Claude's, not a rule" if key in _SETTINGS else "is not known"
            found.append(Entry(key, _line(text, key), Verdict.ESCALATE, why_not=f"`{key}` {why}"))
            continue
        decide = _DECIDES[key]
        found += [_entry(one, _line(text, one), decide, source, home) for one in _list(value, key, source)]
    return found


def _permissions(content: bytes, source: str) -> dict[str, Any]:
    try:
        settings = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestInvalid(f"{source}: not JSON ({error}); give Claude's settings.json") from error
    permissions = settings.get("permissions") if isinstance(settings, dict) else None
    if not isinstance(permissions, dict):
        raise RequestInvalid(f"{source}: has no `permissions`; give Claude's settings.json")
    return permissions


def _list(value: Any, key: str, source: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RequestInvalid(f"{source}: permissions.{key} is no list of texts; mend it first")
    return value


def _line(text: list[str], entry: str) -> int:
    written = msgspec.json.encode(entry).decode()
    return next((number for number, line in enumerate(text, 1) if written in line), 1)


def _entry(text: str, line: int, decide: Verdict, source: str, home: str) -> Entry:
    try:
        return _translated(text, line, decide, source, home)
    except _NotSaid as why:
        return Entry(text, line, decide, why_not=str(why))


def _translated(text: str, line: int, decide: Verdict, source: str, home: str) -> Entry:
    tool, opening, rest = text.strip().partition("(")
    if opening and not rest.endswith(")"):
        raise _NotSaid("it has no closing bracket")
    inner = rest[:-1].strip() if opening else ""
    approves = decide is Verdict.APPROVE
    examples: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    if tool == "Bash":
        match, examples, unlike = _command(inner, approves=approves)
    elif tool in _EDITS or tool in _READS:
        tools = _EDITS if tool == "Edit" and inner in {"", "*", "**"} else (tool,)
        match = tuple([f"{one}({_path(inner, home)})" if inner not in {"", "*", "**"} else one for one in tools])
    else:
        match = (_other(tool, inner, approves=approves),)
    words = {Verdict.BLOCK: "denies", Verdict.ESCALATE: "asks about", Verdict.APPROVE: "allows"}
    keeps = approves and (tool == "Bash" or tool in _EDITS)
    return Entry(text, line, decide, match, f"{source} {words[decide]} {text}.", examples, unlike, keeps_to=keeps)


def _command(inner: str, *, approves: bool) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    if not inner.strip("*: "):
        if approves:
            raise _NotSaid("it would approve every command that no other rule speaks of; state what may run")
        return ("Bash",), ("any-program x",), ()
    if _MORE.search(inner):
        raise _NotSaid("it is more than one simple command, and each is judged by itself; state them one by one")
    if _QUOTED.search(inner):
        raise _NotSaid("it has quotes; rules see words as the program gets them, state it without")
    if _ASSIGNS.match(inner):
        raise _NotSaid("it begins with an assignment; state the program")
    prefix = next((inner[: -len(ending)] for ending in (":*", " *") if inner.endswith(ending)), "")
    if not prefix or "*" in prefix:
        return (f"Bash({inner})",), (inner.removesuffix(":*").replace("*", "x"),), ()
    glued = (f"{prefix}x",) if prefix[-1].isalnum() else ()
    return (f"Bash({prefix}:*)",), (prefix, f"{prefix} x"), glued


def _path(inner: str, home: str) -> str:
    """Claude's anchors: `//` the root, `~/` the home, `/` and `./` the project, a bare name any depth."""
    if re.search(r"[\[\]{}!\\]", inner):
        raise _NotSaid("its path has more than *, ** and ?")
    if inner.startswith("//"):
        return inner[1:]
    if inner.startswith("~/"):
        return f"{home}/{inner[2:]}"
    if inner.startswith("/"):
        return f".{inner}"
    if inner.startswith(("~", "../")):
        raise _NotSaid("its path lies where no rule can name it; state it from the root")
    return inner


def _other(tool: str, inner: str, *, approves: bool) -> str:
    if tool == "WebFetch" and inner:
        host = inner.removeprefix("domain:")
        if host == inner or _HOST.fullmatch(host) is None:
            raise _NotSaid("only domain:NAME and domain:*.NAME can be said")
        return f"WebFetch(domain:{host})"
    if inner and inner != "*":
        raise _NotSaid(f"{tool} takes no pattern here")
    if "*" in tool and approves and re.match(r"mcp__[^*]+__", tool) is None:
        raise _NotSaid("it would approve tools that it does not name")
    if _NAME.fullmatch(tool.replace("*", "x")) is None:
        raise _NotSaid("it names no tool")
    return tool
