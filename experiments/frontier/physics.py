"""The physical side: a device is asked once for all that it answers, and a digital head reads some of it.

A head that reads k outputs pays for k: reading fewer outputs of the same rows is the same device, so nothing is
measured again for a narrower network, and no figure is an approximation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.experiment.config import NetworkConfig
from hwloop.experiment.partition import Partition
from hwloop.experiment.parts import DevicePart
from hwloop.experiment.series_floors import delayed
from hwloop.experiments.frontier.matching import matched
from hwloop.experiments.frontier.networks import PrunedLinear, PrunedMLP
from hwloop.experiments.frontier.problem import Problem
from hwloop.experiments.frontier.rival import Job, LeastSquares, Model, Rival
from hwloop.experiments.frontier.trees import BoostedTrees
from hwloop.input_scaling import ONE_SCALE, decided
from hwloop.layers.encode import Encoder
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.registry import DEVICES, accepted_settings, open_device
from hwloop.session import Session
from hwloop.tasks.sequence import SequenceTask
from hwloop.torch_state import own_torch_state
from hwloop.training.echo_state import StateReadout
from hwloop.training.reservoir import DeviceMemory

READ_AT_MOST = 128  # outputs, by heads that are trained step by step
PROBED, HEADROOM = 2, 1.1  # sequences that show the largest reading, and how much more is left room for
QUIET: Mapping[str, Any] = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}
ROWS_APART = 1_000
WINDOW = 10  # steps of the past that a device without memory is shown


@dataclass(frozen=True)
class Way:
    """How a device is used: settings beside those of the experiment, and of series how many steps a row holds."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    window: int = WINDOW

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {"settings": dict(self.settings), "window": self.window}


@dataclass(frozen=True, eq=False)
class Measured:
    """What a device answered to all rows of a seed.

    Attributes
    ----------
    problem
        The same task, of which a head sees the outputs.
    overhead
        Multiply-adds of a prediction before the head: gains of their own a feature, a projection.
    rows
        Device rows a training sample, and of a prediction.
    identity, row_seconds, watts
        Of the device; ``None`` where it does not say.
    """

    problem: Problem
    overhead: int
    rows: tuple[float, float]
    identity: str
    row_seconds: float | None
    watts: float | None

    def ordered(self) -> Problem:
        """The outputs that explain the training targets best, the best first."""
        problem = self.problem
        order = matched(problem.steps_of(problem.train), problem.aims_of(problem.train), READ_AT_MOST)
        return problem.narrowed(np.array(order, dtype=np.int64))


def remembers(name: str) -> bool:
    """Whether a device takes a sequence in one row, and answers after every step."""
    return "sequence_length" in (accepted_settings(DEVICES.load(name)) or ())


@own_torch_state()
def measured(part: DevicePart, network: NetworkConfig, way: Way, data: Partition) -> Measured:
    """Ask a device for all rows of a seed, once each.

    Raises
    ------
    ConfigError
        The device cannot serve the task.
    DeviceError
    """
    settings = {**part.settings, **way.settings}
    if part.copies is not None:
        raise ConfigError("a frontier asks one device; leave out device.copies")
    if data.task.steps > 1 and remembers(part.name):
        return _remembered(part.name, settings, data)
    return _row_by_row(part.name, settings, network, way.window, data)


def _remembered(name: str, settings: Mapping[str, Any], data: Partition) -> Measured:
    """A device with memory: one row a sequence."""
    task = data.task
    assert isinstance(task, SequenceTask)
    features = data.n_features // task.steps
    needed = {"n_inputs": data.n_features, "sequence_length": task.steps, "readout": "all"}
    takes = accepted_settings(DEVICES.load(name)) or set()
    needed |= {"seed": data.seed} if "seed" in takes and "seed" not in settings else {}
    if "full_scale" in takes and "full_scale" not in settings:
        needed["full_scale"] = _full_scale(name, {**settings, **needed}, data)
    device = open_device(name, **{**settings, **needed})
    device.continue_from(ROWS_APART * data.seed)  # so that one rig has other noise on every seed
    memory = DeviceMemory()
    memory.build(device.spec, task.steps, features, ONE_SCALE)
    with Session(device) as session:
        train, *others = [each.inputs.reshape(len(each), task.steps, features) for each in _parts(data)]
        memory.fit(train, session.measure)
        states = [memory.states(train, "train", session.measure)]
        states += [memory.states(rows, "evaluate", session.measure) for rows in others]
    return _found(device, states, data, 0, (1.0, 1.0 / task.steps))


def _full_scale(name: str, settings: Mapping[str, Any], data: Partition) -> float:
    """The largest reading of a few training sequences: a reading's noise and steps are shares of it."""
    task = data.task
    some = data.train.inputs[:PROBED].reshape(-1, task.steps, data.n_features // task.steps)
    memory, device = DeviceMemory(), open_device(name, **{**settings, **QUIET, "full_scale": 1.0})
    memory.build(device.spec, task.steps, some.shape[2], ONE_SCALE)
    with Session(device) as session:
        memory.fit(data.train.inputs.reshape(len(data.train), task.steps, -1), session.measure)
        states = memory.states(some, "calibrate", session.measure)
    return HEADROOM * float(np.abs(states).max()) or 1.0


def _row_by_row(
    name: str, settings: Mapping[str, Any], network: NetworkConfig, window: int, data: Partition
) -> Measured:
    """A row a sample; of series a row a step, which holds the last steps."""
    tables = [_windows(part.inputs, data.task.steps, window) for part in _parts(data)]
    features = tables[0].shape[1]
    defaults = {"seed": data.seed, "run_seed": data.seed, "device_number": 0}
    device = open_fitting_device(name, settings, features, defaults, network.reference_slots)
    scaling = decided(network.input_scaling, tables[0], 1).name
    encoder = Encoder(
        device.spec, features, reference_slots=network.reference_slots, scaling_name=scaling, seed=data.seed
    )
    train, *others = [torch.from_numpy(table) for table in tables]
    encoder.fit(train)
    with Session(device) as session:
        answers = [session.measure(encoder(train), "train")]
        answers += [session.measure(encoder(rows), "evaluate") for rows in others]
    overhead = 0 if encoder.is_direct else features * encoder.n_data
    overhead += 0 if scaling == ONE_SCALE else features
    if data.task.steps > 1:
        parts = zip(answers, _parts(data), strict=True)
        answers = [each.reshape(len(part), data.task.steps, -1) for each, part in parts]
    return _found(device, answers, data, overhead, (float(data.task.steps), 1.0))


def _parts(data: Partition) -> list[Any]:
    return [data.train, data.validation, data.test]


def _windows(inputs: Float64Array, steps: int, window: int) -> Float64Array:
    """Rows as they are; of series the last steps at every step, the newest first."""
    if steps == 1:
        return inputs
    held = delayed(inputs.reshape(len(inputs), steps, -1) - inputs.mean(), window)
    return np.ascontiguousarray(held.reshape(-1, held.shape[2]))


def _found(
    device: Device, answers: list[Float64Array], data: Partition, overhead: int, rows: tuple[float, float]
) -> Measured:
    spec = device.spec
    watts = spec.watts
    problem = Problem.seen(answers, data)
    return Measured(problem, overhead, rows, device.identify(), spec.row_seconds, watts)


class ChosenOutputs(Rival):
    """A ridge readout of as many outputs as the budget pays, those that matching pursuit takes."""

    key, name = "readout", "ridge readout"

    def suits(self, problem: Problem) -> bool:
        return True

    def settings(
        self, problem: Problem, budget: int, trials: int, rng: np.random.Generator
    ) -> list[Mapping[str, Any]]:
        return [{}] if budget >= problem.n_values else []

    def fit(self, jobs: Sequence[Job], share: float = 1.0) -> list[Model]:
        orders: dict[int, list[int]] = {}
        found: list[Model] = []
        most = max((job.budget // job.problem.n_values for job in jobs), default=0)
        for job in jobs:
            problem = job.problem
            if id(problem) not in orders:
                seen, aims = problem.steps_of(problem.train), problem.aims_of(problem.train)
                orders[id(problem)] = matched(seen, aims, min(most, len(seen) // 2))
            order = orders[id(problem)]
            found.append(_read(problem, np.array(order[: job.budget // problem.n_values])))
        return found


def _read(problem: Problem, columns: Any) -> LeastSquares:
    seen = problem.steps_of(problem.train)[:, columns]
    readout = StateReadout.fitted(seen, problem.aims_of(problem.train))
    return LeastSquares(lambda rows: rows[..., columns], readout, len(columns) * problem.n_values, columns)


HEADS: list[Rival] = [ChosenOutputs(), PrunedLinear(), PrunedMLP(), BoostedTrees()]
"""What may read a device; the first is also what tells its ways apart."""


def head_of(key: str) -> Rival:
    """By its name in files."""
    return next(head for head in HEADS if head.key == key)
