"""``hwloop calibrate``: measure a device, and write what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwloop.cli.exit_codes import reported


def calibrate(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(metavar="DEVICE", help="A device of 'hwloop list', package.module:Class, or a TOML file."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE.toml", help="Device file to write, calibrated.")
    ] = Path("calibrated.toml"),
    budget: Annotated[
        int | None,
        typer.Option(
            metavar="ROWS", help="Rows to measure; fewer give wider intervals.", show_default="by device"
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for report.html and its plots.", show_default="FILE.html alone"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the device.")
    ] = None,
    settling: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[=S,S,...]",
            help="First sweep this setting, in seconds, such as guard_seconds; 'auto': the device's own choice.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random order of stimuli.", min=0)] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the calibration as one JSON object, the last line of stdout.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Measure a device: gain, nonlinearity, noise, memory, cross-talk, drift, rank and pace, with intervals."""
    with reported(debug or context.obj["debug"]) as kept:
        from hwloop.cli.calibration_files import CalibrationRequest
        from hwloop.cli.calibration_run import calibrate_and_show

        request = CalibrationRequest(target, out, budget, report, tuple(settings or ()), settling, seed)
        calibrate_and_show(request, as_json, kept)
