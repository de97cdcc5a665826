"""A journal that lasts as long as the process."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal.record import STATES, Journal, KeptState, Note, Record


class InMemoryJournal(Journal):
    """Keeps records in memory, the newest up to a capacity: for simulations, tests and short measurements.

    Parameters
    ----------
    capacity_bytes
        Beyond this size the oldest records are dropped.

    Attributes
    ----------
    mirror
        Another journal that is given everything first, with its own numbers of rows; ``None`` for none. A copy of
        this journal has none: there is one writer.
    """

    mirror: Journal | None

    def __init__(self, capacity_bytes: int = 1 << 30) -> None:
        self.capacity_bytes = capacity_bytes
        self._records: deque[Record] = deque()
        self._first_rows: deque[int] = deque()
        self._notes: list[Note] = []
        self._state = KeptState()
        self._rows = 0
        self._bytes = 0
        self.mirror = None

    @property
    def rows(self) -> int:
        return self._rows

    def append(self, record: Record) -> None:
        """Keep a record, and drop the oldest beyond the capacity.

        Raises
        ------
        JournalError
            It does not begin where the last one ended: another session writes here too.
        """
        if record.first_row != self._rows:
            raise JournalError(
                f"this journal holds {self._rows} rows, so the next record cannot begin with row "
                f"{record.first_row}; let one session write one journal"
            )
        if self.mirror is not None:
            self.mirror.append(replace(record, first_row=self.mirror.rows))
        self._state.enter_rows(record.progress)
        self._records.append(record)
        self._first_rows.append(self._rows)
        self._rows += len(record.stimuli)
        self._bytes += _bytes(record)
        while self._bytes > self.capacity_bytes and len(self._records) > 1:
            self._bytes -= _bytes(self._records.popleft())
            self._first_rows.popleft()

    def note(self, note: Note) -> None:
        if self.mirror is not None:
            self.mirror.note(note)
        self._state.enter_note(note.kind, note.details)
        if note.kind not in STATES:
            self._notes.append(note)

    def take_over(self, journal: Journal) -> None:
        """Keep everything that another journal holds, as it was recorded there; nothing of it is dropped."""
        for note in journal.notes():
            self._notes.append(note)
        for record in journal.records():
            self.capacity_bytes += _bytes(record)
            self.append(replace(record, first_row=self._rows))
        self._state.progress.update(journal.progress())
        self._state.positions.update(journal.positions())

    def sync(self) -> None:
        if self.mirror is not None:
            self.mirror.sync()

    def __getstate__(self) -> dict[str, Any]:
        """Without the mirror."""
        return {**self.__dict__, "mirror": None}

    def readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        oldest = self._first_rows[0] if self._first_rows else 0
        return np.asarray((numbers >= oldest) & (numbers < self._rows))

    def read_rows(self, numbers: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        found = [self._locate(int(number)) for number in numbers]
        stimuli = np.array([record.stimuli[row] for record, row in found])
        responses = np.array([record.responses[row] for record, row in found])
        return stimuli, responses

    def started_seconds(self, numbers: NDArray[np.int64]) -> Float64Array:
        return np.array([self._locate(int(number))[0].started_seconds for number in numbers])

    def duration_seconds(self, first: int, rows: int) -> float:
        found = (self._locate(number)[0] for number in range(first, first + rows))
        return sum(record.duration_seconds / len(record.stimuli) for record in found)

    def tuning(self, number: int) -> Float64Array | None:
        return self._locate(number)[0].tuning

    def measured_under(self, numbers: NDArray[np.int64], tuning: Float64Array | None) -> NDArray[np.bool_]:
        return np.array([_is_under(self._locate(int(number))[0], tuning) for number in numbers], dtype=bool)

    def writes(self, first: int, rows: int) -> tuple[int, float]:
        found = {id(record): record for record, at in map(self._locate, range(first, first + rows)) if at == 0}
        return sum(each.writes for each in found.values()), sum(each.write_seconds for each in found.values())

    def records(self) -> Iterator[Record]:
        return iter(tuple(self._records))

    def progress(self) -> dict[str, Any]:
        return dict(self._state.progress)

    def positions(self) -> dict[str, dict[str, Any]]:
        return dict(self._state.positions)

    def notes(self) -> Iterator[Note]:
        """Every note, oldest first, but those of progress and positions."""
        return iter(tuple(self._notes))

    def _locate(self, number: int) -> tuple[Record, int]:
        place = bisect_right(self._first_rows, number) - 1
        return self._records[place], number - self._first_rows[place]


def _is_under(record: Record, tuning: Float64Array | None) -> bool:
    if record.tuning is None or tuning is None:
        return record.tuning is tuning
    return record.tuning is tuning or np.array_equal(record.tuning, tuning)


def _bytes(record: Record) -> int:
    return record.stimuli.nbytes + record.responses.nbytes + (0 if record.tuning is None else record.tuning.nbytes)
