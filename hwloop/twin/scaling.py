"""Standardising: every channel to mean 0 and standard deviation 1, by figures fitted once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array


@dataclass(frozen=True, eq=False)
class Scaling:
    """The affine map ``(values - centre) / spread``, channel by channel; both of shape (n_channels,)."""

    centre: Float64Array
    spread: Float64Array

    @classmethod
    def fitted_to(cls, values: Float64Array) -> Scaling:
        """Mean and standard deviation of each column; a column that never changes is only centred."""
        spread = values.std(axis=0)
        constant = np.ptp(values, axis=0) == 0
        return cls(centre=values.mean(axis=0), spread=np.where(constant, 1.0, spread))

    def forward(self, values: Float64Array) -> Float64Array:
        """Standardise values of shape (rows, n_channels)."""
        return (values - self.centre) / self.spread

    def inverse(self, standardised: Float64Array) -> Float64Array:
        """Undo :meth:`forward`."""
        return standardised * self.spread + self.centre
