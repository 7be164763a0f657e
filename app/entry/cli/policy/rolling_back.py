"""`weir policy rollback`: the user's rules as they were in a kept version. Refused to agents."""

import getpass
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from app import bootstrap
from app.core.errors import PolicyInvalid, WeirError
from app.entry.cli.control import AGENTS, refuse_agents
from app.entry.cli.policy.rules import Json, refuse, rule_book
from app.entry.cli.times import plain
from app.services.rule_rollback import RolledBack, roll_back
from app.services.steering import record_steering
from config import settings as weir_settings

COMMAND = "weir policy rollback"


def rollback(
    version: Annotated[
        str, typer.Argument(help="A kept version (its beginning); without: the last with other files of yours.")
    ] = "",
    *,
    as_json: Json = False,
) -> None:
    """Put your own rules back as they were in a kept version, all at once; other tiers stay as they are."""
    refuse_agents("policy rollback", AGENTS)
    try:
        done = roll_back(rule_book(), version)
    except PolicyInvalid as error:
        refuse(error, as_json=as_json)
    position, why_not = _recorded(done)
    if as_json:
        whole = {"ok": True} | msgspec.to_builtins(done) | {"position": position, "not_recorded": why_not}
        print(msgspec.json.encode(whole).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    files = ", ".join(done.files) or "no files"
    console.print(Text("put back  ", "bold green").append(f"{files} of version {done.version}"))
    console.print(Text(f"in force  {done.now}, before: {done.before or 'files that did not load'}"))
    told = f"decisions log, position {position}" if not why_not else f"not recorded: {plain(why_not)}"
    console.print(Text(told, "yellow" if why_not else "dim"))


def _recorded(done: RolledBack) -> tuple[int, str]:
    """Tell the log; what was put back stays so where nobody can write it down."""
    settings = weir_settings.load()
    given = {"to": done.version, "before": done.before, "now": done.now}
    try:
        with bootstrap.asker(settings) as asker:
            return record_steering(asker, settings.project, getpass.getuser(), COMMAND, given, done.now), ""
    except WeirError as error:
        return 0, str(error)
