"""The command `weir`. Each command is one module with `register(app)`, imported only when it is asked for.

`weir hook` is dispatched before typer and rich are imported: agents call it before each tool call.
Exit codes: 0 done, 1 it could not be done (stderr says what and the remedy), 2 bad usage; `validate` and `hook` have
their own.
"""

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

COMMANDS: Final = {
    "up": "up",
    "down": "up",
    "status": "status",
    "doctor": "doctor",
    "logs": "logs",
    "mount": "mount",
    "umount": "mount",
    "validate": "validate",
    "explain": "explain",
    "hook": "hook",
    "log": "log",
    "approvals": "approvals",
    "policy": "policy",
    "import": "transfer",
    "export": "transfer",
}
_PACKAGE: Final = "app.entry.cli"


def main() -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["hook"]:
        run_hook(arguments[1:])
    from app.core.errors import Unavailable, WeirError
    from config.settings import HomeUnusable

    # a pool's own warnings, several a second, would bury the one line that says what is wrong
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    try:
        application(arguments)()
    except Unavailable as error:
        remedy = "`weir status` shows what runs, `weir up` starts what does not"
        print(f"weir: {error}" + ("" if "weir status" in str(error) else f"; {remedy}"), file=sys.stderr)
        sys.exit(1)
    except (WeirError, HomeUnusable) as error:
        print(f"weir: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def run_hook(arguments: list[str]) -> None:
    """Answer a hook without the command line's libraries, if its module offers that."""
    fast = getattr(importlib.import_module(f"{_PACKAGE}.hook"), "main", None)
    if fast is not None:
        sys.exit(fast(arguments))


def application(arguments: list[str]) -> "typer.Typer":
    """Return the application with the asked command, or with all of them."""
    import typer

    app = typer.Typer(
        name="weir",
        help="A gate and an event-sourced filesystem between AI coding agents and your project.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root() -> None:
        """Hold the commands together: with one alone, typer would drop its name."""

    root.__doc__ = None
    asked = COMMANDS.get(arguments[0] if arguments else "")
    for module in dict.fromkeys([asked] if asked else COMMANDS.values()):
        importlib.import_module(f"{_PACKAGE}.{module}").register(app)
    return app
