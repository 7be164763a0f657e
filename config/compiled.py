"""Code as C (mypyc), where that was built of these very sources; else Python reads them as ever. Two parts, each with a
flag and a build of its own: what judges, and what of the gateway is done for every call.

The sources are what counts: a build is found by the hash of all that went into it, and lies beside the interpreter,
where only who may change the sources may write. `take` stands before the first import of app.core in a process that
judges. What is listed here and what is not: docs/adr/0005-judging-as-c.md, 0011-the-gateway-as-c.md.
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from config.flags import load_flags

ROOT: Final = Path(__file__).resolve().parents[1]
BUILDS: Final = Path(sys.prefix) / "weir-compiled"
_POLICY: Final = "calls index match options policy shape verbs"
_SHELL: Final = """
arithmetic builtins chains checkpoints environment escapes expansion follow form git_launch grammar hazards hidden
launch launchers listed loading lone names numbers operands output outputs places reading redirect runners scope script
script_options searches stored stored_packages syntax tool_hazards touches transfers triggers unpacking words wrappers
written
"""
_GATEWAY: Final = "bodies connection heads known_calls repeats requests site"
_TELEMETRY: Final = "histogram"
_SERVICES: Final = """
answer_json answering answers batching deadlines decision_cache overdue questions validation waiting
"""


class Part(NamedTuple):
    """Modules that are compiled together. `sources`: folders whose constants and types are built in too. `optimised`:
    the compiler's level; judging is no faster at 3 and takes half as long again to build.
    """

    prefix: str
    flag: str
    modules: tuple[str, ...]
    sources: tuple[str, ...]
    optimised: str


JUDGING: Final = Part(
    "",
    "compiled_judging",
    (
        *[f"app.core.policy.{name}" for name in _POLICY.split()],
        *[f"app.core.shell.{name}" for name in _SHELL.split()],
    ),
    ("app/core",),
    "1",
)
ANSWERING: Final = Part(
    "gateway-",
    "compiled_gateway",
    (
        *[f"app.entry.gateway.{name}" for name in _GATEWAY.split()],
        *[f"app.services.{name}" for name in _SERVICES.split()],
        *[f"app.telemetry.{name}" for name in _TELEMETRY.split()],
    ),
    ("app/core", "app/ports", "app/telemetry", "app/services", "app/entry/gateway"),
    "3",
)
_JUDGES: Final = re.compile(rf"{re.escape(str(BUILDS))}/[0-9a-f]{{32}}/")
_SUFFIX: Final = sysconfig.get_config_var("EXT_SUFFIX") or ".so"


def folder(root: Path = ROOT, part: Part = JUDGING) -> Path:
    """Return where a build of the sources as they are now belongs, whether there is one or not."""
    digest = hashlib.sha256(f"{sys.version} {_SUFFIX} {part.modules} {part.optimised}".encode())
    # the lock names the compiler's version
    sources = [path for folder in part.sources for path in sorted((root / folder).rglob("*.py"))]
    for path in (*sources, root / "requirements.lock"):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)} ".encode() + content)
    return BUILDS / f"{part.prefix}{digest.hexdigest()[:32]}"


def take(environ: Mapping[str, str] = os.environ, build: Path | None = None, part: Part = JUDGING) -> bool:
    """Let imports find what was built; False where the flag is off or there is no build of these sources.

    All or nothing: compiled modules call each other past the interpreter, and one of them beside the source of another
    would find that one's names unset. So it is False too where one was imported from its source before.
    """
    if taken(part):
        return True
    if not load_flags(environ)[part.flag] or any(name in sys.modules for name in part.modules):
        return False
    build = build or folder(part=part)
    if not build.is_dir():
        return False
    if not any(isinstance(finder, _Finder) and finder.part is part for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(build, part))
    return True


def awaited() -> Path | None:
    """Return where a build will lie that is not there yet; None where none is wanted."""
    build = folder()
    return build if load_flags()[JUDGING.flag] and not build.is_dir() else None


def taken(part: Part = JUDGING) -> bool:
    """Tell whether this process judges (or answers) by compiled code."""
    return any(_compiled(sys.modules.get(name)) for name in part.modules)


def standing(environ: Mapping[str, str] = os.environ) -> str:
    """Return in words what a process that starts now would judge by."""
    if not load_flags(environ)[JUDGING.flag]:
        return f"the sources: the flag {JUDGING.flag} is off"
    return "code compiled of these sources" if folder().is_dir() else "the sources: not compiled as they are now"


def runs_in(pid: int) -> bool:
    """Tell whether a process, or one that it started, judges by compiled code, of whatever sources."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return False
    return _JUDGES.search(maps) is not None or any(runs_in(int(child)) for child in children)


def _compiled(module: ModuleType | None) -> bool:
    return module is not None and (module.__file__ or "").endswith(_SUFFIX)


class _Finder(MetaPathFinder):
    """Finds the modules of a part, and the library behind them, in a build."""

    def __init__(self, build: Path, part: Part) -> None:
        self.part = part
        self._build = build

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """See MetaPathFinder; raises ImportError where a build was taken that is not there any more, or not whole."""
        file = self._build / (fullname.replace(".", "/") + _SUFFIX)
        if fullname not in self.part.modules and not (fullname.endswith("__mypyc") and file.exists()):
            return None
        if not file.exists():
            raise ImportError(f"{file} is gone: start again", name=fullname)
        return importlib.util.spec_from_file_location(fullname, file)
