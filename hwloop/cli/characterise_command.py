"""``hwloop characterise``: what a device computes and remembers, before anything is trained on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hwloop.cli.command import LAST_LINE, DeviceTarget, ProgressKept, json_option, reporting, set_option
from hwloop.cli.console import FittedTable, Heading, new_console
from hwloop.cli.rows_progress import RowsProgress

if TYPE_CHECKING:
    from hwloop.passport import Passport, PassportPlan
    from hwloop.session import Forecast


@reporting
def characterise(
    kept: ProgressKept,
    target: DeviceTarget,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE.html", help="Page to write; FILE.json stands beside it.")
    ] = Path("passport.html"),
    budget: Annotated[
        int | None,
        typer.Option(metavar="ROWS", help="Rows to measure at most.", show_default="by device, <= 5000"),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task", metavar="NAME", help="Dataset of 'hwloop list' to predict a score on; may be repeated."
        ),
    ] = None,
    settings: Annotated[list[str] | None, set_option("Change a setting of the device.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Steps of a row.", show_default="the device's sequence_length, or 1"
        ),
    ] = None,
    feedback: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Feed answers back on N channels: one row a step.", show_default="none"
        ),
    ] = None,
    degrees: Annotated[int, typer.Option(min=1, max=8, help="Highest degree of the functions.")] = 4,
    delays: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Steps to look back.", show_default="as far as is seen")
    ] = None,
    amplitude: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Of the random inputs, in half ranges.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    as_json: Annotated[bool, json_option(f"Print the passport as one JSON object, {LAST_LINE}.")] = False,
) -> None:
    """Write a device's passport: memory, processing capacity, ranks, consistency, drift; and predicted scores."""
    from hwloop.cli.calibration_request import device_table, keep_older, open_as_asked, rows_folder
    from hwloop.journal.durable_files import atomic_write
    from hwloop.passport import characterise as characterised
    from hwloop.passport import drive_of, plan_passport
    from hwloop.passport.forecast import row_tasks
    from hwloop.passport.report import write_passport
    from hwloop.runs.recording_folder import RecordingFolder

    _check_output(out, target)
    table = device_table(target, settings or ())
    device = open_as_asked(target, table)
    data = _datasets(tasks or [])
    drive = drive_of(device, steps, feedback)
    plan_passport(drive, budget, len(row_tasks(data, drive)))  # what does not suit shows before a folder is made
    asked = {
        "characterise": table,
        "budget": budget,
        "tasks": tasks or [],
        "steps": steps,
        "feedback": feedback,
        "amplitude": amplitude,
        "seed": seed,
    }
    errors = new_console(stderr=True)
    name = str(table.get("device", target))
    with (
        RecordingFolder(rows_folder(out), f"passport of {target}", name, asked) as folder,
        _PassportProgress(errors, kept, folder) as progress,
    ):
        passport = characterised(
            device,
            budget,
            drive=drive,
            degrees=degrees,
            delays=delays,
            amplitude=amplitude,
            tasks=data,
            seed=seed,
            listeners=[progress],
            announce=progress.announce,
            journal=folder.journal("passport"),
        )
        figures = out.with_suffix(".json")
        older = [new for path in (out, figures) if (new := keep_older(path))]
        atomic_write(figures, json.dumps(passport.as_dict(), indent=1) + "\n")
        write_passport(passport, out)
        folder.finish()
    kept.note = ""
    show_passport(passport, errors if as_json else new_console())
    files = {"passport": out, "figures": figures, "measured rows": folder.path}
    for what, path in [*files.items(), *(("kept from before", path) for path in older)]:
        errors.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps({**passport.as_dict(), "files": {what: str(path) for what, path in files.items()}}))


def _check_output(out: Path, target: str) -> None:
    from hwloop.cli.calibration_request import require_writable
    from hwloop.errors import ConfigError

    if out.suffix != ".html":
        raise ConfigError(
            f"-o {out}: the passport is an HTML page; give a name such as {out.stem or 'passport'}.html"
        )
    if not out.resolve().parent.is_dir():
        raise ConfigError(f"-o {out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise ConfigError(f"-o {out}: this is a folder; give another name")
    require_writable(out, "-o")


def _datasets(names: list[str]) -> list[Any]:
    from hwloop.errors import ConfigError
    from hwloop.registry import DATASETS

    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--task {twice[0]} is given twice")
    return [DATASETS.build(name) for name in names]


class _PassportProgress(RowsProgress):
    doing = "characterising"

    def announce(self, plan: PassportPlan, forecast: Forecast) -> None:
        self.begin(plan.rows, f"forecast: {forecast} ({plan})", self.folder.journal("passport").rows)


def show_passport(passport: Passport, console: Console) -> None:
    """Print every figure with its interval, predicted scores, and what limits them."""
    console.print(Text(f"driven: {passport.driven}"))
    table = FittedTable(
        [Heading("figure"), Heading("value ± 95 %", right=True), Heading("", name="unit"),
         Heading("meaning", wraps=True, drop=1, least=30)],
        elsewhere="page and --json have them",
    )  # fmt: skip
    for line in passport.lines:
        table.add_row(line.title, line.value, line.unit, line.meaning)
    table.print(console)
    degrees = passport.capacity.by_degree.value
    shares = ", ".join(f"{n}: {max(value, 0.0):.3g}" for n, value in enumerate(degrees, start=1))
    console.print(Text(f"capacity by degree: {shares}"))
    for each in passport.forecasts:
        console.print(Text(f"predicted {each.score} on {each.task}: {each.shown}", style="bold"))
        console.print(Text(f"  {each.how}"))
    for warning in passport.warnings:
        console.print(Text(f"note: {warning}", style="yellow"))
