"""`weir policy`: the rules, as a person looks at them, tries them, and puts earlier ones back."""

import typer

from app.entry.cli.explain import explain
from app.entry.cli.policy import checking, importing, replaying, rolling_back, showing


def register(app: typer.Typer) -> None:
    """Add the command and what it can do."""
    commands = typer.Typer(
        help="Check, test, compare and replay rules. Show and explain them, put earlier ones back.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    commands.command("check")(checking.check)
    commands.command("test")(checking.try_out)
    commands.command("show")(showing.show)
    commands.command("explain")(explain)
    commands.command("diff")(showing.diff)
    commands.command("replay")(replaying.replay_decisions)
    commands.command("rollback")(rolling_back.rollback)
    commands.command("import")(importing.import_from)
    app.add_typer(commands, name="policy")
