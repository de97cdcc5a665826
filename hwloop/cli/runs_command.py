"""``hwloop runs``: what became of each run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.exit_codes import reported


def runs(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder that holds runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Table of runs: state, rows measured, test accuracy, device."""
    with reported(debug or context.obj["debug"]):
        import json

        from hwloop.runs.summary import list_runs

        found = list_runs(folder)
        if as_json:
            print(json.dumps([run.as_dict() for run in found]))
            return
        from hwloop.cli.runs_table import show_runs

        show_runs(found, folder)
