"""``hwloop calibrate``: measure a device, and write what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from hwloop.cli.command import LAST_LINE, ProgressKept, json_option, reporting, set_option
from hwloop.cli.console import FittedTable, Heading, new_console
from hwloop.cli.rows_progress import RowsProgress

if TYPE_CHECKING:
    from hwloop.calibration import Calibration, Plan
    from hwloop.cli.calibration_request import CalibrationRequest
    from hwloop.session import Forecast


@reporting
def calibrate(
    kept: ProgressKept,
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
    settings: Annotated[list[str] | None, set_option("Change a setting of the device.")] = None,
    settling: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[=S,S,...]",
            help="First sweep this setting, in seconds, such as guard_seconds; 'auto': the device's own choice.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random order of stimuli.", min=0)] = 0,
    as_json: Annotated[bool, json_option(f"Print the calibration as one JSON object, {LAST_LINE}.")] = False,
) -> None:
    """Measure a device: gain, nonlinearity, noise, memory, cross-talk, drift, rank and pace, with intervals."""
    from hwloop.cli.calibration_request import CalibrationRequest

    request = CalibrationRequest(target, out, budget, report, tuple(settings or ()), settling, seed)
    _calibrate(request, as_json, kept)


def _calibrate(request: CalibrationRequest, as_json: bool, kept: ProgressKept) -> None:
    """Calibrate, write TOML, JSON and report, and show the figures.

    Standard output carries the figures, or with ``as_json`` nothing but one JSON object; all else goes to standard
    error.
    """
    from hwloop.calibration import calibrate as calibrated
    from hwloop.calibration import plan_rows, sweep_settling
    from hwloop.cli.calibration_request import (
        SettlingOption,
        check_output,
        device_table,
        main_budget,
        open_as_asked,
        rows_folder,
        write_files,
    )
    from hwloop.runs.recording_folder import RecordingFolder

    check_output(request)
    table = device_table(request.target, request.settings)
    device = open_as_asked(request.target, table)
    errors = new_console(stderr=True)
    sweep = SettlingOption.of(request, table, device)
    budget = main_budget(request, sweep, device)
    plan_rows(device.spec, budget)  # a budget that is too small shows before a folder is made
    asked = {
        "calibrate": table,
        "budget": request.budget,
        "seed": request.seed,
        "settling": None if sweep is None else [sweep.setting, *sweep.seconds],
    }
    what = f"calibration of {request.target}"
    with (
        RecordingFolder(rows_folder(request.out), what, str(table.get("device", request.target)), asked) as folder,
        _CalibrationProgress(errors, kept, folder) as progress,
    ):
        found = None
        if sweep is not None:
            # First: what it recommends is what is calibrated.
            progress.announce_sweep(sweep.setting, sweep.seconds)
            found = sweep_settling(
                sweep.open_with,
                sweep.setting,
                sweep.seconds,
                request.seed,
                [progress],
                lambda number: folder.journal(f"settling-{number}"),
            )
            if found.recommended is not None:
                device, table = sweep.open_with(found.recommended), sweep.table_with(found.recommended)
        journal = folder.journal("calibration")
        calibration = calibrated(
            device,
            budget,
            seed=request.seed,
            listeners=[progress],
            announce=progress.announce,
            journal=journal,
        )
        calibration = replace(calibration, sweep=found)
        files = write_files(calibration, table, request)
        folder.finish()
    kept.note = ""
    _show_calibration(calibration, errors if as_json else new_console())
    for what, path in {**files, "measured rows": folder.path}.items():
        errors.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps({**calibration.as_dict(), "files": {what: str(path) for what, path in files.items()}}))


class _CalibrationProgress(RowsProgress):
    """Rows measured of those of the settling sweep, then of the calibration."""

    doing = "calibrating"

    def announce_sweep(self, setting: str, seconds: Sequence[float]) -> None:
        from hwloop.calibration.settling_sweep import ROWS_PER_VALUE

        rows = ROWS_PER_VALUE * len(seconds)
        self.begin(rows, f"settling sweep: {rows:,} rows, {len(seconds)} values of {setting}")

    def announce(self, plan: Plan, forecast: Forecast) -> None:
        text = (
            f"forecast: {forecast} ({plan.pilot:,} to look first, "
            f"{plan.main - plan.reference:,} of stimuli in random order, {plan.reference:,} of "
            "references between them)"
        )
        self.begin(plan.rows, text, self.folder.journal("calibration").rows)


def _show_calibration(calibration: Calibration, console: Console) -> None:
    """Print every figure with its interval, the warnings, and the recommended settings with their reasons."""
    figures_table(calibration).print(console)
    console.print(Text("\nRecommended", style="bold"))
    advice = FittedTable([Heading("setting"), Heading("value", wraps=True), Heading("why", wraps=True, least=20)])
    for row in calibration.recommended.rows(whole_range="as it is"):
        advice.add_row(*row)
    advice.print(console)
    for warning in calibration.warnings:
        console.print(Text(f"note: {warning}", style="yellow"))


def figures_table(calibration: Calibration) -> FittedTable:
    """A line a figure, with its interval and its unit, in groups."""
    from hwloop.calibration.figure_table import figure_lines

    table = FittedTable(
        [
            Heading("", wraps=True, least=20, name="figure"),
            Heading("median ± 95 %", right=True),
            Heading("least", right=True, drop=1),
            Heading("greatest", right=True, drop=2),
            Heading("unit"),
        ],
        elsewhere="report and --json have them",
    )
    group = ""
    for line in figure_lines(calibration.figures):
        if line.group != group:
            group = line.group
            table.add_row(Text(group, style="bold"), "", "", "", "")
        table.add_row(f"  {line.title}", line.value, line.least, line.greatest, line.unit)
    return table
