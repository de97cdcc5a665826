"""Measures rows on the device's thread: recalls what is known, and asks the device for the rest in blocks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.device import DeviceSpec
from hwloop.device.hold import refuse_fork
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError, JournalError
from hwloop.events import Event, ReferenceMeasured, RowsMeasured
from hwloop.session.account import Budget, MeasuringPhase, Place
from hwloop.session.known_rows import CLOCK, Keys, KnownRows, Recalled, keys_under, row_keys
from hwloop.session.recorder import Answer, Recorder

if TYPE_CHECKING:
    from hwloop.reference import Fingerprint

Rows = NDArray[np.int64]


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
        if rows > self._leading and self._process != os.getpid():
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
        """Wait for all rows and give them away, to write to; only if no one else holds this measurement."""
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


# Purposes whose point is to measure now; the others may be answered from memory.
ALWAYS_MEASURED = frozenset({"calibrate", "reference", "repeat", "adapt"})
# A block is what one call of the driver carries. It ends within this time where the pace is known, so that
# progress, Ctrl-C and a trainer that starts early never wait long for it.
BLOCK_SECONDS = 0.25
BLOCK_ROWS = 256


class Monitor:
    """Watches a device while a session measures: when rows of its own are due, and what follows; this one never.

    Attributes
    ----------
    curve
        What it found so far.
    device
        What the device says of itself; empty before it is open.
    tuning
        What its own rows are measured under, shape (n_tunables,); ``None`` on a device without tunables.
    """

    tuning: Float64Array | None = None

    def __init__(self, device: str = "") -> None:
        self.curve: list[ReferenceMeasured] = []
        self.device = device

    @property
    def is_due(self) -> bool:
        """Whether rows of its own are to be measured before the next one."""
        return False

    @property
    def rows_until_due(self) -> float:
        """Rows of other purposes that may be measured before they are."""
        return float("inf")

    def rows_ahead(self, rows: int) -> int:
        """Rows of its own that measuring so many others brings with it."""
        return 0

    def count(self, rows: int) -> None:
        """Take note of rows that were measured for other purposes."""

    def ask(self) -> None:
        """Measure before the next row, if any was measured since the last time."""

    def measure(self, answer: Callable[[Float64Array], Answer]) -> ReferenceMeasured:
        """Measure what is due; ``answer`` gives responses to the first of the stimuli that it is asked for."""
        raise AssertionError("it is never due")

    def act(self) -> None:
        """Do what follows from the latest measurement."""

    def corrected(self, responses: Float64Array) -> Float64Array:
        """Responses (rows, n_outputs) as the session returns them."""
        return responses

    def fingerprint(self) -> Fingerprint | None:
        """How the device answers, as last measured; ``None`` before."""
        return None


class RowMeasurer:
    """Answers the jobs of a session, one after the other.

    Parameters
    ----------
    recorder
        Measures on the device, and records.
    known
        What need not be measured.
    monitor
        Says when the reference stimuli are due.
    budget
        Checked before every row.
    emit
        Takes every event.

    Attributes
    ----------
    stopping
        Set by another thread: no further block is measured.
    phase
        Accounts how busy the device is kept; ``None`` while nobody asks.
    """

    def __init__(
        self,
        recorder: Recorder,
        known: KnownRows,
        monitor: Monitor,
        budget: Budget,
        emit: Callable[[Event], None],
    ) -> None:
        self._recorder = recorder
        self._known = known
        self._monitor = monitor
        self._budget = budget
        self._emit = emit
        self.start()

    def start(self) -> None:
        """Ready for a device that is being opened."""
        self.stopping = False
        self.phase: MeasuringPhase | None = None

    def with_reference(self, rows: int) -> int:
        """Add to a number of rows the reference rows that they bring with them."""
        return rows + self._monitor.rows_ahead(rows) if rows else 0

    def measure_reference(self) -> None:
        """Measure the reference stimuli now, unless nothing else was measured since the last time."""
        self._monitor.ask()
        self._watch(0)

    def place(self) -> Place:
        """Where the session stands; no job may be under way."""
        ledger = self._recorder.ledger
        counts = (dict(ledger.rows), dict(ledger.recalled), dict(ledger.reused), dict(ledger.writes))
        return Place(self._recorder.position, self._recorder.settings, *counts)

    def skip_to(self, place: Place) -> None:
        """Go past rows that the journal holds, as if they had been asked for again, up to ``place``.

        Memory, ledger and reference stimuli end as they would have: reference rows are answered again from the
        journal, and what followed from them follows.

        Raises
        ------
        JournalError
            The journal does not hold these rows, or other ones.
        """
        while self._recorder.position < place.rows:
            self._watch(0)
            left = place.rows - self._recorder.position
            if left <= 0:
                break
            limit = int(min(left, self._monitor.rows_until_due))
            stimuli, tuning, purpose, first = self._recorder.skip_to(limit)
            self._known.memory.remember(keys_under(row_keys(stimuli), tuning), first)
            self._monitor.count(len(stimuli))
            self._emit(RowsMeasured(purpose, rows=len(stimuli)))
        ledger = self._recorder.ledger
        if self._recorder.position != place.rows or ledger.rows != dict(place.measured):
            raise JournalError(
                f"the checkpoint stands on {place.rows} rows ({_counted(place.measured)}), but the journal holds "
                f"others up to there ({_counted(ledger.rows)}); resume with --from-start"
            )
        ledger.recalled.update(place.recalled)
        ledger.reused.update(place.reused)

    def measure(
        self, stimuli: Float64Array, tuning: Float64Array | None, purpose: str, fresh: bool, into: Measurement
    ) -> None:
        """Fill a measurement in: from memory what is known, the rest from the device, block by block.

        ``tuning`` is what the rows are measured under, shape (n_tunables,); ``None`` on a device without tunables.
        Never raises: a failure is the measurement's.
        """
        try:
            keys = keys_under(row_keys(stimuli), tuning)
            if fresh or purpose in ALWAYS_MEASURED or self._recorder.device.spec.streams:
                unmeasured = UnmeasuredRows.all_of(stimuli)
            else:
                unmeasured = self._fill_in(
                    *self._known.recall(stimuli, keys, tuning), stimuli, keys, purpose, into
                )
            self._require(len(unmeasured))
            done = 0
            while done < len(unmeasured):
                if into.cancelled:
                    raise DeviceError("the measurement was cancelled while rows were still to be measured")
                self._watch(len(unmeasured) - done)
                step = int(min(rows_a_call(self._recorder.device.spec), self._monitor.rows_until_due))
                begin = time.clock_gettime(CLOCK)
                answer = self._answer(stimuli[unmeasured.block(done, step)], purpose, tuning)
                rows = len(answer.responses)
                moment = None if answer.busy is None else begin
                self._known.memory.remember(keys[unmeasured.block(done, rows)], answer.first_row, moment)
                self._monitor.count(rows)
                into.fill(*unmeasured.spread(done, self._monitor.corrected(answer.responses)))
                self._emit(RowsMeasured(purpose, rows=rows))
                done += rows
            if done:
                self._recorder.journal.begin_sync()
        except BaseException as failure:
            into.fail(failure)

    def _answer(self, block: Float64Array, purpose: str, tuning: Float64Array | None) -> Answer:
        """The device's answer to the first rows of a block, accounted for."""
        if self.stopping:
            raise DeviceError("the session was closed while rows were still to be measured")
        if self._budget.writes is not None:
            self._budget.check_writes(self._recorder.writes_to(tuning))
        answer = self._recorder.answer(block, purpose, tuning)
        phase = self.phase  # another thread may end it meanwhile
        if phase is not None and answer.busy is not None:
            phase.extend(*answer.busy)
        return answer

    def _fill_in(
        self, own: Recalled, reused: Recalled, stimuli: Float64Array, keys: Keys, purpose: str, into: Measurement
    ) -> UnmeasuredRows:
        """Fill in what is known; what is left is measured once, wherever it stands."""
        if len(own.rows):
            into.fill(own.rows, self._monitor.corrected(own.responses))
        if len(reused.rows):
            into.fill(reused.rows, reused.responses)
            self._recorder.ledger.count_reused(purpose, len(reused.rows))
            self._emit(RowsMeasured(purpose, rows=0, reused=len(reused.rows)))
        missing = np.ones(len(stimuli), dtype=bool)
        missing[own.rows] = missing[reused.rows] = False
        unmeasured = UnmeasuredRows.distinct(stimuli, keys, np.flatnonzero(missing))
        recalled = len(stimuli) - len(unmeasured) - len(reused.rows)
        if recalled:
            self._recorder.ledger.count_recalled(purpose, recalled)
            self._emit(RowsMeasured(purpose, rows=0, recalled=recalled))
        return unmeasured

    def _require(self, rows: int) -> None:
        """Refuse rows that the budget does not cover, with the reference rows that they bring."""
        if self._budget.rows is not None:
            self._budget.check(self.with_reference(rows))

    def _watch(self, rows_to_come: int) -> None:
        """Measure the reference if it is due, and do what follows from it."""
        while self._monitor.is_due:
            self._emit(self._monitor.measure(self._reference_answer))
            self._monitor.act()
            self._require(rows_to_come)

    def _reference_answer(self, stimuli: Float64Array) -> Answer:
        block = stimuli[: rows_a_call(self._recorder.device.spec)]
        self._budget.check(len(block))
        answer = self._answer(block, "reference", self._monitor.tuning)
        self._emit(RowsMeasured("reference", rows=len(answer.responses)))
        return answer


def rows_a_call(spec: DeviceSpec) -> int:
    """Rows that a session puts into one call of a device."""
    rows = spec.max_rows or BLOCK_ROWS
    if spec.row_seconds:
        rows = min(rows, max(1, int(BLOCK_SECONDS / spec.row_seconds)))
    return rows


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {purpose}" for purpose, count in rows.items() if count) or "none"


@dataclass(frozen=True)
class UnmeasuredRows:
    """Distinct stimuli of a batch, and where each stands in it.

    Attributes
    ----------
    first
        The first row of each distinct stimulus, in rising order.
    rows, stimulus
        Every row to measure, and which distinct stimulus (position in ``first``) it holds, in its rising order.
    """

    first: Rows
    rows: Rows
    stimulus: Rows

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def all_of(cls, stimuli: Float64Array) -> UnmeasuredRows:
        """Every row for itself, equal or not."""
        rows = np.arange(len(stimuli))
        return cls(rows, rows, rows)

    @classmethod
    def distinct(cls, stimuli: Float64Array, keys: Keys, rows: Rows) -> UnmeasuredRows:
        """The given rows; those that are equal share one measurement."""
        in_order = np.sort(keys[rows])
        if (in_order[1:] != in_order[:-1]).all():  # nearly always: no two are equal
            return cls(rows, rows, np.arange(len(rows)))
        _, first, stimulus = np.unique(keys[rows], return_index=True, return_inverse=True)
        same = (stimuli[rows] == stimuli[rows[first[stimulus]]]).all(axis=1)
        if not same.all():  # different rows under one key: hardly ever; measure each for itself
            return cls(rows, rows, np.arange(len(rows)))
        rank = np.empty_like(first)
        rank[np.argsort(first)] = np.arange(len(first))
        stimulus = rank[stimulus]
        order = np.argsort(stimulus, kind="stable")
        return cls(rows[np.sort(first)], rows[order], stimulus[order])

    def block(self, done: int, rows: int) -> Rows | slice:
        """Where distinct stimuli from number ``done`` on stand in the batch."""
        return _as_slice(self.first[done : done + rows])

    def spread(self, done: int, responses: Float64Array) -> tuple[Rows | slice, Float64Array]:
        """Rows of the batch, and the response of each, for the distinct stimuli from number ``done`` on."""
        if len(self.rows) == len(self.first):
            return self.block(done, len(responses)), responses
        start, end = np.searchsorted(self.stimulus, [done, done + len(responses)])
        return self.rows[start:end], responses[self.stimulus[start:end] - done]


def _as_slice(rows: Rows) -> Rows | slice:
    """The same rows; as a slice, which copies nothing, if they follow each other."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
