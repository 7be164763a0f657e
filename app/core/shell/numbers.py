"""Commands that print one number, or nothing but numbers, whatever they read."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.arithmetic import is_number
from app.core.shell.form import marks_of

_FILTERS: Final = frozenset(("head", "tail", "sort", "uniq", "cut"))
_DELETES: Final = re.compile(r"-[cds]+|--(?:delete|complement|squeeze-repeats)")
_SCREEN: Final = frozenset(("cols", "lines", "colors"))


def prints_numbers(program: str, words: list[str], stdin: str | None) -> bool:
    """Tell whether a command prints digits alone."""
    step = _STEPS.get(program)
    if step is not None and step(words):
        return True
    if not stdin or not is_number(stdin):
        return False
    if program == "tr":
        return len(words) > 1 and _DELETES.fullmatch(words[1]) is not None
    return (program == "xargs" and len(words) == 1) or (program in _FILTERS and not _operands(words))


def _operands(words: list[str]) -> list[str]:
    return [word for word in words[1:] if not word.startswith("-") and not word.isdecimal()]


def _count(words: list[str]) -> bool:
    """`wc -l` of its input; a file's name would stand beside the number."""
    return not _operands(words) and not any(word.startswith("--files") for word in words)


def _grep(words: list[str]) -> bool:
    counts = any(re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*|--count", word) for word in words[1:])
    rest = [word for word in words[1:] if not word.startswith("-")]
    return counts and len(rest) < 3 and not any(re.match(r"-[a-zA-Z]*[rRHfbnT]|--[^c]", word) for word in words[1:])


def _date(words: list[str]) -> bool:
    return any(re.fullmatch(r"\+[%sNYmdHMSyjuF-]+", word) for word in words[1:])


def _stat(words: list[str]) -> bool:
    formats = [b for a, b in pairwise(words) if a in {"-c", "--format", "-f"}]
    return bool(formats) and all(re.fullmatch(r"%[sYXZWahbBiz]", one) for one in formats)


def _expr(words: list[str]) -> bool:
    """A number where each word is one or an operator, and not where `:` or `match` cut a text."""
    return all(is_number(word) or word in {"+", "-", "*", "/", "%"} for word in words[1:])


def _seq(words: list[str]) -> bool:
    return all(is_number(word) and not word.startswith("-") for word in words[1:])


def _curl(words: list[str]) -> bool:
    """The status alone, where what was fetched goes to a file."""
    named = ["%{http_code}", "%{response_code}"]
    silent = any(re.fullmatch(r"-[a-zA-Z]*o|--output", word) for word in words)
    return silent and any(b.strip() in named for a, b in pairwise(words) if a[-1:] == "w")


def _awk(words: list[str]) -> bool:
    return any(re.fullmatch(r"END\s*\{\s*print NR\s*\}", word) for word in words[1:2])


def _jq(words: list[str]) -> bool:
    return any(re.search(r"(?:^|\|\s*)length\s*\Z", word) for word in words[1:3])


def _always(words: list[str]) -> bool:
    return not any(marks_of(word) for word in words)


_STEPS: Final[dict[str, Callable[[list[str]], bool]]] = {
    "wc": _count,
    "grep": _grep,
    "date": _date,
    "stat": _stat,
    "expr": _expr,
    "seq": _seq,
    "curl": _curl,
    "awk": _awk,
    "jq": _jq,
    **dict.fromkeys(("nproc", "pidof"), _always),
    "id": lambda words: bool({"-u", "-g"} & set(words)) and not any("n" in word for word in words[1:]),
    "tput": lambda words: words[1:2] != [] and words[1] in _SCREEN,
    "git": lambda words: words[1:2] == ["rev-list"] and "--count" in words,
}
