"""Rule files on disk: reading, compiling, and watching them for change.

A change builds a new snapshot aside and swaps one reference; what does not load keeps the old one in force,
with an alert. Only files that changed are parsed again, and only rules that changed are tried on their examples: after
one edit the default rules are in force again in a fraction of the time that they took at first.
"""

import gc
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import yaml
from yaml.composer import Composer

from app.adapters.file_changes import FileChanges
from app.core.decisions import Asked, Judgement
from app.core.errors import PolicyInvalid
from app.core.policy import NOWHERE, Explanation, Policy, RuleFile, World, compile_policy, explained, refusing
from app.core.policy.guards import PathGuards
from app.core.policy.source import Tier

CHECK_EVERY_S: Final = 0.01
LOOK_EVERY_S: Final = 0.25
YIELDING_FROM_BYTES: Final = 64 * 1024
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
KEPT_VERSIONS: Final = 5
TURN_S: Final = 0.00005


Stamp = tuple[tuple[str, int, int, int, int], ...]
"""Of each file: path, times of its content's and of any change in ns (the second is nobody's to set), size, inode."""


class _Loader(yaml.CSafeLoader):
    """YAML 1.2 booleans: `yes`, `no`, `on` and `off` are words, since programs and fields are called so."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


class _YieldingLoader(Composer, _Loader):
    """Composes in Python from the events of the C parser: of a file of megabytes the C composer does not let another
    thread run until it is through, half a second for 10,000 rules.
    """

    def __init__(self, content: bytes) -> None:
        _Loader.__init__(self, content)
        Composer.__init__(self)


class Place(NamedTuple):
    """A rule file or a folder of `*.yaml`, and who speaks there."""

    path: Path
    tier: Tier = Tier.DEFAULT


def load_policy(paths: Sequence[Path | Place], before: Policy | None = None) -> Policy:
    """Return the compiled policy of files and folders; raises PolicyInvalid with file, line and remedy."""
    return compile_policy(rule_files(paths), before)


def rule_files(paths: Sequence[Path | Place], known: Mapping[str, RuleFile] = {}) -> list[RuleFile]:
    """Return the parsed files of files and folders; raises PolicyInvalid where one does not parse or there is none, or
    none of the default rules: what the user approves was written with those beside it. `known` by path: what is still
    the same there is not parsed again.
    """
    places = [place if isinstance(place, Place) else Place(place) for place in paths]
    bare = next((place.path for place in places if place.tier is Tier.DEFAULT and not files_of(place.path)), None)
    if bare is not None:
        raise PolicyInvalid(f"no rule files in {bare}; put *.yaml there or set WEIR_POLICIES")
    files = [rule_file(path, place.tier, known.get(str(path))) for place in places for path in files_of(place.path)]
    if not files:
        raise PolicyInvalid(
            f"no rule files in {', '.join(str(p.path) for p in places)}; put *.yaml there or set WEIR_POLICIES"
        )
    return files


def why_not_loaded(places: Sequence[Path | Place]) -> str:
    """Return why the files as they are now cannot come into force, '' where they can."""
    try:
        load_policy(places)
    except PolicyInvalid as error:
        return str(error)
    return ""


def rule_file(path: Path, tier: Tier, known: RuleFile | None = None) -> RuleFile:
    """Parse one file; raises PolicyInvalid with the line that YAML stopped at."""
    try:
        content = _content(path)
    except OSError as error:
        raise PolicyInvalid(f"{path}: cannot be read ({error.strerror}); check its mode") from error
    if known is not None and known.content == content and known.tier is tier:
        return known
    return rule_text(path.name, tier, content, str(path))


def _content(path: Path) -> bytes:
    # a pipe would hold its reader for ever, and with it every later change of the rules; a device has no end
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PolicyInvalid(f"{path}: is not a file; move it away")
        return file.read(FILE_BYTES_MAX + 1)


def rule_text(name: str, tier: Tier, content: bytes, path: str) -> RuleFile:
    """As `rule_file`, of content that is at hand."""
    if len(content) > FILE_BYTES_MAX:
        raise PolicyInvalid(f"{path}: larger than {FILE_BYTES_MAX} bytes; split it")
    try:
        rules, lines = _parsed(path, content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise PolicyInvalid(
            f"{path}:{line}: not YAML ({getattr(error, 'problem', error)}); check indentation and quotes"
        ) from error
    return RuleFile(name, tier, rules, lines, content, path)


def _parsed(path: str, content: bytes) -> tuple[list[object], list[int]]:
    """Return the rules of a file and the lines where they begin."""
    loader = (_YieldingLoader if len(content) >= YIELDING_FROM_BYTES else _Loader)(content)
    try:
        node = loader.get_single_node()
        fields = {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
        rules = fields.get("rules")
        if not isinstance(rules, yaml.SequenceNode) or set(fields) - {"rules", "about"}:
            raise PolicyInvalid(
                f"{path}:1: a rule file holds `rules:` with a list (and `about:`); see docs/reference/rules.md"
            )
        lines = [item.start_mark.line + 1 for item in rules.value]
        # one by one: freed at once, a tree of a million nodes would hold the interpreter for 0.1 s
        nodes, made = rules.value[::-1], []
        rules.value.clear()
        while nodes:
            made.append(loader.construct_document(nodes.pop()))
        return made, lines
    finally:
        loader.dispose()


def files_of(path: Path) -> list[Path]:
    """Return a place's rule files: of a folder `*.yaml` by name."""
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path] if path.exists() else []


def stamps(places: Sequence[Place]) -> Stamp:
    """Return what is equal as long as no file of the places has changed."""
    found = []
    for place in places:
        for path in _paths_of(place.path):
            try:
                status = os.stat(path)  # noqa: PTH116  # 2 us, a Path's 5
            except OSError:
                continue
            found.append((path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return tuple(found)


class PolicyWatcher:
    """The policy in force. `refresh` is called off the request path; nothing else touches the disk. `last` returns what
    was in force before, for a start while the files do not load: without it every call is blocked.
    """

    def __init__(
        self, places: Sequence[Path | Place], world: World = NOWHERE, last: Callable[[], Policy | None] = lambda: None
    ) -> None:
        self._world = world
        self._places = [place if isinstance(place, Place) else Place(place) for place in places]
        self._checked_s = self._looked_s = time.monotonic()
        self._changes = FileChanges(self._watched)
        self._changes.maybe()
        self._stamp = self._seen = stamps(self._places)
        self.alert = ""
        self.previous: list[Policy] = []
        self._known: dict[str, RuleFile] = {}
        self._missed: set[str] = set()
        try:
            self.current = self._load(None)
        except PolicyInvalid as error:
            self.alert = str(error)
            self.current = last() or refusing(f"No valid policy could be loaded: {error}")
        self.version = self.current.version
        """Of the policy in force. Plain: it is read for every call."""

    def judge(self, call: Asked) -> Judgement:
        """See Policy.judge."""
        return self.current.judge(call, self._world)

    @property
    def guards(self) -> PathGuards:
        """See Policy."""
        return self.current.guards

    @property
    def stands_in(self) -> bool:
        """Tell whether no rules could be loaded at all."""
        return self.current.stands_in

    def explain(self, call: Asked, world: World | None = None) -> Explanation:
        """Return why a call is judged as it is, with the time that each step took; in `world` where that is given."""
        return explained(self.current, call, self._world if world is None else world, time.perf_counter_ns)

    def refresh(self, *, force: bool = False) -> bool:
        """Reload when files have changed and two looks agree, at most every 10 ms; True when another version came into
        force. Looks at the files only where the kernel says that something happened there, or every LOOK_EVERY_S.
        """
        now_s = time.monotonic()
        if not force and now_s - self._checked_s < CHECK_EVERY_S:
            return False
        self._checked_s = now_s
        stamp = self._new_stamp(now_s, force=force)
        if stamp is None:
            return False
        self._stamp = stamp
        try:
            fresh = self._load(self.current)
        except PolicyInvalid as error:
            self.alert = f"rules not changed, version {self.version} stays in force: {error}"
            return False
        if stamps(self._places) != stamp:
            self._stamp = ()  # files of two moments: neither what was nor what is, so look again
            return False
        self.alert = self._gone()
        changed = fresh.version != self.version
        if changed:
            self.previous = [self.current, *self.previous][:KEPT_VERSIONS]
            self.current, self.version = fresh, fresh.version
        return changed

    def _watched(self) -> Iterator[str]:
        for place in self._places:
            yield str(place.path)
            yield from _paths_of(place.path)

    def _new_stamp(self, now_s: float, *, force: bool) -> Stamp | None:
        """Return what the files are now where that is to be loaded."""
        due = now_s - self._looked_s >= LOOK_EVERY_S or self._seen != self._stamp or force
        if not (self._changes.maybe() or due):
            return None
        self._looked_s = now_s
        stamp = stamps(self._places)
        if stamp == self._stamp:
            self._seen = stamp
            return None
        if due:  # found by looking: what is watched is not what is there
            self._changes.again()
        return stamp if force or self._settled(stamp) else None

    def _settled(self, stamp: Stamp) -> bool:
        # the first half of a file that is being written may well load, without the rules of the second
        seen, self._seen = self._seen, stamp
        return seen == stamp

    def _load(self, before: Policy | None) -> Policy:
        with uncollected(), _short_turns():
            files = rule_files(self._places, self._known)
            policy = compile_policy(files, before)
        held = {file.path: file for file in files}
        self._missed |= {path for path, file in self._known.items() if file.tier is Tier.DEFAULT}
        self._missed -= held.keys()
        self._known = held
        return policy

    def _gone(self) -> str:
        """Name the files of default rules that were in force in this process and are there no more."""
        if not self._missed:
            return ""
        names = ", ".join(sorted(self._missed))
        return f"gone, and its rules with it: {names}; put it back, or start Weir again where that was meant"


@contextmanager
def _short_turns() -> Iterator[None]:
    """A call waits for the loading thread at each of its steps: reading, each send, each reply."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, TURN_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def uncollected() -> Iterator[None]:
    """What is made here stays: the collector is kept from walking over it, in which no other thread runs."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _paths_of(path: Path) -> list[str]:
    """As files_of."""
    try:
        return [f"{path}/{name}" for name in sorted(os.listdir(path)) if name.endswith(".yaml")]  # noqa: PTH208
    except NotADirectoryError:
        return [str(path)]
    except OSError:
        return []
