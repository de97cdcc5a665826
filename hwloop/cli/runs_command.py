"""``hwloop runs``, ``verify`` and ``export``: look at recorded runs, without their devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hwloop.cli.command import RecordedFolder, json_option, reporting
from hwloop.cli.console import FittedTable, Heading, moment, plain, recorded_console, size

if TYPE_CHECKING:
    from hwloop.runs import RunSummary, Verification
    from hwloop.runs.verification import Measured

DAMAGED = 3  # the exit code of hwloop verify
FAILED = "failed"
STYLES = {"running": "cyan", "finished": "green", "interrupted": "yellow", FAILED: "red", "broken": "red"}
DEVICE = 1  # the column of measured_table that stands below it where there is no room


@reporting
def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder that holds runs.")] = Path("runs"),
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Only runs with this tag; may be repeated.")
    ] = None,
    as_json: Annotated[bool, json_option("Print one JSON list.")] = False,
) -> None:
    """Table of runs: state, rows measured, test score, tags, device."""
    from hwloop.runs.summary import list_runs

    found = [run for run in list_runs(folder) if set(tags or ()) <= set(run.tags)]
    if as_json:
        print(json.dumps([run.as_dict() for run in found]))
        return
    _show_runs(found, folder, tags or [])


@reporting
def note(
    folder: RecordedFolder,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What should be remembered.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A word to find it by; may be repeated.")
    ] = None,
) -> None:
    """Add a note or tags to a run, finished or not; without either, show what it has."""
    from hwloop.runs.layout import require_run
    from hwloop.runs.notes import add_notes, notes_of

    require_run(folder)
    if text is not None or tags:
        add_notes(folder, [] if text is None else [text], tags or [])
    notes, all_tags = notes_of(folder)
    out = recorded_console()
    for each in notes:
        out.print(f"note: {plain(each)}", soft_wrap=True)
    out.print(f"tags: {', '.join(map(plain, all_tags)) or 'none'}", soft_wrap=True)


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


def _show_runs(runs: Sequence[RunSummary], folder: Path, tags: Sequence[str] = ()) -> None:
    """Print a line a run, and below the table why some of them failed."""
    from hwloop.runs.summary import BROKEN

    if not runs:
        which = f"no run in {folder} has the tag {' and '.join(map(plain, tags))}"
        none = f"no runs in {folder}; hwloop run makes one"
        recorded_console(stderr=True).print(which if tags else none, soft_wrap=True)
        return
    out = recorded_console()
    runs_table(runs).print(out)
    for run in runs:
        if run.detail and run.state in (BROKEN, FAILED):
            out.print(f"{plain(run.name)}: {plain(run.detail)}", soft_wrap=True)


def runs_table(runs: Sequence[RunSummary]) -> FittedTable:
    """A line a run."""
    with_tags = any(run.tags for run in runs)
    headings = [
        Heading("name", wraps=True, least=32),
        Heading("state", drop=2),
        Heading("started", wraps=True, least=10, drop=3),
        Heading("rows", right=True, drop=1),
        Heading("test\nscore", right=True),
        *([Heading("tags", wraps=True, least=8, drop=4)] if with_tags else []),
        Heading("device", wraps=True, least=10, drop=5),
    ]
    table = FittedTable(headings, elsewhere="--json has them")
    for run in runs:
        table.add_row(
            plain(run.name),
            Text(run.state, style=STYLES.get(run.state, "")),
            moment(run.started_seconds),
            "–" if run.rows is None else f"{run.rows:,}",
            _score(run),
            *([plain(", ".join(run.tags))] if with_tags else []),
            plain(run.device) or "–",
        )
    return table


def _score(run: RunSummary) -> str:
    if not run.score_text:
        return "–"
    seeds = "" if run.is_final else f" ({run.seeds_finished} seed{'s' if run.seeds_finished > 1 else ''})"
    return f"{run.score_text}{seeds}"


def _show_verification(found: Verification) -> None:
    """Print what was measured, what else the run holds, and everything that is damaged."""
    out = recorded_console()
    out.print(f"{plain(found.folder)}: {_state(found)}", style="bold", soft_wrap=True)
    if any(journal.measured for journal in found.journals):
        table = measured_table(found)
        table.print(out)
        with_device = DEVICE in table.fitting(out.width)
        for journal in () if with_device else found.journals:
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


def _identity(kind: Measured) -> str:
    return plain(kind.identity) or f"unknown, settings {plain(kind.settings)}"


def measured_table(found: Verification) -> FittedTable:
    """A line a journal, device and purpose; writes of tunables where there were some."""
    any_writes = any(kind.writes for journal in found.journals for kind in journal.measured)
    table = FittedTable(
        [
            Heading("journal", wraps=True, least=22),
            Heading("device", wraps=True, least=40, drop=5),
            Heading("purpose"),
            Heading("rows", right=True),
            Heading("calls", right=True, drop=1),
            Heading("first", wraps=True, least=10, drop=4),
            Heading("last", wraps=True, least=10, drop=3),
            Heading("device\nseconds", right=True, drop=2),
            *([Heading("writes", right=True, drop=2)] if any_writes else []),
        ],
        elsewhere="--json has them",
    )
    for journal in found.journals:
        for kind in journal.measured:
            table.add_row(
                plain(journal.name),
                _identity(kind),
                plain(kind.purpose),
                f"{kind.rows:,}",
                f"{kind.calls:,}",
                moment(kind.first_seconds),
                moment(kind.last_seconds),
                f"{kind.device_seconds:,.2f}",
                *([f"{kind.writes:,}"] if any_writes else []),
            )
    return table
