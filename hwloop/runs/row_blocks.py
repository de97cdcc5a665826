"""Gathers recorded calls, which may be one row each, into blocks that are worth writing at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.runs.headers import RowsHeader
from hwloop.runs.recorded_rows import DeviceRows, JournalSurvey, RowBlock, key_of, records_with_arrays

BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 16_384
# The years 1678 to 2261, which a count of nanoseconds reaches.
EARLIEST_SECONDS, LATEST_SECONDS = -9.2e9, 9.2e9

Call = tuple[int, RowsHeader, dict[str, Float64Array]]


def row_blocks(found: JournalSurvey) -> Iterator[RowBlock]:
    """All rows that a survey saw, in blocks of about :data:`BLOCK_BYTES` or :data:`BLOCK_ROWS`.

    Raises
    ------
    OSError
    """
    gathering = {key: _Gathering(device) for key, device in found.devices.items()}
    for number, (header, arrays) in enumerate(records_with_arrays(found)):
        part = gathering[key_of(header)]
        part.add((number, header, arrays))
        if part.is_full:
            yield part.block()
    for part in gathering.values():
        if part.calls:
            yield part.block()


class _Gathering:
    """Calls of one device that wait to be handed over."""

    def __init__(self, device: DeviceRows) -> None:
        self.device = device
        self.calls: list[Call] = []
        self._rows = 0
        self._start = 0

    def add(self, call: Call) -> None:
        self.calls.append(call)
        self._rows += call[1].rows

    @property
    def is_full(self) -> bool:
        row_bytes = 8 * (self.device.n_inputs + self.device.n_outputs)
        return self._rows >= BLOCK_ROWS or self._rows * row_bytes >= BLOCK_BYTES

    def block(self) -> RowBlock:
        headers = [header for _, header, _ in self.calls]
        counts = np.array([header.rows for header in headers])
        block = RowBlock(
            device=self.device,
            start=self._start,
            row=np.concatenate([np.arange(h.first_row, h.first_row + h.rows) for h in headers]),
            call=np.repeat(np.array([number for number, _, _ in self.calls]), counts),
            started_seconds=np.repeat(_moments([h.started_seconds for h in headers]), counts),
            device_seconds=np.repeat(np.array([h.duration_seconds / h.rows for h in headers]), counts),
            purpose=_texts([h.purpose for h in headers], counts),
            step=_texts([h.step for h in headers], counts),
            stimuli=np.concatenate([arrays["stimuli"] for _, _, arrays in self.calls]),
            responses=np.concatenate([arrays["responses"] for _, _, arrays in self.calls]),
        )
        self._start += self._rows
        self.calls, self._rows = [], 0
        return block


def _texts(values: list[str], counts: NDArray[np.int64]) -> NDArray[np.object_]:
    return np.repeat(np.array([storable(value) for value in values], dtype=object), counts)


def _moments(seconds: list[float]) -> Float64Array:
    """Times as they are, and what no calendar holds as not a number."""
    values = np.array(seconds)
    return np.where((values >= EARLIEST_SECONDS) & (values <= LATEST_SECONDS), values, np.nan)


def storable(text: str) -> str:
    """The text without what HDF5 cannot hold: half a character, or a zero byte."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
