"""Measures rows on the thread that owns the device: what is known is recalled, the rest asked of the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError, JournalError
from hwloop.events import Event, RowsMeasured
from hwloop.session.budget import Budget
from hwloop.session.known_rows import Keys, KnownRows
from hwloop.session.measurement import Measurement
from hwloop.session.phase import MeasuringPhase
from hwloop.session.place import Place
from hwloop.session.recorder import Answer, Recorder
from hwloop.session.reference_monitor import ReferenceMonitor
from hwloop.session.row_ages import now_seconds
from hwloop.session.row_index import row_keys
from hwloop.session.unknown_rows import UnknownRows

# Purposes whose point is to measure now; the others may be answered from memory.
ALWAYS_MEASURED = frozenset({"calibrate", "reference", "repeat", "adapt"})
# A block is what one call of the driver carries. It ends within this time where the pace is known, so that
# progress, Ctrl-C and a trainer that starts early never wait long for it.
BLOCK_SECONDS = 0.25
BLOCK_ROWS = 256


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
        monitor: ReferenceMonitor,
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
        """So many rows, and the reference rows that they bring with them."""
        return rows + self._monitor.rows_ahead(rows) if rows else 0

    def measure_reference(self) -> None:
        """Measure the reference stimuli now, unless nothing else was measured since the last time."""
        self._monitor.ask()
        self._watch(0)

    def place(self) -> Place:
        """Where the session stands; no job may be under way."""
        ledger = self._recorder.ledger
        counts = (dict(ledger.rows), dict(ledger.recalled), dict(ledger.reused))
        return Place(self._recorder.position, self._recorder.settings, *counts)

    def pass_over(self, place: Place) -> None:
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
            stimuli, purpose, first = self._recorder.pass_over(int(min(left, self._monitor.rows_until_due)))
            self._known.memory.remember(row_keys(stimuli), first)
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

    def measure(self, stimuli: Float64Array, purpose: str, fresh: bool, into: Measurement) -> None:
        """Fill a measurement in: from memory what is known, the rest from the device, block by block.

        Never raises: a failure is the measurement's.
        """
        try:
            keys = row_keys(stimuli)
            if fresh or purpose in ALWAYS_MEASURED:
                unknown = UnknownRows.all_of(stimuli)
            else:
                unknown = self._recall(stimuli, keys, purpose, into)
            self._budget.check(self.with_reference(len(unknown)))
            done = 0
            while done < len(unknown):
                if into.cancelled:
                    raise DeviceError("the measurement was cancelled while rows were still to be measured")
                self._watch(len(unknown) - done)
                step = int(min(rows_a_call(self._recorder.device.spec), self._monitor.rows_until_due))
                begin = now_seconds()
                answer = self._answer(stimuli[unknown.block(done, step)], purpose)
                rows = len(answer.responses)
                moment = None if answer.busy is None else begin
                self._known.memory.remember(keys[unknown.block(done, rows)], answer.first_row, moment)
                self._monitor.count(rows)
                into.fill(*unknown.spread(done, self._monitor.corrected(answer.responses)))
                self._emit(RowsMeasured(purpose, rows=rows))
                done += rows
            if done:
                self._recorder.journal.begin_sync()
        except BaseException as failure:
            into.fail(failure)

    def _answer(self, block: Float64Array, purpose: str) -> Answer:
        """The device's answer to the first rows of a block, accounted for."""
        if self.stopping:
            raise DeviceError("the session was closed while rows were still to be measured")
        answer = self._recorder.answer(block, purpose)
        phase = self.phase  # another thread may end it meanwhile
        if phase is not None and answer.busy is not None:
            phase.extend(*answer.busy)
        return answer

    def _recall(self, stimuli: Float64Array, keys: Keys, purpose: str, into: Measurement) -> UnknownRows:
        """Fill in what is known; what is left is measured once, wherever it stands."""
        own, reused = self._known.recall(stimuli, keys)
        if len(own.rows):
            into.fill(own.rows, self._monitor.corrected(own.responses))
        if len(reused.rows):
            into.fill(reused.rows, reused.responses)
            self._recorder.ledger.count_reused(purpose, len(reused.rows))
            self._emit(RowsMeasured(purpose, rows=0, reused=len(reused.rows)))
        missing = np.ones(len(stimuli), dtype=bool)
        missing[own.rows] = missing[reused.rows] = False
        unknown = UnknownRows.distinct(stimuli, keys, np.flatnonzero(missing))
        recalled = len(stimuli) - len(unknown) - len(reused.rows)
        if recalled:
            self._recorder.ledger.count_recalled(purpose, recalled)
            self._emit(RowsMeasured(purpose, rows=0, recalled=recalled))
        return unknown

    def _watch(self, rows_to_come: int) -> None:
        """Measure the reference if it is due, and do what follows from it."""
        while self._monitor.is_due:
            self._emit(self._monitor.measure(self._reference_answer))
            self._monitor.act()
            self._budget.check(self.with_reference(rows_to_come))

    def _reference_answer(self, stimuli: Float64Array) -> Answer:
        block = stimuli[: rows_a_call(self._recorder.device.spec)]
        self._budget.check(len(block))
        answer = self._answer(block, "reference")
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
