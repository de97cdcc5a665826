"""What has been measured already, so that it is not measured again."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array


@dataclass(frozen=True)
class Freshness:
    """How long a measured row may stand for the device: in seconds, and in rows measured since."""

    seconds: float = float("inf")
    rows: float = float("inf")

    def __post_init__(self) -> None:
        if not (self.seconds >= 0 and self.rows >= 0):
            raise ValueError("Freshness.seconds and Freshness.rows must not be negative")


@dataclass(frozen=True)
class _Remembered:
    response: Float64Array
    measured_seconds: float
    measured_row: int


class RowMemory:
    """Responses by stimulus, for one device under one set of settings.

    Parameters
    ----------
    freshness
        Beyond this age a row is measured again: memory must not freeze a drifting device.
    capacity_bytes
        The oldest rows are forgotten beyond this size.
    """

    def __init__(self, freshness: Freshness | None = None, capacity_bytes: int = 1 << 30) -> None:
        self.freshness = freshness or Freshness()
        self.capacity_bytes = capacity_bytes
        self._rows: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    @staticmethod
    def keys(stimuli: Float64Array) -> list[bytes]:
        """A 128-bit fingerprint a row; equal stimuli, and only they, share one (-0.0 counts as 0.0)."""
        rows = np.ascontiguousarray(stimuli) + 0.0
        return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]

    def recall(self, key: bytes, rows_measured: int) -> Float64Array | None:
        """The response to a stimulus, or ``None`` if it is unknown or stale."""
        found = self._rows.get(key)
        if found is None:
            return None
        too_old = time.monotonic() - found.measured_seconds > self.freshness.seconds
        if too_old or rows_measured - found.measured_row > self.freshness.rows:
            return None
        return found.response

    def remember(self, key: bytes, response: Float64Array, rows_measured: int) -> None:
        """Keep a response, in place of an older one to the same stimulus."""
        old = self._rows.pop(key, None)
        if old is not None:
            self._bytes -= old.response.nbytes
        self._rows[key] = _Remembered(response, time.monotonic(), rows_measured)
        self._bytes += response.nbytes
        while self._bytes > self.capacity_bytes:
            _, forgotten = self._rows.popitem(last=False)
            self._bytes -= forgotten.response.nbytes

    def forget(self) -> None:
        """Forget everything, after a change of settings or a measured drift."""
        self._rows.clear()
        self._bytes = 0
