"""Rows on their way: what a trainer can already use while the rest is still being measured."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwloop.device.hold import refuse_fork
from hwloop.device.spec import Float64Array


class Measurement:
    """The responses to a batch of stimuli, filled in by the device's thread from the first row on.

    As a context manager it is cancelled at the end: rows that nobody waits for any more are not measured.
    """

    def __init__(self, rows: int, n_outputs: int) -> None:
        self.rows = rows
        self._responses = np.empty((rows, n_outputs))  # only rows that were filled in are handed out
        self._known = np.zeros(rows, dtype=bool)
        self._leading = 0
        self._failure: BaseException | None = None
        self.cancelled = False
        self._process = os.getpid()
        self._changed = threading.Condition()

    @property
    def rows_ready(self) -> int:
        """Number of leading rows that are known."""
        return self._leading

    def wait_for(self, rows: int) -> Float64Array:
        """The first ``rows`` responses, shape (rows, n_outputs), as soon as they are known.

        It is a view that cannot be written to: others may hold the same rows. Copy it to change values.

        Raises
        ------
        HwloopError
            Whatever stopped the measurement, if it stopped before that many rows were known. Also in a process
            that was forked meanwhile: nobody measures there.
        """
        if rows > self.rows:
            raise ValueError(f"{rows} rows were asked for, but only {self.rows} are being measured")
        if rows > self._leading:
            refuse_fork(self._process, "this measurement")  # whose thread would fill it in
        with self._changed:
            self._changed.wait_for(lambda: self._leading >= rows or self._failure is not None)
            if self._leading < rows and self._failure is not None:
                raise self._failure
            view = self._responses[:rows]
            view.flags.writeable = False
            return view

    def result(self) -> Float64Array:
        """All responses, shape (rows, n_outputs), when the last row is known; read-only as :meth:`wait_for`'s."""
        return self.wait_for(self.rows)

    def taken(self) -> Float64Array:
        """The same for the one who alone knows of this measurement: the rows become his own, to write to."""
        self.wait_for(self.rows)
        return self._responses

    def cancel(self) -> None:
        """Measure no more than the block in flight."""
        self.cancelled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def fill(self, positions: NDArray[np.int64] | slice, responses: Float64Array) -> None:
        """Enter responses at the given rows; called by the device's thread alone."""
        with self._changed:
            self._responses[positions] = responses
            self._known[positions] = True
            ahead = self._known[self._leading :]
            self._leading = self.rows if ahead.all() else self._leading + int(np.argmin(ahead))
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Tell every waiter why no more rows will come; called by the device's thread alone."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()
