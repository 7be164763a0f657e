"""What commands put into files: remembered so that running or sending such a file later is seen for what it is."""

import re
from typing import Final

from app.core.shell.form import FOREIGN, NETWORK, SECRET, UNKNOWN, Touch, unknown
from app.core.shell.places import absolute
from app.core.shell.reading import Frame
from app.core.shell.unpacking import stem_of, unpack

FETCHERS: Final = frozenset(
    [
        "curl",
        "wget",
        "nc",
        "telnet",
        "socat",
        "http",
        "https",
        "httpie",
        "xh",
        "aria2c",
        "lynx",
        "w3m",
        "links",
        "ftp",
        "tftp",
        "sftp",
        "scp",
        "rsync",
        "ssh",
        "dig",
        "nslookup",
        "fetch",
        "GET",
        "POST",
        "lwp-request",
        "aws",
        "gsutil",
        "rclone",
        "openssl",
        "websocat",
        "grpcurl",
        "axel",
        "lftp",
        "smbclient",
        "mail",
        "sendmail",
        "mutt",
        "curlie",
    ]
)
_FETCH_FOLDERS: Final = frozenset(("scp", "rsync", "sftp", "wget", "aria2c", "aws", "gsutil", "rclone", "lftp"))
COPIERS: Final = frozenset(("sponge", "split", "csplit", "sort", "uniq", "iconv", "find", "xxd", "uudecode"))
"""Programs that write text of their own input or arguments."""
_GLOB: Final = re.compile(r"[*?\[]")
REWRITERS: Final = frozenset(("tar", "zip", "gzip", "openssl", "gpg", "base64", "sed", "truncate", "touch"))


def fill_files(program: str, words: list[str], frame: Frame, touches: tuple[Touch, ...]) -> None:
    """Remember what a command puts into files, as far as later commands may run or send it."""
    unpack(program, words, frame)
    fetches = program in FETCHERS and program != "openssl"
    if not fetches and any("://" in word for word in words):
        _fetched(_last_names(words), frame)
    if not touches and not fetches:
        return
    written = [t.path for t in touches if t.access == "write"]
    if fetches:
        _fetched([*written, *_named_by_url(program, words)], frame, whole=program in _FETCH_FOLDERS)
    elif written:
        _filled(program, words, written, frame, touches)


def _fetched(paths: list[str], frame: Frame, *, whole: bool = False) -> None:
    """`whole`: where a path is a folder, what came lies below it."""
    for path in paths:
        frame.scope.put(path, UNKNOWN + NETWORK)
        if whole:
            frame.scope.unpack(stem_of(path, frame.scope.cwd), UNKNOWN + NETWORK)


def _filled(program: str, words: list[str], written: list[str], frame: Frame, touches: tuple[Touch, ...]) -> None:
    if program in {"cp", "mv", "ln", "install"}:
        _copied(program, words, written[-1], frame, touches)
    elif program in {"dd", "rsync", "cat"}:
        content = "".join([frame.scope.content(t.path) or "" for t in touches if t.access == "read"])
        frame.scope.put(written[-1], content or UNKNOWN)
    elif program in COPIERS:
        for path in written:
            frame.scope.put(path, frame.stdin or UNKNOWN)
    elif program == "tee" or program in REWRITERS:
        _rewritten(program, written, frame, touches)


def _copied(program: str, words: list[str], target: str, frame: Frame, touches: tuple[Touch, ...]) -> None:
    scope = frame.scope
    sources = [t for t in touches if t.access == "read"]
    if program == "ln" and sources:
        scope.links[absolute(target, scope.cwd)] = absolute(sources[0].path, scope.cwd)
    whole = program == "mv" or any(re.match(r"-[a-zA-Z]*[rRa]|--recursive|--archive", word) for word in words[1:])
    for source in sources:
        content = scope.content(source.path)
        foreign = source.where[0] != "project"
        if content is None and "secret" in source.where:
            content = UNKNOWN + SECRET
        elif content is None and foreign:
            content = UNKNOWN + FOREIGN
        if content is not None:
            scope.put(target, content)
            scope.put(f"{target}/{source.path.rpartition('/')[2]}", content)
        if content is not None and (whole or _GLOB.search(source.path)):
            scope.unpack(stem_of(target, scope.cwd), content)


def _rewritten(program: str, written: list[str], frame: Frame, touches: tuple[Touch, ...]) -> None:
    if program == "tee":
        for path in written:
            frame.scope.put(path, frame.stdin or "")
        return
    secret = SECRET if any("secret" in t.where for t in touches) else ""
    for path in written:
        before = frame.scope.content(path)
        if secret or before is not None:
            frame.scope.put(path, unknown(before or "", secret))


def _named_by_url(program: str, words: list[str]) -> list[str]:
    if program == "curl" and not any(re.match(r"-[a-zA-Z]*O|--remote-name", word) for word in words):
        return []
    if program not in {"curl", "wget", "aria2c", "axel"}:
        return []
    return _last_names(words)


def _last_names(words: list[str]) -> list[str]:
    names = [word.partition("?")[0].rstrip("/").rpartition("/")[2] for word in words[1:] if not word.startswith("-")]
    return [name for name in names if name]
