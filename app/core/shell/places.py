"""Lexical classes of paths: where a path lies and what is special about it; no I/O, so symlinks are not seen.

The first class is the location: project, temp, home, system, device, null, root, parent, outside, remote, unknown.
Then come what it is: project-root, home-root, system-root, temp-root, git, weir, secret,
above-secrets, persistence, agent-config.
"""

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Final

from app.core.shell.form import BELOW, MARKS, NUMBER, as_glob, marks_of
from app.core.shell.known_paths import (
    AGENT_PARTS,
    HARMLESS_ENDS,
    NULLS,
    PERSISTENT,
    PERSISTENT_FOLDERS,
    SECRET_FOLDERS,
    SECRET_NAMES,
    SECRET_PARTS,
    SECRET_SUFFIXES,
    SECRET_WORDS,
    SECRETS,
    SYSTEM,
)

_GLOB: Final = frozenset("*?[")
_STAYING: Final = frozenset((NUMBER, BELOW))
"""Marks of what leads out of no folder."""
GLOB_MAX: Final = 1024
"""A longer glob counts as reaching everything: 5 KiB of `?*` cost 23 ms of matching."""
REMEMBERED_MAX: Final = 512
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_JOINTS: Final = frozenset("-_.")
_STEERS: Final = re.compile(r"(?:^|/)config/(?:policies(?:/|$)|flags\.toml$)")
_TOPS: Final = frozenset(("", "home", "Users", "root", "usr", "var", "etc", "bin", "tmp", "mnt", "media", "srv", "opt"))
_NEVER: Final = frozenset(("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "sys", "run"))
_SYSTEM_PARTS: Final = frozenset(
    ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "share", "include", "local", "log", "spool", "cache", "run")
)
_KEPT_IN: Final = ("/srv/", "/mnt/", "/media/", "/opt/")
_ABOVE_SECRETS: Final = frozenset(str(folder) for path in SECRETS for folder in PurePosixPath(path).parents) | {"/home"}
_SEEN_AGAIN: Final = re.compile(
    r"/proc/(?:(?:self|thread-self)/(?:task/[^/]+/)?(cwd)|[^/]+/(?:task/[^/]+/)?(?:root|cwd))(?=/|\Z)"
)
"""All files, or those of a folder, under another name; another process may stand anywhere, so it is taken to in `/`."""
APART: Final = frozenset(("git", "weir", "secret", "above-secrets"))
"""Classes of folders in which any name may mean more than elsewhere."""
FOLDER_STACK: Final = re.compile(r"~(?:[-+]|[-+]?\d+)(?:/|\Z)")
"""A folder of before, or one of those that `pushd` keeps."""
_WHOLE: Final = frozenset(("", ".", "*", ".*", "mnt", "mnt/*", "mnt/current", "mnt/current/*", "current", "current/*"))
"""Everything of a project: itself, and where Weir mounts it."""
_OWN: Final = (".git", ".weir", ".claude", ".codex", ".cursor", ".gemini")
_PLAIN: Final = ("project",)
_SPECIAL_ENDS: Final = (*SECRET_SUFFIXES, *SECRET_WORDS)
_ORDINARY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_][A-Za-z0-9_-]*)*")
_TELLING: Final = frozenset(
    part
    for paths in (SECRETS, SECRET_FOLDERS, PERSISTENT, PERSISTENT_FOLDERS, SECRET_NAMES, SECRET_PARTS, AGENT_PARTS)
    for path in paths
    for part in path.split("/")
) | frozenset(("config", "policies", "flags.toml", "gateway.sock", "mnt", "current", "hooks"))
"""Names that can make a path special where the folder before them is not."""


def classify(path: str, cwd: str, project: str) -> tuple[str, ...]:
    """Return the classes of `path` as a program in `cwd` would meet it; '' for an unknown cwd means the project."""
    # 1 us instead of 7: most operands are names that mean nothing, in a place that means nothing
    if _is_ordinary(path) and _is_plain(cwd, project):
        return _PLAIN
    return classify_slowly(path, cwd, project)


def _is_ordinary(path: str) -> bool:
    if path.isalnum() and path.isascii():
        return path not in _TELLING
    if _ORDINARY.fullmatch(path) is None or path.endswith(_SPECIAL_ENDS) or ".git" in path:
        return False
    return _TELLING.isdisjoint(path.split("/"))


@lru_cache(maxsize=1024)
def _is_plain(cwd: str, project: str) -> bool:
    """Tell whether any name that means nothing by itself, relative to `cwd`, is just a file of the project."""
    return _GLOB.isdisjoint(cwd) and classify_slowly("an-ordinary-name", cwd, project) == _PLAIN


@lru_cache(maxsize=8192)
def classify_slowly(path: str, cwd: str, project: str) -> tuple[str, ...]:
    """Return the same as `classify`, of which it is the whole way."""
    path = as_glob(path)
    full = absolute(path, cwd)
    if project and not _fit(project):
        project = ""
    marked = bool(marks_of(full))
    if not path.isascii() and _leads_out(path):
        return ("unknown", "unresolved", *_kinds(full, full.split("/")))
    parts = full.split("/")
    kinds = [*_kinds(full, parts)]
    if marked:
        return (*_stem_location(full, project), "unresolved", *kinds, *_beside_secrets(full), *_if_empty(full))
    location = _location(full, parts, project)
    return (*location, *kinds)


def absolute(path: str, cwd: str) -> str:
    """Return `path` on `cwd` without `.`, `..`, doubled slashes; home is `~`; relative means to the project."""
    return _absolute(path, cwd) if len(path) < REMEMBERED_MAX else _absolute.__wrapped__(path, cwd)


@lru_cache(maxsize=8192)
def _absolute(path: str, cwd: str) -> str:
    # rules ask for the same path again and again
    if path == "~" or path.startswith(("~/", "/")):
        joined = path
    elif path.startswith("~"):
        name, _, rest = path[1:].partition("/")
        joined = f"/home/{name}/{rest}"
    else:
        joined = f"{cwd}/{path}" if cwd else path
    clean = normpath(joined)
    if clean.startswith("//"):
        clean = clean[1:]
    if clean.startswith("/proc/") and (found := _SEEN_AGAIN.match(clean)) is not None:
        clean = normpath(f"{cwd if found[1] else '/'}/{clean[found.end() :]}")
        clean = clean[1:] if clean.startswith("//") else clean
    if joined.startswith("~"):
        return _inside_home(clean)
    return _shorten_home(clean)


def _inside_home(clean: str) -> str:
    # ~/../.. leaves the home: what normpath made of it no longer starts with ~
    if clean == "~" or clean.startswith("~/"):
        return clean
    return "/home" if clean == "." else "/" + clean.replace("..", "").strip("/")


def _shorten_home(clean: str) -> str:
    parts = clean.split("/")
    if len(parts) > 2 and parts[0] == "" and parts[1] in {"home", "Users"} and not _GLOB.intersection(parts[2]):
        return "/".join(["~", *parts[3:]]) if len(parts) > 3 else "~"
    if clean == "/root" or clean.startswith("/root/"):
        return "~" + clean[5:]
    return clean


def _fit(project: str) -> bool:
    """Tell whether a folder can be a project at all: no system, home or top-level folder is one."""
    full = _shorten_home(normpath(project))
    parts = full.split("/")
    if not full.startswith(("/", "~")):
        return True
    if len(parts) < 3:
        return full.startswith("~/") or (len(parts) == 2 and parts[1] not in SYSTEM and parts[1] not in _TOPS)
    return parts[1] not in _NEVER and not (parts[1] in {"usr", "var"} and parts[2] in _SYSTEM_PARTS)


def _stem_location(full: str, project: str) -> tuple[str, ...]:
    """Where a partly unknown path can only lie; `unknown` unless its known beginning settles it.

    It does so for digits and for what a listing gave; any other text may lead out again by `..`.
    """
    marks = marks_of(full)
    stem = full[: min(full.find(mark) for mark in marks)]
    if ".." in full[len(stem) :] or ("/" not in stem and stem[:1] == "~"):
        return ("unknown",)
    sure, folder = _STAYING.issuperset(marks), stem.rpartition("/")[0]
    if "/" in stem and not folder:
        return ("root",)
    location = _location(folder, folder.split("/"), project) if folder else ("project", "project-root")
    if location[0] == "project":
        every = sure and location[1:] == ("project-root",) and full[len(stem) :] == BELOW
        return location if every else ("project",) if sure else ("unknown",)
    return location[:1]


def _leads_out(path: str) -> bool:
    """Tell whether `..` stands behind what is not known, and may take away more than that: `src/$X/../y`."""
    marks = marks_of(path)
    if ".." not in path or _STAYING.issuperset(marks):
        return False
    return ".." in path[min(path.find(mark) for mark in marks) :]


def _if_empty(full: str) -> tuple[str, ...]:
    """What is not known may be nothing: `.e${unset}nv`."""
    left = normpath("".join([sign for sign in full if sign not in MARKS]))
    return ("secret",) if _is_secret(left, left.split("/")) else ()


def _beside_secrets(full: str) -> tuple[str, ...]:
    """A name that is not known, in a folder that holds credentials, may be theirs."""
    stem = full[: min(full.find(mark) for mark in marks_of(full))]
    return ("above-secrets",) if (stem.rpartition("/")[0] or "/") in _ABOVE_SECRETS and "/" in stem else ()


def _location(full: str, parts: list[str], project: str) -> tuple[str, ...]:
    home_project = _shorten_home(project) if project else ""
    if not full.startswith(("/", "~")):
        return _relative(full, parts)
    if home_project and (full == home_project or full.startswith(home_project + "/")):
        rest = full[len(home_project) + 1 :]
        return _in_project(rest)
    if home_project and _is_temp(full) and _is_temp(home_project) and _reaches(parts, home_project.split("/")):
        return ("parent", "parent-root")
    if home_project and _is_beside(full, home_project):
        return ("parent", "parent-root") if full == home_project.rpartition("/")[0] else ("parent",)
    if full.startswith("~"):
        return ("home", "home-root") if all(_wide(part) for part in parts[1:]) else ("home",)
    return _top(full, parts)


def _is_beside(full: str, project: str) -> bool:
    """Tell whether a path is in the folder that holds the project, in one where people keep such folders."""
    above = project.rpartition("/")[0]
    return above.count("/") > 1 and above.startswith(_KEPT_IN) and (full == above or full.startswith(above + "/"))


def _reaches(parts: list[str], project: list[str]) -> bool:
    """Tell whether a path in the temporary folder is above the project there, or a glob that is everything above it."""
    return 2 < len(parts) <= len(project) and all(map(fnmatchcase, project, parts))


def _relative(full: str, parts: list[str]) -> tuple[str, ...]:
    if parts[0] == "..":
        return ("parent", "parent-root") if parts[-1] in {"..", "*"} else ("parent",)
    return _in_project(full)


def _in_project(rest: str) -> tuple[str, ...]:
    if rest in _WHOLE or (rest[0] in "*?[." and _everything(rest)):
        return ("project", "project-root")
    return ("project", "policy-parent") if rest in {"config", "config/*"} else ("project",)


def _everything(rest: str) -> bool:
    """`**/*`, `*/*`, `?*`: parts that name nothing."""
    return all(_wide(part) and bool(part.strip(".")) for part in rest.split("/"))


def _top(full: str, parts: list[str]) -> tuple[str, ...]:
    top = parts[1]
    if full == "/" or (len(parts) == 2 and _wide(top)):
        return ("root",)
    if top == "dev":
        return _device(full, parts)
    if _is_temp(full):
        root = len(parts) <= 2 or (len(parts) == 3 and (_wide(parts[2]) or full in {"/var/tmp", "/private/tmp"}))
        return ("temp", "temp-root") if root else ("temp",)
    if top in {"home", "Users"}:
        return ("home", "home-root") if all(_wide(part) for part in parts[3:]) else ("home",)
    if top in SYSTEM or (_GLOB.intersection(top) and any(fnmatchcase(name, top) for name in SYSTEM)):
        return ("system", "system-root") if len(parts) <= 3 else ("system",)
    return ("outside", "outside-root") if len(parts) <= 2 else ("outside",)


def _is_temp(full: str) -> bool:
    return full in {"/tmp", "/var/tmp", "/private/tmp"} or full.startswith(
        ("/tmp/", "/var/tmp/", "/private/tmp/", "/var/folders/", "/dev/shm/")
    )


def _device(full: str, parts: list[str]) -> tuple[str, ...]:
    if full in NULLS or full.startswith("/dev/fd/"):
        return ("null",)
    if full.startswith("/dev/shm/"):
        return ("temp",)
    if full.startswith(("/dev/tcp/", "/dev/udp/")):
        return ("remote",)
    return ("device", "system-root") if len(parts) == 2 else ("device",)


def _wide(name: str) -> bool:
    """Tell whether a glob stands for everything in a folder."""
    return bool(name) and not name.strip("*.?[]!")


def _kinds(full: str, parts: list[str]) -> list[str]:
    kinds = []
    named = parts if _GLOB.isdisjoint(full) else _named(parts)
    if ".git" in named or (".git/" in full and any(part.endswith(".git") for part in parts[:-1])):
        kinds.append("git")
    if ".weir" in named or parts[-1] == "gateway.sock" or _STEERS.search(full) is not None:
        kinds.append("weir")
    if AGENT_PARTS.intersection(named):
        kinds.append("agent-config")
    kinds += _secrecy(full, parts)
    if _is_persistent(full, parts):
        kinds.append("persistence")
    return kinds


def _secrecy(full: str, parts: list[str]) -> list[str]:
    if _is_secret(full, parts):
        return ["secret"]
    if full in _ABOVE_SECRETS or (_wide(parts[-1]) and (full.rpartition("/")[0] or "/") in _ABOVE_SECRETS):
        return ["above-secrets"]
    return ["secret-like"] if full.endswith(SECRET_WORDS) and full.rstrip(_LETTERS)[-1:] in _JOINTS else []


def _named(parts: list[str]) -> list[str]:
    """Add what a glob in a hidden name reaches: `.w*` is Weir's folder too."""
    hidden = [part for part in parts if part[:1] == "." and not _GLOB.isdisjoint(part)]
    return [*parts, *[own for part in hidden for own in _OWN if fnmatchcase(own, part)]]


def _is_secret(full: str, parts: list[str]) -> bool:
    name = parts[-1]
    if name.endswith(HARMLESS_ENDS) or name in {"example.env", "sample.env", "template.env"}:
        return False
    if name.endswith(SECRET_SUFFIXES) or name in SECRET_NAMES or full in SECRETS or full in SECRET_FOLDERS:
        return True
    if SECRET_PARTS.intersection(parts) or full.startswith(tuple(f"{folder}/" for folder in SECRET_FOLDERS)):
        return True
    if (name.startswith(".env") and (name[4:5] == "." or name[4:5] in _GLOB) and len(name) < 20) or (
        full.startswith("/proc/") and name == "environ"
    ):
        return True
    if any(part[:1] == "." and "*" in part and not part.strip(".*?[]!^") for part in parts):
        return True
    return name[:1] != "*" and _glob_reaches(full, name, SECRETS, SECRET_NAMES)


def _is_persistent(full: str, parts: list[str]) -> bool:
    if full in PERSISTENT or full.startswith(tuple(f"{folder}/" for folder in PERSISTENT_FOLDERS)):
        return True
    if ".git" in parts and ("hooks" in parts or parts[-1] == "config"):
        return True
    return _glob_reaches(full, "", PERSISTENT, ())


def _glob_reaches(full: str, name: str, paths: tuple[str, ...], names: tuple[str, ...]) -> bool:
    if not _GLOB.intersection(full):
        return False
    if len(full) > GLOB_MAX:
        return True
    if any(fnmatchcase(path, full) and path.count("/") == full.count("/") for path in paths):
        return True
    return (
        bool(name.strip("*?[]!./"))
        and any(fnmatchcase(known, name) for known in names)
        and name.startswith((".", "id_"))
    )
