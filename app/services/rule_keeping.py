"""Looks after the rules' files: the project's own comes into force only if it holds, and what is in force is kept.

The project's file is whatever its writers make of it. It is tried with all other rules before the gateway and the
workers see it: one that approves, lifts or does not parse is refused whole, and the last one that held stays.
"""

from typing import NamedTuple

from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.policy import compile_policy
from app.core.policy.source import Tier
from app.ports import ProjectRules, RuleBook


class Look(NamedTuple):
    """What a look came to, for people who watch tasks: `project` is same | none | taken | refused | waits, `kept` the
    version in force.
    """

    project: str
    kept: str


class RuleKeeper:
    """`look` is called again and again; where nothing changed since it costs one row and a stat a file."""

    def __init__(self, book: RuleBook, project: ProjectRules, name: str) -> None:
        self._book = book
        self._project = project
        self._name = name
        self._seen: tuple[object, object] | None = None
        self._kept = ""

    def look(self) -> Look:
        """Bring in the project's file, keep the version in force; raises Unavailable with all as it was."""
        content = self._stored()
        seen = (content, self._book.stamp())
        if seen == self._seen:
            return Look("same", self._kept)
        word = self._bring_in(content)
        self._kept = self._keep()
        self._seen = seen
        return Look(word, self._kept)

    def _stored(self) -> bytes | str | None:
        try:
            return self._project.stored()
        except RequestInvalid as error:
            return f"{self._name}: {error}; write rules there, or remove it"

    def _bring_in(self, content: bytes | str | None) -> str:
        if isinstance(content, str):
            self._project.refuse(content)
            return "refused"
        if content == self._project.taken():
            if self._project.refused():
                self._project.take(content)
            return "same"
        try:
            compile_policy(self._book.replaced(Tier.PROJECT, {}))
        except PolicyInvalid:
            return "waits"  # the other rules do not load: nothing can be said of this file
        try:
            if content is not None:
                compile_policy(self._book.replaced(Tier.PROJECT, {self._name: content}))
        except PolicyInvalid as error:
            self._project.refuse(str(error))
            return "refused"
        self._project.take(content)
        return "none" if content is None else "taken"

    def _keep(self) -> str:
        try:
            files = self._book.now()
            version = compile_policy(files).version
        except PolicyInvalid:
            return self._kept  # stays in force, and an alert says so
        if version not in [one.version for one in self._book.kept()[:1]]:
            self._book.keep(files)
        return version
