"""What a volt on either wire is to the physical system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array

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
