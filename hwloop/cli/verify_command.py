"""``hwloop verify``: is every record whole, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.exit_codes import reported

DAMAGED = 3


def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, running or not.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Check that every record of a run is whole, and show what was measured. Exit code 3 if it is damaged."""
    with reported(debug or context.obj["debug"]):
        import json

        from hwloop.runs.verification import verify_run

        found = verify_run(folder)
        if as_json:
            print(json.dumps(found.as_dict()))
        else:
            from hwloop.cli.verify_report import show_verification

            show_verification(found)
    if not found.is_whole:
        raise typer.Exit(DAMAGED)
