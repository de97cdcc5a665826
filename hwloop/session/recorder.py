"""Measures a block and records it: the only place in which a session measures with its device."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.device.tuning import same_tuning
from hwloop.errors import DeviceError, HwloopError, JournalError
from hwloop.events import Event, MayStand
from hwloop.journal import Journal, Note, Record
from hwloop.journal.record import POSITION
from hwloop.session.account import Ledger
from hwloop.session.device_state import IdentityCheck, ProgressKeeper
from hwloop.session.stream import Stream


@dataclass(frozen=True)
class Answer:
    """Responses to the first rows of a block, and the number of the first.

    ``busy`` is the interval of the clock in which the device measured; ``None`` if it was done in an earlier run.
    """

    responses: Float64Array
    first_row: int
    busy: tuple[float, float] | None


class Recorder:
    """Answers a block of stimuli from the device, and records it before anyone sees it.

    A journal that holds rows already belongs to a run that was stopped: the run is executed again, and every
    block that it asks for is answered from the journal, in the recorded order, until the journal ends. Then
    the device goes on. So a resumed run takes the same path to the last bit, and measures nothing twice.
    """

    def __init__(self, device: Device, journal: Journal, ledger: Ledger) -> None:
        self.device = device
        self.journal = journal
        self.ledger = ledger
        self.unit = IdentityCheck(device, journal)
        self._stream = Stream(device, journal) if device.spec.streams else None
        self.settings = ""  # what rows are filed under
        self.described_as = ""  # digest of the device's description
        self.step = ""
        self._recorded_before = journal.rows
        self._position = 0
        self._records: Iterator[Record] | None = None  # of those that are passed over
        self._record: Record | None = None
        self._continued = False
        self._progress = ProgressKeeper(device, journal)
        self._tuning = device.spec.tunable_rest if device.spec.tunables else None  # of the row behind
        self._reopened = (
            True  # since then: the device stands at rest, and is tuned again, which counts for nothing
        )
        self._writes, self._write_seconds = 0, 0.0  # made, and in no record yet
        self._halted = False  # a plain attribute: one thread sets it, once

    def halt(self) -> None:
        """From now on nothing is measured, and no answer that is still under way is recorded.

        Called by another thread just before it closes the device: what a driver returns after that may be
        anything.
        """
        self._halted = True

    @property
    def position(self) -> int:
        """Rows of the journal that are behind: recorded earlier and asked for again, or measured now."""
        return self._position

    @property
    def goes_on(self) -> bool:
        """Whether the journal held rows when this began: an earlier run's, which this one continues."""
        return self._recorded_before > 0

    @property
    def is_replaying(self) -> bool:
        """Whether the next row comes from the journal."""
        return self._position < self._recorded_before

    def replay_journal(self) -> None:
        """Answer first, in order, what the journal has come to hold since this session was made."""
        self._recorded_before = self.journal.rows

    def reopened(self) -> None:
        """The device was opened: it stands at rest, whatever the row behind was measured under."""
        self._reopened = True
        if self._stream is not None:
            self._stream.lost()

    def writes_to(self, tuning: Float64Array | None) -> int:
        """Writes that a tuning needs, behind the rows so far."""
        if tuning is None or self._tuning is None:
            return 0
        now = self._tuning
        if not (self._reopened or self.is_replaying):
            now = self.device.tuning  # another session on the same device may have moved it
            if np.isnan(now).any():
                now = self._tuning
        return 0 if same_tuning(now, tuning) else self.device.spec.writes_between(now, tuning)

    def end_replay(self) -> range:
        """Stop replaying; gives the rows of the journal that were not asked for."""
        left = range(self._position, max(self._position, self._recorded_before))
        self._position = left.stop
        return left

    def next_recorded_stimulus(self) -> Float64Array | None:
        """The stimulus that an earlier run asked for next, shape (n_inputs,); ``None`` where its journal ends."""
        return self.journal.read_rows(np.array([self._position]))[0][0] if self.is_replaying else None

    def answer(self, stimuli: Float64Array, purpose: str, tuning: Float64Array | None = None) -> Answer:
        """Answer the first rows of a block: all of them, or those that the journal still holds.

        Parameters
        ----------
        tuning
            Under which they are measured, shape (n_tunables,); it is written first unless it is set.
            ``None`` on a device without tunables.

        Raises
        ------
        JournalError
            The run asks for something else than it did when it was recorded, or the record is damaged.
        DeviceError
            The device failed, or another one answers.
        """
        if self._halted:
            raise self._was_halted()
        answered = self._replayed if self.is_replaying else self._measured
        answer = answered(stimuli, purpose, tuning)
        self._position += len(answer.responses)
        return answer

    def _replayed(self, stimuli: Float64Array, purpose: str, tuning: Float64Array | None) -> Answer:
        first = self._position
        rows = min(len(stimuli), self._recorded_before - first)
        recorded, responses = self.journal.read_rows(np.arange(first, first + rows))
        if recorded.shape[1:] != stimuli.shape[1:] or not np.array_equal(recorded, stimuli[:rows]):
            raise JournalError(
                f"the run has left its recorded path at row {first}: it asks for another stimulus than it did "
                "then. Its configuration, data or the versions in environment.json have changed; go back to "
                "those, or start a new run with --reuse"
            )
        if tuning is not None and not self.journal.measured_under(np.arange(first, first + rows), tuning).all():
            raise JournalError(
                f"the run has left its recorded path at row {first}: it asks for another tuning than it did then. "
                "Its configuration, data or the versions in environment.json have changed; go back to those, or "
                "start a new run with --reuse"
            )
        self.ledger.count_measured(purpose, rows, self.journal.duration_seconds(first, rows))
        if tuning is not None:
            self.ledger.count_writes(purpose, *self.journal.writes(first, rows))
            self._tuning = tuning
        return Answer(responses, first, busy=None)

    def skip_to(self, limit: int) -> tuple[Float64Array, Float64Array | None, str, int]:
        """Go past the next recorded rows of one call, ``limit`` at most; nobody asks for them again.

        Returns
        -------
        Their stimuli and tuning, what they were measured for, and the number of the first.

        Raises
        ------
        JournalError
            The next row is not in the journal, or its record is damaged.
        """
        record = self._record_at(self._position)
        first = self._position
        stimuli = record.stimuli[first - record.first_row :][:limit]
        self.ledger.count_measured(
            record.purpose, len(stimuli), self.journal.duration_seconds(first, len(stimuli))
        )
        if record.tuning is not None:
            self._tuning = record.tuning
            if first == record.first_row:
                self.ledger.count_writes(record.purpose, record.writes, record.write_seconds)
        self._position += len(stimuli)
        return stimuli, record.tuning, record.purpose, first

    def _record_at(self, row: int) -> Record:
        self._records = self.journal.records() if self._records is None else self._records
        while self._record is None or self._record.first_row + len(self._record.stimuli) <= row:
            self._record = next(self._records, None)
            if self._record is None:
                break
        if self._record is None or self._record.first_row > row:
            raise JournalError(
                f"row {row} is not in the journal, or its record is damaged; hwloop verify says more"
            )
        return self._record

    def _measured(self, stimuli: Float64Array, purpose: str, tuning: Float64Array | None) -> Answer:
        if not self._continued:
            self._progress.check()
            self._progress.resume(self._position)
            self._continued = True
        if self._stream is not None:
            self._stream.bring_before(stimuli, self._position)
        try:
            self._tune(tuning, purpose)
            started, begin = time.time(), time.perf_counter()
            responses = self.device.measure(stimuli)
        except DeviceError:
            self.unit.is_in_doubt = True
            if self._stream is not None:
                self._stream.lost()
            with contextlib.suppress(HwloopError):  # the device's own error explains more
                self._progress.failed()
            raise
        end = time.perf_counter()
        if self._halted:
            raise self._was_halted()
        self.unit.check_answer()
        self.ledger.count_measured(purpose, len(stimuli), end - begin)  # spent, even if the journal fails
        first = self._position
        changed = self._progress.changed(first + len(stimuli))
        record = Record(
            purpose, self.settings, first, started, end - begin, stimuli, responses, self.step, changed
        )
        if tuning is not None:
            record = replace(record, tuning=tuning, writes=self._writes, write_seconds=self._write_seconds)
        self.journal.append(record)
        self._writes, self._write_seconds = 0, 0.0
        if changed:
            self._progress.recorded(changed)
        if self._stream is not None:
            self._stream.stands()
        return Answer(responses, first, busy=(begin, end))

    def _tune(self, tuning: Float64Array | None, purpose: str) -> None:
        """Write the tuning that the next rows are measured under, unless it is set, and count the writes."""
        if tuning is None:
            return
        writes, begin = self.writes_to(tuning), time.perf_counter()
        if not same_tuning(self.device.tuning, tuning):
            self.device.tune(tuning)
        seconds = time.perf_counter() - begin if writes else 0.0
        self._tuning, self._reopened = tuning, False
        self.ledger.count_writes(purpose, writes, seconds)
        self._writes, self._write_seconds = self._writes + writes, self._write_seconds + seconds

    def _was_halted(self) -> DeviceError:
        return DeviceError(
            "the device was closed at once while rows were still to be measured; those in flight are not "
            "recorded. Make a new session to go on"
        )


class Told(Protocol):
    """Takes what a device tells."""

    def device_event(self, event: Event) -> None:
        """Record it, and pass it on."""


class WeakSessionListener:
    """A device's listener that keeps no session alive; a copied device tells nobody until it is opened.

    Where hardware may stand goes to the journal, on the disk, even if the session is lost and only its device is
    still being closed: whoever opens the device next must know.
    """

    def __init__(self, session: Told | None, journal: Journal | None) -> None:
        self._session = None if session is None else weakref.ref(session)
        self._journal = None if journal is None else weakref.ref(journal)

    def __call__(self, event: Event) -> None:
        """Tell the session, if it is still there."""
        if isinstance(event, MayStand):
            self._keep(event)
            return
        session = None if self._session is None else self._session()
        if session is not None:
            session.device_event(event)

    def _keep(self, event: MayStand) -> None:
        journal = None if self._journal is None else self._journal()
        if journal is not None:
            journal.note(Note(POSITION, asdict(event)))
            journal.sync()

    def __reduce__(self) -> tuple[Any, ...]:
        return WeakSessionListener, (None, None)
