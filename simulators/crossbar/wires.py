"""Currents through a crossbar whose wires have resistance: Kirchhoff's laws at every crossing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from hwloop.device.spec import Float64Array


@dataclass(frozen=True)
class Wires:
    """The wires of a crossbar: rows driven at their left ends, columns held at 0 V at their lower ends.

    Attributes
    ----------
    ohms
        Resistance of a wire between two crossings, and from the first or to the last of them; at least 0.
    """

    ohms: float

    def transfer(self, conductances: Float64Array) -> Float64Array:
        """Current out of each column for a volt on each row: shapes (rows, columns), in siemens."""
        if self.ohms == 0:
            return conductances
        driven, _ = self._voltages(conductances)
        rows, columns = conductances.shape
        # Into the terminal of a column from its last crossing.
        return np.asarray(driven.reshape(rows, 2, rows, columns)[:, 1, -1] / self.ohms)

    def pull_back(self, conductances: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative by the conductances, from that by the transfer; shapes (rows, columns).

        By reciprocity (Tellegen's theorem): the current out of column j for a volt on row i changes by the voltage
        over a cell then, times that over it for a volt on column j.
        """
        if self.ohms == 0:
            return gradients
        rows, columns = conductances.shape
        over = [
            voltages.reshape(-1, 2, rows, columns)[:, 0] - voltages.reshape(-1, 2, rows, columns)[:, 1]
            for voltages in self._voltages(conductances)
        ]
        return np.asarray(-np.einsum("irc,ij,jrc->rc", over[0], gradients, over[1], optimize=True))

    def _voltages(self, conductances: Float64Array) -> tuple[Float64Array, Float64Array]:
        """At all crossings, for a volt at the end of each row, and at the end of each column.

        Shapes (rows, 2 cells) and (columns, 2 cells): the row wire at every crossing, then the column wire.
        """
        rows, columns = conductances.shape
        crossings = np.arange(rows * columns).reshape(rows, columns)
        above, below = crossings, crossings + crossings.size
        wire = 1 / self.ohms
        links = [(above, below, conductances)]
        for a, b in ((above[:, :-1], above[:, 1:]), (below[:-1], below[1:])):
            links.append((a, b, np.full(a.shape, wire)))
        one, two, value = (np.concatenate([each[k].ravel() for each in links]) for k in range(3))
        ends = np.concatenate([above[:, 0], below[-1]])
        places = np.concatenate([one, two, one, two, ends]), np.concatenate([one, two, two, one, ends])
        values = np.concatenate([value, value, -value, -value, np.full(len(ends), wire)])
        laws = splu(csc_matrix((values, places), shape=(2 * crossings.size,) * 2))
        fed = np.zeros((2 * crossings.size, rows + columns))
        fed[ends, np.arange(rows + columns)] = wire
        found = laws.solve(fed).T
        return found[:rows], found[rows:]
