"""Fewer, quieter rows: every stimulus is measured several times and the responses are averaged."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array

CHUNK_ROWS = 4096  # measured rows held at once, to bound memory


class Averaged(DeviceWrapper):
    """Measures each row ``n`` times in a row and answers the mean, which divides white noise by sqrt(n).

    The repeats of a row follow each other directly, so that the rows around it, and how many came in one
    call, do not matter. One row of this device is ``n`` rows of the device inside.

    Parameters
    ----------
    device
        The device inside.
    n
        Repeats of each row, at least 1.
    """

    identity_states_settings: ClassVar[bool] = True
    handling = RowHandling(adds_rows=True)

    def __init__(self, device: Device, n: int) -> None:
        super().__init__(device)
        self.n = whole_number("n", n, low=1)

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec, with n times its time a row and as many rows a call as n repeats leave."""
        inner = self.device.spec
        seconds = None if inner.row_seconds is None else inner.row_seconds * self.n
        rows = None if inner.max_rows is None else max(1, inner.max_rows // self.n)
        return replace(inner, row_seconds=seconds, max_rows=rows)

    def identify(self) -> str:
        """The device inside and the number of repeats."""
        return f"Averaged({self.device.identify()}, n={self.n})"

    def continue_from(self, rows: int) -> None:
        """Each of the rows was ``n`` of the device inside."""
        self.device.continue_from(rows * self.n)

    def _measure(self, inputs: Float64Array) -> Float64Array:
        step = max(1, CHUNK_ROWS // self.n)
        return np.concatenate([self._averages(inputs[i : i + step]) for i in range(0, len(inputs), step)])

    def _averages(self, inputs: Float64Array) -> Float64Array:
        repeats = self.device.measure(np.repeat(inputs, self.n, axis=0))
        return np.asarray(repeats.reshape(len(inputs), self.n, -1).mean(axis=1))
