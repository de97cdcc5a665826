"""Show a run in the terminal: its progress on standard error, and its evidence as a table."""

from __future__ import annotations

import threading
import time
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from hwloop.cli.console import FittedTable, Heading, plain
from hwloop.events import EarlierRowsFound, Event, Noticed, RowsMeasured, StageStarted, ValidationScored
from hwloop.experiment import results
from hwloop.experiment.about import took
from hwloop.experiment.events import MethodScored, RunForecast, SeedFinished, SeedStarted, SeedTakenUp
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.headline import changes_line, parts_line
from hwloop.experiment.verdict import NO_FLOORS, comparisons
from hwloop.session.account import readable_time


class RunProgress:
    """Shows rows measured of the forecast, time left and the score of the last seed.

    A listener of the run; events may come from any thread. Where standard error is no terminal, nor a notebook
    that can draw one (ipywidgets), there is no bar: the forecast and one line a seed are printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._moves = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._lock = threading.RLock()
        self._begin = time.perf_counter()
        self._seeds_done = 0
        self._seeds_before = 0  # finished before the run was stopped
        self._n_seeds = 1
        self._rows_ahead = 0  # forecast of the seeds before this one
        self._seed_rows = 1
        self._seed_measured = 0
        self._last_score = ""
        self._notices: set[str] = set()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[score]}", style="bold"),
            console=console,
            transient=True,
            disable=not self._moves,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        with self._lock:
            match event:
                case RunForecast():
                    self._forecast(event)
                case SeedStarted():
                    self._seed_rows, self._seed_measured = event.rows, 0
                    self._describe(f"seed {event.number}/{event.n_seeds}")
                case StageStarted():
                    self._describe(f"seed {self._seeds_done + 1}/{self._n_seeds}, stage {event.stage + 1}")
                case EarlierRowsFound():
                    self._earlier_rows(event)
                case RowsMeasured():
                    self._seed_measured += event.rows + event.reused
                    self._update()
                case ValidationScored():
                    self._update(score=f"validation {event.shown}")
                case Noticed():
                    self._noticed(event.text)
                case MethodScored():
                    self._scored(event)
                case SeedFinished():
                    self._seed_finished(event)
                case SeedTakenUp():
                    self._taken_up(event)

    def _noticed(self, text: str) -> None:
        if text not in self._notices:  # every seed meets the same data and device
            self._notices.add(text)
            self._console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    def _forecast(self, event: RunForecast) -> None:
        self._n_seeds = event.n_seeds
        seeds = f"{event.n_seeds} seeds" if event.n_seeds > 1 else "one seed"
        self._console.print(f"forecast: up to {event.text}, {seeds}", highlight=False)
        self._task = self._bar.add_task("preparing", total=max(1, event.rows), left="", score="")

    def _earlier_rows(self, event: EarlierRowsFound) -> None:
        found = f"{event.rows:,} rows of earlier runs" if event.rows else "no row of the earlier runs"
        why = f" ({event.different})" if event.different else ""
        text = f"reuse: {found} can stand for {event.identity}{why}"
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _scored(self, event: MethodScored) -> None:
        if event.method == results.NETWORK:
            self._last_score = event.shown
            self._update(score=f"test {event.shown}")
            self._describe(f"seed {self._seeds_done + 1}/{self._n_seeds}, floors")

    def _seed_finished(self, event: SeedFinished | SeedTakenUp) -> None:
        self._rows_ahead += self._seed_rows
        self._seed_measured = 0
        self._seeds_done = event.number
        self._update()
        if not self._moves:
            test = f"test {self._last_score}{self._time_left(', ')}"
            self._console.print(f"seed {event.number}/{event.n_seeds}: {test}", highlight=False)

    def _taken_up(self, event: SeedTakenUp) -> None:
        """It took no time, so it tells nothing of the time that the others will take."""
        self._seed_rows = event.rows
        self._last_score = event.shown
        self._seeds_before = event.number
        self._begin = time.perf_counter()
        self._seed_finished(event)

    def _describe(self, text: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=text)

    def _update(self, score: str | None = None) -> None:
        if self._task is None:
            return
        self._bar.update(
            self._task,
            completed=self._rows_ahead + min(self._seed_measured, self._seed_rows),
            left=self._time_left(),
        )
        if score is not None:
            self._bar.update(self._task, score=score)

    def _time_left(self, prefix: str = "") -> str:
        """From the time that the finished part of the run took; a seed counts by its rows."""
        of_this_seed = min(1.0, self._seed_measured / max(1, self._seed_rows))
        before = self._seeds_before
        done = (self._seeds_done - before + of_this_seed) / max(1, self._n_seeds - before)
        if not 0 < done < 1:
            return ""
        return f"{prefix}{readable_time((time.perf_counter() - self._begin) * (1 - done) / done)} left"


DROPPED_FIRST = ("rows_per_prediction",)  # after the regime, which stands above the table too


def show_evidence(evidence: Evidence, console: Console) -> None:
    """Print what was run, the table, who is better, what the physics adds, and what it cost."""
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say(Text(evidence.config.name, style="bold"))
    about = [*parts_line(evidence.config), evidence.regime, _seeds(evidence)]
    console.print(Text(", ".join(about)))
    if changes := changes_line(evidence.config):
        say(f"made from {changes}")
    console.print()
    evidence_table(evidence).print(console)
    console.print()
    if evidence.seeds[0].uses_model:
        say(f"the trainer uses a model: {evidence.seeds[0].uses_model}")
    for comparison in comparisons(evidence).values():
        say(comparison.words)
    for remark in evidence.kind.remarks(evidence.details):
        say(remark)
    if not comparisons(evidence):
        say(NO_FLOORS)
    for finding in evidence.findings():
        say(finding)
    if reused := _counts(evidence.reused):
        say(f"rows of earlier runs, not measured again: {reused}")
    floors = f", {evidence.floor_rows:,} for the one-stage floor" if evidence.floor_rows else ""
    duty = "" if evidence.duty_cycle is None else f"; duty cycle {100 * evidence.duty_cycle:.0f} %"
    time_taken = took(evidence.about, evidence.wall_seconds)
    say(f"rows measured: {_counts(evidence.rows) or 0}{floors}{duty}; the run took {time_taken}")
    if evidence.about is not None:
        for kind, texts in (("note", evidence.about.notes), ("tags", [", ".join(evidence.about.tags)])):
            for text in filter(None, texts):
                say(f"{kind}: {plain(text)}")


def evidence_table(evidence: Evidence) -> FittedTable:
    """A line a method, the regime and a column a figure."""
    headings = [Heading("method", wraps=True, least=20), Heading("regime", drop=100)]
    for number, column in enumerate(evidence.columns):
        drop = 99 if column.key in DROPPED_FIRST else number
        headings.append(Heading(column.heading or column.title, drop=drop, right=True))
    table = FittedTable(headings, elsewhere="report and --json have them")
    for line in evidence.lines():
        figures = [line.shown(column) for column in evidence.columns]
        style = "bold" if line.key == results.NETWORK else ""
        table.add_row(line.method, Text(line.regime, style="dim"), *figures, style=style)
    return table


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {purpose}" for purpose, count in rows.items() if count)


def _seeds(evidence: Evidence) -> str:
    count = len(evidence.seeds)
    return f"{count} seeds, mean ± sd" if count > 1 else "one seed"
