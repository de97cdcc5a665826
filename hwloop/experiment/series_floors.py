"""Floors of a series: digital methods that see the same steps, with a memory but no device.

Each is a ridge readout of something that is computed from the past of a step. Its strength, and what else there
is to choose, are those of the least leave-one-out error on the training steps: so a reservoir's readout is fitted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.experiment.columns import Trial
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.floor import Floor
from hwloop.tasks import LearningTask

if TYPE_CHECKING:
    from hwloop.experiment.partition import Partition
    from hwloop.session import Session

TAPS = (1, 2, 5, 10, 20, 50)  # steps of the past, this one included, that a shift register holds
# Steps of the past as they are, and how many of the last ones enter with all their products of two.
PRODUCTS = ((5, 3), (10, 5), (10, 10), (20, 10), (30, 15))
RADII, INPUT_SCALES = (0.5, 0.8, 0.95), (0.1, 0.3, 1.0)
LARGEST_SHARE = 0.5  # of the training steps: more numbers a step than this could be learned by heart


@dataclass(frozen=True)
class Expansion:
    """What is computed at every step, of sequences (rows, steps, features) whose features have unit variance.

    Attributes
    ----------
    of
        Gives (rows, steps, n).
    multiply_adds
        Of one step.
    """

    of: Callable[[Float64Array], Float64Array]
    multiply_adds: int


class SeriesFloor(Floor):
    """A ridge readout of an expansion of the past, the best of several by leave-one-out on the training steps."""

    regime = "digital"
    json_group = "floors"

    def meant_for(self, kind: type[LearningTask]) -> bool:
        """Tasks with a target at every step."""
        return kind.steps > 1

    @abstractmethod
    def expansions(self, features: int, nodes: int, seed: int) -> Sequence[Expansion]:
        """To choose from, the cheapest first, for so many features a step and nodes of the device."""

    def score(self, config: ExperimentConfig, sessions: list[Session], data: Partition) -> Trial:
        """Multiply-adds: of all steps of a row."""
        from hwloop.tasks.sequence import SequenceTask
        from hwloop.training.echo_state import StateReadout

        task = data.task
        assert isinstance(task, SequenceTask)
        train, test = (part.inputs.reshape(len(part), task.steps, -1) for part in (data.train, data.test))
        mean, spread = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
        gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        aims = task.after_washout(task.encode(data.train.targets))
        best: tuple[float, StateReadout, Expansion] | None = None
        for expansion in self.expansions(train.shape[2], self._nodes(sessions, task), data.seed):
            states = expansion.of((train - mean) * gain)
            if best is not None and states.shape[2] > LARGEST_SHARE * len(aims):
                continue
            readout = StateReadout.fitted(task.after_washout(states.reshape(len(states), -1)), aims)
            if best is None or readout.leave_one_out_error < best[0]:
                best = (readout.leave_one_out_error, readout, expansion)
        assert best is not None
        _, readout, expansion = best
        states = expansion.of((test - mean) * gain)
        outputs = readout(states.reshape(-1, states.shape[2])).reshape(len(test), -1)
        per_step = len(mean) + expansion.multiply_adds + readout.weight.size
        return Trial(task, data.test.targets, task.predictions(outputs), task.steps * per_step)

    @staticmethod
    def _nodes(sessions: Sequence[Session], task: LearningTask) -> int:
        """Numbers that the device answers a step: a device with memory answers for all steps of a row at once."""
        spec = sessions[0].device.spec
        outputs = spec.n_outputs
        if spec.streams:
            return outputs
        return outputs // task.steps if outputs % task.steps == 0 and outputs >= task.steps else outputs


class ShiftRegister(SeriesFloor):
    """A linear readout of the last steps: memory without any nonlinearity."""

    key, method, standing = "shift_register", "floor: linear shift register", "linear shift register"
    null = linear_null = True

    def expansions(self, features: int, nodes: int, seed: int) -> Sequence[Expansion]:
        return [Expansion(lambda rows, taps=taps: delayed(rows, taps), 0) for taps in TAPS]  # type: ignore[misc]


class PolynomialMemory(SeriesFloor):
    """The last steps and all products of two of them: a nonlinear vector autoregression.

    Source: Gauthier, Bollt, Griffith and Barbosa, Nat. Commun. 12, 5564 (2021).
    """

    key, method, standing = "polynomial_memory", "digital: polynomial memory", "polynomial memory, degree 2"
    digital = True

    def expansions(self, features: int, nodes: int, seed: int) -> Sequence[Expansion]:
        def expansion(taps: int, products: int) -> Expansion:
            count = features * products
            return Expansion(
                lambda rows: with_products(delayed(rows, taps), features * products), count * (count + 1) // 2
            )

        return [expansion(*each) for each in PRODUCTS]


class DigitalEchoState(SeriesFloor):
    """A digital echo state network with as many nodes as the device answers a step.

    x(t) = tanh(W x(t-1) + V u(t) + b), W, V and b Gaussian; W has the spectral radius, V and b the input scale, of
    the least leave-one-out error among a few. Source: Jaeger, GMD report 148 (2001).
    """

    key, method, standing = (
        "digital_echo_state",
        "digital: echo state, as many nodes",
        "digital echo state network",
    )
    digital = null = True

    def expansions(self, features: int, nodes: int, seed: int) -> Sequence[Expansion]:
        rng = np.random.default_rng(seed)
        recurrent = rng.standard_normal((nodes, nodes))
        recurrent /= np.abs(np.linalg.eigvals(recurrent)).max()
        inwards, bias = rng.standard_normal((features, nodes)), rng.standard_normal(nodes)
        cost = nodes * (nodes + features)
        return [
            Expansion(
                lambda rows, radius=radius, scale=scale: echo_states(  # type: ignore[misc]
                    rows, radius * recurrent, scale * inwards, scale * bias
                ),
                cost,
            )
            for radius in RADII
            for scale in INPUT_SCALES
        ]


def delayed(rows: Float64Array, taps: int) -> Float64Array:
    """A step and the ``taps - 1`` before it, the newest first; before the first step stands the mean, 0."""
    steps = rows.shape[1]
    padded = np.pad(rows, ((0, 0), (taps - 1, 0), (0, 0)))
    return np.concatenate([padded[:, taps - 1 - k : taps - 1 - k + steps] for k in range(taps)], axis=2)


def with_products(rows: Float64Array, count: int) -> Float64Array:
    """What stands at a step, and the products of every two of its first ``count`` numbers, squares with them."""
    first, second = np.triu_indices(count)
    return np.concatenate([rows, rows[:, :, first] * rows[:, :, second]], axis=2)


def echo_states(
    rows: Float64Array, recurrent: Float64Array, inwards: Float64Array, bias: Float64Array
) -> Float64Array:
    """States (rows, steps, nodes) of a network that begins every sequence at rest."""
    state = np.zeros((len(rows), len(recurrent)))
    driven = rows @ inwards + bias
    states = np.empty_like(driven)
    for step in range(rows.shape[1]):
        state = np.tanh(state @ recurrent + driven[:, step])
        states[:, step] = state
    return states
