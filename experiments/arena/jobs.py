"""The arena's work and where it runs: searches for settings and cells, in this process or in several with Dask."""

from __future__ import annotations

import importlib
import logging
from abc import ABC, abstractmethod
from asyncio import CancelledError as TaskCancelled
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError as FutureCancelled
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hwloop.errors import ConfigError, DeviceError, HwloopError
from hwloop.experiments.arena.cell import (
    VALIDATION,
    Cell,
    CellResult,
    FitSize,
    cell_config,
    cell_data,
    options_within,
    run_cell,
    tuning_space,
)
from hwloop.experiments.draws import drawn, new_study, prune
from hwloop.training.tuning import Tuning

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkersLost(DeviceError):
    """What runs the jobs is gone; those that were finished are kept by whoever took their results."""


class Workers(AbstractContextManager["Workers"], ABC):
    """Runs jobs; a context manager."""

    @abstractmethod
    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """``function(job)`` of every job as soon as it is there, in any order."""

    def __exit__(self, *_: object) -> None:
        return None


class ThisProcess(Workers):
    """One job after the other: for a single device, and for tests."""

    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        return map(function, jobs)


class DaskWorkers(Workers):
    """Processes of a Dask cluster; each runs one job at a time, on one thread.

    Parameters
    ----------
    processes
        How many to start on this machine.
    scheduler
        Address of a running scheduler instead (dask-jobqueue takes it to SLURM). Its workers need hwloop and
        the resource tag of :data:`RIG` (``--resources "rig=1"``), so that a rig measures for one job at a time.

    Raises
    ------
    ConfigError
        Dask is not installed, or no scheduler answers.
    """

    RIG = "rig"

    def __init__(self, processes: int, scheduler: str | None = None) -> None:
        try:
            dask: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise ConfigError("several workers need Dask: pip install 'hwloop[scale]', or --workers 1") from error
        self._as_completed = dask.as_completed
        self._cluster: Any = None
        if scheduler is None:
            self._cluster = dask.LocalCluster(
                n_workers=processes, threads_per_worker=1, dashboard_address=None, resources={self.RIG: 1}
            )
        self._where = scheduler or "this computer"
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its tracebacks; what follows is said below
        try:
            self._client = dask.Client(scheduler or self._cluster)
        except (OSError, ValueError) as error:
            raise ConfigError(f"no Dask scheduler answers at {self._where} ({error}); start one there") from error

    def run(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """As they finish.

        Raises
        ------
        WorkersLost
            The scheduler is gone, or was started anew and knows of no job.
        """
        futures = [self._client.submit(function, job, pure=False, resources={self.RIG: 1}) for job in jobs]
        finished = self._as_completed(futures)
        for count in range(len(futures)):
            try:
                result = next(finished).result()
            except (FutureCancelled, TaskCancelled) as error:
                raise WorkersLost(
                    f"the Dask scheduler at {self._where} was lost, or started anew, and with it "
                    f"{len(futures) - count} of {len(futures)} jobs; the same command goes on with those that are "
                    "not finished"
                ) from error
            yield result

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, TimeoutError, FutureCancelled, TaskCancelled):
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def workers(count: int, scheduler: str | None = None) -> Workers:
    """One worker is this process; Dask runs several, or those of a scheduler."""
    if count < 1:
        raise ConfigError(f"an arena needs at least one worker, not {count}")
    return DaskWorkers(count, scheduler) if scheduler or count > 1 else ThisProcess()


def best_options(
    space: Tuning,
    trials: int,
    seed: int,
    completed: Callable[[dict[str, Any]], dict[str, Any]],
    score: Callable[[dict[str, Any]], float],
) -> dict[str, Any]:
    """The options with the best score; the trainer's own defaults are the first trial.

    Parameters
    ----------
    space
        What may be tuned.
    trials
        Options to try, at least 1; the same ones are tried in every run with the same ``seed`` and scores.
    completed
        Fills the budget: from the options that were drawn to those that are run; what it refuses with an
        :class:`HwloopError` counts as a trial that failed.
    score
        On validation rows; more is better.
    """
    best = completed({})
    if trials == 1 or not space.options:
        return best
    study = new_study(seed)
    best_score = score(best)
    for _ in range(trials - 1):
        trial = study.ask()
        options = {name: drawn(trial, name, allowed) for name, allowed in space.options.items()}
        try:
            options = completed(options)
        except HwloopError:
            prune(study, trial)
            continue
        found = score(options)
        study.tell(trial, found)
        if found > best_score:
            best, best_score = options, found
    return best


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
    task = FitSize.of(cell_data(config, probe), config.network.stages)
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
        return result.merit

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
