"""A device whose gain and offset move while it is measured: for testing what copes with drift."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream


class Course(ABC):
    """How far something that drifts has moved, in units of its rate a row."""

    @abstractmethod
    def position(self, first_row: int, rows: int) -> Float64Array:
        """Position when each of these rows is measured, shape (rows,); 0 at row 0."""


class Linear(Course):
    """Row k finds it at k: warming up, ageing."""

    def __init__(self, stream: NoiseStream) -> None:
        del stream  # nothing about it is random

    def position(self, first_row: int, rows: int) -> Float64Array:
        return np.arange(first_row, first_row + rows, dtype=np.float64)


class RandomWalk(Course):
    """Row k finds it at the sum of k standard normal steps: standard deviation sqrt(k)."""

    LEG = 1024  # steps drawn at once; a leg's own sum is always added in the same order, wherever rows begin

    def __init__(self, stream: NoiseStream) -> None:
        self._stream = stream
        self._milestones = [0.0]  # position at the start of each leg

    def position(self, first_row: int, rows: int) -> Float64Array:
        """Partial sums of the seeded steps; the first visit to a late row walks there once."""
        first_leg, last_leg = first_row // self.LEG, (first_row + rows - 1) // self.LEG
        while len(self._milestones) <= first_leg:
            self._walk(len(self._milestones) - 1)
        path = np.concatenate([self._walk(leg) for leg in range(first_leg, last_leg + 1)])
        return path[first_row - first_leg * self.LEG :][:rows]

    def _walk(self, leg: int) -> Float64Array:
        """Positions at the rows of a leg, shape (LEG,); notes where the next one starts."""
        steps = self._stream.at_row(leg).standard_normal(self.LEG)
        path = self._milestones[leg] + np.cumsum(np.concatenate([[0.0], steps]))
        if len(self._milestones) == leg + 1:
            self._milestones.append(float(path[-1]))
        return path[:-1]


COURSES: dict[str, type[Linear] | type[RandomWalk]] = {"linear": Linear, "random-walk": RandomWalk}


class Drifting(DeviceWrapper):
    """Answers (1 + gain_per_row g_k) y + offset_per_row o_k to the k-th row, y the response from inside.

    With ``kind="linear"`` g_k = o_k = k; with ``"random-walk"`` each is a random walk of its own, standard
    deviation sqrt(k). Gain and offset are common to all outputs. To continue an earlier run set
    ``rows_measured`` (on the device inside too, if it has one).

    Parameters
    ----------
    device
        The device inside.
    gain_per_row
        Relative change of the gain a row (a step's standard deviation for a random walk).
    offset_per_row
        Change of the offset a row, in the output's unit.
    kind
        ``"linear"`` or ``"random-walk"``.
    seed
        Draws the random walks.
    """

    identity_states_settings: ClassVar[bool] = True
    handling = RowHandling()

    def __init__(
        self,
        device: Device,
        gain_per_row: float = 0.0,
        offset_per_row: float = 0.0,
        kind: str = "linear",
        seed: int = 0,
    ) -> None:
        super().__init__(device)
        self.gain_per_row = real_number("gain_per_row", gain_per_row)
        self.offset_per_row = real_number("offset_per_row", offset_per_row)
        self.kind = one_of("kind", kind, COURSES)
        self.seed = whole_number("seed", seed, low=0)
        self.rows_measured = 0
        self._gain = COURSES[kind](NoiseStream(seed, "drifting/gain"))
        self._offset = COURSES[kind](NoiseStream(seed, "drifting/offset"))

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec; deterministic only where nothing drifts."""
        still = self.gain_per_row == 0 and self.offset_per_row == 0
        return replace(self.device.spec, deterministic=self.device.spec.deterministic and still)

    def identify(self) -> str:
        """The device inside and how it drifts."""
        return (
            f"Drifting({self.device.identify()}, gain_per_row={self.gain_per_row}, "
            f"offset_per_row={self.offset_per_row}, kind={self.kind}, seed={self.seed})"
        )

    def continue_from(self, rows: int) -> None:
        """Drift goes on as after ``rows`` rows, here and in the device inside."""
        self.rows_measured = rows
        self.device.continue_from(rows)

    def _measure(self, inputs: Float64Array) -> Float64Array:
        responses = self.device.measure(inputs)
        first, rows = self.rows_measured, len(inputs)
        self.rows_measured += rows
        gain = 1.0 + self.gain_per_row * self._gain.position(first, rows)
        offset = self.offset_per_row * self._offset.position(first, rows)
        return gain[:, np.newaxis] * responses + offset[:, np.newaxis]
