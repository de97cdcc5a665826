"""The trainer that tunes a device's memory: gain, phase, bias and mask of a loop, and fits its readout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.errors import ConfigError
from hwloop.events import StageFinished
from hwloop.layers import PhysicalNetwork
from hwloop.session import Session
from hwloop.tasks import LearningTask
from hwloop.tasks.sequence import SequenceTask
from hwloop.training.echo_state import StateReadout
from hwloop.training.history import require_finite
from hwloop.training.plans import PlainRows
from hwloop.training.reservoir import DeviceMemory
from hwloop.training.schedules import Fit
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared
from hwloop.training.trainers.sequence import Driven, DrivenStage, ReservoirTrainer, StepBuilder, still_nodes

LEVELS = (0.8, 0.9)  # of the moving means of a gradient and of its square: short, for there are few steps
GREW, SHRANK = 1.5, 0.9  # of the step of the search: one in five tries that succeed keeps it
FACTOR = 2.0  # steps of the logarithm of a mask's strength, in steps of the search


@dataclass(frozen=True)
class Tries:
    """How many rows a sequence each part of the training may take, and how far it goes.

    Attributes
    ----------
    searches
        Tunings that are tried for the values that act on all nodes.
    pairs
        Steps of a mask, of two rows each.
    reach
        Of the search at first, in half ranges.
    size, lr
        Of a mask's perturbation and steps, in units of its mean magnitude.
    """

    searches: int
    pairs: int
    reach: float
    size: float
    lr: float

    @property
    def rows(self) -> int:
        """A sequence: at rest, those of the two parts, and under what was found."""
        return 2 + self.searches + 2 * self.pairs


class Tuner:
    """Finds the tuning under which a ridge readout of the states errs least, by measured rows alone.

    Every loss is a leave-one-out error of the readout in closed form, so that no step is kept back for it.
    """

    def __init__(self, fit: Fit, stage: DrivenStage, session: Session, tries: Tries) -> None:
        assert isinstance(fit.task, SequenceTask)
        self._fit, self._stage, self._session, self._tries = fit, stage, session, tries
        self._task = fit.task
        self._aims = fit.task.after_washout(fit.task.encode(fit.labels.numpy()))
        self._rng = np.random.default_rng(int(torch.randint(1 << 31, (1,), generator=fit.rng)))
        spec = session.device.spec
        self._spec = spec
        self._nodes = acting_on(session)
        self._many = np.concatenate([np.full(each.count, each.count > 1) for each in spec.tunables])
        self._done = 0

    def found(self) -> Float64Array:
        """The best tuning that was measured, shape (n_tunables,)."""
        at_rest = self._spec.tunable_rest
        error, tuning = self._searched(self._error(self._states(at_rest)), at_rest)
        return self._descended(error, tuning) if self._many.any() else tuning

    def _states(self, tuning: Float64Array) -> Float64Array:
        """Those that count, (steps, nodes)."""
        self._stage.tuning = tuning
        states = self._stage.states(self._session, self._fit.inputs, "train")
        return self._task.after_washout(states.reshape(len(states), -1))

    def _error(self, states: Float64Array) -> float:
        return self._told(StateReadout.fitted(states, self._aims).leave_one_out_error)

    def _told(self, error: float) -> float:
        self._done += 1
        self._fit.epoch_done(0, self._done, 1 + self._tries.searches + self._tries.pairs, error)
        return error

    def _searched(self, error: float, tuning: Float64Array) -> tuple[float, Float64Array]:
        """A (1+1) evolution strategy over what acts on all nodes, and the strength of what does not."""
        reach, half = self._tries.reach, (self._spec.tunable_high - self._spec.tunable_low) / 2
        for _ in range(self._tries.searches):
            moved = tuning + np.where(self._many, 0.0, reach * half * self._rng.standard_normal(len(tuning)))
            moved[self._many] *= np.exp(FACTOR * reach * self._rng.standard_normal())
            tried = self._spec.nearest_tuning(moved)
            found = self._error(self._states(tried))
            error, tuning, reach = (
                (found, tried, reach * GREW) if found < error else (error, tuning, reach * SHRANK)
            )
        return error, tuning

    def _descended(self, error: float, tuning: Float64Array) -> Float64Array:
        """Perturbs all of a mask at once: the error at each node times its own difference, and its sign."""
        many, best = self._many, (error, tuning)
        unit = float(np.abs(tuning[many]).mean())
        mean, square = np.zeros(int(many.sum())), np.zeros(int(many.sum()))
        for step in range(1, self._tries.pairs + 1):
            signs = self._rng.choice([-1.0, 1.0], len(mean))
            ends = [self._beside(tuning, sign * self._tries.size * unit * signs) for sign in (1, -1)]
            one, other = (self._states(end) for end in ends)
            middle = (one + other) / 2  # up to the square of the perturbation the states in between
            readout = StateReadout.fitted(middle, self._aims)
            if self._told(readout.leave_one_out_error) < best[0]:
                best = (readout.leave_one_out_error, tuning)
            gradient = self._gradient(readout, middle, one - other) * signs
            mean = LEVELS[0] * mean + (1 - LEVELS[0]) * gradient
            square = LEVELS[1] * square + (1 - LEVELS[1]) * gradient**2
            size = np.sqrt(square / (1 - LEVELS[1] ** step)) + 1e-300
            tuning = self._beside(tuning, -self._tries.lr * unit * mean / (1 - LEVELS[0] ** step) / size)
        return best[1]

    def _beside(self, tuning: Float64Array, change: Float64Array) -> Float64Array:
        moved = tuning.copy()
        moved[self._many] += change
        return self._spec.nearest_tuning(moved)

    def _gradient(self, readout: StateReadout, states: Float64Array, differences: Float64Array) -> Float64Array:
        """Mean over the steps of error, weight and difference, of the node of each value of a mask.

        What other values do to the node has the signs of their perturbations, and cancels in the mean; what this
        one does to other nodes, later, is left out.
        """
        errors = readout(states) - self._aims
        by_node = ((errors @ (readout.weight.T * readout.gain)) * differences).mean(axis=0)
        nodes = self._nodes[self._many]
        return np.where(nodes < 0, by_node.sum(), by_node[np.maximum(nodes, 0)])


def acting_on(session: Session) -> Any:
    """The node that each tunable acts on first, shape (n_tunables,); -1 for all, or where nobody says."""
    said = getattr(session.device, "tunable_nodes", None)
    return np.full(session.device.spec.n_tunables, -1) if said is None else np.asarray(said)


class TunedDriven(Driven):
    """Tunes the device by rows of the training sequences, then drives it through them once more."""

    def __init__(self, tries: Tries) -> None:
        self._tries = tries

    def measurements(self, stage: int, n_stages: int) -> int:
        return self._tries.rows

    def check(self, network: PhysicalNetwork, task: LearningTask) -> None:
        super().check(network, task)
        _, stage, session = next(iter(network))
        assert isinstance(stage, DrivenStage)
        spec: DeviceSpec = session.device.spec
        if not spec.n_tunables:
            raise ConfigError(
                f"{type(session.device).__name__} has nothing to tune; give a loop tuned = true, or take the "
                "trainer reservoir"
            )

    def run(self, fit: Fit) -> None:
        _, stage, session = next(iter(fit.network))
        assert isinstance(stage, DrivenStage)
        fit.stage_begins(0)
        stage.memory.fit(stage.sequences(fit.inputs), session.measure)
        stage.tuning = Tuner(fit, stage, session, self._tries).found()
        states = stage.states(session, fit.inputs, "train")
        stage.memory.finish()
        require_finite("the states", [torch.from_numpy(states)])
        for note in still_nodes(states):
            fit.notice(0, note)
        fit.readout.add_stage(nn.Identity(), torch.from_numpy(states))
        fit.emit(StageFinished(0, 1))


class MemoryTrainer(ReservoirTrainer):
    """The composition."""

    def __init__(self, tries: Tries, options: Mapping[str, Any]) -> None:
        super().__init__(DeviceMemory.name, options)
        self._tries = tries
        Trainer.__init__(self, PlainRows(), TunedDriven(tries), StepBuilder)

    def stage_cost(self, n_rows: int, n_classes: int, stage: int, n_layers: int, steps: int = 1) -> int:
        return self._tries.rows * super().stage_cost(n_rows, n_classes, stage, n_layers, steps)


@declared(
    learns="gain, phase, bias and mask of a loop, and a ridge readout ([sequences](sequences.md))",
    rows="2 + `searches` + 2 `pairs`",
    predict="1",
)
def tune_memory(
    *, searches: int = 20, pairs: int = 13, reach: float = 0.15, size: float = 0.05, lr: float = 0.05
) -> Trainer:
    """Reservoir computing in a memory that is trained, too, without a model of it; for sequences.

    First what acts on all nodes (gain, phase, bias, the mask's strength) by an evolution strategy, then every
    value of the mask by simultaneous perturbation: the readout's error at a node times that node's own difference.
    Every loss is the leave-one-out error of a ridge readout, so that readout and memory fit each other. The
    device's limits keep the loop contracting.

    Needs a device with memory whose spec has tunables, such as a delay loop with ``tuned = true``.

    Source: evolution strategy: Rechenberg (1973); perturbation: Spall, IEEE Trans. Automatic Control 37, 332
    (1992), with an error a node; leave-one-out: Golub, Heath and Wahba, Technometrics 21, 215 (1979).

    Parameters
    ----------
    searches
        Rows a sequence that the evolution strategy takes.
    pairs
        Steps of the mask, two rows a sequence each.
    reach
        First step of the evolution strategy, in half ranges.
    size
        Of a perturbation, in units of the mask's mean magnitude.
    lr
        Step of the mask in the same units.
    """
    if searches < 0 or pairs < 0 or not (reach > 0 and size > 0 and lr > 0):
        raise ConfigError("searches and pairs must not be negative; reach, size and lr must be positive")
    return MemoryTrainer(Tries(searches, pairs, reach, size, lr), {})
