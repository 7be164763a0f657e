"""`weir policy show` and `diff`: what is in force, one rule whole, and what another version says otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.core.decisions import Verdict
from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.policy import RuleFile, compile_policy, version_of
from app.core.policy.difference import Difference, RulePlace, difference
from app.core.policy.source import Tier
from app.entry.cli.policy.rules import STYLES, Json, Problem, problem_of, refuse, rule_book, tier_named
from app.entry.cli.times import plain
from app.ports import RuleBook
from app.services.event_lines import show_time


class FileInForce(msgspec.Struct, frozen=True):
    """A rule file, and how many of its rules say what."""

    tier: str
    file: str
    approve: int
    escalate: int
    block: int


class Kept(msgspec.Struct, frozen=True):
    """An earlier version that `diff` and `rollback` know."""

    version: str
    at: str


class OneRule(msgspec.Struct, frozen=True):
    """A rule as it is written, and which rules lift it where they match."""

    id: str
    tier: str
    file: str
    line: int
    decide: str
    reason: str
    remedy: str
    text: str
    match: list[Any]
    no_match: list[Any]
    lifts: list[str]
    lifted_by: list[str]


def show(
    rule: Annotated[str, typer.Argument(help="The id of a rule; without: all files.")] = "", *, as_json: Json = False
) -> None:
    """Show the rules in force by tier and their version, or one rule whole."""
    book = rule_book()
    files, version, problem = in_force(book)
    if rule:
        _show_rule(_one(files, rule), as_json=as_json)
        return
    tiers = [_counted(file) for file in files]
    kept = [Kept(one.version, show_time(one.at_ns)) for one in book.kept()]
    if as_json:
        whole = {"version": version, "files": tiers, "kept": kept, "problem": problem}
        print(msgspec.json.encode(whole).decode())
        return
    _show_files(version, tiers, kept, problem)


def in_force(book: RuleBook) -> tuple[list[RuleFile], str, Problem | None]:
    """Return files and version in force: those on disk where they load, else the last that did and why."""
    try:
        files = book.now()
        return files, compile_policy(files).version, None
    except PolicyInvalid as error:
        kept = book.kept()
        files = book.version(kept[0].version) if kept else []
        return files, kept[0].version if kept else "", problem_of(error)


def _one(files: Sequence[RuleFile], name: str) -> OneRule:
    stated = [(file, number) for file in files for number, raw in enumerate(file.rules) if raw["id"] == name]
    if not stated:
        known = sorted(raw["id"] for file in files for raw in file.rules if name.lower() in raw["id"].lower())
        near = f"; there are {', '.join(known[:8])}" if known else "; `weir explain` names the rules of a command"
        raise RequestInvalid(f"no rule is called {name!r}{near}")
    file, number = stated[0]
    raw, line = file.rules[number], file.lines[number]
    lifted_by = [str(other["id"]) for one in files for other in one.rules if name in other.get("lifts", ())]
    examples = raw.get("examples", {})
    return OneRule(
        name, file.tier.name.lower(), file.path or file.name, line, raw["decide"], raw["reason"], raw.get("remedy", ""),
        text_of(file, number), examples.get("match", []), examples.get("no_match", []), raw.get("lifts", []), lifted_by,
    )  # fmt: skip


def text_of(file: RuleFile, number: int) -> str:
    """Return a rule as it stands in its file."""
    lines = file.content.decode(errors="replace").splitlines()
    end = file.lines[number + 1] - 1 if number + 1 < len(file.lines) else len(lines)
    return "\n".join(lines[file.lines[number] - 1 : end]).rstrip()


def _counted(file: RuleFile) -> FileInForce:
    said = [str(raw.get("decide", "")) for raw in file.rules]
    counts = [said.count(verdict) for verdict in (Verdict.APPROVE, Verdict.ESCALATE, Verdict.BLOCK)]
    return FileInForce(file.tier.name.lower(), file.path or file.name, *counts)


def _show_files(version: str, tiers: list[FileInForce], kept: list[Kept], problem: Problem | None) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("tier", "file"):
        table.add_column(column, overflow="fold")
    for verdict in (Verdict.APPROVE, Verdict.ESCALATE, Verdict.BLOCK):
        table.add_column(verdict.value, justify="right", style=STYLES[verdict])
    for one in sorted(tiers, key=lambda one: -Tier[one.tier.upper()]):
        table.add_row(one.tier, one.file, str(one.approve), str(one.escalate), str(one.block))
    console.print(table)
    console.print(Text("in force  ", "bold green").append(version or "nothing: every call is blocked"))
    if problem is not None:
        where = f"{problem.file}:{problem.line}: " if problem.file else ""
        console.print(Text("the files as they are are refused: ", "bold red").append(f"{where}{plain(problem.detail)}"))
        console.print(Text(f"remedy: {plain(problem.remedy)}"))
    for earlier in kept:
        mark = "  in force" if earlier.version == version else ""
        console.print(Text(f"kept  {earlier.version}  since {earlier.at}{mark}", "dim"))


def _show_rule(rule: OneRule, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(rule).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    head = Text(rule.decide, f"bold {STYLES[Verdict(rule.decide)]}").append(f"  {rule.id}", "bold")
    console.print(head.append(f"  {rule.file}:{rule.line} ({rule.tier})", "dim"))
    console.print(Text(plain(rule.reason)))
    if rule.remedy:
        console.print(Text(f"remedy: {plain(rule.remedy)}"))
    if rule.lifted_by:
        console.print(Text(f"lifted, where they match, by: {', '.join(rule.lifted_by)}", "yellow"))
    elif rule.tier == Tier.DEFAULT.name.lower():
        console.print(Text(f"lifted by nothing; a user's or admin's rule with `lifts: [{rule.id}]` would", "dim"))
    console.print()
    console.print(Text("\n".join(plain(line) for line in rule.text.splitlines())))


def diff(
    other: Annotated[str, typer.Argument(help="A kept version (its beginning), or a folder of rules.")],
    *,
    tier: Annotated[str, typer.Option(help="In whose place a folder would stand; the user's by default.")] = "",
    as_json: Json = False,
) -> None:
    """Show what rules of another version or folder would add, remove or change, against those in force."""
    book = rule_book()
    files, version, _ = in_force(book)
    try:
        others = book.changed([Path(other)], tier_named(tier)) if Path(other).exists() else book.version(other)
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)
    found = difference(files, others)
    if as_json:
        whole = {"from": version, "to": version_of(others)} | msgspec.to_builtins(found)
        print(msgspec.json.encode(whole).decode())
        return
    _show_difference(found, Console(highlight=False, soft_wrap=True))


def _show_difference(found: Difference, console: Console) -> None:
    for sign, style, places in (("+", "green", found.added), ("-", "red", found.removed)):
        for place in places:
            console.print(_place(sign, style, place))
    for change in found.changed:
        console.print(_place("~", "yellow", change.rule))
        for one in change.fields:
            console.print(Text(f"      {one.field}: ", "dim").append(_value(one.before), "red"))
            console.print(Text(" " * (8 + len(one.field))).append(_value(one.after), "green"))
    counts = f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed"
    console.print(Text(counts, "bold"))


def _place(sign: str, style: str, place: RulePlace) -> Text:
    head = Text(f"{sign} {place.id}", f"bold {style}").append(f"  {place.decide}")
    return head.append(f"  {place.file}:{place.line} ({place.tier})", "dim")


def _value(value: Any) -> str:
    return (
        "not given"
        if value is None
        else plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    )
