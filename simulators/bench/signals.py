"""Voltages over bench time, and the log of what the generator really put on its wires."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array

_QUADRATURE_POINTS = 32
_EDGE_CANDIDATES = 20_001


class Voltage(ABC):
    """A voltage over bench time."""

    @abstractmethod
    def at(self, times: Float64Array) -> Float64Array:
        """Volts at some times in seconds, the shape of ``times``."""

    def mean(self, starts: Float64Array, stops: Float64Array) -> Float64Array:
        """Average volts between pairs of times; by the midpoint rule unless a signal knows better."""
        middles = (np.arange(_QUADRATURE_POINTS) + 0.5) / _QUADRATURE_POINTS
        times = np.asarray(starts)[..., None] + (np.asarray(stops) - starts)[..., None] * middles
        return np.asarray(self.at(times).mean(axis=-1))

    def first_rise(self, level: float, start: float, stop: float) -> float | None:
        """The first time from ``start`` to ``stop`` at which the voltage rises to ``level``, else ``None``."""
        times = np.linspace(start, stop, _EDGE_CANDIDATES)
        above = self.at(times) >= level
        rises = np.flatnonzero(above[1:] & ~above[:-1])
        return float(times[rises[0] + 1]) if rises.size else None


@dataclass(frozen=True)
class Constant(Voltage):
    """The same voltage at all times."""

    volts: float = 0.0

    def at(self, times: Float64Array) -> Float64Array:
        return np.full(np.shape(times), self.volts)

    def mean(self, starts: Float64Array, stops: Float64Array) -> Float64Array:
        return np.full(np.shape(starts), self.volts)


@dataclass(frozen=True, eq=False)
class Function(Voltage):
    """A periodic or random waveform given by a formula.

    Parameters
    ----------
    formula
        Seconds since ``start`` to volts, both arrays.
    start, seconds
        Bench time of its beginning, and how long it lasts.
    idle_volts
        Before and after.
    """

    formula: Callable[[Float64Array], Float64Array]
    start: float = 0.0
    seconds: float = float("inf")
    idle_volts: float = 0.0

    def at(self, times: Float64Array) -> Float64Array:
        local = np.asarray(times, dtype=np.float64) - self.start
        inside = (local >= 0) & (local < self.seconds)
        return np.where(inside, self.formula(np.where(inside, local, 0.0)), self.idle_volts)


@dataclass(frozen=True, eq=False)
class HeldSamples(Voltage):
    """Samples held for a period each, cycle after cycle: an arbitrary waveform without a filter.

    Parameters
    ----------
    start
        Bench time of the first sample.
    period
        Seconds that a sample lasts.
    samples
        Volts of one cycle.
    cycles
        How often the cycle is played; infinity for ever.
    idle_volts
        Before and after.
    """

    start: float
    period: float
    samples: Float64Array
    cycles: float = 1.0
    idle_volts: float = 0.0

    @cached_property
    def _integral(self) -> Float64Array:
        """Volt samples from the cycle's begin to each sample's begin, and to the cycle's end."""
        return np.concatenate([[0.0], np.cumsum(self.samples)])

    def at(self, times: Float64Array) -> Float64Array:
        index = np.floor((np.asarray(times) - self.start) / self.period + 1e-6)
        count = len(self.samples)
        inside = (index >= 0) & (index < count * self.cycles)
        wrapped = np.where(inside, np.mod(index, count), 0).astype(np.intp)
        return np.where(inside, self.samples[wrapped], self.idle_volts)

    def mean(self, starts: Float64Array, stops: Float64Array) -> Float64Array:
        begin, end = (np.asarray(times) - self.start for times in (starts, stops))
        return np.asarray((self._integrated(end) - self._integrated(begin)) / (end - begin))

    def _integrated(self, local: Float64Array) -> Float64Array:
        count = len(self.samples)
        position = np.clip(local / self.period, 0.0, count * self.cycles)
        cycle, within = np.divmod(position, count)
        played = cycle * self._integral[-1] + np.interp(within, np.arange(count + 1), self._integral)
        outside = local - position * self.period
        return np.asarray(played * self.period + outside * self.idle_volts)

    def first_rise(self, level: float, start: float, stop: float) -> float | None:
        """The begin of the first sample at or above the level whose predecessor is below it."""
        before = np.concatenate([[self.idle_volts], self.samples[:-1]])
        rises = np.flatnonzero((self.samples >= level) & (before < level))
        times = self.start + rises * self.period
        inside = times[(times >= start) & (times <= stop)]
        return float(inside[0]) if inside.size else None


@dataclass(frozen=True, eq=False)
class Polyline(Voltage):
    """Straight lines between points, constant before the first and after the last.

    Parameters
    ----------
    times
        Rising, seconds of bench time; two may be equal, which is a step.
    volts
        At these times.
    """

    times: Float64Array
    volts: Float64Array

    @cached_property
    def _integral(self) -> Float64Array:
        areas = np.diff(self.times) * 0.5 * (self.volts[1:] + self.volts[:-1])
        return np.concatenate([[0.0], np.cumsum(areas)])

    def at(self, times: Float64Array) -> Float64Array:
        return np.interp(times, self.times, self.volts)

    def mean(self, starts: Float64Array, stops: Float64Array) -> Float64Array:
        width = np.asarray(stops) - starts
        return np.asarray((self._integrated(np.asarray(stops)) - self._integrated(np.asarray(starts))) / width)

    def _integrated(self, times: Float64Array) -> Float64Array:
        inside = np.clip(times, self.times[0], self.times[-1])
        index = np.clip(np.searchsorted(self.times, inside, side="right") - 1, 0, len(self.times) - 2)
        volts = np.interp(inside, self.times, self.volts)
        area = self._integral[index] + (inside - self.times[index]) * 0.5 * (volts + self.volts[index])
        before = np.minimum(times - self.times[0], 0.0) * self.volts[0]
        return np.asarray(area + before + np.maximum(times - self.times[-1], 0.0) * self.volts[-1])

    def first_rise(self, level: float, start: float, stop: float) -> float | None:
        """Where the first rising line crosses the level."""
        below, above = self.volts[:-1] < level, self.volts[1:] >= level
        for last in np.flatnonzero(below & above):
            part = (level - self.volts[last]) / (self.volts[last + 1] - self.volts[last])
            time = float(self.times[last] + part * (self.times[last + 1] - self.times[last]))
            if start <= time <= stop:
                return time
        return None


def steps(edges: NDArray[np.float64], levels: NDArray[np.float64], rise_seconds: float) -> Polyline:
    """Levels that begin at ``edges``, each reached in a straight ramp of ``rise_seconds``; 0 V before the first.

    The ramp is centred on its edge, so half of it lies before.
    """
    before = np.concatenate([[0.0], levels[:-1]])
    times = np.stack([edges - 0.5 * rise_seconds, edges + 0.5 * rise_seconds], axis=-1).reshape(-1)
    return Polyline(times, np.stack([before, levels], axis=-1).reshape(-1))


_SAMPLES_OF_A_FUNCTION = 4096


@dataclass(frozen=True)
class Played:
    """One burst, or one steady waveform, as it lay on the wire.

    Parameters
    ----------
    channel
        Of the generator.
    time_seconds
        Bench time of its begin.
    seconds
        Length of a burst, or of one cycle of a steady waveform.
    lowest_volts, highest_volts
        Extremes, including the level at which the output idles.
    slew_volts_per_second
        Steepest change: between held samples, their step over a sample period.
    duty
        Fraction of ``seconds`` during which the voltage differs from 0 by more than the log's threshold.
    """

    channel: int
    time_seconds: float
    seconds: float
    lowest_volts: float
    highest_volts: float
    slew_volts_per_second: float
    duty: float


class OutputLog:
    """Everything that the generator put on its wires: the extremes of all of it, and the latest one by one.

    Parameters
    ----------
    threshold_volts
        Below this an output counts as resting.

    Attributes
    ----------
    lowest_volts, highest_volts
        Extremes seen; 0 if nothing was played.
    slew_volts_per_second
        Steepest change seen.
    duty
        Highest duty of a waveform seen.
    played
        The latest ``KEPT`` waveforms.
    """

    KEPT = 100_000

    def __init__(self, threshold_volts: float = 1e-3) -> None:
        self.threshold_volts = threshold_volts
        self._lock = threading.Lock()
        self.played: deque[Played] = deque(maxlen=self.KEPT)
        self.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        with self._lock:
            self.played.clear()
            self.lowest_volts = self.highest_volts = self.slew_volts_per_second = self.duty = 0.0

    def note(self, channel: int, signal: Voltage, start: float, seconds: float) -> None:
        """Write down a waveform that lasts, or repeats after, ``seconds``."""
        volts, slew, weights = _points(signal, start, seconds)
        resting = np.abs(volts) <= self.threshold_volts
        duty = float(np.sum(weights[~resting]) / np.sum(weights))
        entry = Played(channel, start, seconds, float(volts.min()), float(volts.max()), slew, duty)
        with self._lock:
            self.played.append(entry)
            self.lowest_volts = min(self.lowest_volts, entry.lowest_volts)
            self.highest_volts = max(self.highest_volts, entry.highest_volts)
            self.slew_volts_per_second = max(self.slew_volts_per_second, slew)
            self.duty = max(self.duty, duty)


def _points(signal: Voltage, start: float, seconds: float) -> tuple[Float64Array, float, Float64Array]:
    """Voltages of a signal, its steepest change, and how long each voltage lasts."""
    if isinstance(signal, Constant):
        return np.array([signal.volts]), 0.0, np.ones(1)
    if isinstance(signal, HeldSamples):
        joined = np.concatenate([[signal.idle_volts], signal.samples, [signal.idle_volts]])
        slew = float(np.max(np.abs(np.diff(joined)))) / signal.period
        return joined, slew, np.concatenate([[0.0], np.ones(len(signal.samples)), [0.0]])
    if isinstance(signal, Polyline):
        widths = np.diff(signal.times)
        rises = np.diff(signal.volts)[widths > 0] / widths[widths > 0]
        weights = np.concatenate([widths, [0.0]])
        return signal.volts, float(np.max(np.abs(rises), initial=0.0)), weights
    times = start + seconds * (np.arange(_SAMPLES_OF_A_FUNCTION) + 0.5) / _SAMPLES_OF_A_FUNCTION
    volts = signal.at(times)
    slew = float(np.max(np.abs(np.diff(volts)))) / (seconds / _SAMPLES_OF_A_FUNCTION)
    return volts, slew, np.ones(len(volts))
