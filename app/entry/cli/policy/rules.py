"""What the commands of `weir policy` share: the rules at hand, and why some do not hold."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from app import bootstrap
from app.core.decisions import Verdict
from app.core.errors import PolicyInvalid
from app.core.policy import Policy, RuleFile, compile_policy
from app.core.policy.source import Tier
from app.entry.cli.times import plain
from app.gateway_place import find_home
from app.ports import RuleBook
from config.settings import policies_folder

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
STYLES = {Verdict.APPROVE: "green", Verdict.BLOCK: "red", Verdict.ESCALATE: "yellow"}


class Problem(msgspec.Struct, frozen=True):
    """Why rules do not hold: `file` is '' and `line` 0 where it is no single rule's fault."""

    file: str
    line: int
    detail: str
    remedy: str


def problem_of(error: PolicyInvalid) -> Problem:
    """Return the parts of a refusal: `file:line: what; remedy`."""
    placed = re.fullmatch(r"(.*?):(\d+): (.*)", str(error), re.DOTALL)
    what = placed[3] if placed else str(error)
    detail, _, remedy = what.rpartition("; ")
    return Problem(
        placed[1] if placed else "", int(placed[2]) if placed else 0, detail or what, remedy if detail else ""
    )


def rule_book() -> RuleBook:
    """Return the rules of the project at hand, of none the default ones; creates nothing."""
    return bootstrap.rule_book(policies_folder(), find_home(os.environ, Path.cwd()))


def files_of(book: RuleBook, folder: Path | None, tier: Tier | None = None) -> list[RuleFile]:
    """Return the rule files as they are, or with a folder in a tier's place; raises PolicyInvalid."""
    return book.now() if folder is None else book.changed([folder], tier)


def compiled_or_exit(files: Sequence[RuleFile], *, as_json: bool) -> Policy:
    """Return the policy of rule files; prints why there is none and exits 1."""
    try:
        return compile_policy(files)
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)


def refuse(error: PolicyInvalid, *, as_json: bool) -> NoReturn:
    """Print why rules do not hold, and exit 1."""
    problem = problem_of(error)
    if as_json:
        print(msgspec.json.encode({"ok": False, "problem": problem}).decode())
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        where = f"{problem.file}:{problem.line}: " if problem.file else ""
        console.print(Text("refused  ", "bold red").append(where, "bold").append(plain(problem.detail), "default"))
        if problem.remedy:
            console.print(Text(f"remedy: {plain(problem.remedy)}"))
    raise typer.Exit(1)


def tier_named(name: str) -> Tier | None:
    """Return the tier of an option's word, None for ''."""
    if not name:
        return None
    try:
        return Tier[name.upper()]
    except KeyError:
        raise typer.BadParameter(f"{name!r} is no tier: {', '.join(t.name.lower() for t in Tier)}") from None
