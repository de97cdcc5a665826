"""The cavity as a linear medium: modes, loss, and the Green's function between points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic import mode_cache
from hwloop.simulators.acoustic.eigenmodes import Eigenmodes
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
        return cls(mode_cache.modes(shape, n_modes + 1), speed, loss)

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
