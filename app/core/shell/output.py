"""What a simple command prints, as far as it is known without running it, and what it does on the network.

Decoders are computed (base64, xxd, printf, rev, tr); every other program gives UNKNOWN with the marks of what it read.
"""

import base64
import binascii
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from app.core.shell.escapes import ansi_c
from app.core.shell.form import FOREIGN, NETWORK, NUMBER, SECRET, UNKNOWN, Touch, marks_of, unknown
from app.core.shell.listed import LISTED
from app.core.shell.numbers import prints_numbers
from app.core.shell.reading import Frame
from app.core.shell.searches import SEARCHERS, searched
from app.core.shell.unpacking import decodes
from app.core.shell.written import FETCHERS, fill_files

SENDERS: Final = FETCHERS - {"openssl"} | {
    "mailx",
    "swaks",
    "ngrok",
    "croc",
    "wormhole",
    "transfer",
    "gh",
    "az",
    "gcloud",
    "ftp",
}
_LOCAL: Final = re.compile(
    r"(?:[a-z]+://)?(?:[^/@]*@)?(?:localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1\]|::1|host\.docker\.internal)(?:[:/].*)?\Z"
)
_REMOTE: Final = re.compile(
    r"(?:[a-z][a-z+.-]*://)?(?:[^/@\s]*@)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+(?::\d+)?(?:/.*)?\Z|[^/\s]+:.*"
)
_VALUED: Final = frozenset(
    [
        "-o",
        "--output",
        "-H",
        "--header",
        "-d",
        "--data",
        "--data-binary",
        "--data-raw",
        "-X",
        "--request",
        "-u",
        "--user",
        "-A",
        "--user-agent",
        "-F",
        "--form",
        "-T",
        "-e",
        "-b",
        "--cookie",
        "-c",
        "-w",
        "--write-out",
        "-m",
        "--max-time",
        "-x",
        "--json",
        "--retry",
        "--connect-timeout",
        "-i",
        "-p",
        "-l",
    ]
)


def facts_of(program: str, words: list[str], frame: Frame, touches: tuple[Touch, ...]) -> set[str]:
    """Return what a command does beyond its paths: on the network, or in a search of everything."""
    step = _FACTS.get(program)
    return step(program, words, frame, touches) if step is not None else set()


def _network(_program: str, words: list[str], frame: Frame, touches: tuple[Touch, ...]) -> set[str]:
    """Which way data goes and whether it is a credential's."""
    facts = {"network" if _far(words) else "network-local"}
    secret = SECRET in (frame.stdin or "") or any(SECRET in word for word in words)
    if secret or any("secret" in t.where and t.access in {"send", "read"} for t in touches):
        facts.add("sends-secret")
    if any(t.access == "send" for t in touches) or (frame.stdin and marks_of(frame.stdin)):
        facts.add("sends-data")
    return facts


def _tls(program: str, words: list[str], frame: Frame, touches: tuple[Touch, ...]) -> set[str]:
    """What `openssl s_client` is given to read goes to the other machine."""
    return _network(program, words[1:], frame, touches) if words[1:2] == ["s_client"] else set()


_FACTS: Final = {"openssl": _tls, **dict.fromkeys(SENDERS, _network), **dict.fromkeys(SEARCHERS, searched)}


def _far(words: list[str]) -> bool:
    hosts, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _VALUED
        else:
            hosts.append(word)
    return not hosts or not all(
        _LOCAL.match(host) or (host.isdigit() and any(_LOCAL.match(h) for h in hosts)) for host in hosts
    )


def output_of(program: str, words: list[str], frame: Frame, touches: tuple[Touch, ...]) -> str:
    """Return the output of a command; also remember the files that it fills."""
    fill_files(program, words, frame, touches)
    known = _KNOWN.get(program)
    if known is not None:
        output = known(words, frame)
        if output is not None:
            return output
    if prints_numbers(program, words, frame.stdin):
        return NUMBER
    foreign = FOREIGN if decodes(program) or any(is_foreign(t) for t in touches) else ""
    if not touches and not frame.stdin and program not in FETCHERS:
        return UNKNOWN + foreign
    stdin = frame.stdin or ""
    reads = [t.path for t in touches if t.access == "read"] if frame.scope.made() else []
    read = "".join([frame.scope.content(path) or "" for path in reads])
    marks = unknown(stdin, read, foreign)
    if program in FETCHERS and program != "openssl":
        marks += NETWORK
    if any("secret" in t.where and t.access == "read" for t in touches):
        marks += SECRET
    return marks


def is_foreign(one: Touch) -> bool:
    """Tell whether a touch reads what lies outside the project."""
    return one.access == "read" and one.where[0] not in {"project", "null"}


_INTERPRETS: Final = frozenset(("sh", "dash", "ash", "zsh", "mksh", "busybox"))
"""Shells whose echo may take backslashes for escapes without being told to."""


def _echo(words: list[str], frame: Frame) -> str:
    index, escapes, newline = 1, False, "\n"
    while index < len(words) and re.fullmatch(r"-[neE]+", words[index]):
        escapes = escapes or "e" in words[index]
        newline = "" if "n" in words[index] else newline
        index += 1
    text = " ".join(words[index:])
    if "\\" in text and not escapes and not _INTERPRETS.isdisjoint(frame.wrappers):
        return unknown(text)
    return (ansi_c(text) if escapes else text) + newline


def _printf(words: list[str], frame: Frame) -> str | None:
    arguments = words[1:]
    if arguments[:1] and arguments[0].startswith("-v"):
        name, *rest = [arguments[0][2:], *arguments[1:]] if len(arguments[0]) > 2 else arguments[1:] or [""]
        rest = rest[1:] if rest[:1] == ["--"] else rest
        frame.scope.assign(name, _format("".join(rest[:1]), rest[1:]))
        return ""
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    return _format(arguments[0], arguments[1:]) if arguments else ""


def _format(pattern: str, values: list[str]) -> str:
    pieces = re.split(r"(%[-+ 0#]*[a-zA-Z%])", ansi_c(pattern))
    if any("%" in text for text in pieces[::2]):
        return unknown(pattern, *values)  # widths, lengths to cut at, dates
    if len(pieces) == 1:
        return pieces[0]
    rest, output = list(values), ""
    for _ in range(max(1, min(len(values), 256))):
        for piece in pieces:
            if piece.startswith("%") and len(piece) > 1:
                output += _field(piece[-1], rest)
            else:
                output += piece
        if not rest or len(output) > 4096:
            break
    return output


def _field(letter: str, rest: list[str]) -> str:
    if letter == "%":
        return "%"
    value = rest.pop(0) if rest else ""
    if letter == "b":
        return ansi_c(value)
    if letter == "c":
        return value[:1]
    if letter == "s" or value.isdecimal():
        return value
    return unknown(value) if value else ""


def _cat(words: list[str], frame: Frame) -> str | None:
    files = [word for word in words[1:] if not word.startswith("-") or word == "-"]
    if not files:
        return frame.stdin or ""
    contents = [frame.stdin or "" if name == "-" else frame.scope.content(name) for name in files]
    return "".join([content for content in contents if content is not None]) if None not in contents else None


def _input(words: list[str], frame: Frame) -> str | None:
    """What a filter reads: its file operand when the script wrote it, else its input."""
    files = [word for word in words[1:] if not word.startswith("-")]
    return frame.scope.content(files[-1]) if files else frame.stdin


def _base64(words: list[str], frame: Frame) -> str | None:
    text = _input(words, frame)
    if text is None or marks_of(text):
        return None
    short = "".join(word[1:] for word in words[1:] if re.fullmatch(r"-[a-zA-Z]+", word))
    if set(short) & set("dD") or any("--decode".startswith(word) and len(word) > 2 for word in words[1:]):
        return _decoded(text, base64.b32decode if words[0].endswith("base32") else base64.b64decode)
    return base64.b64encode(text.encode(errors="replace")).decode()


def _decoded(text: str, decode: Callable[[str], bytes]) -> str | None:
    compact = re.sub(r"\s", "", text)
    try:
        return decode(compact + "=" * (-len(compact) % 8 if decode is base64.b32decode else -len(compact) % 4)).decode(
            errors="replace"
        )
    except (binascii.Error, ValueError):
        return None


def _xxd(words: list[str], frame: Frame) -> str | None:
    text = _input(words, frame)
    if text is None or marks_of(text) or not any(re.match(r"-[a-z]*r", word) for word in words):
        return None
    try:
        return bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", text)).decode(errors="replace")
    except ValueError:
        return None


def _openssl(words: list[str], frame: Frame) -> str | None:
    if "-d" in words and ({"base64", "-base64", "-a"} & set(words)):
        given = [following for word, following in pairwise(words) if word == "-in"]
        return _base64(["base64", "-d", *given], frame)
    return None


def _rev(words: list[str], frame: Frame) -> str | None:
    text = _input(words, frame)
    return None if text is None or marks_of(text) else "\n".join([line[::-1] for line in text.split("\n")])


def _tr(words: list[str], frame: Frame) -> str | None:
    text, sets = frame.stdin, [ansi_c(word) for word in words[1:] if not word.startswith("-")]
    if text is None or marks_of(text):
        return None
    if "-d" in words and sets:
        gone = set(_characters(sets[0]))
        return "".join([char for char in text if char not in gone])
    if len(sets) != 2 or any(word.startswith("-") for word in words[1:]):
        return None
    source, target = _characters(sets[0]), _characters(sets[1])
    if not target:
        return None
    return text.translate({ord(a): (target[i] if i < len(target) else target[-1]) for i, a in enumerate(source)})


def _characters(text: str) -> str:
    named = {"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:space:]": " \t\n", "[:digit:]": "0-9"}
    for name, span in named.items():
        text = text.replace(name, span)
    return re.sub(r"(.)-(.)", lambda f: "".join(map(chr, range(ord(f[1]), min(ord(f[2]), ord(f[1]) + 300) + 1))), text)


def _sed(words: list[str], frame: Frame) -> str | None:
    text, scripts = frame.stdin, [word for word in words[1:] if word not in {"-e", "-E", "-r"}]
    if text is None or marks_of(text) or len(scripts) != 1:
        return None
    found = re.fullmatch(r"s([/|#,])([^\\^$.*\[\]+?(){}|/#,]*)\1([^\\&/#,|]*)\1(g?)", scripts[0])
    return None if found is None or not found[2] else text.replace(found[2], found[3], -1 if found[4] else 1)


def _which(words: list[str], frame: Frame) -> str | None:
    names = [word for word in words[1:] if not word.startswith("-")]
    return f"/usr/bin/{names[0]}\n" if len(names) == 1 else None


def _basename(words: list[str], frame: Frame) -> str | None:
    if len(words) != 2:
        return None
    return (words[1].rstrip("/").rpartition("/")[2] or words[1][:1]) + "\n"


def _nothing(words: list[str], frame: Frame) -> str:
    return ""


def _pwd(words: list[str], frame: Frame) -> str:
    return (frame.scope.cwd or ".") + "\n"


_KNOWN: Final[dict[str, Callable[[list[str], Frame], str | None]]] = {
    **LISTED,
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "tac": _cat,
    "tee": lambda _words, frame: frame.stdin or "",
    "base64": _base64,
    "base32": _base64,
    "xxd": _xxd,
    "openssl": _openssl,
    "rev": _rev,
    "tr": _tr,
    "sed": _sed,
    "which": _which,
    "command": _which,
    "basename": _basename,
    "true": _nothing,
    ":": _nothing,
    "cd": _nothing,
    "mkdir": _nothing,
    "pwd": _pwd,
    "touch": _nothing,
}
