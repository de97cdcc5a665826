"""The burst on the wire: when a row's levels are held, and when its answer is there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array

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
