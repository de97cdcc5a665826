"""What the waveform device may do and say: volts and the system's units, and limits of the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.errors import LimitError

Limit = float | Sequence[float]


@dataclass(frozen=True)
class Units:
    """``stimulus = volts * input_units_per_volt + input_offset`` and ``volts = response * output_volts_per_unit``.

    Parameters
    ----------
    input_units_per_volt, output_volts_per_unit
        Not 0; negative for a wire that inverts.
    input_offset
        The stimulus at 0 V.
    """

    input_units_per_volt: float = 1.0
    input_offset: float = 0.0
    output_volts_per_unit: float = 1.0

    def __post_init__(self) -> None:
        real_number("input_offset", self.input_offset)
        for name in ("input_units_per_volt", "output_volts_per_unit"):
            if real_number(name, getattr(self, name)) == 0:
                raise ValueError(f"{name} must differ from 0")

    def volts(self, stimuli: Float64Array) -> Float64Array:
        """At the generator, the shape of ``stimuli``."""
        return (stimuli - self.input_offset) / self.input_units_per_volt

    def responses(self, volts: Float64Array) -> Float64Array:
        """From volts at the oscilloscope, the shape of ``volts``."""
        return volts / self.output_volts_per_unit

    def driven_volts(self, low: Limit, high: Limit) -> tuple[float, float]:
        """Lowest and highest voltage at the generator for stimuli between limits, one each or one a channel."""
        volts = self.volts(np.concatenate([np.ravel(low), np.ravel(high)]).astype(np.float64))
        return float(volts.min()), float(volts.max())

    def recorded_volts(self, low: float, high: float) -> tuple[float, float]:
        """Lowest and highest voltage at the oscilloscope for responses between two values."""
        volts = sorted(
            real_number("output_low, output_high", end) * self.output_volts_per_unit for end in (low, high)
        )
        return volts[0], volts[1]


def as_limit(limit: Limit) -> float | Float64Array:
    """A limit as :class:`hwloop.DeviceSpec` takes it."""
    return float(limit) if isinstance(limit, int | float) else np.asarray(limit, dtype=np.float64)


@dataclass(frozen=True)
class WaveformLimits:
    """Voltage, slew and power at the generator's output.

    Parameters
    ----------
    low_volts, high_volts
        Inclusive; 0 V, where the output rests, lies between them.
    slew_volts_per_second
        Largest change from one point to the next, times the sample rate; also into the burst and out of it.
    rms_volts
        Largest root mean square over any stretch as long as one row.
    duty
        Largest part of the time in which the output may be away from 0 V, above 0 to 1; counted over a burst and
        the pause after it. Kept by waiting, never refused.
    """

    low_volts: float
    high_volts: float
    slew_volts_per_second: float = math.inf
    rms_volts: float = math.inf
    duty: float = 1.0

    def __post_init__(self) -> None:
        real_number("limit_low_volts", self.low_volts, high=0.0)
        real_number("limit_high_volts", self.high_volts, low=0.0)
        if self.low_volts == self.high_volts:
            raise ValueError("limit_low_volts and limit_high_volts leave nothing to play")
        for name in ("slew_volts_per_second", "rms_volts"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")
        if not 0 < self.duty <= 1:
            raise ValueError(f"duty_limit must lie above 0 and be at most 1, not {self.duty!r}")

    @property
    def amplitude_volts(self) -> float:
        """The larger of the two voltages: the full scale of the generator."""
        return max(-self.low_volts, self.high_volts)

    def check(self, codes: NDArray[np.int16], full_scale_code: int, rate_hertz: float, row_points: int) -> None:
        """Refuse a waveform that goes beyond a limit.

        Parameters
        ----------
        codes
            What is to be sent, shape (points,); ``full_scale_code`` plays as :attr:`amplitude_volts`.
        full_scale_code, rate_hertz
            Of the generator.
        row_points
            Length of a row, over which the root mean square is taken.

        Raises
        ------
        LimitError
            The message names the point, the value and the limit.
        """
        volts_a_code = self.amplitude_volts / full_scale_code
        slack = 1e-9 * self.amplitude_volts  # of floating-point arithmetic, not of the codes
        for extreme, limit, sign in ((codes.max(), self.high_volts, 1), (codes.min(), self.low_volts, -1)):
            if sign * float(extreme) * volts_a_code > sign * limit + slack:
                at = int(np.argmax(codes == extreme))
                _refuse(at, f"{float(extreme) * volts_a_code:.6g} V lies beyond {limit:g} V")
        steps = np.abs(np.diff(codes.astype(np.int32), prepend=0, append=0))
        slew = float(steps.max()) * volts_a_code * rate_hertz
        if slew > self.slew_volts_per_second * (1 + 1e-9):
            limit = self.slew_volts_per_second
            _refuse(int(np.argmax(steps)), f"a slew of {slew:.6g} V/s lies beyond {limit:g} V/s")
        if math.isfinite(self.rms_volts):
            self._check_power(codes, volts_a_code, min(row_points, len(codes)))

    def seconds_until_next(self, codes: NDArray[np.int16], rate_hertz: float) -> float:
        """From the start of this waveform to the earliest start of another, by the duty."""
        active = np.count_nonzero(codes) / rate_hertz
        return max(len(codes) / rate_hertz, active / self.duty)

    def _check_power(self, codes: NDArray[np.int16], volts_a_code: float, points: int) -> None:
        energy = np.concatenate([[0], np.cumsum(codes.astype(np.int64) ** 2)])
        means = (energy[points:] - energy[:-points]) / points
        worst = int(np.argmax(means))
        rms = math.sqrt(float(means[worst])) * volts_a_code
        if rms > self.rms_volts * (1 + 1e-9):
            _refuse(worst, f"{rms:.6g} V root mean square over {points} points lies beyond {self.rms_volts:g} V")


def _refuse(point: int, what: str) -> None:
    raise LimitError(f"the waveform at point {point}: {what}; nothing was sent. Mend the stimuli or the settings")
