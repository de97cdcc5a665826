"""How a stimulus drives a spiking network: by currents, by spike trains, by spike times, or step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.layer import stimulus_on_grid
from hwloop.simulators.spiking.window import Window


class Encoding(Protocol):
    """Turns stimuli into the drive of an engine."""

    low: ClassVar[float]
    high: ClassVar[float]
    unit: ClassVar[str]
    random: ClassVar[bool]
    spiking: ClassVar[bool]

    def channels(self, n_inputs: int, window: Window) -> int:
        """Channels that reach the synapses when a row has ``n_inputs`` numbers."""
        ...

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """As :meth:`~hwloop.simulators.spiking.engine.Engine.run` takes it; one generator a row if random."""
        ...


@dataclass(frozen=True)
class CurrentEncoding:
    """A constant current x in [-1, 1] on each channel, through settling and window."""

    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    unit: ClassVar[str] = "of the full current"
    random: ClassVar[bool] = False
    spiking: ClassVar[bool] = False

    def channels(self, n_inputs: int, window: Window) -> int:
        """One a number."""
        return n_inputs

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Shape (rows, n_inputs), float32."""
        return stimulus_on_grid(stimuli).astype(np.float32)


@dataclass(frozen=True)
class PoissonEncoding:
    """A spike train of rate x * max_rate_hz on each channel, through settling and window.

    In a step there is one spike or none, with probability rate * dt: counts are binomial, Poisson's in the limit
    of small rate * dt. Raises ValueError where the highest rate has more than one spike a step.
    """

    max_rate_hz: float
    step_seconds: float
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    unit: ClassVar[str] = "of the highest rate"
    random: ClassVar[bool] = True
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        real_number("max_rate_hz", self.max_rate_hz, 1e-3, 1.0 / self.step_seconds)

    def channels(self, n_inputs: int, window: Window) -> int:
        """One a number."""
        return n_inputs

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Spikes of shape (rows, total_steps, n_inputs), uint8."""
        chances = stimuli * (self.max_rate_hz * window.step_seconds)
        spikes = np.empty((len(stimuli), window.total_steps, stimuli.shape[1]), dtype=np.uint8)
        for row, chance, rng in zip(spikes, chances, rngs, strict=True):
            row[:] = rng.random(row.shape) < chance
        return spikes


@dataclass(frozen=True)
class LatencyEncoding:
    """One spike on each channel: the stronger the earlier, at (1 - x) of the window; none where x is 0."""

    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    unit: ClassVar[str] = "of the window, from its end"
    random: ClassVar[bool] = False
    spiking: ClassVar[bool] = True

    def channels(self, n_inputs: int, window: Window) -> int:
        """One a number."""
        return n_inputs

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Spikes of shape (rows, total_steps, n_inputs), uint8; silence while the network settles."""
        spikes = np.zeros((len(stimuli), window.total_steps, stimuli.shape[1]), dtype=np.uint8)
        steps = window.settle_steps + np.rint((1.0 - stimuli) * (window.steps - 1)).astype(np.int64)
        rows, channels = np.nonzero(stimuli > 0)
        spikes[rows, steps[rows, channels], channels] = 1
        return spikes


@dataclass(frozen=True)
class RawEncoding:
    """A current for every step: a row is (steps, channels), flattened; nothing is driven while it settles."""

    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    unit: ClassVar[str] = "of the full current"
    random: ClassVar[bool] = False
    spiking: ClassVar[bool] = False

    def channels(self, n_inputs: int, window: Window) -> int:
        """Raises ValueError, with the nearest allowed value, if the steps do not share the numbers."""
        if n_inputs % window.steps:
            nearest = max(1, round(n_inputs / window.steps)) * window.steps
            raise ValueError(
                f"encoding 'raw' takes one number a step and channel: n_inputs {n_inputs} is no multiple of the "
                f"{window.steps} steps of the window; the nearest allowed value is {nearest}"
            )
        return n_inputs // window.steps

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Shape (rows, total_steps, channels), float32."""
        currents = stimulus_on_grid(stimuli).astype(np.float32).reshape(len(stimuli), window.steps, -1)
        return np.pad(currents, ((0, 0), (window.settle_steps, 0), (0, 0)))


ENCODINGS = ("current", "poisson", "latency", "raw")


def encoding_of(name: str, window: Window, max_rate_hz: float) -> Encoding:
    """The encoding of a name of :data:`ENCODINGS`."""
    if name == "poisson":
        return PoissonEncoding(max_rate_hz, window.step_seconds)
    kinds: dict[str, type[Encoding]] = {"current": CurrentEncoding, "latency": LatencyEncoding, "raw": RawEncoding}
    return kinds[name]()
