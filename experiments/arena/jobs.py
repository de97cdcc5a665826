"""The two kinds of work in an arena: a search for a trainer's settings, and a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwloop.experiments.arena.cell import VALIDATION, Cell, CellResult, cell_config, cell_data, run_cell
from hwloop.experiments.arena.contender import Task, options_within, tuning_space
from hwloop.experiments.arena.tuning import best_options

Keep = Callable[[Cell, CellResult], None]


def keep_nothing(cell: Cell, result: CellResult) -> None:
    """For a job in another process: its result carries its cells."""


@dataclass(frozen=True)
class Search:
    """Choose a trainer's settings at a budget, on the validation rows of one seed."""

    experiment: Mapping[str, Any]
    trainer: str
    budget: float
    trials: int
    seed: int
    known: Mapping[str, CellResult] = field(default_factory=dict)
    keep: Keep = keep_nothing
    rows: Path | None = None


@dataclass(frozen=True)
class Found:
    """What a search found: the settings, and every cell that it ran."""

    trainer: str
    budget: float
    options: Mapping[str, Any]
    cells: tuple[tuple[Cell, CellResult], ...]


def searched(search: Search) -> Found:
    """Run a search; trials that are known already are not run again."""
    probe = Cell(search.trainer, {}, search.seed, VALIDATION)
    config = cell_config(search.experiment, probe)
    task = Task.of(cell_data(config, probe), config.network.stages)
    ran: list[tuple[Cell, CellResult]] = []

    def completed(options: dict[str, Any]) -> dict[str, Any]:
        return options_within(search.trainer, options, task, search.budget)

    def score(options: dict[str, Any]) -> float:
        cell = Cell(search.trainer, options, search.seed, VALIDATION)
        result = search.known.get(cell.key)
        if result is None:
            result = run_cell(search.experiment, cell, search.rows)
            ran.append((cell, result))
            search.keep(cell, result)
        return result.network_accuracy

    options = best_options(tuning_space(search.trainer), search.trials, search.seed, completed, score)
    return Found(search.trainer, search.budget, options, tuple(ran))


@dataclass(frozen=True)
class CellJob:
    """Run one cell."""

    experiment: Mapping[str, Any]
    cell: Cell
    rows: Path | None = None


def cell_ran(job: CellJob) -> tuple[Cell, CellResult]:
    """A cell with its result."""
    return job.cell, run_cell(job.experiment, job.cell, job.rows)
