"""Run an experiment: every seed with its floors and ceiling, all of it kept in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hwloop.events import Event, Listener
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.events import RunForecast, RunStopped, SeedFinished, SeedStarted
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.forecast import require_budget, run_forecast, seed_rows
from hwloop.experiment.partition import LabelledDataset, Partition, Splitter, partition
from hwloop.experiment.report import write_report
from hwloop.experiment.response import DeviceResponse
from hwloop.experiment.results import SeedResult
from hwloop.experiment.run_folder import RunFolder, free_folder
from hwloop.experiment.seed_run import SeedRun, prepare_seed
from hwloop.registry import DATASETS


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
    return _Run(config, split, out, listeners).run()


class _Run:
    """One run in progress."""

    def __init__(
        self, config: ExperimentConfig, split: Splitter, out: str | Path | None, listeners: Sequence[Listener]
    ) -> None:
        self.config = config
        self._begin = time.perf_counter()
        self._listeners = list(listeners)
        self._path = free_folder(config.name, out)
        dataset: LabelledDataset = DATASETS.build(config.dataset.name, **config.dataset.settings)
        self._class_names = dataset.class_names
        parts = config.split
        self._data = [partition(dataset, seed, split, parts.test, parts.validation) for seed in config.seeds]
        self._results: list[SeedResult] = []
        self._responses: list[DeviceResponse] = []

    def run(self) -> Evidence:
        """Forecast, budget, then seed after seed."""
        first = self._prepare(self._data[0])
        rows = [seed_rows(self.config, first.trainer, data, k == 0) for k, data in enumerate(self._data)]
        forecast = run_forecast(sum(rows), first.sessions)
        require_budget(self.config.budget, forecast, len(rows))
        folder = RunFolder(self._path, self.config)
        self._listeners.insert(0, folder)
        try:
            self._emit(RunForecast(forecast.rows, forecast.seconds, len(rows), str(forecast)))
            for number, data in enumerate(self._data):
                self._run_seed(first if number == 0 else self._prepare(data), number, rows[number], folder)
            evidence = self._evidence()
            write_report(evidence, self._responses, self._class_names, folder.path)
            folder.write_line({"event": "Evidence", **evidence.as_json()})
            return evidence
        except BaseException as error:
            reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
            self._emit(RunStopped(reason, len(self._results), len(self._data), str(self._path)))
            raise
        finally:
            folder.close()

    def _prepare(self, data: Partition) -> SeedRun:
        budget = self.config.budget
        left = None if budget is None else budget - self._rows_measured()
        return prepare_seed(self.config, data, left, self._emit)

    def _rows_measured(self) -> int:
        return sum(sum(result.rows.values()) + result.floor_rows for result in self._results)

    def _run_seed(self, seed: SeedRun, number: int, rows: int, folder: RunFolder) -> None:
        count = len(self._data)
        self._emit(SeedStarted(seed.data.seed, number + 1, count, rows))
        result, responses = seed.run(self.config.evidence.response_rows if number == 0 else 0)
        self._results.append(result)
        self._responses = self._responses or responses
        folder.write_line({"event": "SeedResult", **result.as_dict()})
        folder.write_environment([device for done in self._results for device in done.devices])
        if number + 1 == count:
            folder.write_checkpoint(seed.network.state_dict())
        self._emit(SeedFinished(seed.data.seed, number + 1, count))

    def _evidence(self) -> Evidence:
        wall_seconds = time.perf_counter() - self._begin
        return Evidence(self.config, tuple(self._results), wall_seconds, str(self._path))

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
