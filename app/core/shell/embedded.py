"""Code in other languages on the command line or on standard input: what it hands to a shell is followed, the rest
is weighed.

It is not parsed: literals given to calls that start programs are read as shell text, calls with effects are facts,
and any
literal that looks like a path counts as touched in the way that the effects say.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Final

from app.core.shell.escapes import ansi_c
from app.core.shell.form import NETWORK, Command, marks_of
from app.core.shell.names import CODERS
from app.core.shell.operands import touch
from app.core.shell.reading import Frame, Reading

Span = tuple[int, int]
Leaf = Callable[..., str]
CODE_MAX: Final = 4096
STRING: Final = r"""(?:[rbfu]{0,2}(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\[\[.{0,512}?\]\]|`[^`]*`|%q?\{[^}]{0,512}\}|q[qw]?[{(\[/|][^})\]/|]{0,512}[})\]/|])"""
LITERAL: Final = re.compile(STRING, re.DOTALL)
_SINGLE: Final = r"""'(?:[^'\\]|\\.)*'"""
_DOUBLE: Final = r'''"(?:[^"\\]|\\.)*"'''
_OPEN: Final = {
    "single": (_SINGLE, r"""'(?:[^'\\]++|\\.)*+(?:'|(?P<single>\\?\Z))"""),
    "double": (_DOUBLE, r""""(?:[^"\\]++|\\.)*+(?:"|(?P<double>\\?\Z))"""),
}
_RUNS: Final = re.compile(
    r"(?:\b(?:system|popen2?|exec[a-zA-Z]*|spawn[a-zA-Z]*|call|run|check_call|check_output|Popen|getoutput|getstatusoutput|shell_exec|passthru|proc_open|capture2e?|"
    r"capture3|startfile|do shell script|Invoke-Expression|iex|Start-Process|pipeline|sh)\b\s*\(?\s*|qx|%x|^\s*|[=;(]\s*(?=`))\s*(?P<list>\[\s*)?(?P<text>"
    + STRING
    + r"(?:\s*,\s*"
    + STRING
    + r")*)",
    re.DOTALL,
)
_STARTS: Final = re.compile(
    r"\b(?:os\.system|subprocess|popen|spawn|exec(?:v|l|Sync|File|ve|vp)?\b|system|shell_exec|passthru|child_process|pty\.|Popen|proc_open|do shell script|Invoke-|iex\b|Start-Process|qx|%x)|`"
)
_EFFECTS: Final = re.compile(
    r"\b(?:remove|unlink|rmtree|rmdir|removedirs|rename|replace\(|renames|chmod|chown|write|writelines|truncate|symlink|link\b|mkdir|makedirs|shutil|copy|move|touch|putenv|setuid|kill"
    r"|rm|file\.remove|rmSync|unlinkSync|writeFile|appendFile|createWriteStream|renameSync|cpSync|mkfifo|utime|delete|rm_rf|rm_r|FileUtils|File\.|Remove-Item|Set-Content|Out-File|Clear-Content|Move-Item|Copy-Item"
    r"|clear\s*=\s*True|(?:sys)?open\s*\(|open\b|fs\.|fopen|file_put_contents|DELETE|DROP)"
)
_OPAQUE: Final = re.compile(
    r"\b(?:eval|exec|iex|compile|__import__|importlib|getattr|setattr|globals|locals|vars|builtins|__builtins__|ctypes|cffi|marshal|pickle|loads|b64decode|a85decode|fromhex|decode\(|codecs|zlib|"
    r"instance_eval|send\(|Function\(|atob|Buffer\.from|pack\(|unhexlify|chr\(|fromCharCode|require|load|dofile|loadstring|import\()"
)
_NETWORK: Final = re.compile(
    r"\b(?:urllib|requests|httpx|http\.client|socket|aiohttp|ftplib|smtplib|paramiko|telnetlib|fetch\(|https?\.|axios|net\.|Net::|LWP|IO::Socket|TCPSocket|open-uri|curl_|fsockopen|Invoke-WebRequest|Invoke-RestMethod|iwr\b|irm\b)"
)
_ENVIRONMENT: Final = re.compile(
    r"os\.environ(?:b\b|\b(?!\s*(?:\[|\.get\b)))|%ENV\b|\bENV\.|\bENV\b(?!\s*[\[{.])|process\.env\b(?!\s*[.\[])|\$_(?:ENV|SERVER)\b|getenv\(\s*\)"
    r"|(?:environ|ENV|[gG]etenv|process\.env)\W{1,4}(?:get\W{1,3})?\w{0,40}(?:TOKEN|SECRET|PASSW|KEY|CREDENTIAL)",
)


def _scan(*ended: str) -> re.Pattern[str]:
    text = STRING
    for name, (closed, perhaps_open) in _OPEN.items():
        text = text.replace(closed, "(?!)" if name in ended else perhaps_open)
    return re.compile(text, re.DOTALL)


_SCANS: Final = {frozenset(names): _scan(*names) for names in ((), ("single",), ("double",), ("single", "double"))}
"""The literals of code in which single or double quotes no longer end."""
_DELETES: Final = re.compile(r"remove|unlink|rmtree|rmdir|\brm|delete|Remove-Item|DROP|clear\s*=\s*True", re.IGNORECASE)
_PATHS: Final = re.compile(r"[~/.]|[\w-]+[./]")
_READS: Final = re.compile(
    r"\b(?:read_text|read_bytes|file_get_contents|readfile|highlight_file|show_source|linecache|fileinput|io\.lines"
    r"|readTextFile|Bun\.file|readLines)\b"
)
_READS_ONE: Final = re.compile(
    r"\b(?:Path|file_get_contents|readfile|readTextFile|io\.lines)\(\s*(?![rR]?[fF])(?P<text>"
    + STRING
    + r")\s*\)(?:\s*\.\s*read_(?:text|bytes)\b)?",
    re.DOTALL,
)
"""A file that is read by one literal name; every other name may be any."""
_NO_PATH: Final = re.compile(r"[\n;$]|^[^/~]*[\s(){}]")
"""Text for people or a program has blanks before any slash; a name that begins with a slash may have them."""
_PATHS_MAX: Final = 32
_PATH_MAX: Final = 200
_HARMLESS_REQUIRE: Final = re.compile(
    r"""require\s*\(?\s*['"](?:\./[\w./-]*package\.json|path|util|assert|url|querystring|os|semver)['"]\s*\)?"""
)
_SELF_PARSE: Final = re.compile(
    r"json\.loads?\b|yaml\.safe_load|tomllib\.loads?|JSON\.parse|ast\.parse|ast\.literal_eval|re\.compile|py_compile\.compile|compile\(open"
)


_WITH_VALUE: Final = {
    "python": frozenset(("-X", "-W", "-Q", "--check-hash-based-pycs")),
    "ruby": frozenset(("-r", "-I", "-C", "-E", "-K", "-T")),
    "perl": frozenset(("-I",)),
    "node": frozenset(("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions")),
    "php": frozenset(("-d", "-c", "-z")),
    "lua": frozenset(("-l",)),
    "Rscript": frozenset(("--default-packages",)),
}
"""Options before the code or the script, whose value is neither."""
_CONSOLES: Final = frozenset(("code", "pdb", "IPython", "asyncio", "ptpython", "bpython", "idlelib", "doctest"))


def run_code(reading: Reading, words: list[str], frame: Frame, span: Span, leaf: Leaf) -> str | None:
    """Weigh `python -c code`, code on standard input and scripts that the text itself wrote."""
    codes = _given(words, frame)
    if not codes:
        return None
    return "".join([_run_one(reading, words, code, frame, span, leaf) for code in codes])


def _run_one(reading: Reading, words: list[str], code: str, frame: Frame, span: Span, leaf: Leaf) -> str:
    reading.weigh_text(code[:CODE_MAX])
    facts = code_facts(code)
    output: str = leaf(reading, words[0], words, frame, span, *facts)
    _touched(reading, words, code, facts, frame, span)
    inner = frame._replace(wrappers=(*frame.wrappers, words[0]), base=span, depth=frame.depth + 1, stdin=None)
    for text in [*shell_texts(code), *([code] if words[0] == "pwsh" else [])]:
        reading.run_text(reading, text, inner)
    return output


def _given(words: list[str], frame: Frame) -> tuple[str, ...]:
    """The code of the command line, else of a script file that the text wrote, else of standard input."""
    found: list[str] = []
    skip = False
    for index, word in enumerate(words[1:], 1):
        if skip:
            skip = False
            continue
        following = words[index + 1] if index + 1 < len(words) else ""
        code = _option_code(words[0], word, following)
        if code is not None:
            found.append(code)
        elif word == "-m" and not found:
            return _module(words[index + 1 :], frame)
        elif word in _WITH_VALUE.get(words[0], ()):
            skip = True
        elif not word.startswith("-") and word != "eval" and not found:
            return frame.scope.contents(word)
    if found:
        return ("\n".join(found),)
    asks = any(word in {"--version", "-V", "-v", "--help", "-h"} for word in words)
    return () if asks or frame.stdin is None else (frame.stdin,)


def _module(words: list[str], frame: Frame) -> tuple[str, ...]:
    """A module that runs what it is given on standard input."""
    return (frame.stdin,) if words[:1] and words[0] in _CONSOLES and frame.stdin is not None else ()


def script_word(words: list[str]) -> str:
    """Return the script file that a command of an interpreter names, '' where it gives it code or a module."""
    valued = _WITH_VALUE.get(words[0], frozenset())
    for index, word in enumerate(words[1:], 1):
        if word == "-m" or _option_code(words[0], word, "".join(words[index + 1 : index + 2])) is not None:
            return ""
        if not word.startswith("-") and word != "eval" and words[index - 1] not in valued:
            return word
    return ""


def _option_code(program: str, word: str, following: str) -> str | None:
    options = CODERS[program]
    if program == "pwsh":
        return _powershell(word, following)
    if word in options:
        return following
    name, sign, value = word.partition("=")
    if sign and name in options:
        return value
    letters = "".join([option[1] for option in options if len(option) == 2])
    if not letters or not word.startswith("-") or word.startswith("--"):
        return None
    cluster = re.match(rf"-[a-zA-Z0-9]*?[{letters}](.*)", word, re.DOTALL)
    if cluster is None:
        return None
    if not cluster[1]:
        return following
    return (
        cluster[1]
        if re.search(r"[\s(\"'`;.]", cluster[1])
        else following
        if re.fullmatch(rf"-[a-zA-Z0-9]*[{letters}]", word)
        else None
    )


def _powershell(word: str, following: str) -> str | None:
    """PowerShell takes any beginning of an option's name, in any case; encoded code is base64 of UTF-16."""
    name = word.lower()
    if len(name) > 1 and ("-encodedcommand".startswith(name) or name == "-ec"):
        try:
            return base64.b64decode(following + "=" * (-len(following) % 4)).decode("utf-16-le") + "\n# iex"
        except (binascii.Error, ValueError):
            return "iex"
    return following if len(name) > 1 and "-command".startswith(name) else None


def code_facts(code: str) -> tuple[str, ...]:
    """Return what kinds of effects the code may have."""
    marks = marks_of(code)
    if len(code) > CODE_MAX:
        return ("code-opaque", "remote-code") if NETWORK in marks else ("code-opaque",)
    facts = ["remote-code"] if NETWORK in marks else ["unknown-code"] if marks else []
    bare = _SELF_PARSE.sub("", _HARMLESS_REQUIRE.sub("", code[:CODE_MAX]))
    if _STARTS.search(bare):
        facts.append("code-starts-programs")
    if _OPAQUE.search(bare) or _READS.search(_READS_ONE.sub("", bare)):
        facts.append("code-opaque")
    if _EFFECTS.search(bare):
        facts.append("code-deletes" if _DELETES.search(bare) else "code-writes")
    if _NETWORK.search(bare):
        facts.append("code-network")
    if _ENVIRONMENT.search(bare):
        facts.append("code-prints-environment")
    return tuple(facts)


def shell_texts(code: str) -> list[str]:
    """Return the literals that the code hands to a shell or starts as a program."""
    texts: list[str] = []
    for found in _RUNS.finditer(code[:CODE_MAX]):
        parts = [literal_of(part[0]) for part in LITERAL.finditer(found["text"])]
        texts.append(" ".join(quoted(part) for part in parts) if len(parts) > 1 else parts[0])
        if len(texts) > 16:
            break
    return [text for text in texts if text.strip()]


def literals_of(code: str) -> Iterator[str]:
    """Yield each literal as it is written. Where one quote does not end, no later one of its kind does: they are looked
    for no more, which would cost the square of the length.
    """
    ended: frozenset[str] = frozenset()
    position = 0
    while (found := _SCANS[ended].search(code, position)) is not None:
        if found.lastgroup is None:
            yield found[0]
            position = found.end()
        else:
            ended |= {found.lastgroup}
            position = found.start()


def quoted(word: str) -> str:
    """Return a word as a shell text that means it."""
    return word if re.fullmatch(r"[\w./:=@%+,~-]+", word) else "'" + word.replace("'", "'\\''") + "'"


def literal_of(text: str) -> str:
    """Return what a literal of any of the languages says."""
    if text.startswith(("'''", '"""', "[[")):
        return text.strip("'\"[]")
    body = re.sub(r"^(?:[rbfu]{0,2}['\"`]|%q?\{|q[qw]?.)", "", text)[:-1]
    return ansi_c(body)


def _touched(reading: Reading, words: list[str], code: str, facts: tuple[str, ...], frame: Frame, span: Span) -> None:
    access = "delete" if "code-deletes" in facts else "write" if "code-writes" in facts else "read"
    paths = sorted({text for text in map(literal_of, literals_of(code[:CODE_MAX])) if _PATHS.match(text)})
    named = [text for text in paths if "://" not in text and not _NO_PATH.search(text)]
    named += [literal_of(found["text"]) for found in _READS_ONE.finditer(code[:CODE_MAX])]
    if len(named) > _PATHS_MAX or any(len(text) > _PATH_MAX for text in named):
        reading.doubt("too-many-paths")
    if named:
        touches = tuple([touch(access, path, frame) for path in named[:_PATHS_MAX] if len(path) <= _PATH_MAX])
        reading.emit(
            Command(words[0], tuple(words), frame.wrappers, span, frozenset(facts), touches, any(map(marks_of, words)))
        )
