"""`weir policy check` and `test`: would these rules be taken, and do they say what a person expects? Both only read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.core.decisions import Asked, Verdict
from app.core.errors import PolicyInvalid, RequestInvalid
from app.core.policy import Policy, RuleFile, compile_policy
from app.core.policy.policy import EXAMPLE_CWD
from app.entry.cli.policy.rules import STYLES, Json, compiled_or_exit, files_of, refuse, rule_book, tier_named
from app.entry.cli.times import plain

LABELLED_BYTES_MAX: Final = 64 * 1024 * 1024
SHOWN_CHARACTERS: Final = 200
TierName = Annotated[str, typer.Option(help="Whose rules they are to be: default, project, user or admin.")]
Folder = Annotated[Path | None, typer.Option("--policy", help="A folder of rules in the place of the user's.")]


class CheckedFile(msgspec.Struct, frozen=True):
    """A rule file that holds."""

    tier: str
    file: str
    rules: int
    examples: int


class _Labelled(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One line of a labelled file: a call, and the verdict (or verdicts) that it should get."""

    verdict: Verdict | list[Verdict]
    command: str = ""
    tool: str = "Bash"
    input: dict[str, Any] = {}
    agent: str = "test"
    session: str = ""
    cwd: str = EXAMPLE_CWD


class Surprise(msgspec.Struct, frozen=True):
    """A labelled call that the rules judge otherwise."""

    line: int
    command: str
    expected: tuple[Verdict, ...]
    verdict: Verdict
    rules: tuple[str, ...]
    reason: str


def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Rule files, or one folder; without: all as they are.")
    ] = None,
    *,
    tier: TierName = "",
    as_json: Json = False,
) -> None:
    """Load all rules with the given ones among them, examples and all: exits 0 if they would be taken, 1 if not."""
    whose = tier_named(tier)
    try:
        book = rule_book()
        files = book.changed(paths, whose) if paths else book.now()
        policy = compile_policy(files)
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)
    checked = [CheckedFile(f.tier.name.lower(), f.path or f.name, len(f.rules), examples_in(f)) for f in files]
    if as_json:
        print(msgspec.json.encode({"ok": True, "version": policy.version, "files": checked}).decode())
        return
    table = Table(box=None, pad_edge=False)
    for column in ("tier", "file", "rules", "examples"):
        table.add_column(column, overflow="fold", justify="right" if column in {"rules", "examples"} else "left")
    for one in checked:
        table.add_row(one.tier, one.file, str(one.rules), str(one.examples))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text("they hold  ", "bold green").append(f"version {policy.version}", "dim"))


def examples_in(file: RuleFile) -> int:
    """Return how many examples a file's rules have."""
    given = [raw.get("examples", {}) for raw in file.rules]
    return sum(len(one.get("match", ())) + len(one.get("no_match", ())) for one in given)


def try_out(
    labelled: Annotated[
        Path | None,
        typer.Argument(help='Lines of {"command": "...", "verdict": "approve"}; without: the examples only.'),
    ] = None,
    *,
    policy: Folder = None,
    tier: TierName = "",
    as_json: Json = False,
) -> None:
    """Run the rules' own examples, then a file of labelled commands: exits 1 where a verdict differs."""
    try:
        files = files_of(rule_book(), policy, tier_named(tier))
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)
    judging = compiled_or_exit(files, as_json=as_json)
    calls = list(_labelled(labelled)) if labelled is not None else []
    found = [one for line, call in calls if (one := _surprise(judging, line, call)) is not None]
    examples = sum(examples_in(file) for file in files)
    if as_json:
        counts = {"ok": not found, "version": judging.version, "examples": examples, "commands": len(calls)}
        print(msgspec.json.encode(counts | {"differ": found}).decode())
    else:
        _show(found, examples, len(calls))
    raise typer.Exit(1 if found else 0)


def _labelled(path: Path) -> Iterator[tuple[int, _Labelled]]:
    try:
        if path.stat().st_size > LABELLED_BYTES_MAX:
            raise RequestInvalid(f"{path} is larger than {LABELLED_BYTES_MAX} bytes; split it")
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise RequestInvalid(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line, type=_Labelled)
            except msgspec.DecodeError as error:
                form = '{"command": "ls", "verdict": "approve"} (or tool and input; verdict may be a list)'
                raise RequestInvalid(f"{path}:{number}: {error}; a line is {form}") from error


def _surprise(policy: Policy, line: int, call: _Labelled) -> Surprise | None:
    given = call.input or {"command": call.command}
    judged = policy.judge(Asked(call.tool, given, call.agent, call.session, call.cwd))
    wanted = tuple(call.verdict) if isinstance(call.verdict, list) else (call.verdict,)
    if judged.verdict in wanted:
        return None
    text = call.command or json.dumps(given)
    return Surprise(line, text, wanted, judged.verdict, tuple([rule.id for rule in judged.rules]), judged.reason)


def _show(found: list[Surprise], examples: int, commands: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in found:
        text = plain(one.command)
        head = Text(f"{one.line:>6}  ", "dim").append(" or ".join(one.expected)).append(" -> ", "dim")
        head.append(one.verdict.value, STYLES[one.verdict]).append(f"  {', '.join(one.rules)}", "bold")
        console.print(head)
        console.print(Text(f"        {text[:SHOWN_CHARACTERS]}", "dim"))
    word = Text("as expected" if not found else f"{len(found)} differ", "bold red" if found else "bold green")
    console.print(word.append(f"  {examples} examples, {commands} labelled commands", "dim"))
