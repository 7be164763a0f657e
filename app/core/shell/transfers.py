"""What transfers touch: curl, wget, scp, rsync; which local files are written, and which are sent."""

from typing import Final

from app.core.shell.form import Touch
from app.core.shell.operands import operands_of, touch
from app.core.shell.reading import Frame

_WRITTEN: Final = frozenset(("-o", "--output", "--output-document", "-P", "--directory-prefix", "--output-dir"))
_COOKIES: Final = frozenset(("-b", "--cookie", "--load-cookies"))
"""A file of cookies is sent; text with a sign in it is a cookie itself."""
_WRITTEN_ELSE: Final = frozenset(("-D", "-c", "-a", "--save-cookies"))
"""Of curl and of wget."""
_SENT: Final = frozenset(
    ("-T", "--upload-file", "--post-file", "--body-file", "-K", "--config", "--cert", "--key", "-E", "--netrc-file")
)
_SENT_AT: Final = frozenset(
    (
        "-d",
        "--data",
        "--data-binary",
        "--data-raw",
        "--data-ascii",
        "--data-urlencode",
        "-F",
        "--form",
        "--json",
        "-H",
        "--header",
    )
)
_ASKED: Final = frozenset(("--unix-socket", "--abstract-unix-socket"))


def fetched(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Curl and wget: what is written where, and which files are sent."""
    found: list[Touch] = []
    for index, word in enumerate(words[1:], 1):
        name, sign, value = word.partition("=")
        if not sign or not word.startswith("--"):
            name, value = _short(word, words[index + 1] if index + 1 < len(words) else "")
        if word[:5].lower() == "file:":
            found.append(touch("read", word[5:].removeprefix("//").removeprefix("localhost"), frame))
        else:
            found += _by_option(words[0], name, value, frame)
    return tuple([t for t in found if t.path not in {"", "-"}])


def _by_option(program: str, name: str, value: str, frame: Frame) -> list[Touch]:
    if name in _WRITTEN or name in _WRITTEN_ELSE or (name == "-O" and program.endswith("wget")):
        return [touch("write", value, frame)]
    if name in _SENT:
        return [touch("send", value, frame)]
    if name in _SENT_AT and "@" in value:
        return [touch("send", value.partition("@")[2].partition(";")[0], frame)]
    if name in _COOKIES and "=" not in value and not (name == "-b" and program.endswith("wget")):
        return [touch("send", value, frame)]
    if name in _ASKED:
        return [touch("read", value, frame)]
    if name[:1] == "-" and "%output{" in value:
        return [touch("write", value.partition("%output{")[2].partition("}")[0].lstrip(">"), frame)]
    sent = touch("send", value.rpartition("@")[2], frame) if name[:1] == "-" and "@" in value else None
    return [sent] if sent is not None and "secret" in sent.where else []


def _short(word: str, following: str) -> tuple[str, str]:
    if word.startswith("--") or not word.startswith("-") or len(word) < 2:
        return word, following
    for index, letter in enumerate(word[1:], 1):
        if letter in "oTKEdFHPODcawb":
            return f"-{letter}", word[index + 1 :] or following
    return word, following


def copied(words: list[str], frame: Frame) -> tuple[Touch, ...]:
    """Scp, sftp and rsync: sources are sent when the target is another machine's."""
    operands = operands_of(words[0].rpartition("/")[2], words)
    if not operands:
        return ()
    *sources, target = operands
    far = _is_remote(target)
    found = [touch("send" if far else "read", path, frame) for path in sources if not _is_remote(path)]
    found += [touch("send", word.partition("=")[2], frame) for word in words if word.startswith("--files-from=")]
    if not far and len(operands) > 1:
        found.append(touch("write", target, frame))
        if any(word.startswith("--del") for word in words):
            found.append(touch("delete", target, frame))
    return tuple(found)


def _is_remote(path: str) -> bool:
    head = path.partition("/")[0]
    return ":" in head or path.startswith("rsync://")
