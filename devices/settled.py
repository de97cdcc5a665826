"""Rows that have settled: after a change of the stimulus some rows are measured and thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.wrapper import check_inside, declared, inside_of

CHUNK_ROWS = 4096  # measured rows held at once, to bound memory


class Settled(DeviceWrapper):
    """Applies each stimulus for ``rows`` more rows before the one whose response counts.

    A stimulus that equals the one before it in the same call has settled already and costs one row: so with
    :class:`hwloop.devices.averaged.Averaged` around it, n repeats of a row cost ``rows + n`` rows, not n times as
    many. The first row of a call always settles: nobody knows what was before it. Around a device that may be
    opened again between two calls, such as one that is retried, every call of it begins with rows that settle.

    Parameters
    ----------
    device
        The device inside.
    rows
        Rows thrown away after a change, at least 0.

    Raises
    ------
    ConfigError
        A pool inside would give the rows that settle to one member and the row that counts to another; a device
        that is opened again between calls takes too few rows a call. The message names the right order.
    """

    identity_states_settings: ClassVar[bool] = True
    handling = RowHandling(adds_rows=True)

    def __init__(self, device: Device, rows: int) -> None:
        super().__init__(device)
        self.rows = whole_number("rows", rows, low=0)
        self._reopens = any(said is not None and said.reopens for said in map(declared, inside_of(self)))
        if not self.rows:
            return
        promise, breaks = "that each row has settled", "a row could be answered before it has settled"
        check_inside(self, promise, breaks, "deals_out")
        if self._reopens and (device.spec.max_rows or CHUNK_ROWS) <= self.rows:
            check_inside(self, promise, breaks, "reopens")

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
        if self._reopens and self.rows:
            return np.concatenate([self.device.measure(sent)[kept] for sent, kept in self._calls(inputs)])
        changed = np.ones(len(inputs), dtype=bool)
        changed[1:] = (inputs[1:] != inputs[:-1]).any(axis=1)
        times = np.where(changed, self.rows + 1, 1)
        kept = np.cumsum(times) - 1  # the last row of each stimulus
        sent = np.repeat(inputs, times, axis=0)
        answers = [
            self.device.measure(sent[start : start + CHUNK_ROWS]) for start in range(0, len(sent), CHUNK_ROWS)
        ]
        return np.asarray(np.concatenate(answers)[kept])

    def _calls(self, inputs: Float64Array) -> Iterator[tuple[Float64Array, list[int]]]:
        """Calls of the device inside that each begin with rows that settle, and which of their rows count."""
        longest = min(self.device.spec.max_rows or CHUNK_ROWS, CHUNK_ROWS)
        sent: list[Float64Array] = []
        kept: list[int] = []
        for row, before in zip(inputs, [None, *inputs[:-1]], strict=True):
            times = 1 if sent and before is not None and np.array_equal(row, before) else self.rows + 1
            if len(sent) + times > longest:
                yield np.array(sent), kept
                sent, kept, times = [], [], self.rows + 1
            sent += [row] * times
            kept.append(len(sent) - 1)
        if sent:
            yield np.array(sent), kept
