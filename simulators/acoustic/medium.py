"""The cavity as a linear medium, with loss and a Green's function, and the nonlinear scatterers in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.eigenmodes import Eigenmodes, modes
from hwloop.simulators.acoustic.shapes import Shape

Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Medium:
    """p_tt + 2 gamma p_t - c^2 lap p = sources, by modes.

    The uniform mode is left out: a static pressure leaks out of every real cavity.

    Parameters
    ----------
    modes
        From the uniform one up.
    speed
        c in m/s.
    loss
        gamma in 1/s, at least 0: amplitudes fall as exp(-gamma t), by 60 dB in 6.91 / gamma.
    """

    modes: Eigenmodes
    speed: float
    loss: float

    def __post_init__(self) -> None:
        real_number("speed", self.speed, 1e-3)
        real_number("loss", self.loss, 0.0)

    @classmethod
    def filled(cls, shape: Shape, n_modes: int, speed: float, loss: float) -> Medium:
        """With ``n_modes`` modes beside the uniform one, from the cache on disk."""
        return cls(modes(shape, n_modes + 1), speed, loss)

    @property
    def shape(self) -> Shape:
        """That it fills."""
        return self.modes.shape

    @property
    def angular_frequencies(self) -> Float64Array:
        """Of the modes without loss, rad/s, shape (n_modes,)."""
        return np.asarray(self.speed * self.modes.wavenumbers[1:])

    def shapes_at(self, positions: Float64Array) -> Float64Array:
        """Values of psi of every mode, shape (points, n_modes), in 1/m."""
        return self.modes.at(positions)[:, 1:]

    def green(self, at: Float64Array, sources: Float64Array, angular: Float64Array) -> Complex:
        """Pressure at points for unit sources, at angular frequencies: (frequencies, points, sources).

        G = sum over modes of psi(r) psi(r') / (w_n^2 - w^2 + 2 i gamma w), fields as exp(+i w t).
        """
        w = np.asarray(angular)[:, np.newaxis]
        resonance = 1 / (self.angular_frequencies**2 - w**2 + 2j * self.loss * w)
        return np.asarray(
            np.einsum("pn,fn,sn->fps", self.shapes_at(at), resonance, self.shapes_at(sources), optimize=True)
        )


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
