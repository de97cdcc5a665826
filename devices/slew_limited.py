"""Consecutive rows that differ by no more than a device can stand: the way from one to the next is a ramp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError

CHUNK_ROWS = 4096  # rows sent at once, to bound memory


class SlewLimited(DeviceWrapper):
    """Walks from each stimulus to the next in rows that step by at most ``per_row_max`` on every channel.

    For what must not jump: heaters, magnets, piezo stages, high voltages. The rows of a ramp are evenly spaced,
    measured like any other, and their responses are thrown away: they cost the device's time, and are neither
    counted nor recorded. The first row is reached from ``rest``, where the device must stand when it is opened,
    and before it is closed it walks back there.

    It must stand directly around the device: a wrapper inside that opens the device again, such as ``retrying``,
    would jump to the safe state behind its back. Outside, ``retrying`` is right: it walks again from ``rest``.
    After a failed call nobody knows where the device stands: no row is sent until it was closed and opened, and
    closing then goes to the safe state without a walk, as it does when another thread closes it at once.

    Parameters
    ----------
    device
        The device inside.
    per_row_max
        Largest step from a row to the next, in the input's unit: one number, or one a channel. Positive.
    rest
        Stimulus at which the device stands when it is opened: one number, or one a channel, within the limits.
        ``None`` for what is nearest to zero.
    """

    def __init__(
        self, device: Device, per_row_max: float | Sequence[float], rest: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(device)
        inner = device.spec
        self._step = _by_channel("per_row_max", per_row_max, inner.n_inputs)
        if not (self._step > 0).all():
            raise ValueError(f"per_row_max must be positive on every channel, not {per_row_max!r}")
        self._rest = np.clip(np.zeros(inner.n_inputs), inner.low, inner.high)
        if rest is not None:
            self._rest = _by_channel("rest", rest, inner.n_inputs)
        if not ((self._rest >= inner.low) & (self._rest <= inner.high)).all():
            raise ValueError(f"rest must lie within the device's limits, not {rest!r}")
        self._longest = self._rows_to(inner.low, inner.high)
        self._position: Float64Array | None = self._rest.copy()  # None: unknown

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec; the time of a row and the rows a call are those of a walk across the whole range."""
        inner = self.device.spec
        seconds = None if inner.row_seconds is None else inner.row_seconds * self._longest
        rows = None if inner.max_rows is None else max(1, inner.max_rows // self._longest)
        return replace(inner, row_seconds=seconds, max_rows=rows)

    def identify(self) -> str:
        """The device inside and the largest step."""
        steps = self._step.tolist()
        largest = steps[0] if len(set(steps)) == 1 else steps
        return f"SlewLimited({self.device.identify()}, per_row_max={largest})"

    def unit(self) -> str:
        """The wrapper; what it does is among its settings."""
        return type(self).__name__

    def open(self) -> None:
        """Open the device inside, which stands at rest."""
        self.device.open()
        self._position = self._rest.copy()

    def close(self) -> None:
        """Walk back to rest, and close the device inside whatever became of the walk."""
        try:
            if self._position is not None and (self._position != self._rest).any():
                self._walk(self._rest[None])
        finally:
            self._position = None
            self.device.close()
            self._position = self._rest.copy()

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return np.concatenate([self._walk(inputs[i : i + CHUNK_ROWS]) for i in range(0, len(inputs), CHUNK_ROWS)])

    def _walk(self, stimuli: Float64Array) -> Float64Array:
        """Responses to stimuli that are reached one after the other."""
        position = self._position
        if position is None:
            raise DeviceError(
                "SlewLimited does not know where the device stands after a call that failed; close and open it"
            )
        self._position = None  # until the device has answered
        answers = []
        for sent, kept in self._pieces(position, stimuli):
            answers.append(self.device.measure(sent)[kept])
        self._position = stimuli[-1].copy()
        return np.concatenate(answers)

    def _pieces(
        self, position: Float64Array, stimuli: Float64Array
    ) -> Iterator[tuple[Float64Array, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
        """Rows to send, in pieces, and which of their responses count."""
        rows: list[Float64Array] = []
        kept: list[bool] = []
        for stimulus in stimuli:
            for row, counts in self._ramp(position, stimulus):
                rows.append(row)
                kept.append(counts)
                if len(rows) == CHUNK_ROWS:
                    yield np.array(rows), np.array(kept)
                    rows, kept = [], []
            position = stimulus
        if rows:
            yield np.array(rows), np.array(kept)

    def _ramp(self, start: Float64Array, end: Float64Array) -> Iterator[tuple[Float64Array, bool]]:
        """Rows after ``start``; only that of ``end``, the last, counts."""
        rows = self._rows_to(start, end)
        low, high = np.minimum(start, end), np.maximum(start, end)
        for row in range(1, rows):
            yield np.clip(start + (end - start) * (row / rows), low, high), False
        yield end, True

    def _rows_to(self, start: Float64Array, end: Float64Array) -> int:
        # Rounding of a difference must not cost a row where the step is just the largest.
        return max(1, int(np.ceil((np.abs(end - start) / self._step).max() * (1 - 1e-12))))


def _by_channel(name: str, values: float | Sequence[float], channels: int) -> Float64Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (channels,)) or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be one finite number, or one for each of {channels} channels, not {values!r}"
        )
    return np.broadcast_to(array, (channels,)).copy()
