"""Networks whose device is tuned: as many outputs as the budget pays, trained by a trainer of tunables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device import Device
from hwloop.errors import BudgetExceeded
from hwloop.experiment.config import NetworkConfig
from hwloop.experiment.parts import DevicePart
from hwloop.experiments.arena.cell import FitSize, options_within
from hwloop.experiments.frontier.problem import Part, Problem
from hwloop.experiments.frontier.rival import Job, Model, Rival
from hwloop.input_scaling import decided
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.registry import DEVICES, accepted_settings
from hwloop.session import Session
from hwloop.training import trainer as make_trainer

RATES = (1.0, 3.0, 0.3, 2.0, 0.5)  # learning rates that are tried, times the trainer's own


@dataclass(frozen=True, eq=False)
class TunedNetwork(Model):
    """One stage under the tuning that was learned, with its readout."""

    network: PhysicalNetwork
    multiply_adds: int

    def predicted(self, problem: Problem, part: Part) -> NDArray[Any]:
        return self.network.predict(part.samples.inputs)


class Tuned(Rival):
    """A device with tunables, narrowed to what the budget pays, under one trainer within a budget of rows.

    Parameters
    ----------
    part, network
        Of the experiment.
    trainer
        Its name in ``hwloop list``.
    rows
        Device rows a training sample that it may measure.
    """

    key, name = "tuned", "tuned"

    def __init__(self, part: DevicePart, network: NetworkConfig, trainer: str, rows: float) -> None:
        self._part, self._network, self._trainer, self._rows = part, network, trainer, rows
        made = make_trainer(trainer)
        model = " (uses a model)" if made.schedule.uses_model else ""
        self.key, self.name = f"tuned:{trainer}", f"{trainer}{model}"  # type: ignore[misc]

    def suits(self, problem: Problem) -> bool:
        """Targets a row, on a device whose width is a setting and that has something to tune."""
        if problem.series or "n_outputs" not in (accepted_settings(DEVICES.load(self._part.name)) or ()):
            return False
        return bool(self._device(problem, 2, 0).spec.n_tunables)

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        size = FitSize(len(problem.train.rows), problem.n_values, 1, problem.task)
        try:
            options = options_within(self._trainer, {}, size, self._rows)
        except BudgetExceeded:
            return []
        rate = getattr(getattr(make_trainer(self._trainer).schedule, "rule", None), "lr", None)
        own = [{}] if rate is None else [{"lr": factor * rate} for factor in RATES]
        return [{**options, **each} for each in own[:trials]] if budget >= 2 * problem.n_values else []

    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        return [self._fitted(job) for job in jobs]

    def _fitted(self, job: Job) -> TunedNetwork:
        problem, train = job.problem, job.problem.train.samples
        width = job.budget // problem.n_values
        made = make_trainer(self._trainer, **{"seed": job.seed, **job.settings})
        made.require_serves(problem.task)
        stage = Stage(
            problem.n_values,
            reference_slots=self._network.reference_slots,
            scaling=decided(self._network.input_scaling, train.inputs, 1).name,
        )
        network = PhysicalNetwork(Session(self._device(problem, width, job.seed)), [stage], seed=job.seed)
        made.fit(network, train.inputs, train.targets, **problem.task.options_for(train.targets))
        return TunedNetwork(network, width * problem.n_values)

    def _device(self, problem: Problem, width: int, seed: int) -> Device:
        settings = {**self._part.settings, "n_outputs": width}
        defaults = {"seed": seed, "run_seed": seed, "device_number": 0}
        features = problem.train.samples.inputs.shape[1]
        return open_fitting_device(self._part.name, settings, features, defaults, self._network.reference_slots)
