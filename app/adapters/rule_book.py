"""See ports.rules.RuleBook: places on disk, and `policy-versions` of the project's home.

The user's files are swapped as a folder by one renameat2(RENAME_EXCHANGE): no reader finds a moment without rules.
"""

import contextlib
import ctypes
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from app.adapters.policy_files import Place, files_of, rule_file, rule_files, rule_text, stamps
from app.adapters.project_rules import PROJECT_FILE
from app.adapters.rule_versions import RuleVersions, write_whole
from app.core.errors import RequestInvalid, SetupError
from app.core.policy import RuleFile
from app.core.policy.source import Tier
from app.ports import KeptVersion

VERSIONS: Final = "policy-versions"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


class FolderRuleBook:
    """`home` is None where there is no project: then nothing is kept, and nothing can be changed."""

    def __init__(self, places: Sequence[Place], home: Path | None) -> None:
        self._places = list(places)
        self._home = home
        self._versions = RuleVersions(home / VERSIONS) if home is not None else None

    def now(self) -> list[RuleFile]:
        """See RuleBook."""
        return rule_files(self._places)

    def stamp(self) -> object:
        """See RuleBook."""
        return stamps(self._places)

    def changed(self, paths: Sequence[Path], tier: Tier | None = None) -> list[RuleFile]:
        """See RuleBook."""
        missing = [path for path in paths if not path.exists()]
        if missing:
            raise RequestInvalid(f"{missing[0]} does not exist; name rule files or one folder of them")
        folders = [path for path in paths if path.is_dir()]
        if folders and len(paths) > 1:
            raise RequestInvalid("name rule files, or one folder that stands for a whole tier")
        speaks = tier if tier is not None else self._tier_of(paths[0])
        others = [place for place in self._places if place.tier is not speaks or not folders]
        if folders:
            return rule_files([*others, Place(folders[0], speaks)])
        given = {path.name: path.resolve() for path in paths}
        known = [
            (path, place.tier)
            for place in others
            for path in files_of(place.path)
            if place.tier is not speaks or path.name not in given
        ]
        return [rule_file(path, whose) for path, whose in [*known, *[(path, speaks) for path in given.values()]]]

    def kept(self) -> list[KeptVersion]:
        """See RuleBook."""
        return self._versions.kept() if self._versions is not None else []

    def version(self, beginning: str) -> list[RuleFile]:
        """See RuleBook."""
        return self._project_versions().files(beginning)

    def keep(self, files: Sequence[RuleFile], *, tried: bool = False) -> str:
        """See RuleBook."""
        return self._project_versions().keep(files, tried=tried)

    def contents(self, tier: Tier) -> dict[str, bytes]:
        """See RuleBook."""
        places = [place.path for place in self._places if place.tier is tier]
        return {path.name: path.read_bytes() for place in places for path in files_of(place)}

    def replaced(self, tier: Tier, contents: Mapping[str, bytes]) -> list[RuleFile]:
        """See RuleBook."""
        others = rule_files([place for place in self._places if place.tier is not tier])
        folder = next((place.path for place in self._places if place.tier is tier), Path())
        # the project's own is where its writer sees it, not where it was put for us
        shown = {name: name if tier is Tier.PROJECT else str(folder / name) for name in contents}
        return [*others, *[rule_text(name, tier, content, shown[name]) for name, content in contents.items()]]

    def put_back(self, contents: Mapping[str, bytes]) -> None:
        """See RuleBook."""
        folder = self._user_folder()
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            # what is no rule file is the user's own business, and stays
            ignored = shutil.ignore_patterns("*.yaml")
            shutil.copytree(folder, fresh, symlinks=True, ignore=ignored) if folder.is_dir() else fresh.mkdir(
                mode=0o700
            )
            for name, content in contents.items():
                write_whole(fresh / name, content)
            _exchange(fresh, folder) if folder.is_dir() else fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def add(self, name: str, content: bytes) -> Path:
        """See RuleBook."""
        folder = self._user_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(folder / name, content)
        return folder / name

    def _tier_of(self, path: Path) -> Tier:
        if path.name == PROJECT_FILE:
            return Tier.PROJECT
        whole = path.resolve()
        for place in self._places:
            with contextlib.suppress(OSError):
                if whole == place.path.resolve() or place.path.resolve() in whole.parents:
                    return place.tier
        return Tier.USER

    def _user_folder(self) -> Path:
        if self._home is None:
            raise RequestInvalid("there is no project here: set WEIR_HOME, or go to a folder with a .weir")
        return self._home / "policies"

    def _project_versions(self) -> RuleVersions:
        if self._versions is None:
            raise RequestInvalid("there is no project here: set WEIR_HOME, or go to a folder with a .weir")
        return self._versions


def _exchange(one: Path, other: Path) -> None:
    """Let two paths change places in one step; raises SetupError where the filesystem cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0:
        why = os.strerror(ctypes.get_errno())
        raise SetupError(f"{other} cannot be swapped in one step ({why}); copy the kept files by hand")
