"""The rows of a run for other tools: first what there is, then the rows themselves, block by block.

Both passes read the chunks from front to back, and neither keeps more than one block: the memory that an export
needs does not depend on how much was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.journal.chunk import ChunkFile, Damage
from hwloop.runs.chunks import read_through
from hwloop.runs.headers import DeviceNote, RowsHeader, device_note, rows_header
from hwloop.runs.layout import JournalFolder

Key = tuple[str, int, int]  # settings, n_inputs, n_outputs


@dataclass
class DeviceRows:
    """All rows that one device with one setting measured in one journal: a rectangle of numbers.

    Attributes
    ----------
    name
        The journal's, with ``-part-2`` and so on where the device or its settings changed meanwhile.
    settings, identity, spec
        Fingerprint, what the device said of itself, and its spec; both empty where the note of it is damaged.
    is_narrow
        Whether float32 holds every value without loss.
    """

    name: str
    journal: JournalFolder
    settings: str
    n_inputs: int
    n_outputs: int
    identity: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    is_narrow: bool = True

    def unit(self, name: str) -> str:
        """``input_unit`` or ``output_unit`` of the spec; empty if it is not known."""
        return str(self.spec.get(name, ""))


@dataclass
class JournalSurvey:
    """What one journal holds.

    Attributes
    ----------
    end
        Chunk and offset behind the last record seen; what is written later is not exported.
    damaged
        Stretches of bytes that are no whole record; the tail that a writer left unfinished is none of them.
    missing_rows
        Rows that no whole record holds.
    """

    journal: JournalFolder
    devices: dict[Key, DeviceRows] = field(default_factory=dict)
    end: tuple[int, int] = (0, 0)
    damaged: int = 0
    missing_rows: int = 0


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of one :class:`DeviceRows`, from number ``start`` among its own.

    Attributes
    ----------
    row
        Number of each row in its journal.
    call
        Which call of the device answered it, counted in the journal from 0.
    started_seconds
        Unix time at which that call began; not a number where no calendar holds it.
    device_seconds
        The row's share of the time that the call took.
    """

    device: DeviceRows
    start: int
    row: NDArray[np.int64]
    call: NDArray[np.int64]
    started_seconds: Float64Array
    device_seconds: Float64Array
    purpose: NDArray[np.object_]
    step: NDArray[np.object_]
    stimuli: Float64Array
    responses: Float64Array


def survey(journal: JournalFolder) -> JournalSurvey:
    """Read a journal through, and remember what it holds but not the rows.

    Raises
    ------
    UnreadableError, OSError
    """
    found = JournalSurvey(journal)
    notes: dict[str, DeviceNote] = {}
    next_row = 0
    for record in read_through(journal.path):
        if isinstance(record, Damage):
            found.damaged += not record.torn
            continue
        found.end = (record.chunk, record.offset + record.length)
        rows, note = rows_header(record.header), device_note(record.header)
        if rows is not None:
            found.missing_rows += rows.first_row - next_row
            next_row = rows.first_row + rows.rows
            _count(found, rows)
        elif note is not None:
            notes[note.settings] = note
    for device in found.devices.values():
        if device.settings in notes:
            device.identity, device.spec = notes[device.settings].identity, notes[device.settings].spec
    return found


def _count(found: JournalSurvey, rows: RowsHeader) -> None:
    key = key_of(rows)
    if key not in found.devices:
        parts = len(found.devices)
        name = found.journal.name + (f"-part-{parts + 1}" if parts else "")
        found.devices[key] = DeviceRows(name, found.journal, *key)
    device = found.devices[key]
    device.rows += rows.rows
    device.is_narrow &= rows.is_narrow


def key_of(rows: RowsHeader) -> Key:
    """What tells one rectangle of numbers from another in a journal."""
    return rows.settings, rows.n_inputs, rows.n_outputs


def records_with_arrays(found: JournalSurvey) -> Iterator[tuple[RowsHeader, dict[str, Float64Array]]]:
    """Every whole record of rows that the survey saw, oldest first.

    Raises
    ------
    UnreadableError, OSError
    """
    file: ChunkFile | None = None
    try:
        for record in read_through(found.journal.path):
            if isinstance(record, Damage) or (rows := rows_header(record.header)) is None:
                continue
            if (record.chunk, record.offset) >= found.end:
                return
            if file is None or file.number != record.chunk:
                if file is not None:
                    file.close()
                file = ChunkFile(found.journal.path, record.chunk)
            yield rows, file.read(record.offset)[1]
    finally:
        if file is not None:
            file.close()
