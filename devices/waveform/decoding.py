"""From the oscilloscope's record to responses: find the marker, then average the middle of every slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.devices.waveform.synthesis import BurstTiming
from hwloop.errors import BadReading

Windows = tuple[Float64Array, Float64Array]  # starts and ends
LEAST_CORRELATION = 0.8  # of the marker with its ideal shape: 0.8 is reached at a noise of 3/8 of its height


@dataclass(frozen=True)
class ScopeRecord:
    """What an oscilloscope recorded.

    Parameters
    ----------
    codes
        Whole numbers, shape (points,).
    seconds_per_point, start_seconds
        Spacing, and time of the first point after the trigger.
    volts_per_code, zero_code
        ``volts = (code - zero_code) * volts_per_code``.
    lowest_code, highest_code
        At or beyond these the input was out of range.
    """

    codes: NDArray[Any]
    seconds_per_point: float
    start_seconds: float
    volts_per_code: float
    zero_code: float
    lowest_code: int
    highest_code: int


@dataclass(frozen=True)
class Decoded:
    """Responses in volts, shape (rows, n_outputs), and the latency that was measured."""

    volts: Float64Array
    latency_seconds: float


class Decoder:
    """Reads the responses to a burst out of a record.

    Parameters
    ----------
    timing
        Of the burst.
    max_latency_seconds
        The marker is looked for up to here.
    device
        Name, for messages.
    """

    def __init__(self, timing: BurstTiming, max_latency_seconds: float, device: str) -> None:
        self.timing = timing
        self.max_latency_seconds = max_latency_seconds
        self.device = device
        self._remembered: tuple[tuple[int, float], Windows, Windows] | None = None

    def decode(self, record: ScopeRecord, rows: int) -> Decoded:
        """The responses to ``rows`` rows.

        Volts are counted from the level of the guards and of the pause after the marker, which the fixture holds
        at 0 V: so the offset of the oscilloscope drops out.

        Raises
        ------
        BadReading
            The record is too short, out of range, or holds no marker.
        """
        marker = self.marker_position(record)
        windows, quiet_windows = self._windows(rows, record.seconds_per_point)
        starts, stops = _inside(windows, marker)
        first, last = int(marker), int(stops.max())
        if last > len(record.codes):
            self._refuse(f"the record ends after {len(record.codes)} points, {last} are needed")
        self._check_range(record, record.codes[first:last])
        sums = _running_sums(record.codes[:last])
        counts = stops - starts
        if counts.min() < 1:
            self._refuse(f"{record.seconds_per_point:g} s a point leaves some slots without a point")
        levels = (sums[stops] - sums[starts]) / counts
        quiet_starts, quiet_stops = _inside(quiet_windows, marker)
        quiet_counts = np.maximum(quiet_stops - quiet_starts, 0)
        totals = np.where(quiet_counts, sums[quiet_stops] - sums[quiet_starts], 0)
        levels -= totals.sum() / quiet_counts.sum()
        levels *= record.volts_per_code
        return Decoded(levels, float(record.start_seconds + marker * record.seconds_per_point))

    def marker_position(self, record: ScopeRecord) -> float:
        """Where the marker's rising edge lies, in points from the start of the record.

        The first place where the record correlates with a marker and the pause behind it; then, below one point,
        the centre of gravity of the pulse.

        Raises
        ------
        BadReading
            No such place.
        """
        high = round(self.timing.marker_seconds / record.seconds_per_point)
        latest = (self.max_latency_seconds - record.start_seconds) / record.seconds_per_point
        stop = min(len(record.codes), int(latest) + 2 * high + 2)
        if high < 4 or stop < 2 * high:
            self._refuse(f"the record has only {high} points a marker, 4 are needed")
        volts = (record.codes[:stop].astype(np.float64) - record.zero_code) * record.volts_per_code
        heights, correlations = _matched(volts, high)
        fits = (correlations > LEAST_CORRELATION) & (np.abs(heights / self.timing.marker_volts - 1) < 0.5)
        if not fits.any():
            self._refuse(
                f"no marker of {self.timing.marker_volts:g} V and {self.timing.marker_seconds:g} s was found "
                f"in the first {stop} points"
            )
        first = int(np.argmax(fits))
        best = first + int(np.argmax(correlations[first : first + high]))
        return _centre_of_gravity(volts, best, high) - self.timing.marker_seconds / record.seconds_per_point / 2

    def _windows(self, rows: int, seconds_per_point: float) -> tuple[Windows, Windows]:
        """Windows of responses and of guards in points from the marker; those used last are remembered."""
        if self._remembered is None or self._remembered[0] != (rows, seconds_per_point):
            both = (self.timing.output_windows(rows), self.timing.guard_windows(rows))
            windows, quiet = ((start / seconds_per_point, end / seconds_per_point) for start, end in both)
            self._remembered = ((rows, seconds_per_point), windows, quiet)
        return self._remembered[1:]

    def _check_range(self, record: ScopeRecord, codes: NDArray[Any]) -> None:
        if codes.min() <= record.lowest_code or codes.max() >= record.highest_code:
            self._refuse("the output line left the range of the oscilloscope; widen output_low and output_high")

    def _refuse(self, why: str) -> None:
        raise BadReading(f"{self.device}: {why}; check wiring, trigger and settings, then measure the rows again")


def _inside(windows: Windows, marker: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first point inside each window, and the first after it."""
    starts, ends = (edges + marker for edges in windows)
    return np.ceil(starts, out=starts).astype(np.intp), np.floor(ends, out=ends).astype(np.intp) + 1


def _running_sums(codes: NDArray[Any]) -> NDArray[Any]:
    """Exact sums of the first 0, 1, ... codes, in the narrowest whole numbers that hold them."""
    narrow = codes.dtype.itemsize == 1 and len(codes) < 2**23
    sums = np.zeros(len(codes) + 1, dtype=np.int32 if narrow else np.int64)
    np.cumsum(codes, dtype=sums.dtype, out=sums[1:])
    return sums


def _matched(volts: Float64Array, high: int) -> tuple[Float64Array, Float64Array]:
    """Height of the step down after each ``high`` points, and correlation with such a step, by place."""
    sums = np.concatenate([[0.0], np.cumsum(volts)])
    squares = np.concatenate([[0.0], np.cumsum(volts**2)])
    places = len(volts) - 2 * high + 1
    up = sums[high : high + places] - sums[:places]
    down = sums[2 * high : 2 * high + places] - sums[high : high + places]
    power = squares[2 * high : 2 * high + places] - squares[:places]
    variance = np.maximum(power - (up + down) ** 2 / (2 * high), 1e-30)
    sign = np.sign(up - down)
    return (up - down) / high, sign * (up - down) / np.sqrt(2 * high * variance)


def _centre_of_gravity(volts: Float64Array, edge: int, high: int) -> float:
    """Of the pulse near ``edge``, above the level of the pause behind it, in points."""
    base = float(np.median(volts[edge + high + high // 4 : edge + 2 * high - high // 4]))
    start, stop = max(0, edge - high // 2), min(len(volts), edge + high + high // 2)
    weights = volts[start:stop] - base
    return float((weights * np.arange(start, stop)).sum() / weights.sum())
