"""Commands that print one number, or nothing but numbers, whatever they read.

An option that is not known here may have them print names, lines or what another machine says: then it is no number.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.arithmetic import is_number
from app.core.shell.form import marks_of

_FILTERS: Final = frozenset(("head", "tail", "sort", "uniq", "cut"))
_DELETES: Final = re.compile(r"-[cs]*d[cds]*|--delete")
_VALUED: Final = re.compile(r"-[nckf]")
_COUNTS: Final = re.compile(r"-[EFGPivwxsq]*c[EFGPivwxsqc]*|--count")
_MATCHES: Final = re.compile(r"-[EFGPivwxsq]+")
_GLOB: Final = re.compile(r"[*?\[]")
_PLAIN_JQ: Final = re.compile(r"-[rcnsSMaj]+")
_LENGTH: Final = re.compile(r"(?:^|\|\s*)length\s*\Z")
_FETCH: Final = re.compile(
    r"-[sSkLIfg46]*[owmXHAu]?|--(?:silent|show-error|location|head|fail|insecure|compressed|output|write-out|max-time"
    r"|connect-timeout|retry|retry-delay|request|header|user)"
)
_FETCH_FLAGS: Final = frozenset(("silent", "show-error", "location", "head", "fail", "insecure", "compressed"))
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
    return (program == "xargs" and len(words) == 1) or (program in _FILTERS and _filters(words))


def _filters(words: list[str]) -> bool:
    """No file, and no option with a name of its own: those say what else is printed, or read."""
    return all(
        word[:2] != "--" if word[:1] == "-" else word.isdecimal() and _VALUED.fullmatch(before) is not None
        for before, word in pairwise(words)
    )


def _operands(words: list[str]) -> list[str]:
    return [word for word in words[1:] if not word.startswith("-") and not word.isdecimal()]


def _count(words: list[str]) -> bool:
    """`wc -l` of its input; a file's name would stand beside the number."""
    return not _operands(words) and not any(word.startswith("--files") for word in words)


def _grep(words: list[str]) -> bool:
    """`grep -c` in one file: in several it says their names."""
    options = [word for word in words[1:] if word.startswith("-")]
    rest = [word for word in words[1:] if not word.startswith("-")]
    if len(rest) > 2 or any(_GLOB.search(path) for path in rest[1:]):
        return False
    counts = [_COUNTS.fullmatch(word) is not None for word in options]
    return any(counts) and all(one or _MATCHES.fullmatch(word) for one, word in zip(counts, options, strict=True))


def _date(words: list[str]) -> bool:
    return any(re.fullmatch(r"\+[%sNYmdHMSyjuF-]+", word) for word in words[1:])


def _stat(words: list[str]) -> bool:
    formats = [b for a, b in pairwise(words) if a in {"-c", "--format", "-f"}]
    if any(word.startswith("-") and word not in {"-c", "--format", "-f", "-L"} for word in words[1:]):
        return False
    return bool(formats) and all(re.fullmatch(r"%[sYXZWahbBiz]", one) for one in formats)


def _expr(words: list[str]) -> bool:
    """A number where each word is one or an operator, and not where `:` or `match` cut a text."""
    return all(is_number(word) or word in {"+", "-", "*", "/", "%"} for word in words[1:])


def _seq(words: list[str]) -> bool:
    return all(is_number(word) and not word.startswith("-") for word in words[1:])


def _curl(words: list[str]) -> bool:
    """The status alone, of one address, where what was fetched goes nowhere."""
    values, rest, waits = dict[str, list[str]](), list[str](), ""
    for word in words[1:]:
        if waits:
            values.setdefault(waits, []).append(word)
            waits = ""
        elif not word.startswith("-"):
            rest.append(word)
        elif _FETCH.fullmatch(word) is None:
            return False
        elif word[:2] == "--":
            waits = "" if word[2:] in _FETCH_FLAGS else word[2]
        else:
            waits = word[-1] if word[-1] in "owmXHAu" else ""
    told = [one.strip() for one in values.get("w", [])]
    return len(rest) == 1 and values.get("o") == ["/dev/null"] and told in (["%{http_code}"], ["%{response_code}"])


def _awk(words: list[str]) -> bool:
    return any(re.fullmatch(r"END\s*\{\s*print NR\s*\}", word) for word in words[1:2])


def _jq(words: list[str]) -> bool:
    asked = words[2:3] if _PLAIN_JQ.fullmatch("".join(words[1:2])) else words[1:2]
    return any(_LENGTH.search(word) for word in asked)


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
    "nproc": _always,
    "pidof": lambda words: _always(words) and not any(word.startswith("-") for word in words[1:]),
    "id": lambda words: bool({"-u", "-g"} & set(words)) and not any("n" in word for word in words[1:]),
    "tput": lambda words: words[1:2] != [] and words[1] in _SCREEN,
    "git": lambda words: words[1:2] == ["rev-list"] and "--count" in words,
}
