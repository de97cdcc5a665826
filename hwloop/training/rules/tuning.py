"""Rules that tune what lies inside a device: where a batch is measured, and what its answers say of the tuning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard

from hwloop.device import Device, DeviceSpec
from hwloop.device.spec import Float64Array, TunableDifferentiable
from hwloop.errors import ConfigError
from hwloop.training.optimiser import AdamSettings, one_cycle_adamw
from hwloop.training.options import (
    COUNT,
    INNER_SHARE,
    NOT_NEGATIVE,
    Range,
    WithOptions,
    one_of,
    option,
    whole_number,
)
from hwloop.training.rules.chain_rule import TWINS
from hwloop.twin import fit as fit_twin
from hwloop.twin.fitting import MIN_ROWS

QUARTER = np.pi / 2


class TuningSpace:
    """What can be tuned about a device, each value as a share of its range: 0 at the lower limit, 1 at the upper.

    Parameters
    ----------
    spec
        Of a device with tunables.
    """

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self.size = spec.n_tunables
        self._low = np.asarray(spec.tunable_low)
        self.range = np.asarray(spec.tunable_high) - self._low
        steps = [np.full(each.count, each.step or 0.0) for each in spec.tunables]
        self.steps = np.concatenate(steps) / self.range

    def values(self, shares: Float64Array) -> Float64Array:
        """The nearest tuning that can be set, in the device's units, shape (n_tunables,)."""
        return self.spec.nearest_tuning(self._low + np.clip(shares, 0.0, 1.0) * self.range)

    def shares(self, values: Float64Array) -> Float64Array:
        """Of a tuning, shape (..., n_tunables)."""
        found: Float64Array = (values - self._low) / self.range
        return found


@dataclass(frozen=True)
class TunedBatch:
    """What the same samples answered under several tunings.

    Attributes
    ----------
    stimuli
        Shape (samples, n_inputs).
    shares
        The tunings as they were set, shape (variants, n_tunables), in shares of the range.
    responses
        Shape (variants, samples, n_outputs).
    losses
        Of every sample under every tuning, shape (variants, samples).
    by_responses
        Their derivatives by the responses, shape (variants, samples, n_outputs).
    """

    stimuli: Float64Array
    shares: Float64Array
    responses: Float64Array
    losses: Float64Array
    by_responses: Float64Array


def said_by(device: Device, name: str) -> Any:
    """What a device, or the one inside its wrappers, says under a name; ``None`` if nothing."""
    while True:
        if (found := getattr(device, name, None)) is not None:
            return found
        inside = device.devices_inside
        if len(inside) != 1:
            return None
        device = inside[0]


@dataclass(eq=False)
class TuningRule(WithOptions, ABC):
    """Finds the tuning of one stage, batch after batch.

    Attributes
    ----------
    shares
        Where it stands, shape (n_tunables,), in shares of the range.
    """

    uses_model: ClassVar[str] = ""
    checks_influence: ClassVar[bool] = False
    measures_noise: ClassVar[bool] = False

    @property
    @abstractmethod
    def variants(self) -> int:
        """Tunings that every batch is measured under."""

    def missing(self, device: Device) -> str:
        """What the rule needs of a device with tunables, and it lacks; empty if nothing."""
        return ""

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        """Before the first of so many batches; ``start`` is in shares of the range."""
        self.space, self.device, self.rng = space, device, rng
        self.shares = start.copy()

    def told(self, size: float, influence: NDArray[np.bool_] | None) -> None:
        """What a few rows before the first batch have shown, see :mod:`hwloop.training.schedules.in_situ`.

        Parameters
        ----------
        size
            How far to perturb, as a share of the range.
        influence
            Which output each tunable acts on, shape (n_outputs, n_tunables); ``None``: all on all.
        """

    @abstractmethod
    def ask(self) -> Float64Array:
        """The tunings of the next batch, shape (variants, n_tunables), in shares of the range."""

    @abstractmethod
    def tell(self, batch: TunedBatch) -> None:
        """Learn from what the device answered."""

    def epoch_done(self, epoch: int) -> None:
        """Called after every epoch, from 1."""


@dataclass(eq=False)
class GradientTuning(TuningRule):
    """Adam steps along an estimated gradient.

    Attributes
    ----------
    lr
        Peak learning rate of Adam's one-cycle schedule, as a share of each tunable's range.
    """

    lr: float = option(0.003, INNER_SHARE)

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        super().begin(space, device, start, steps, rng)
        self._parameter = torch.nn.Parameter(torch.from_numpy(self.shares.copy()))
        settings = AdamSettings(lr=self.lr, weight_decay=0.0)
        self._optimiser, self._rate = one_cycle_adamw(
            [self._parameter], settings, -(-steps // self.batches_a_step)
        )

    @property
    def batches_a_step(self) -> int:
        """Batches whose estimates one step is taken from."""
        return 1

    @abstractmethod
    def gradient(self, batch: TunedBatch) -> Float64Array | None:
        """The derivative of the mean loss by the shares, (n_tunables,); ``None`` for no step this time."""

    def tell(self, batch: TunedBatch) -> None:
        """One step of Adam, back to the limits where it leads beyond."""
        if (gradient := self.gradient(batch)) is not None:
            self._parameter.grad = torch.from_numpy(np.ascontiguousarray(gradient, dtype=np.float64))
            self._optimiser.step()
            with torch.no_grad():
                self._parameter.clamp_(0.0, 1.0)
            self.shares = self._parameter.detach().numpy().copy()
            self._rate.step()


class PerOutput:
    """The error of each output times that output's own difference, for the tunables that act on it.

    Where all act on all outputs this is the change of the loss itself, to first order.
    """

    checks_influence: ClassVar[bool] = True

    def __call__(
        self, moved: Float64Array, batch: TunedBatch, by: Float64Array, losses: Float64Array
    ) -> Float64Array:
        """Shape (n_outputs,), of responses that moved by ``moved`` (samples, n_outputs)."""
        found: Float64Array = np.einsum("so,so->o", by, moved) / len(by)
        return found


class WholeLoss:
    """The change of the mean loss, one number for all tunables."""

    checks_influence: ClassVar[bool] = False

    def __call__(
        self, moved: Float64Array, batch: TunedBatch, by: Float64Array, losses: Float64Array
    ) -> Float64Array:
        """Shape (1,), of losses that changed by ``losses`` (samples,)."""
        return np.array([losses.mean()])


CREDITS: dict[str, type[PerOutput] | type[WholeLoss]] = {"outputs": PerOutput, "loss": WholeLoss}
SIDES = ("one", "both")
CODES = ("signs", "walsh")
SIZE = Range("be a share of the range, from 0 (chosen) to 0.5", lambda value: 0 <= value <= 0.5)


@dataclass(eq=False)
class Perturbation(GradientTuning):
    """All tunables are moved at once, and what comes of it is credited to each by the sign of its own move.

    Attributes
    ----------
    directions
        Random directions that every batch is measured along.
    size
        How far every tunable is moved, at least one of its steps, as a share of its range; 0: chosen from the
        noise and the slope that a few rows show.
    sides
        'one': each direction against the tuning itself, which is measured too; 'both': forth and back.
    accumulate
        Batches whose estimates are averaged before a step.
    credit
        'outputs' or 'loss'.
    codes
        'signs': independent random signs; 'walsh': rows of a Hadamard matrix, orthogonal over the directions of
        successive batches.
    """

    directions: int = option(3, COUNT)
    size: float = option(0.0, SIZE)
    sides: str = option("one", one_of(SIDES))
    accumulate: int = option(1, COUNT)
    credit: str = option("outputs", one_of(CREDITS))
    codes: str = option("signs", one_of(CODES))

    @property
    def checks_influence(self) -> bool:  # type: ignore[override]
        return CREDITS[self.credit].checks_influence

    @property
    def measures_noise(self) -> bool:  # type: ignore[override]
        return self.size == 0

    @property
    def batches_a_step(self) -> int:
        return self.accumulate

    @property
    def variants(self) -> int:
        return self.directions + 1 if self.sides == "one" else 2 * self.directions

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        super().begin(space, device, start, steps, rng)
        self.told(self.size or 1 / 64, None)
        self._taken, self._sum = 0, np.zeros(space.size)
        self._codes: NDArray[np.int64] | None = None
        self._next = 0

    def told(self, size: float, influence: NDArray[np.bool_] | None) -> None:
        self._moves = np.maximum(self.size or size, self.space.steps)
        self._influence = influence

    def ask(self) -> Float64Array:
        """Each direction; before all of them, or after each, where it is compared with."""
        moves = self._moves * np.stack([self._signs() for _ in range(self.directions)])
        if self.sides == "one":
            return np.concatenate([self.shares[None], self.shares + moves])
        return np.concatenate([self.shares + moves, self.shares - moves])

    def _signs(self) -> Float64Array:
        if self.codes == "signs":
            return np.asarray(self.rng.choice((-1.0, 1.0), self.space.size))
        length = 1 << self.space.size.bit_length()  # more codes than tunables: the constant one is left out
        if self._codes is None or self._next == length:
            columns = self.rng.permutation(np.arange(1, length))[: self.space.size]
            self._codes, self._next = hadamard(length, dtype=np.int64)[self.rng.permutation(length)][:, columns], 0
        self._next += 1
        return np.asarray(self._codes[self._next - 1], dtype=np.float64)

    def gradient(self, batch: TunedBatch) -> Float64Array | None:
        """Each direction's credit times its moves, averaged."""
        credit_of, one_sided = CREDITS[self.credit](), self.sides == "one"
        half = 1.0 if one_sided else 0.5
        for number in range(self.directions):
            far, near = (number + 1, 0) if one_sided else (number, number + self.directions)
            by = batch.by_responses[near] if one_sided else batch.by_responses[[far, near]].mean(axis=0)
            moved = half * (batch.responses[far] - batch.responses[near])
            credit = credit_of(moved, batch, by, half * (batch.losses[far] - batch.losses[near]))
            move = half * (batch.shares[far] - batch.shares[near])
            if len(credit) > 1:
                whole = np.full(self.space.size, credit.sum())
                credit = whole if self._influence is None else credit @ self._influence
            self._sum += credit * move / self._moves**2
        self._taken += 1
        if self._taken < self.accumulate:
            return None
        found = self._sum / (self._taken * self.directions)
        self._taken, self._sum = 0, np.zeros(self.space.size)
        return found


@dataclass(eq=False)
class ParameterShift(GradientTuning):
    """Two rows a quarter period before and behind a value tell the derivative of a sinusoid exactly.

    Attributes
    ----------
    shifts
        Tunables, drawn anew for every batch, that are shifted one after the other.
    """

    shifts: int = option(4, COUNT)

    @property
    def variants(self) -> int:
        return 1 + 2 * self.shifts

    def missing(self, device: Device) -> str:
        """A response that is a sinusoid of a tunable, by what the device itself says."""
        if said_by(device, "tuning_frequencies") is not None:
            return ""
        return (
            "needs a device that says that its response is a sinusoid of its tunables (tuning_frequencies, as "
            f"mach-zehnder-mesh has them), which {type(device).__name__} does not; take tune-outputs or tune-spsa"
        )

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        super().begin(space, device, start, steps, rng)
        frequencies = np.broadcast_to(np.asarray(said_by(device, "tuning_frequencies"), float), (space.size,))
        self._frequencies = frequencies
        self._shiftable = np.flatnonzero(frequencies > 0)
        self._quarter = QUARTER / np.maximum(frequencies, 1e-30) / space.range
        if not len(self._shiftable):
            raise ConfigError("tune-shift: no tunable of this device has a frequency; take tune-outputs")

    def ask(self) -> Float64Array:
        """As it stands, then every shift forth and back, within the range by whole periods."""
        count = min(self.shifts, len(self._shiftable))
        chosen = self.rng.choice(self._shiftable, count, replace=False)
        self._chosen = np.resize(chosen, self.shifts)
        asked = np.repeat(self.shares[None], self.variants, axis=0)
        for number, tunable in enumerate(self._chosen):
            for side, sign in ((1, 1.0), (2, -1.0)):
                share = self.shares[tunable] + sign * self._quarter[tunable]
                period = 4 * self._quarter[tunable]
                share -= period * np.floor(share / period) if not 0 <= share <= 1 else 0.0
                asked[2 * number + side, tunable] = share
        return asked

    def gradient(self, batch: TunedBatch) -> Float64Array:
        """Of the chosen tunables, as many times as large as there are others; 0 of the others."""
        found, times = np.zeros(self.space.size), np.zeros(self.space.size)
        for number, tunable in enumerate(self._chosen):
            moved = batch.responses[2 * number + 1] - batch.responses[2 * number + 2]
            slope = np.einsum("so,so->", batch.by_responses[0], moved) / len(moved)
            found[tunable] += slope / 2 * QUARTER / self._quarter[tunable]
            times[tunable] += 1
        share = len(self._shiftable) / max(1, int(np.count_nonzero(times)))
        mean: Float64Array = found / np.maximum(times, 1) * share
        return mean


@dataclass(eq=False)
class ExactTuning(GradientTuning):
    """The derivative that a simulated device itself tells."""

    uses_model: ClassVar[str] = "the simulated device's own derivative by its tunables, which no hardware can tell"

    @property
    def variants(self) -> int:
        return 1

    def missing(self, device: Device) -> str:
        """A derivative, which only a simulation can have."""
        if isinstance(device, TunableDifferentiable):
            return ""
        return (
            f"needs the derivative by the tunables, which {type(device).__name__} cannot tell: only simulations "
            "with a method pull_back_tuning can (programmable-speckle); take tune-outputs or tune-spsa"
        )

    def ask(self) -> Float64Array:
        return self.shares[None]

    def gradient(self, batch: TunedBatch) -> Float64Array:
        """At the tuning that is still set."""
        device = cast(TunableDifferentiable, self.device)
        by = device.pull_back_tuning(batch.stimuli, batch.by_responses[0] / len(batch.stimuli))
        found: Float64Array = np.asarray(by) * self.space.range
        return found


@dataclass(eq=False)
class TwinTuning(GradientTuning):
    """The derivative of a twin, fitted to stimuli, tunings and responses of the rows that training measured.

    Attributes
    ----------
    twin
        As for physics-aware; 'mlp' knows nothing of the device.
    twin_rows
        The last rows that it is fitted to.
    size
        How far every tunable is moved at random for every batch, so that the twin sees what it does, as a share of
        its range.
    """

    twin: str = option("mlp", one_of(TWINS))
    twin_rows: int = option(2000, whole_number(MIN_ROWS))
    size: float = option(0.05, NOT_NEGATIVE)

    uses_model: ClassVar[str] = (
        "a twin of each device, of stimuli and tunables, fitted to the rows that training measured"
    )

    @property
    def variants(self) -> int:
        return 1

    def begin(
        self, space: TuningSpace, device: Device, start: Float64Array, steps: int, rng: np.random.Generator
    ) -> None:
        super().begin(space, device, start, steps, rng)
        self._rows: deque[tuple[Float64Array, Float64Array]] = deque()
        self._twin: Any = None

    def ask(self) -> Float64Array:
        return self.shares[None] + self.size * self.rng.uniform(-1.0, 1.0, (1, self.space.size))

    def gradient(self, batch: TunedBatch) -> Float64Array | None:
        """At the tuning as measured; none before the first twin."""
        inputs = np.hstack([batch.stimuli, np.tile(batch.shares[0], (len(batch.stimuli), 1))])
        self._rows.append((inputs, batch.responses[0]))
        while sum(len(rows) for rows, _ in self._rows) - len(self._rows[0][0]) >= self.twin_rows:
            self._rows.popleft()
        if self._twin is None:
            return None
        by_inputs = self._twin.pull_back(inputs, batch.by_responses[0] / len(inputs))
        found: Float64Array = by_inputs[:, batch.stimuli.shape[1] :].sum(axis=0)
        return found

    def epoch_done(self, epoch: int) -> None:
        """Fit again after epochs 1, 2, 4, 8, ..."""
        if epoch & (epoch - 1) == 0 and sum(len(rows) for rows, _ in self._rows) >= MIN_ROWS:
            inputs, responses = (np.concatenate(part) for part in zip(*self._rows, strict=True))
            self._twin = fit_twin(inputs, responses, int(self.rng.integers(2**31)), TWINS[self.twin])
