"""``hwloop resume`` and ``hwloop replay``: go on with a recorded run, or run it again without its device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.exit_codes import reported

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the run.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


AsJson = Annotated[bool, typer.Option("--json", help="Print the evidence as one JSON object.")]
FromStart = Annotated[
    bool, typer.Option("--from-start", help="Execute everything again from the journal; take nothing as it is.")
]
WithEvidence = Annotated[bool, typer.Option("--evidence", help="Compute and compare floors and ceiling too.")]


def resume(
    context: typer.Context,
    folder: Folder,
    from_start: FromStart = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Go on with a run that was stopped; nothing is measured or finished twice."""
    with reported(debug or context.obj["debug"]) as kept:
        from hwloop.cli.run_command import resume_and_show

        resume_and_show(folder, from_start, as_json, kept)


def replay(
    context: typer.Context,
    folder: Folder,
    with_evidence: WithEvidence = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a recorded experiment again from its journal alone, without the device."""
    with reported(debug or context.obj["debug"]):
        from hwloop.cli.run_command import replay_and_show

        replay_and_show(folder, with_evidence, as_json)
