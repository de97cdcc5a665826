"""The nonlinear meta-scatterers: points that resist the motion of the sound, up to a bounded force."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array


@dataclass(frozen=True)
class Resistor:
    """A scatterer's force -strength F(v) on the field, v = p_t there in units of its saturation rate.

    F(v) = (tanh(v + b) - tanh b) / (1 - tanh(b)^2) = tanh(v) / (1 + tanh(b) tanh(v)): F(v) ~ v at small v, bounded
    at large v, and asymmetric for b > 0, so that even harmonics are there. F rises and F(0) = 0: F(v) v >= 0, the
    scatterer takes energy and never gives any. Because F rises and the cavity is passive, a tone drive has exactly
    one periodic answer.

    Parameters
    ----------
    asymmetry
        b, 0 to 2.
    """

    asymmetry: float

    def __post_init__(self) -> None:
        real_number("asymmetry", self.asymmetry, 0.0, 2.0)

    @cached_property
    def offset(self) -> float:
        """The value of tanh b."""
        return float(np.tanh(self.asymmetry))

    @cached_property
    def steepest(self) -> float:
        """Largest slope of F; the smallest is 0."""
        return 1 / (1 - self.offset**2)

    def force(self, rate: Float64Array) -> Float64Array:
        """F(v)."""
        bounded = np.tanh(rate)
        return np.asarray(bounded / (1 + self.offset * bounded))

    def slope(self, rate: Float64Array) -> Float64Array:
        """dF/dv."""
        bounded = np.tanh(rate)
        return np.asarray((1 - bounded**2) / (1 + self.offset * bounded) ** 2)
