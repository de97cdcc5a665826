"""Waveforms of the generator: its functions over time, and arbitrary ones in its volatile memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import resample_poly

from hwloop.device.converters import Converter
from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.signals import HeldSamples, Polyline, Voltage

OVERSAMPLING = 4
Shape = Callable[[Float64Array], Float64Array]


def sine(cycles: Float64Array) -> Float64Array:
    """sin(2 pi x)."""
    return np.asarray(np.sin(2 * np.pi * cycles))


def square(duty: float) -> Shape:
    """+1 for the first ``duty`` of a cycle, then -1."""
    return lambda cycles: np.where(np.mod(cycles, 1.0) < duty, 1.0, -1.0)


def ramp(symmetry: float) -> Shape:
    """-1 to 1 over the first ``symmetry`` of a cycle, then back."""

    def shape(cycles: Float64Array) -> Float64Array:
        ends = [-1.0, 1.0, -1.0 if symmetry < 1 else 1.0]
        return np.asarray(np.interp(np.mod(cycles, 1.0), [0.0, max(symmetry, 1e-12), 1.0], ends))

    return shape


def pulse(width: float, rise: float, fall: float) -> Shape:
    """A trapezoid from -1 to 1; width at half height and edges as fractions of the cycle, 10 % to 90 %."""
    rise, fall = rise / 0.8, fall / 0.8

    def shape(cycles: Float64Array) -> Float64Array:
        points = np.maximum.accumulate([0.0, rise, width + 0.5 * (rise - fall), width + 0.5 * (rise + fall), 1.0])
        return np.asarray(np.interp(np.mod(cycles, 1.0), points, [-1.0, 1.0, 1.0, -1.0, -1.0]))

    return shape


def pseudorandom_bits(length: int) -> Float64Array:
    """A maximal-length sequence of -1 and 1 from a shift register; no longer than 2**16 - 1 of it."""
    taps = {3: 2, 4: 3, 5: 3, 6: 5, 7: 6, 9: 5, 10: 7, 11: 9, 15: 14}
    length = min((n for n in taps), key=lambda n: (abs(n - length), n))
    state, bits = 1, np.empty(2**length - 1)
    for index in range(len(bits)):
        bits[index] = 1.0 if state & 1 else -1.0
        state = state >> 1 | ((state ^ state >> (length - taps[length])) & 1) << (length - 1)
    return bits


def held_noise(seed: int) -> Shape:
    """White Gaussian noise, a new value every cycle, a quarter of full scale in standard deviation, clipped."""
    values = np.clip(np.random.default_rng(seed).standard_normal(1 << 16) / 4.0, -1.0, 1.0)
    return lambda cycles: values[np.mod(np.floor(cycles), len(values)).astype(np.intp)]


def sweep(start_hz: float, stop_hz: float, seconds: float, logarithmic: bool) -> Shape:
    """Seconds to cycles of a sine that sweeps from one frequency to another, again and again."""

    def cycles(times: Float64Array) -> Float64Array:
        count, within = np.divmod(times, seconds)
        if logarithmic and start_hz != stop_hz:
            rate = np.log(stop_hz / start_hz) / seconds
            phase, whole = start_hz * np.expm1(rate * within) / rate, start_hz * np.expm1(rate * seconds) / rate
        else:
            slope = (stop_hz - start_hz) / seconds
            phase = start_hz * within + 0.5 * slope * within**2
            whole = start_hz * seconds + 0.5 * slope * seconds**2
        return np.asarray(phase + count * whole)

    return cycles


@dataclass(frozen=True, eq=False)
class ArbPlayback:
    """How an arbitrary waveform leaves the generator.

    Parameters
    ----------
    values
        From -1 to 1.
    half_volts, offset_volts
        Volts of the value 1 above the offset, and the offset.
    sample_rate
        Samples a second.
    filtering
        ``OFF`` holds samples, ``STEP`` joins them by straight lines without overshoot, ``NORM`` is
        band-limited and overshoots.
    dac_bits
        Of the converter.
    """

    values: Float64Array
    half_volts: float
    offset_volts: float
    sample_rate: float
    filtering: str
    dac_bits: int

    def volts(self) -> Float64Array:
        """Volts of one cycle's samples, on the DAC's grid."""
        return Converter(self.dac_bits, -1.0, 1.0).convert(self.values) * self.half_volts + self.offset_volts

    def signal(self, start: float, cycles: float) -> Voltage:
        """The waveform over bench time; before and after a burst the output stays at the first point."""
        volts, period = self.volts(), 1.0 / self.sample_rate
        held = HeldSamples(start, period, volts, cycles, float(volts[0]))
        if self.filtering == "OFF":
            return held
        if not np.isfinite(cycles) or cycles * len(volts) > 4e6:
            return held  # too long to be filtered here: held samples are what is left of it
        whole = np.concatenate([[volts[0]], np.tile(volts, int(cycles)), [volts[0]]])
        times = np.asarray(start + np.arange(len(whole)) * period, np.float64)
        if self.filtering == "STEP":
            return Polyline(times, whole)
        first = float(volts[0])
        fine = resample_poly(whole - first, OVERSAMPLING, 1, padtype="constant") + first
        times = np.asarray(start + np.arange(len(fine)) * (period / OVERSAMPLING), np.float64)
        return Polyline(times, np.asarray(fine))


BUILT_IN = "INT:\\BUILTIN\\EXP_RISE.ARB"
MIN_POINTS, MAX_POINTS = 8, 1_000_000
FULL_SCALE_CODE = 32767


def exponential_rise(points: int = 400) -> Float64Array:
    """The built-in waveform: 1 - exp(-t/tau) over six time constants, from -1 to 1."""
    rise = 1.0 - np.exp(-np.linspace(0.0, 6.0, points))
    return np.asarray(2.0 * rise / rise[-1] - 1.0)


class ArbMemory:
    """Waveforms of one channel by name, values from -1 to 1.

    Parameters
    ----------
    max_points
        What all uploaded waveforms may hold together.
    """

    def __init__(self, max_points: int = MAX_POINTS) -> None:
        self.max_points = max_points
        self._waveforms: dict[str, Float64Array] = {}
        self.clear()

    def clear(self) -> None:
        """Forget every uploaded waveform; the built-in one becomes the selected one."""
        self._waveforms = {BUILT_IN: exponential_rise()}
        self.selected = BUILT_IN

    def names(self) -> list[str]:
        """Names of all waveforms."""
        return list(self._waveforms)

    def free_points(self) -> int:
        """Points that still fit."""
        return self.max_points - sum(len(w) for name, w in self._waveforms.items() if name != BUILT_IN)

    def add(self, name: str, values: Float64Array) -> None:
        """Keep a waveform.

        Raises
        ------
        ScpiError
            The name exists (+786), the waveform is too short or out of [-1, 1] (-222), or does not fit (+781).
        """
        if name.upper() in self._waveforms:
            raise ScpiError(786)
        if len(values) < MIN_POINTS:
            raise ScpiError(-222, "too few points")
        if not bool(np.all(np.abs(values) <= 1.0)):  # NaN compares false too
            raise ScpiError(-222)
        if len(values) > self.free_points():
            raise ScpiError(781)
        self._waveforms[name.upper()] = values

    def select(self, name: str) -> None:
        """Choose the waveform to play; raises +785 where there is none of that name."""
        self.named(name)
        self.selected = name.upper()

    def named(self, name: str) -> Float64Array:
        """A waveform by name; raises +785 where there is none."""
        if name.upper() not in self._waveforms:
            raise ScpiError(785)
        return self._waveforms[name.upper()]

    @property
    def values(self) -> Float64Array:
        """The selected waveform."""
        return self._waveforms[self.selected]


def from_codes(codes: Float64Array) -> Float64Array:
    """DAC codes from -32767 to 32767 as values from -1 to 1."""
    if not bool(np.all(np.abs(codes) <= FULL_SCALE_CODE)):
        raise ScpiError(-222)
    return np.asarray(codes / FULL_SCALE_CODE)
