"""Codex's prefix rules: `prefix_rule(pattern = ["git", ["push", "pull"]], decision = "prompt", ...)`, a file of calls.

The file is parsed and only literal values are read: nothing of it runs. `forbidden` is block, `prompt` is escalate,
`allow` (its default) is approve; the strictest wins in both.
"""

import ast
import itertools
import re
import shlex
from typing import Any, Final

from app.core.decisions import Verdict
from app.core.errors import RequestInvalid
from app.core.policy.foreign import Entry

_DECIDES: Final = {"forbidden": Verdict.BLOCK, "prompt": Verdict.ESCALATE, "allow": Verdict.APPROVE}
_FIELDS: Final = frozenset(("pattern", "decision", "justification", "match", "not_match"))
_WORDS: Final = {Verdict.BLOCK: "forbids", Verdict.ESCALATE: "asks about", Verdict.APPROVE: "allows"}
PREFIXES_MAX: Final = 64
SHOWN_CHARACTERS: Final = 120


class _NotSaid(Exception):
    """Why a rule has none of ours."""


def codex_entries(content: bytes, source: str) -> list[Entry]:
    """Return the entries of a rules file; raises RequestInvalid with the line where it is none."""
    try:
        tree = ast.parse(content.decode(), filename=source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise RequestInvalid(f"{source}:{line}: not a rules file ({error}); give a file of prefix_rule(...)") from error
    return [entry for statement in tree.body if (entry := _entry(statement, source)) is not None]


def _entry(statement: ast.stmt, source: str) -> Entry | None:
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Constant):
        return None  # a text that explains
    text = ast.unparse(statement)
    shown = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
    try:
        return _translated(_fields(value), shown, statement.lineno, source)
    except _NotSaid as why:
        return Entry(shown, statement.lineno, Verdict.ESCALATE, why_not=str(why))


def _fields(call: ast.expr | None) -> dict[str, Any]:
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "prefix_rule":
        raise _NotSaid("only prefix_rule(...) is read")
    if call.args or any(keyword.arg not in _FIELDS for keyword in call.keywords):
        raise _NotSaid(f"prefix_rule takes {', '.join(sorted(_FIELDS))} by name")
    try:
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise _NotSaid("its values are not written out") from error


def _translated(fields: dict[str, Any], text: str, line: int, source: str) -> Entry:
    decide = _DECIDES.get(fields.get("decision", "allow"))
    if decide is None:
        raise _NotSaid("its decision is not allow, prompt or forbidden")
    prefixes = _prefixes(fields.get("pattern"), approves=decide is Verdict.APPROVE)
    justification = fields.get("justification", "")
    reason = justification if isinstance(justification, str) and justification.strip() else ""
    examples = _commands(fields.get("match", [])) or (prefixes[0], f"{prefixes[0]} x")
    return Entry(
        text,
        line,
        decide,
        tuple([f"Bash({prefix}:*)" for prefix in prefixes]),
        reason or f"{source} {_WORDS[decide]} {prefixes[0]}.",
        examples,
        _commands(fields.get("not_match", [])),
        keeps_to=decide is Verdict.APPROVE,
    )


def _prefixes(pattern: Any, *, approves: bool) -> list[str]:
    if not isinstance(pattern, list) or not pattern:
        raise _NotSaid("its pattern is no list of words")
    steps = [[step] if isinstance(step, str) else step for step in pattern]
    if not all(isinstance(step, list) and step and all(isinstance(word, str) for word in step) for step in steps):
        raise _NotSaid("its pattern holds more than words and lists of words")
    odd = next((word for step in steps for word in step if not word or re.search(r"[\s*]", word)), None)
    if odd is not None and (approves or not odd):
        raise _NotSaid(f"the word {odd!r} cannot be told from others in a rule")
    combined = [" ".join(words) for words in itertools.islice(itertools.product(*steps), PREFIXES_MAX + 1)]
    if len(combined) > PREFIXES_MAX:
        raise _NotSaid(f"its alternatives make more than {PREFIXES_MAX} prefixes")
    return combined


def _commands(given: Any) -> tuple[str, ...]:
    found = given if isinstance(given, list) else [given]
    texts = [
        shlex.join(one) if isinstance(one, list) and all(isinstance(w, str) for w in one) else one for one in found
    ]
    if not all(isinstance(one, str) for one in texts):
        raise _NotSaid("an example is neither a text nor a list of words")
    return tuple(texts)
