"""``hwloop runs``, ``verify`` and ``export``: look at recorded runs, without their devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hwloop.cli.command import RecordedFolder, json_option, reporting
from hwloop.cli.console import moment, plain, recorded_console, size

if TYPE_CHECKING:
    from hwloop.runs import RunSummary, Verification
    from hwloop.runs.verification import Measured

DAMAGED = 3  # the exit code of hwloop verify


@reporting
def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder that holds runs.")] = Path("runs"),
    as_json: Annotated[bool, json_option("Print one JSON list.")] = False,
) -> None:
    """Table of runs: state, rows measured, test accuracy, device."""
    from hwloop.runs.summary import list_runs

    found = list_runs(folder)
    if as_json:
        print(json.dumps([run.as_dict() for run in found]))
        return
    _show_runs(found, folder)


@reporting
def verify(
    folder: RecordedFolder,
    as_json: Annotated[bool, json_option("Print one JSON object.")] = False,
) -> int:
    """Check that every record of a run is whole, and show what was measured. Exit code 3 if it is damaged."""
    from hwloop.runs.verification import verify_run

    found = verify_run(folder)
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        _show_verification(found)
    return 0 if found.is_whole else DAMAGED


@reporting
def export(
    folder: RecordedFolder,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="hdf5, netcdf or parquet.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default="beside DIR, with its name"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write all rows of a run, with units and attributes, as HDF5, netCDF4 or Parquet."""
    from hwloop.runs.export import export_run

    done = export_run(folder, to, output, force)
    for warning in done.warnings:
        recorded_console(stderr=True).print(f"hwloop: warning: {plain(warning)}", soft_wrap=True)
    groups = f"{done.devices} group{'s' if done.devices > 1 else ''}"
    recorded_console().print(f"{done.path}: {done.rows:,} rows in {groups}, {size(done.bytes)}", soft_wrap=True)


def _show_runs(runs: Sequence[RunSummary], folder: Path) -> None:
    """Print a line a run, and below the table why some of them failed."""
    from hwloop.runs.layout import FAILED, FINISHED, INTERRUPTED, RUNNING
    from hwloop.runs.summary import BROKEN

    styles = {RUNNING: "cyan", FINISHED: "green", INTERRUPTED: "yellow", FAILED: "red", BROKEN: "red"}
    if not runs:
        recorded_console(stderr=True).print(f"no runs in {folder}; hwloop run makes one")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("name", overflow="fold")  # what wraps on a narrow terminal, so that no figure is cut
    table.add_column("state", no_wrap=True)
    table.add_column("started", min_width=10)
    for heading in ("rows", "test\naccuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("device", overflow="fold", min_width=10)
    for run in runs:
        table.add_row(
            plain(run.name),
            Text(run.state, style=styles[run.state]),
            moment(run.started_seconds),
            "–" if run.rows is None else f"{run.rows:,}",
            _accuracy(run),
            plain(run.device) or "–",
        )
    out = recorded_console()
    out.print(table)
    for run in runs:
        if run.detail and run.state in (BROKEN, FAILED):
            out.print(f"{plain(run.name)}: {plain(run.detail)}", soft_wrap=True)


def _accuracy(run: RunSummary) -> str:
    if run.test_accuracy is None:
        return "–"
    seeds = "" if run.is_final else f" ({run.seeds_finished} seed{'s' if run.seeds_finished > 1 else ''})"
    return f"{100 * run.test_accuracy:.1f} %{seeds}"


def _show_verification(found: Verification) -> None:
    """Print what was measured, what else the run holds, and everything that is damaged."""
    out = recorded_console()
    out.print(f"{plain(found.folder)}: {_state(found)}", style="bold", soft_wrap=True)
    if any(journal.measured for journal in found.journals):
        is_wide = out.width >= WIDE
        out.print(_measured(found, with_device=is_wide))
        for journal in () if is_wide else found.journals:
            for identity in dict.fromkeys(_identity(kind) for kind in journal.measured):
                out.print(f"{plain(journal.name)} measured with {identity}", soft_wrap=True)
    for journal in found.journals:
        notes = ", ".join(f"{count} {plain(kind)}" for kind, count in journal.notes.items()) or "none"
        out.print(
            f"{plain(journal.name)}: {journal.rows:,} rows in {journal.records:,} records; notes: {notes}; "
            f"index {'consistent' if journal.index.is_consistent else 'not consistent'}",
            soft_wrap=True,
        )
    for checkpoint in found.checkpoints:
        what = checkpoint.problem or f"{checkpoint.tensors} tensors, {size(checkpoint.bytes)}"
        out.print(f"checkpoints/{plain(checkpoint.name)}: {plain(what)}", soft_wrap=True)
    if found.metrics is not None:
        out.print(f"metrics.jsonl: {found.metrics.lines:,} lines")
    for notice in found.notices:
        out.print(f"note: {plain(notice)}", soft_wrap=True)
    for problem in found.problems:
        out.print(f"damaged: {plain(problem)}", style="red", soft_wrap=True)
    if found.is_whole:
        out.print("every record is whole", style="green")
    else:
        count = len(found.problems)
        out.print(f"{count} problem{'s' if count > 1 else ''}; every record not named above is whole", style="red")


def _state(found: Verification) -> str:
    if found.state is None:
        return "state unknown"
    detail = f" ({plain(found.state.detail)})" if found.state.detail else ""
    return f"{found.state.state} since {moment(found.state.since_seconds)}{detail}"


# Columns of a terminal that has room for a device's identity beside its rows; on another it stands below them.
WIDE = 120


def _identity(kind: Measured) -> str:
    return plain(kind.identity) or f"unknown, settings {plain(kind.settings)}"


def _measured(found: Verification, with_device: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("journal", overflow="fold")
    if with_device:
        table.add_column("device", overflow="fold")
    table.add_column("purpose", no_wrap=True)
    for heading in ("rows", "calls"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("first", "last"):  # the time stands below the date where there is no room beside it
        table.add_column(heading, min_width=10)
    table.add_column("device\nseconds", justify="right", no_wrap=True)
    for journal in found.journals:
        for kind in journal.measured:
            table.add_row(
                plain(journal.name),
                *([_identity(kind)] if with_device else []),
                plain(kind.purpose),
                f"{kind.rows:,}",
                f"{kind.calls:,}",
                moment(kind.first_seconds),
                moment(kind.last_seconds),
                f"{kind.device_seconds:,.2f}",
            )
    return table
