"""How a stimulus drives a spiking network, and what is read of the network's activity in the window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device.declared import SettingsGroup, choice
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.layer import stimulus_on_grid


class Encoding(ABC):
    """Turns stimuli into the drive of an engine: by default currents in [-1, 1], one a channel.

    Attributes
    ----------
    low, high, unit
        Of a stimulus.
    random
        Whether it draws from a row's generator.
    spiking
        Whether spikes reach the synapses, in place of currents.
    """

    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    unit: ClassVar[str] = "of the full current"
    random: ClassVar[bool] = False
    spiking: ClassVar[bool] = False

    def channels(self, n_inputs: int, window: Window) -> int:
        """Channels that reach the synapses when a row has ``n_inputs`` numbers."""
        return n_inputs

    @abstractmethod
    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """As :meth:`~hwloop.simulators.spiking.engine.Engine.run` takes it; one generator a row if random."""


class CurrentEncoding(Encoding):
    """A constant current x in [-1, 1] on each channel, through settling and window."""

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        return stimulus_on_grid(stimuli).astype(np.float32)


@dataclass(frozen=True)
class PoissonEncoding(Encoding):
    """A spike train of rate x * max_rate_hz on each channel, through settling and window.

    In a step there is one spike or none, with probability rate * dt: counts are binomial, Poisson's in the limit
    of small rate * dt. Raises ValueError where the highest rate has more than one spike a step.
    """

    max_rate_hz: float
    step_seconds: float
    low: ClassVar[float] = 0.0
    unit: ClassVar[str] = "of the highest rate"
    random: ClassVar[bool] = True
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        real_number("max_rate_hz", self.max_rate_hz, 1e-3, 1.0 / self.step_seconds)

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Spikes of shape (rows, total_steps, n_inputs), uint8."""
        chances = stimuli * (self.max_rate_hz * window.step_seconds)
        spikes = np.empty((len(stimuli), window.total_steps, stimuli.shape[1]), dtype=np.uint8)
        for row, chance, rng in zip(spikes, chances, rngs, strict=True):
            row[:] = rng.random(row.shape) < chance
        return spikes


class LatencyEncoding(Encoding):
    """One spike on each channel: the stronger the earlier, at (1 - x) of the window; none where x is 0."""

    low: ClassVar[float] = 0.0
    unit: ClassVar[str] = "of the window, from its end"
    spiking: ClassVar[bool] = True

    def drive(self, stimuli: Float64Array, window: Window, rngs: Sequence[np.random.Generator]) -> NDArray[Any]:
        """Spikes of shape (rows, total_steps, n_inputs), uint8; silence while the network settles."""
        spikes = np.zeros((len(stimuli), window.total_steps, stimuli.shape[1]), dtype=np.uint8)
        steps = window.settle_steps + np.rint((1.0 - stimuli) * (window.steps - 1)).astype(np.int64)
        rows, channels = np.nonzero(stimuli > 0)
        spikes[rows, steps[rows, channels], channels] = 1
        return spikes


class RawEncoding(Encoding):
    """A current for every step: a row is (steps, channels), flattened; nothing is driven while it settles."""

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
        currents = stimulus_on_grid(stimuli).astype(np.float32).reshape(len(stimuli), window.steps, -1)
        return np.pad(currents, ((0, 0), (window.settle_steps, 0), (0, 0)))


ENCODINGS: dict[str, Callable[[Window, float], Encoding]] = {
    "current": lambda window, max_rate_hz: CurrentEncoding(),
    "poisson": lambda window, max_rate_hz: PoissonEncoding(max_rate_hz, window.step_seconds),
    "latency": lambda window, max_rate_hz: LatencyEncoding(),
    "raw": lambda window, max_rate_hz: RawEncoding(),
}


class SpikeReadout:
    """Turns one kind of activity, as an engine reports it, into responses; by default as it is."""

    activity: ClassVar[str]
    unit: ClassVar[str]

    def response(self, activity: NDArray[Any], window: Window) -> Float64Array:
        """Shape (rows, neurons)."""
        return activity.astype(np.float64)


class RateReadout(SpikeReadout):
    """Spikes a second, in the window."""

    activity: ClassVar[str] = "counts"
    unit: ClassVar[str] = "Hz"

    def response(self, activity: NDArray[Any], window: Window) -> Float64Array:
        """Counts over the length of the window."""
        return np.asarray(activity / window.seconds, dtype=np.float64)


class CountReadout(SpikeReadout):
    """Number of spikes in the window."""

    activity: ClassVar[str] = "counts"
    unit: ClassVar[str] = "spikes"


class FirstSpikeReadout(SpikeReadout):
    """Time of the first spike in the window, at the end of its step; the whole window where there was none."""

    activity: ClassVar[str] = "first_spike"
    unit: ClassVar[str] = "s"

    def response(self, activity: NDArray[Any], window: Window) -> Float64Array:
        """In seconds from the start of the window."""
        return np.asarray(np.minimum(activity + 1, window.steps) * window.step_seconds, dtype=np.float64)


class MembraneReadout(SpikeReadout):
    """Membrane potential at the end of the window."""

    activity: ClassVar[str] = "membrane"
    unit: ClassVar[str] = "of the threshold"


READOUTS: dict[str, SpikeReadout] = {
    "rate": RateReadout(),
    "counts": CountReadout(),
    "first-spike": FirstSpikeReadout(),
    "membrane": MembraneReadout(),
}


class SpikeCoding(SettingsGroup):
    """Time of a row, what drives the network and what is read of it.

    Parameters
    ----------
    window_seconds, step_seconds, settle_seconds
        The time T in which spikes are read, the step dt, and the time before T in which nothing is read.
    encoding
        ``"current"``: a constant current x; ``"poisson"``: spikes of rate x max_rate_hz; ``"latency"``: one spike,
        the earlier the larger x; ``"raw"``: a current for every step.
    output
        ``"rate"`` in Hz, ``"counts"``, ``"first-spike"`` in s (T where there was none) or ``"membrane"``, the
        potential at the end, in thresholds.
    max_rate_hz
        Of a Poisson input of 1; at most one spike a step.
    """

    window_seconds: float = 0.1
    step_seconds: float = 5e-4
    settle_seconds: float = 0.0
    encoding: str = choice("current", ENCODINGS)
    output: str | None = "rate"
    max_rate_hz: float = 100.0

    def window(self) -> Window:
        """The time in steps; raises ValueError where it is no whole number of them."""
        return Window.from_seconds(self.step_seconds, self.window_seconds, self.settle_seconds)
