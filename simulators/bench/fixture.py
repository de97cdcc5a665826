"""The fixture between the instruments: turns a burst into rows, measures the substrate, plays its answers.

One line carries all inputs of the substrate one after the other, and one all its outputs (time-multiplexed).
A burst is a marker, then rows back to back::

    marker   0 V      guard  input 0  input 1 …   0 V      guard  input 0 …
    |------||--------||-----|-------|-------|------------||-----|-------
                      |<------ row_seconds -------------->|

The fixture waits for the marker's rising edge, averages the middle half of every input slot, and measures the
substrate for all whole rows. Its own line carries, ``latency_seconds`` later, the same marker, and the response
to row k during row period k + 1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from hwloop.device import Device
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.signals import Constant, Polyline, Voltage, steps

_WHOLE_ROWS_SLACK = 1e-6


@dataclass(frozen=True)
class FixtureWiring:
    """Times and scales of the fixture's two lines; driver and bench must agree on them.

    Parameters
    ----------
    input_slot_seconds, output_slot_seconds
        How long one input, and one output, lasts on its line.
    guard_seconds
        0 V at the begin of every row.
    marker_seconds, marker_volts
        The start marker; after it the line rests for as long.
    input_units_per_volt, input_offset
        stimulus = volts * input_units_per_volt + input_offset.
    output_volts_per_unit
        volts = response * output_volts_per_unit.
    latency_seconds
        From the input line to the output line. The driver has to measure it.
    rise_seconds
        Of the edges on the output line.
    """

    input_slot_seconds: float
    output_slot_seconds: float
    guard_seconds: float
    marker_seconds: float
    marker_volts: float = 1.0
    input_units_per_volt: float = 1.0
    input_offset: float = 0.0
    output_volts_per_unit: float = 1.0
    latency_seconds: float = 0.0
    rise_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("input_slot_seconds", "output_slot_seconds", "marker_seconds", "marker_volts"):
            real_number(name, getattr(self, name), low=1e-12)
        for name in ("guard_seconds", "latency_seconds", "rise_seconds"):
            real_number(name, getattr(self, name), low=0.0)
        for name in ("input_units_per_volt", "input_offset", "output_volts_per_unit"):
            real_number(name, getattr(self, name))
        if self.input_units_per_volt == 0 or self.output_volts_per_unit == 0:
            raise ValueError("input_units_per_volt and output_volts_per_unit must not be 0: nothing would pass")

    def row_seconds(self, n_inputs: int, n_outputs: int) -> float:
        """Length of a row on the wire."""
        slots = max(n_inputs * self.input_slot_seconds, n_outputs * self.output_slot_seconds)
        return self.guard_seconds + slots

    def as_dict(self) -> dict[str, float]:
        """All parameters by name."""
        return asdict(self)

    @classmethod
    def suited_to(cls, device: Device, **given: float) -> FixtureWiring:
        """A wiring that fits a substrate: its input limits lie at -1 V and 1 V, its lines are equally busy.

        Parameters
        ----------
        device
            The substrate.
        given
            Parameters that shall have other values.

        Raises
        ------
        ValueError
            A parameter that does not exist, or a value that makes no sense.
        """
        spec = device.spec
        low, high = float(np.min(spec.input_low)), float(np.max(spec.input_high))
        output_slot = given.get("output_slot_seconds", 4e-6)
        input_slot = given.get("input_slot_seconds", output_slot * max(1.0, spec.n_outputs / spec.n_inputs))
        shortest = min(input_slot, output_slot)
        values: dict[str, Any] = {
            "input_slot_seconds": input_slot,
            "output_slot_seconds": output_slot,
            "guard_seconds": 4 * shortest,
            "marker_seconds": 16 * shortest,
            "input_units_per_volt": 0.5 * (high - low),
            "input_offset": 0.5 * (high + low),
            "latency_seconds": 2.7 * shortest,
            "rise_seconds": 0.05 * output_slot,
        }
        known = {field.name for field in fields(cls)}
        for name in given:
            if name not in known:
                raise ValueError(f"the fixture has no parameter {name!r}; it has {', '.join(sorted(known))}")
        return cls(**{**values, **given})


class Fixture:
    """Sample-and-hold front end, substrate, and the line that carries its answers.

    Parameters
    ----------
    device
        The substrate, opened.
    wiring
        Times and scales.
    """

    def __init__(self, device: Device, wiring: FixtureWiring) -> None:
        self.device = device
        self.wiring = wiring
        self.output: Voltage = Constant(0.0)
        self.rows_measured = 0
        self.clipped_values = 0  # held levels that lay outside the substrate's limits

    @property
    def row_seconds(self) -> float:
        """Length of a row on the wire."""
        return self.wiring.row_seconds(self.device.spec.n_inputs, self.device.spec.n_outputs)

    def receive(self, line: Voltage, start: float, stop: float) -> None:
        """Answer what lay on the input line between two bench times."""
        marker = line.first_rise(0.5 * self.wiring.marker_volts, start, stop)
        if marker is None:
            return
        first = marker + 2 * self.wiring.marker_seconds
        rows = math.floor((stop - first) / self.row_seconds + _WHOLE_ROWS_SLACK)
        if rows < 1:
            return
        volts = self.held_levels(line, first, rows)
        self.output = self.answer(marker, self.device.measure(self.stimuli(volts)))
        self.rows_measured += rows

    def held_levels(self, line: Voltage, first: float, rows: int) -> Float64Array:
        """Averages of the middle halves of all input slots, shape (rows, n_inputs)."""
        slot = self.wiring.input_slot_seconds
        periods = first + np.arange(rows) * self.row_seconds + self.wiring.guard_seconds
        slots = periods[:, None] + np.arange(self.device.spec.n_inputs) * slot
        return line.mean(slots + 0.25 * slot, slots + 0.75 * slot)

    def stimuli(self, volts: Float64Array) -> Float64Array:
        """Volts in the substrate's units, clipped to its limits as a protected input is."""
        stimuli = volts * self.wiring.input_units_per_volt + self.wiring.input_offset
        spec = self.device.spec
        allowed = np.clip(stimuli, spec.low, spec.high)
        # What the converters' rounding moves over the edge is nobody's fault.
        slack = 1e-3 * (spec.high - spec.low)
        self.clipped_values += int(np.count_nonzero(np.abs(stimuli - allowed) > slack))
        return allowed

    def answer(self, marker: float, responses: Float64Array) -> Polyline:
        """The output line: marker, a row period of rest, then the rows.

        Parameters
        ----------
        marker
            Bench time of the marker's edge on the input line.
        responses
            Shape (rows, n_outputs).
        """
        wiring, n_outputs = self.wiring, responses.shape[1]
        start = marker + wiring.latency_seconds
        periods = start + 2 * wiring.marker_seconds + np.arange(1, len(responses) + 1) * self.row_seconds
        slots = periods[:, None] + wiring.guard_seconds + np.arange(n_outputs + 1) * wiring.output_slot_seconds
        levels = np.concatenate([responses * wiring.output_volts_per_unit, np.zeros((len(responses), 1))], axis=1)
        edges = np.concatenate([[start, start + wiring.marker_seconds], slots.reshape(-1)])
        volts = np.concatenate([[wiring.marker_volts, 0.0], levels.reshape(-1)])
        return steps(edges, volts, wiring.rise_seconds)
