"""Verify a run's folder: everything in it is read, nothing is changed, and no lock is taken."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwloop.journal.chunk import Damage, Located
from hwloop.journal.lock import writer_of
from hwloop.runs import layout
from hwloop.runs.checkpoints import CheckpointCheck, check_checkpoints, check_finished
from hwloop.runs.files import MetricsCheck, UnreadableError, check_metrics, read_object, read_toml
from hwloop.runs.index_check import IndexCheck, IndexRead, check_index, read_index
from hwloop.runs.layout import RUNNING, JournalFolder, RunState, read_state
from hwloop.runs.recorded_rows import DeviceNote, RowsHeader, read_through

T = TypeVar("T")


@dataclass
class Verification:
    """What was found in a run's folder.

    Attributes
    ----------
    state
        ``None`` if it cannot be read.
    metrics
        ``None`` if it cannot be read.
    problems
        Everything that is damaged, with its place; empty for a whole run.
    notices
        What is worth knowing, and is no damage.
    """

    folder: str
    state: RunState | None = None
    journals: list[JournalCheck] = field(default_factory=list)
    checkpoints: list[CheckpointCheck] = field(default_factory=list)
    metrics: MetricsCheck | None = None
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"is_whole": self.is_whole, **asdict(self)}


def verify_run(folder: Path) -> Verification:
    """Check a run's folder, which may be written meanwhile.

    Raises
    ------
    ConfigError
        It holds no run.
    """
    layout.require_run(folder)
    found = Verification(str(folder))
    found.state = _read(found, folder / layout.STATE, lambda _: read_state(folder))
    _read(found, folder / layout.CONFIG, read_toml)
    _read(found, folder / layout.ENVIRONMENT, read_object)
    _check_links(found, folder)
    _check_journals(found, folder)
    _check_checkpoints(found, folder)
    _check_finished(found, folder)
    is_running = found.state is not None and found.state.state == RUNNING
    found.metrics = _read(found, folder / layout.METRICS, check_metrics)
    if found.metrics is not None:
        found.problems += _metrics_problems(found.metrics, is_running)
    return found


def _read(found: Verification, path: Path, reader: Callable[[Path], T]) -> T | None:
    """What a file holds, or a problem."""
    try:
        return reader(path)
    except UnreadableError as error:
        found.problems.append(f"{path.name} {error}")
        return None


def _check_links(found: Verification, folder: Path) -> None:
    for path in layout.links_in(folder):
        place = path.relative_to(folder)
        if not any(problem.startswith(f"{place} is a symbolic link") for problem in found.problems):
            found.problems.append(
                f"{place} is a symbolic link to {os.readlink(path)[:200]}, which is not followed; nor does resume "
                "write through it"
            )


def _check_journals(found: Verification, folder: Path) -> None:
    try:
        journals = layout.journal_folders(folder)
    except OSError as error:
        found.problems.append(f"{layout.JOURNAL} cannot be read ({error.strerror})")
        return
    if layout.is_own_folder(folder / layout.REUSED):
        journals.append(layout.JournalFolder(folder / layout.REUSED, None, None))
    for journal in journals:
        check = check_journal(journal)
        found.journals.append(check)
        place = f"{layout.JOURNAL}/{journal.name}" if journal.seed is not None else journal.name
        found.problems += [f"{place}: {problem}" for problem in _journal_problems(check)]
        found.notices += [f"{place}: {notice}" for notice in _journal_notices(check)]


def _journal_problems(check: JournalCheck) -> Iterator[str]:
    yield from check.problems
    yield from map(_damage_text, check.damage)
    for first, last in check.missing_rows:
        yield f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"
    index = check.index
    if index.problem:
        yield f"index.sqlite {index.problem}; it is made again from the chunks when the run is resumed"
    if index.missing:
        yield f"index.sqlite does not know {index.missing} whole records before its last"
    if index.extra and index.first_extra is not None:
        chunk, offset = index.first_extra
        yield (
            f"index.sqlite knows {index.extra} records with {index.extra_rows} rows of which the chunks hold no "
            f"whole one, the first in {chunk:06d}.rows at byte {offset}"
        )


def _damage_text(damage: DamageFound) -> str:
    if damage.was_whole:
        outcome = "; the index knows a record here: measurements are lost"
    elif damage.is_torn:
        outcome = "; nothing was recorded in the index from here on, hwloop resume cuts this off"
    else:
        outcome = ""
    if not damage.bytes:
        return f"{damage.chunk}: {damage.reason}"
    place = f"{damage.chunk}, byte {damage.offset}"
    return f"{place}: {damage.bytes} bytes are no whole record ({damage.reason}){outcome}"


def _journal_notices(check: JournalCheck) -> Iterator[str]:
    if check.is_being_written:
        yield "is being written now"
    if check.bytes_in_flight:
        yield f"{check.bytes_in_flight} bytes of its newest record were there so far"
    if check.index.behind and not check.index.problem:
        yield f"index.sqlite is {check.index.behind} records behind; they are whole, and resuming enters them"


def _check_checkpoints(found: Verification, folder: Path) -> None:
    try:
        found.checkpoints = check_checkpoints(folder / layout.CHECKPOINTS)
    except OSError as error:
        found.problems.append(f"{layout.CHECKPOINTS} cannot be read ({error.strerror})")
    for checkpoint in found.checkpoints:
        place = f"{layout.CHECKPOINTS}/{checkpoint.name}"
        if checkpoint.problem:
            found.problems.append(f"{place} {checkpoint.problem}")
        elif not checkpoint.is_finished:
            found.notices.append(f"{place} is not finished: its .json was not written yet")


def _check_finished(found: Verification, folder: Path) -> None:
    try:
        for name, problem in check_finished(folder / layout.FINISHED_WORK):
            found.problems.append(
                f"{layout.FINISHED_WORK}/{name} {problem}; resume computes it again from the journal"
            )
    except OSError as error:
        found.problems.append(f"{layout.FINISHED_WORK} cannot be read ({error.strerror})")


def _metrics_problems(metrics: MetricsCheck, is_running: bool) -> Iterator[str]:
    bad = metrics.bad
    if is_running and metrics.ends_within_a_line:
        bad = [(number, reason) for number, reason in bad if number != metrics.lines]
    for number, reason in bad:
        yield f"{layout.METRICS}, line {number} {reason}"
    if metrics.n_bad > len(metrics.bad):
        yield f"{layout.METRICS}: {metrics.n_bad - len(metrics.bad)} more lines are no JSON objects"


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
    writes
        Of its tunables, for these rows.
    """

    settings: str
    identity: str
    purpose: str
    rows: int
    calls: int
    first_seconds: float
    last_seconds: float
    device_seconds: float
    writes: int = 0


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
        rows = RowsHeader.of(found.header)
        if rows is not None:
            self._enter_rows(rows)
            return
        self.notes[found.header["kind"][:MAX_KIND]] += 1
        note = DeviceNote.of(found.header)
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
            writes=so_far.writes + rows.writes,
        )
