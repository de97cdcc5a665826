"""A fibre that changes as it was recorded to: measured matrices that follow one another by row counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from hwloop.device import Device
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.optics import Matrix

Turn = tuple[Any, int]
"""A matrix, and for how many rows it stands."""


class FibreSeries(Device):
    """Optical fibres that take turns: drift in steps, by rows measured and not by the clock.

    The noise of the k-th row measured depends on the seed and k alone, as of one
    :class:`~hwloop.simulators.optical_fibre.OpticalFibre`, whatever its turn.

    Parameters
    ----------
    turns
        Matrices of one shape (n_outputs, n_inputs), each with the rows that it stands for, at least 1; the last
        one stays.
    optics
        The settings of every fibre but ``matrix``.

    Raises
    ------
    ValueError
        There is no turn, the shapes differ, or a setting is not allowed.
    """

    simulated = True

    reproducible = True
    rows_together = OpticalFibre.rows_together

    def __init__(self, turns: Sequence[Turn], **optics: Any) -> None:
        if not turns:
            raise ValueError("a series of fibres needs at least one matrix, and the rows that it stands for")
        counts = [whole_number("rows of a turn", rows, low=1) for _, rows in turns]
        self._turns, self._optics = list(turns), optics
        self._ends = np.cumsum(counts)
        self._fibres = [OpticalFibre(matrix=matrix, **optics) for matrix, _ in turns]
        shapes = {fibre.transmission_matrix.shape for fibre in self._fibres}
        if len(shapes) > 1:
            raise ValueError(f"the matrices of a series must have one shape, not {sorted(shapes)}")
        self.rows_measured = 0
        first = self._fibres[0].spec
        self.spec = replace(first, deterministic=first.deterministic and len(self._fibres) == 1)

    @property
    def transmission_matrix(self) -> Matrix:
        """The matrix that the next row meets, shape (n_outputs, n_inputs)."""
        return self._fibres[self._turn(self.rows_measured)].transmission_matrix

    def noiseless(self) -> Self:
        """A new series of the same turns, each without noise: the recorded drift is its physics, and stays."""
        return type(self)(self._turns, **{**self._optics, **OpticalFibre.quiet_settings})

    def continue_from(self, rows: int) -> None:
        """Turn and noise go on as after ``rows`` rows."""
        self.rows_measured = rows

    def identify(self) -> str:
        """The settings of the first fibre, and the turns; matrices are named by their SHA-256."""
        turns = hashlib.sha256()
        for fibre, end in zip(self._fibres, self._ends, strict=True):
            turns.update(fibre.transmission_matrix.tobytes() + str(end).encode())
        return f"series of {len(self._fibres)} (sha256:{turns.hexdigest()[:16]}) of {self._fibres[0].identify()}"

    def _turn(self, row: int) -> int:
        return min(int(np.searchsorted(self._ends, row, side="right")), len(self._fibres) - 1)

    def _measure(self, inputs: Float64Array) -> Float64Array:
        responses, done = [], 0
        while done < len(inputs):
            row = self.rows_measured + done
            turn = self._turn(row)
            is_last = turn == len(self._fibres) - 1
            end = len(inputs) if is_last else min(len(inputs), int(self._ends[turn]) - self.rows_measured)
            self._fibres[turn].continue_from(row)
            responses.append(self._fibres[turn].measure(inputs[done:end]))
            done = end
        self.rows_measured += len(inputs)
        return np.concatenate(responses)
