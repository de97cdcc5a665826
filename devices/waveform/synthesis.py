"""A burst: when its marker, guards and levels come, and its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.waveform.limits import WaveformLimits

WINDOW_START, WINDOW_END = 0.25, 0.75  # part of a slot that is averaged: what settles is left out


@dataclass(frozen=True)
class BurstTiming:
    """A burst is a marker, as long a pause, then rows back to back; each answer follows one row period later.

    In row period k, after a guard at 0 V, the levels of row k are held one after another, ``input_slot_seconds``
    each. On the output line the same marker appears, delayed by the latency of the rig, and the responses to row k
    in row period k + 1, after the guard, ``output_slot_seconds`` each.

    Parameters
    ----------
    n_inputs, n_outputs
        Channels of a row and of its response.
    input_slot_seconds, output_slot_seconds
        How long one level is held.
    guard_seconds
        At 0 V before each row, for what must settle or fade.
    marker_seconds, marker_volts
        Length and height of the marker.
    """

    n_inputs: int
    n_outputs: int
    input_slot_seconds: float
    output_slot_seconds: float
    guard_seconds: float
    marker_seconds: float
    marker_volts: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("n_inputs", "n_outputs"):
                whole_number(field.name, value, low=1)
            elif field.name != "marker_volts":
                real_number(field.name, value, low=0.0 if field.name == "guard_seconds" else 1e-12)
        if real_number("marker_volts", self.marker_volts) == 0:
            raise ValueError("marker_volts must differ from 0, or no marker can be found")

    @property
    def row_seconds(self) -> float:
        """The period of rows on both lines."""
        inputs = self.n_inputs * self.input_slot_seconds
        return self.guard_seconds + max(inputs, self.n_outputs * self.output_slot_seconds)

    @property
    def first_row_seconds(self) -> float:
        """From the marker's rising edge to the first row period."""
        return 2 * self.marker_seconds

    def stimulus_seconds(self, rows: int) -> float:
        """How long a burst of so many rows plays."""
        return self.first_row_seconds + rows * self.row_seconds

    def response_seconds(self, rows: int) -> float:
        """From the rising edge of the marker on the output line to the end of the last response."""
        return self.first_row_seconds + (rows + 1) * self.row_seconds

    def input_edges(self, rows: int) -> Float64Array:
        """Start of each held level and the end of the last of a row, shape (rows, n_inputs + 1), in seconds."""
        slots = self.guard_seconds + np.arange(self.n_inputs + 1) * self.input_slot_seconds
        return self._row_starts(rows)[:, None] + slots

    def output_windows(self, rows: int) -> tuple[Float64Array, Float64Array]:
        """Start and end of the averaged part of each output slot, shapes (rows, n_outputs), in seconds.

        Counted from the rising edge of the marker on the output line.
        """
        slots = self.guard_seconds + np.arange(self.n_outputs) * self.output_slot_seconds
        starts = self._row_starts(rows)[:, None] + self.row_seconds + slots
        return starts + WINDOW_START * self.output_slot_seconds, starts + WINDOW_END * self.output_slot_seconds

    def guard_windows(self, rows: int) -> tuple[Float64Array, Float64Array]:
        """The same of the pause after the marker and of the guards before the responses, shapes (rows + 1,)."""
        starts = np.append(self.marker_seconds, self._row_starts(rows) + self.row_seconds)
        lengths = np.append(self.marker_seconds, np.full(rows, self.guard_seconds))
        return starts + WINDOW_START * lengths, starts + WINDOW_END * lengths

    def _row_starts(self, rows: int) -> Float64Array:
        return np.asarray(self.first_row_seconds + np.arange(rows) * self.row_seconds, dtype=np.float64)


FULL_SCALE_CODE = 32767
LEAD_POINTS = 1  # at 0 V: between bursts a generator rests at the level of the first point


@dataclass(frozen=True)
class BurstSynthesis:
    """Builds waveforms that keep the limits by construction; :meth:`WaveformLimits.check` looks again.

    Levels are rounded towards 0 to whole codes, so that no rounding ever leads beyond a limit. Where the slew is
    limited each level is reached in a straight ramp, which must end before the fixture begins to average.

    Parameters
    ----------
    timing
        Of the burst.
    limits
        At the output.
    points_per_slot
        Points of an input slot, at least 4.
    """

    timing: BurstTiming
    limits: WaveformLimits
    points_per_slot: int

    def __post_init__(self) -> None:
        if not self.limits.low_volts <= self.timing.marker_volts <= self.limits.high_volts:
            raise ValueError(
                f"marker_volts={self.timing.marker_volts:g} lies outside the limits of the output, "
                f"{self.limits.low_volts:g} to {self.limits.high_volts:g} V"
            )
        swing = self.limits.high_volts - self.limits.low_volts
        room = WINDOW_START * min(self.timing.input_slot_seconds, self.timing.marker_seconds) * self.rate_hertz
        # The first point of a ramp is there at once; an edge lies up to half a point beside its time.
        if self.ramp_points(swing / self.volts_a_code) - 1 > room - 0.5:
            needed = swing / self.limits.slew_volts_per_second
            raise ValueError(
                f"at {self.limits.slew_volts_per_second:g} V/s limit to limit takes {needed:.3g} s, "
                "too long for a quarter of input_slot_seconds or marker_seconds; make them at least "
                f"{8 * needed:.3g} s with as many points_per_input_slot as that takes, or narrow the limits"
            )

    @property
    def rate_hertz(self) -> float:
        """Sample rate of the generator."""
        return self.points_per_slot / self.timing.input_slot_seconds

    @property
    def volts_a_code(self) -> float:
        """One step of the numbers that are sent."""
        return self.limits.amplitude_volts / FULL_SCALE_CODE

    @property
    def step_codes(self) -> int:
        """Largest change from point to point."""
        step = self.limits.slew_volts_per_second / self.rate_hertz / self.volts_a_code
        return 2 * FULL_SCALE_CODE if step >= 2 * FULL_SCALE_CODE else int(step)

    def ramp_points(self, codes: float) -> float:
        """Points that a change of so many codes takes; infinitely many where the slew is less than one code."""
        return math.ceil(codes / self.step_codes) if self.step_codes else math.inf

    def points(self, rows: int) -> int:
        """Length of the waveform of so many rows; the last of them rest at 0 V."""
        ramp = int(self.ramp_points(FULL_SCALE_CODE))
        return LEAD_POINTS + round(self.timing.stimulus_seconds(rows) * self.rate_hertz) + ramp + 1

    @property
    def lead_seconds(self) -> float:
        """From the trigger to the rising edge of the marker."""
        return LEAD_POINTS / self.rate_hertz

    @property
    def row_points(self) -> int:
        """Length of one row period."""
        return max(1, round(self.timing.row_seconds * self.rate_hertz))

    def waveform(self, volts: Float64Array) -> NDArray[np.int16]:
        """The burst for rows of shape (rows, n_inputs), in volts within the limits; shape (points,).

        Raises
        ------
        LimitError
            By :meth:`WaveformLimits.check`.
        """
        rows = len(volts)
        edges = np.rint(self.timing.input_edges(rows) * self.rate_hertz).astype(np.int64)
        marker_end = round(self.timing.marker_seconds * self.rate_hertz)
        starts = np.concatenate([[-LEAD_POINTS, 0, marker_end], edges.ravel()]) + LEAD_POINTS
        held = np.concatenate([volts, np.zeros((rows, 1))], axis=1).ravel()
        levels = np.concatenate([[0.0, self.timing.marker_volts, 0.0], held])
        codes = np.trunc(levels / self.volts_a_code * (1 + 1e-12)).astype(np.int32)
        lengths = np.diff(starts, append=self.points(rows))
        played = lengths > 0
        wave = _held(codes[played], lengths[played], self.step_codes).astype(np.int16)
        self.limits.check(wave, FULL_SCALE_CODE, self.rate_hertz, self.row_points)
        return wave


def _held(codes: NDArray[np.int32], lengths: NDArray[np.int64], step: int) -> NDArray[np.int32]:
    """Each code held for its length; it is reached from the one before by at most ``step`` a point."""
    wave = np.repeat(codes, lengths)
    changes = np.diff(codes, prepend=np.int32(0))
    if np.abs(changes).max() <= step:
        return wave
    starts = np.cumsum(lengths) - lengths
    position = np.arange(len(wave)) - np.repeat(starts, lengths) + 1
    change = np.repeat(changes, lengths)
    reached = np.clip(change, -step * position, step * position)
    return np.asarray(wave - change + reached, dtype=np.int32)
