"""`weir policy import`: permissions of Claude or rules of Codex become the user's own. Refused to agents."""

import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from app.core.decisions import Verdict
from app.core.errors import PolicyInvalid
from app.entry.cli.control import AGENTS, refuse_agents
from app.entry.cli.policy.rules import STYLES, Json, refuse, rule_book
from app.entry.cli.times import plain
from app.services.rule_import import KINDS, Imported, import_rules

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def import_from(
    kind: Annotated[str, typer.Argument(help="Whose rules: claude (settings.json) or codex (prefix rules).")],
    file: Annotated[Path, typer.Argument(help="The file; it is read, never run.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the file of rules that is made; by default the tool's.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file of rules instead of writing it.")] = False,
    as_json: Json = False,
) -> None:
    """Make rules of your own out of another tool's, and say which could not be translated."""
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}")
    if name and _NAME.fullmatch(name) is None:
        raise typer.BadParameter("--name: small letters, digits and `-`")
    if not dry_run:
        refuse_agents("policy import", AGENTS)
    try:
        done = import_rules(rule_book(), kind, file.absolute(), name or kind, Path.home(), writes=not dry_run)
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)
    if as_json:
        print(msgspec.json.encode({"ok": True} | msgspec.to_builtins(done)).decode())
    else:
        _show(done)


def _show(done: Imported) -> None:
    if not done.file:
        print(done.text, end="")
    console = Console(highlight=False, soft_wrap=True, stderr=not done.file)
    for rule in done.rules if done.file else ():
        verdict = Verdict(rule["decide"])
        console.print(Text(f"{verdict.value:<9}", STYLES[verdict]).append(plain(", ".join(rule["match"]))))
    for one in done.untranslated:
        console.print(Text(f"not translated  line {one.line}: ", "bold yellow").append(plain(one.entry), "default"))
        console.print(Text(f"    {plain(one.why)}", "dim"))
    where = f"{done.file}, version {done.version}" if done.file else "nothing is written"
    console.print(
        Text(f"{len(done.rules)} rules, {len(done.untranslated)} not translated  ", "bold").append(where, "dim")
    )
