"""Is every record of a journal whole, and what was measured, when, for what and by which device."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwloop.journal.chunk import Damage, Located
from hwloop.journal.lock import writer_of
from hwloop.runs.chunks import read_through
from hwloop.runs.headers import RowsHeader, device_note, rows_header
from hwloop.runs.index_check import IndexCheck, IndexRead, check_index, read_index
from hwloop.runs.layout import JournalFolder

MAX_KIND = 60  # letters of a note's kind that are worth keeping


@dataclass(frozen=True)
class Measured:
    """What one device measured for one purpose.

    Attributes
    ----------
    settings
        Fingerprint of the device and its settings.
    identity
        What the device said of itself; empty where the note that says so is damaged.
    first_seconds, last_seconds
        Unix time at which the first and the last call began.
    device_seconds
        How long the device took in all.
    """

    settings: str
    identity: str
    purpose: str
    rows: int
    calls: int
    first_seconds: float
    last_seconds: float
    device_seconds: float


@dataclass(frozen=True)
class DamageFound:
    """Bytes that are no whole record.

    Attributes
    ----------
    is_torn
        They end the chunk, as a killed writer leaves them; ``hwloop resume`` cuts them off.
    was_whole
        The index knows a record among them: it had been measured and written.
    """

    chunk: str
    offset: int
    bytes: int
    reason: str
    is_torn: bool
    was_whole: bool


@dataclass
class JournalCheck:
    """One journal.

    Attributes
    ----------
    notes
        Number of notes by kind.
    missing_rows
        First and last number of each stretch of rows that no whole record holds.
    is_being_written, bytes_in_flight
        Whether a process writes it now, and how much of its newest record was there.
    problems
        What else is wrong, in words.
    """

    name: str
    seed: int | None
    device_number: int | None
    is_being_written: bool = False
    bytes_in_flight: int = 0
    records: int = 0
    rows: int = 0
    measured: list[Measured] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    damage: list[DamageFound] = field(default_factory=list)
    missing_rows: list[tuple[int, int]] = field(default_factory=list)
    index: IndexCheck = field(default_factory=IndexCheck)
    problems: list[str] = field(default_factory=list)


def check_journal(journal: JournalFolder) -> JournalCheck:
    """Read a journal through; it may be written meanwhile."""
    check = JournalCheck(journal.name, journal.seed, journal.device_number)
    # The index is read first: a record enters its chunk before the index, so that whatever the index knows must
    # be there when the chunks are read.
    was_written = writer_of(journal.path) is not None
    index = read_index(journal.path)
    tally = _Tally(check)
    try:
        for found in read_through(journal.path):
            tally.enter(found)
    except (OSError, ValueError) as error:
        check.problems.append(f"the chunks cannot be read to their end: {error}")
    check.is_being_written = was_written or writer_of(journal.path) is not None
    check.index = check_index(index, tally.records)
    check.measured, check.notes = tally.measured, dict(tally.notes)
    _judge_damage(check, tally.damage, index)
    return check


def _judge_damage(check: JournalCheck, found: list[Damage], index: IndexRead) -> None:
    """Tell the record that is being written from one that is damaged."""
    for damage in found:
        was_whole = index.knows_record_in(damage.chunk, damage.offset, damage.offset + damage.length)
        if damage.torn and check.is_being_written and not was_whole:
            check.bytes_in_flight = damage.length
            continue
        name = f"{damage.chunk:06d}.rows"
        check.damage.append(DamageFound(name, damage.offset, damage.length, damage.reason, damage.torn, was_whole))


class _Tally:
    """Adds up records in the order in which they lie in the chunks."""

    def __init__(self, check: JournalCheck) -> None:
        self.damage: list[Damage] = []
        self.notes: Counter[str] = Counter()
        self._check = check
        self._places = array("q")
        self._measured: dict[tuple[str, str], Measured] = {}
        self._identities: dict[str, str] = {}
        self._next_row = 0

    @property
    def records(self) -> NDArray[np.int64]:
        """Chunk, offset and length of every whole record, shape (records, 3)."""
        return np.array(self._places, dtype=np.int64).reshape(-1, 3)

    @property
    def measured(self) -> list[Measured]:
        """What was measured, in the order of the first call of each kind."""
        return [replace(m, identity=self._identities.get(m.settings, "")) for m in self._measured.values()]

    def enter(self, found: Located | Damage) -> None:
        """Take a record or a stretch of damage."""
        if isinstance(found, Damage):
            self.damage.append(found)
            return
        self._check.records += 1
        self._places.extend((found.chunk, found.offset, found.length))
        rows = rows_header(found.header)
        if rows is not None:
            self._enter_rows(rows)
            return
        self.notes[found.header["kind"][:MAX_KIND]] += 1
        note = device_note(found.header)
        if note is not None:
            self._identities[note.settings] = note.identity

    def _enter_rows(self, rows: RowsHeader) -> None:
        if rows.first_row > self._next_row:
            self._check.missing_rows.append((self._next_row, rows.first_row - 1))
        self._next_row = rows.first_row + rows.rows
        self._check.rows += rows.rows
        first = Measured(rows.settings, "", rows.purpose, 0, 0, rows.started_seconds, rows.started_seconds, 0.0)
        so_far = self._measured.get((rows.settings, rows.purpose), first)
        self._measured[rows.settings, rows.purpose] = replace(
            so_far,
            rows=so_far.rows + rows.rows,
            calls=so_far.calls + 1,
            first_seconds=min(so_far.first_seconds, rows.started_seconds),
            last_seconds=max(so_far.last_seconds, rows.started_seconds),
            device_seconds=so_far.device_seconds + rows.duration_seconds,
        )
