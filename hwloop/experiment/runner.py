"""Run an experiment: every seed with its floors, all of it kept in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from hwloop.events import Event, Listener, Noticed
from hwloop.experiment.about import about_run
from hwloop.experiment.checkpoints import PREPARATION, Checkpoints, SeedKeeper
from hwloop.experiment.conclusion import (
    ReplayComparison,
    computed_anew,
    conclude,
    concluded,
    differences,
    ended,
    finished_result,
)
from hwloop.experiment.config import ExperimentConfig, load_experiment
from hwloop.experiment.events import RunForecast, SeedFinished, SeedStarted
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.finished import FinishedSeed, FinishedWork
from hwloop.experiment.partition import Splitter, TableOfRows, partition
from hwloop.experiment.provenance import MeasuredDevices, made_with
from hwloop.experiment.results import DeviceResponse, SeedResult
from hwloop.experiment.rigs import LiveRig, PlannedRig, RecordedRig, Rig, take_earlier_rows
from hwloop.experiment.run_folder import (
    RunFolder,
    recorded_state,
    run_in_free_folder,
    unfinished_run,
)
from hwloop.experiment.seed_run import SeedRun, prepare_seed, require_budget, run_forecast, seed_rows, seed_writes
from hwloop.runs.layout import CONFIG
from hwloop.session import Forecast
from hwloop.tasks import task_of_dataset


def run_experiment(
    config: ExperimentConfig,
    split: Splitter,
    *,
    out: str | Path | None = None,
    listeners: Sequence[Listener] = (),
) -> Evidence:
    """Run every seed of an experiment and write its folder with the report.

    Parameters
    ----------
    config
        As :func:`hwloop.experiment.config.load_experiment` gives it.
    split
        Splits the dataset: ``split(dataset, seed, test, validation)`` gives row numbers, see
        :class:`hwloop.experiment.partition.SplitRows`.
    out
        The run's folder, new or empty; by default ``runs/<time>-<name>``.
    listeners
        Called with every event, some of them on a device's thread.

    Raises
    ------
    ConfigError, DatasetError, BudgetExceeded
        Before anything is measured.
    DeviceError
        If a device fails. What was measured, and every seed that was finished, stays in the folder.
    """
    with run_in_free_folder(config.name, out) as path:
        return _Run(config, split, listeners, path).recorded()


def resume_experiment(
    path: Path, split: Splitter, listeners: Sequence[Listener] = (), from_start: bool = False
) -> Evidence:
    """Go on with a run that was stopped: the same as :func:`run_experiment`, with what it has finished already.

    Seeds, floors that are finished are taken as they are; the seed in progress goes on from its last
    checkpoint. The rest is executed: every row that the journals hold is answered from them, in the recorded
    order, so the run ends as if it had never been stopped; only then do the devices go on.

    Parameters
    ----------
    from_start
        Take nothing as it is, and execute everything again from the journals.

    Raises
    ------
    ConfigError
        The folder holds no run, or a finished one.
    JournalError
        Another process is writing it, a record is damaged, or the run now takes another path.
    """
    evidence = None if from_start else concluded(path, listeners)
    if evidence is None:
        evidence = _Run(unfinished_run(path), split, listeners, path, from_start).recorded()
    return evidence


def replay_experiment(
    path: Path, split: Splitter, listeners: Sequence[Listener] = (), with_references: bool = False
) -> ReplayComparison:
    """Run a recorded experiment again from its journals alone: no device, nothing written.

    Parameters
    ----------
    with_references
        Compute and compare floors too.

    Raises
    ------
    ConfigError
        The folder holds no run.
    DeviceError
        The run was stopped before it had measured everything.
    """
    recorded_state(path)
    config = load_experiment(path / CONFIG)
    run = _Run(config, split, listeners, path)
    evidence = run.executed(RecordedRig(config, path), with_references=with_references)
    found = differences(path, run.results, with_references)
    return ReplayComparison(evidence, found, computed_anew(path, run.results))


class _Run:
    """One run in progress."""

    def __init__(
        self,
        config: ExperimentConfig,
        split: Splitter,
        listeners: Sequence[Listener],
        path: Path,
        from_start: bool = False,
    ) -> None:
        self._begin = time.perf_counter()
        self._listeners = list(listeners)
        self._path = path
        self._from_start = from_start
        self._folder: RunFolder | None = None
        self._announced: dict[str, Any] = {}
        dataset: TableOfRows = config.dataset.build()
        self.config = config = config.model_copy(update={"dataset": config.dataset.as_read(dataset)})
        self._work = FinishedWork(path, config)
        self._task = task_of_dataset(dataset)
        parts = config.split
        self._data = [partition(dataset, seed, split, parts.test, parts.validation) for seed in config.seeds]
        self.results: list[SeedResult] = []
        self._responses: list[DeviceResponse] = []
        self._device_versions: list[dict[str, str]] = []

    def recorded(self) -> Evidence:
        """Run with the devices, and keep everything in the folder; its state says how it ended."""
        rows, forecast = self._forecast()
        folder = RunFolder(self._path, self.config)
        self._folder = folder
        self._listeners[:0] = [folder, *folder.extra_listeners]
        with ended(folder, self._emit, lambda: len(self.results), len(self._data)):
            for note in self._data[0].notes:
                self._emit(Noticed(note))
            take_earlier_rows(self._path, self.config.reuse)
            announced = RunForecast(forecast.rows, forecast.seconds, len(rows), str(forecast))
            self._announced = asdict(announced)
            self._emit(announced)
            evidence = self.executed(LiveRig(self.config, folder), rows)
            conclude(folder, evidence, self._responses, self._task)
        return evidence

    def executed(self, rig: Rig, rows: Sequence[int] | None = None, with_references: bool = True) -> Evidence:
        """Seed after seed; ``rows`` is what each may measure, for the progress."""
        for number in range(len(self._data)):
            if self._folder is None:
                self._replay_seed(rig, number, with_references)
            else:
                self._record_seed(self._folder, rig, number, rows[number] if rows else 0)
        wall_seconds = time.perf_counter() - self._begin
        about = about_run(self._path, self.config)
        return Evidence(self.config, tuple(self.results), wall_seconds, str(self._path), about)

    def _forecast(self) -> tuple[list[int], Forecast]:
        """Rows of every seed and what the whole run will cost; refused here if the budget does not cover it."""
        first = prepare_seed(self.config, self._data[0], PlannedRig(self.config), None, self._emit)
        known = MeasuredDevices(self.config.measured_with, CONFIG)
        for number, session in enumerate(first.distinct_sessions):
            known.require_alike(self._data[0].seed, number, session.device)
        rows = [seed_rows(self.config, first.trainer, data, k == 0) for k, data in enumerate(self._data)]
        writes = sum(seed_writes(self.config, first.trainer, data) for data in self._data)
        forecast = run_forecast(sum(rows), first.sessions, writes)
        require_budget(self.config.budget, forecast, len(rows), self.config.write_budget)
        return rows, forecast

    def _rows_measured(self) -> int:
        return sum(sum(result.rows.values()) + result.floor_rows for result in self.results)

    def _prepared(self, rig: Rig, number: int, rows: int) -> SeedRun:
        budget, data = self.config.budget, self._data[number]
        left = None if budget is None else budget - self._rows_measured()
        writes = self.config.write_budget
        writes = None if writes is None else writes - sum(sum(each.writes.values()) for each in self.results)
        # First, for whoever listens may end the run, and nobody would close the journals that are opened next.
        self._emit(SeedStarted(data.seed, number + 1, len(self._data), rows))
        return prepare_seed(self.config, data, rig, left, self._emit, writes)

    def _sweep_rows(self, number: int) -> int:
        return self.config.evidence.response_rows if number == 0 else 0

    def _replay_seed(self, rig: Rig, number: int, with_references: bool) -> None:
        """Execute a seed, and leave no trace of it."""
        result, _ = self._prepared(rig, number, 0).run(self._sweep_rows(number), with_references)
        self.results.append(result)
        self._emit(SeedFinished(result.seed, number + 1, len(self._data)))

    def _record_seed(self, folder: RunFolder, rig: Rig, number: int, rows: int) -> None:
        """Take a seed as it was finished, or run what is left of it."""
        name = self._data[number].seed
        finished = FinishedSeed() if self._from_start else self._work.read(name)
        if finished.result is not None:
            self.results.append(finished_result(folder, self._emit, finished, number, len(self._data)))
        else:
            seed = self._prepared(rig, number, rows)
            seed.identified = partial(folder.identified, name)
            prepared = seed.data.preparation
            checkpoints = Checkpoints(
                self._path,
                name,
                number,
                seed.network,
                self._emit,
                made_with(self.config),
                self._from_start,
                {} if prepared is None else {PREPARATION: prepared.as_dict()},
            )
            seed.keep = SeedKeeper(checkpoints, self._work, finished)
            finished.result, finished.responses = seed.run(self._sweep_rows(number))
            checkpoints.finish()
            finished.device_versions = seed.versions()
            finished.task, finished.forecast = self._task, self._announced
            self.results.append(finished.result)
            folder.write_line({"event": "SeedResult", **finished.result.as_dict()})
            # The report shows the first seed's devices.
            self._work.keep(name, finished if number == 0 else replace(finished, responses=[]))
            self._emit(SeedFinished(name, number + 1, len(self._data)))
        self._responses = self._responses or finished.responses
        self._device_versions += finished.device_versions
        identities = [device for done in self.results for device in done.devices]
        folder.write_environment(identities, self._device_versions)

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
