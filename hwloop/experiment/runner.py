"""Run an experiment: every seed with its floors and ceiling, all of it kept in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from hwloop.errors import DeviceDrifted, JournalError, was_interrupted
from hwloop.events import Event, Listener
from hwloop.experiment.checkpoints import Checkpoints
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.events import RunForecast, RunStopped, SeedFinished, SeedStarted
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.forecast import require_budget, run_forecast, seed_rows
from hwloop.experiment.loading import load_experiment
from hwloop.experiment.partition import LabelledDataset, Partition, Splitter, partition
from hwloop.experiment.replay import Replay, differences
from hwloop.experiment.report import write_report
from hwloop.experiment.response import DeviceResponse
from hwloop.experiment.results import SeedResult
from hwloop.experiment.reuse import take_earlier_rows
from hwloop.experiment.rigs import LiveRig, PlannedRig, RecordedRig, Rig
from hwloop.experiment.run_folder import (
    CONFIG_FILE,
    RunFolder,
    recorded_state,
    run_in_free_folder,
    unfinished_run,
)
from hwloop.experiment.seed_run import prepare_seed
from hwloop.registry import DATASETS
from hwloop.runs.state import FAILED, INTERRUPTED
from hwloop.session import Forecast


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
        As :func:`hwloop.experiment.loading.load_experiment` gives it.
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


def resume_experiment(path: Path, split: Splitter, listeners: Sequence[Listener] = ()) -> Evidence:
    """Go on with a run that was stopped: the same as :func:`run_experiment`, with what it has measured already.

    The run is executed again from its start. Every row that its journals hold is answered from them, in the
    recorded order, so it ends as if it had never been stopped; only then do the devices go on.

    Raises
    ------
    ConfigError
        The folder holds no run, or a finished one.
    JournalError
        Another process is writing it, a record is damaged, or the run now takes another path.
    """
    return _Run(unfinished_run(path), split, listeners, path).recorded()


def replay_experiment(path: Path, split: Splitter, listeners: Sequence[Listener] = ()) -> Replay:
    """Run a recorded experiment again from its journals alone: no device, nothing written.

    Raises
    ------
    ConfigError
        The folder holds no run.
    DeviceError
        The run was stopped before it had measured everything.
    """
    recorded_state(path)
    config = load_experiment(path / CONFIG_FILE)
    run = _Run(config, split, listeners, path)
    evidence = run.executed(RecordedRig(config, path))
    return Replay(evidence, differences(path, run.results))


class _Run:
    """One run in progress."""

    def __init__(
        self, config: ExperimentConfig, split: Splitter, listeners: Sequence[Listener], path: Path
    ) -> None:
        self.config = config
        self._begin = time.perf_counter()
        self._listeners = list(listeners)
        self._path = path
        self._folder: RunFolder | None = None
        dataset: LabelledDataset = DATASETS.build(config.dataset.name, **config.dataset.settings)
        self._class_names = dataset.class_names
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
        try:
            take_earlier_rows(self._path, self.config.reuse)
            self._emit(RunForecast(forecast.rows, forecast.seconds, len(rows), str(forecast)))
            evidence = self.executed(LiveRig(self.config, folder), rows)
            write_report(evidence, self._responses, self._class_names, folder.path)
            folder.write_line({"event": "Evidence", **evidence.as_json()})
            folder.finish()
            return evidence
        except BaseException as error:
            stopped = was_interrupted(error) or isinstance(error, BrokenPipeError)  # as with: hwloop run | head
            interrupted = stopped or isinstance(error, DeviceDrifted)
            reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
            with suppress(JournalError):  # why it stopped says more; without a state it counts as interrupted
                folder.write_state(INTERRUPTED if interrupted else FAILED, reason)
            with suppress(JournalError):
                self._emit(RunStopped(reason, len(self.results), len(self._data), str(self._path)))
            raise
        finally:
            folder.close()

    def executed(self, rig: Rig, rows: Sequence[int] | None = None) -> Evidence:
        """Seed after seed; ``rows`` is what each may measure, for the progress."""
        for number, data in enumerate(self._data):
            self._run_seed(rig, data, number, rows[number] if rows else 0)
        wall_seconds = time.perf_counter() - self._begin
        return Evidence(self.config, tuple(self.results), wall_seconds, str(self._path))

    def _forecast(self) -> tuple[list[int], Forecast]:
        """Rows of every seed and what the whole run will cost; refused here if the budget does not cover it."""
        first = prepare_seed(self.config, self._data[0], PlannedRig(self.config), None, self._emit)
        rows = [seed_rows(self.config, first.trainer, data, k == 0) for k, data in enumerate(self._data)]
        forecast = run_forecast(sum(rows), first.sessions)
        require_budget(self.config.budget, forecast, len(rows))
        return rows, forecast

    def _rows_measured(self) -> int:
        return sum(sum(result.rows.values()) + result.floor_rows for result in self.results)

    def _run_seed(self, rig: Rig, data: Partition, number: int, rows: int) -> None:
        budget, count = self.config.budget, len(self._data)
        left = None if budget is None else budget - self._rows_measured()
        seed = prepare_seed(self.config, data, rig, left, self._emit)
        self._emit(SeedStarted(data.seed, number + 1, count, rows))
        sweep_rows = self.config.evidence.response_rows if number == 0 else 0
        if self._folder is None:
            result, responses = seed.run(sweep_rows)
        else:
            seed.identified = partial(self._folder.identified, data.seed)
            checkpoints = Checkpoints(self._path, data.seed, number, seed.network, self._emit)
            result, responses = seed.run(sweep_rows, checkpoints)
            checkpoints.finish()
        self.results.append(result)
        self._responses = self._responses or responses
        if self._folder is not None:
            self._folder.write_line({"event": "SeedResult", **result.as_dict()})
            self._device_versions += seed.versions()
            identities = [device for done in self.results for device in done.devices]
            self._folder.write_environment(identities, self._device_versions)
        self._emit(SeedFinished(data.seed, number + 1, count))

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
