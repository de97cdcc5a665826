"""The table of runs in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hwloop.cli.recorded_in_words import console, moment, plain
from hwloop.runs.layout import FAILED, FINISHED, INTERRUPTED, RUNNING
from hwloop.runs.summary import BROKEN, RunSummary

STYLES = {RUNNING: "cyan", FINISHED: "green", INTERRUPTED: "yellow", FAILED: "red", BROKEN: "red"}


def show_runs(runs: Sequence[RunSummary], folder: Path) -> None:
    """Print a line a run, and below the table why some of them failed."""
    if not runs:
        console(stderr=True).print(f"no runs in {folder}; hwloop run makes one")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("name", "state", "started"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "test accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("device")
    for run in runs:
        table.add_row(
            plain(run.name),
            Text(run.state, style=STYLES[run.state]),
            moment(run.started_seconds),
            "–" if run.rows is None else f"{run.rows:,}",
            _accuracy(run),
            plain(run.device) or "–",
        )
    out = console()
    out.print(table)
    for run in runs:
        if run.detail and run.state in (BROKEN, FAILED):
            out.print(f"{plain(run.name)}: {plain(run.detail)}", soft_wrap=True)


def _accuracy(run: RunSummary) -> str:
    if run.test_accuracy is None:
        return "–"
    seeds = "" if run.is_final else f" ({run.seeds_finished} seed{'s' if run.seeds_finished > 1 else ''})"
    return f"{100 * run.test_accuracy:.1f} %{seeds}"
