"""`weir doctor`: what is missing on this machine or wrong with this project, and the remedy."""

import json
from typing import Annotated

import typer

from app import bootstrap
from app.services.asked import leave
from app.services.doctor import Outside, examine
from config import settings as weir_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Look for what is missing, and name the remedy. Exits 1 when something is missing."""
    settings = weir_settings.load()
    outside = Outside(
        servers=lambda: bootstrap.server_binaries(settings),
        mount_kind=bootstrap.mount_kind,
        supervisor=bootstrap.supervisor(settings),
        probes=bootstrap.probes(settings, None),
        reader=lambda: bootstrap.file_event_reader(settings),
        watched=bootstrap.watched(settings),
    )
    findings = examine(settings, outside)
    well = all(finding.ok for finding in findings)
    if as_json:
        print(json.dumps({"ok": well, "findings": [finding._asdict() for finding in findings]}))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'BAD '}{finding.name}: {finding.detail}")
            if finding.remedy:
                print(f"      remedy: {finding.remedy}")
    leave(0 if well else 1)
