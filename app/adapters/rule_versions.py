"""Versions of the rules that were in force: `<version>.json` names files by the hash of their content in `objects/`.

A manifest is written after its objects, each by rename; one lock covers writing and removing, so that no object goes
that a manifest just written needs. The oldest versions go beyond KEPT, what was only tried beyond TRIED.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from app.adapters.policy_files import rule_text
from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.policy import Policy, RuleFile, compile_policy, version_of
from app.core.policy.source import Tier
from app.ports import KeptVersion

KEPT: Final = 20
TRIED: Final = 5


class _File(msgspec.Struct, frozen=True):
    tier: str
    name: str
    path: str
    sha256: str


class _Manifest(msgspec.Struct, frozen=True):
    version: str
    at_ns: int
    tried: bool
    files: tuple[_File, ...]


class RuleVersions:
    """See the module; the folder is made when the first version is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects = folder / "objects"

    def kept(self) -> list[KeptVersion]:
        """Return what was in force, newest first."""
        return [KeptVersion(one.version, one.at_ns) for one in self._manifests() if not one.tried]

    def files(self, beginning: str) -> list[RuleFile]:
        """Return the files of a version; raises RequestInvalid where it is not kept whole."""
        found = [one for one in self._manifests() if beginning and one.version.startswith(beginning)]
        if len(found) != 1:
            many = "more than one version begins" if found else "no kept version begins"
            raise RequestInvalid(f"{many} with {beginning!r}: `weir policy show` lists them")
        return [self._file(one) for one in found[0].files]

    def last(self) -> Policy | None:
        """Return the newest version that was in force, compiled; None where there is none that still holds."""
        for one in self.kept():
            try:
                return compile_policy(self.files(one.version))
            except (RequestInvalid, PolicyInvalid):
                continue
        return None

    def keep(self, files: Sequence[RuleFile], *, tried: bool) -> str:
        """Keep files and return their version; one that was in force stays so when it is tried again."""
        version = version_of(files)
        with self._locked():
            known = {one.version: one for one in self._manifests()}.get(version)
            if known is None or not tried:
                named = [(file, hashlib.sha256(file.content).hexdigest()) for file in files]
                for file, digest in named:
                    if not (self._objects / digest).exists():
                        write_whole(self._objects / digest, file.content)
                listed = tuple([_File(file.tier.name, file.name, file.path, digest) for file, digest in named])
                manifest = _Manifest(version, time.time_ns(), tried, listed)
                write_whole(self._folder / f"{version}.json", msgspec.json.encode(manifest))
            self._prune()
        return version

    def _file(self, one: _File) -> RuleFile:
        try:
            content = (self._objects / one.sha256).read_bytes()
        except OSError as error:
            raise RequestInvalid(f"{one.name} of that version is gone ({error.strerror}); take another") from error
        if hashlib.sha256(content).hexdigest() != one.sha256:
            raise RequestInvalid(f"{one.name} of that version is damaged; take another")
        return rule_text(one.name, Tier[one.tier], content, one.path)

    def _manifests(self) -> list[_Manifest]:
        found = []
        for path in self._folder.glob("*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=_Manifest))
            except (OSError, msgspec.DecodeError):
                continue  # pruned meanwhile, or not ours
        return sorted(found, key=lambda one: -one.at_ns)

    def _prune(self) -> None:
        manifests = self._manifests()
        stay = [
            *[one for one in manifests if not one.tried][:KEPT],
            *[one for one in manifests if one.tried][:TRIED],
        ]
        for one in manifests:
            if one not in stay:
                (self._folder / f"{one.version}.json").unlink(missing_ok=True)
        needed = {file.sha256 for one in stay for file in one.files}
        for path in self._objects.iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._objects.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power loss."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
