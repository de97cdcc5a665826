"""Rows that have settled: after a change of the stimulus some rows are measured and thrown away."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper
from hwloop.device.spec import Float64Array
from hwloop.simulators.settings import whole_number

CHUNK_ROWS = 4096  # measured rows held at once, to bound memory


class Settled(DeviceWrapper):
    """Applies each stimulus for ``rows`` more rows before the one whose response counts.

    A stimulus that equals the one before it in the same call has settled already and costs one row: so with
    :class:`hwloop.devices.averaged.Averaged` around it, n repeats of a row cost ``rows + n`` rows, not n times as
    many. The first row of a call always settles: nobody knows what was before it.

    Parameters
    ----------
    device
        The device inside.
    rows
        Rows thrown away after a change, at least 0.
    """

    identity_states_settings: ClassVar[bool] = True

    def __init__(self, device: Device, rows: int) -> None:
        super().__init__(device)
        self.rows = whole_number("rows", rows, low=0)

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec, with the time of a row that changes and as many rows a call as fit if all do."""
        inner = self.device.spec
        seconds = None if inner.row_seconds is None else inner.row_seconds * (self.rows + 1)
        rows = None if inner.max_rows is None else max(1, inner.max_rows // (self.rows + 1))
        return replace(inner, row_seconds=seconds, max_rows=rows)

    def identify(self) -> str:
        """The device inside and the rows thrown away."""
        return f"Settled({self.device.identify()}, rows={self.rows})"

    def continue_from(self, rows: int) -> None:
        """As if each of the rows had been a change: how many were is not known."""
        self.device.continue_from(rows * (self.rows + 1))

    def _measure(self, inputs: Float64Array) -> Float64Array:
        changed = np.ones(len(inputs), dtype=bool)
        changed[1:] = (inputs[1:] != inputs[:-1]).any(axis=1)
        times = np.where(changed, self.rows + 1, 1)
        kept = np.cumsum(times) - 1  # the last row of each stimulus
        sent = np.repeat(inputs, times, axis=0)
        answers = [
            self.device.measure(sent[start : start + CHUNK_ROWS]) for start in range(0, len(sent), CHUNK_ROWS)
        ]
        return np.asarray(np.concatenate(answers)[kept])
