"""Read the rows of a run for other tools: first what there is, then the rows, block by block.

Both passes read the chunks from front to back, and neither keeps more than one block: the memory that an export
needs does not depend on how much was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.journal.chunk import ChunkFile, ChunkReader, Damage, Located, chunk_numbers, chunk_path
from hwloop.journal.frame import ROWS
from hwloop.journal.record import DEVICE
from hwloop.runs.files import UnreadableError, require_file
from hwloop.runs.layout import JournalFolder

Key = tuple[str, int, int, int]  # settings, n_inputs, n_outputs, n_tunables
BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 16_384
# The years 1678 to 2261, which a count of nanoseconds reaches.
EARLIEST_SECONDS, LATEST_SECONDS = -9.2e9, 9.2e9


def require_chunks(journal: Path) -> list[int]:
    """The numbers of a journal's chunks, each of them a file.

    Raises
    ------
    UnreadableError, OSError
    """
    numbers = chunk_numbers(journal)
    for number in numbers:
        path = chunk_path(journal, number)
        try:
            require_file(path)
        except UnreadableError as error:
            raise UnreadableError(f"{path.name} {error}") from error
    return numbers


def read_through(journal: Path) -> Iterator[Located | Damage]:
    """Whole records and damage of all chunks, oldest first.

    Raises
    ------
    UnreadableError, OSError
    """
    require_chunks(journal)
    yield from ChunkReader(journal).read_on()


@dataclass(frozen=True, slots=True)
class RowsHeader:
    """A record of rows.

    Attributes
    ----------
    settings
        Fingerprint of the device and its settings.
    is_narrow
        Whether stimuli and responses are stored as float32.
    writes
        Of tunables, before its rows.
    """

    purpose: str
    step: str
    settings: str
    first_row: int
    rows: int
    started_seconds: float
    duration_seconds: float
    n_inputs: int
    n_outputs: int
    n_tunables: int
    is_narrow: bool
    writes: int

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> RowsHeader | None:
        """The header of a record of rows; ``None`` if it is another record's."""
        if header["kind"] != ROWS:
            return None
        stimuli, responses, *tuning = header["arrays"]
        return cls(
            purpose=header["purpose"],
            step=header["step"],
            settings=header["device"],
            first_row=header["first_row"],
            rows=header["rows"],
            started_seconds=float(header["started_seconds"]),
            duration_seconds=float(header["duration_seconds"]),
            n_inputs=stimuli["shape"][1],
            n_outputs=responses["shape"][1],
            n_tunables=tuning[0]["shape"][1] if tuning else 0,
            is_narrow=stimuli["dtype"] == responses["dtype"] == "<f4",
            writes=header.get("writes", 0),
        )


@dataclass(frozen=True, slots=True)
class DeviceNote:
    """Which device answers from here on; ``spec`` as :meth:`hwloop.DeviceSpec.as_dict` gave it."""

    settings: str
    identity: str
    spec: dict[str, Any]

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> DeviceNote | None:
        """The header of a note that names a device; ``None`` if it is another record's, or names none."""
        details = header.get("details")
        if header["kind"] != DEVICE or not isinstance(details, dict):
            return None
        settings, identity, spec = (details.get(name) for name in ("settings", "identity", "spec"))
        if not isinstance(settings, str) or not isinstance(identity, str) or not isinstance(spec, dict):
            return None
        return cls(settings, identity, spec)


@dataclass
class ExportedDevice:
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
    n_tunables: int = 0
    identity: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    is_narrow: bool = True

    def unit(self, name: str) -> str:
        """``input_unit`` or ``output_unit`` of the spec; empty if it is not known."""
        return str(self.spec.get(name, ""))


@dataclass
class JournalContents:
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
    devices: dict[Key, ExportedDevice] = field(default_factory=dict)
    end: tuple[int, int] = (0, 0)
    damaged: int = 0
    missing_rows: int = 0


@dataclass(frozen=True)
class ExportedRows:
    """Consecutive rows of one :class:`ExportedDevice`, from number ``start`` among its own.

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
    tuning
        What the tunables were set to, shape (rows, n_tunables); without columns where there are none.
    """

    device: ExportedDevice
    start: int
    row: NDArray[np.int64]
    call: NDArray[np.int64]
    started_seconds: Float64Array
    device_seconds: Float64Array
    purpose: NDArray[np.object_]
    step: NDArray[np.object_]
    stimuli: Float64Array
    responses: Float64Array
    tuning: Float64Array


def survey(journal: JournalFolder) -> JournalContents:
    """Read a journal through, and remember what it holds but not the rows.

    Raises
    ------
    UnreadableError, OSError
    """
    found = JournalContents(journal)
    notes: dict[str, DeviceNote] = {}
    next_row = 0
    for record in read_through(journal.path):
        if isinstance(record, Damage):
            found.damaged += not record.torn
            continue
        found.end = (record.chunk, record.offset + record.length)
        rows, note = RowsHeader.of(record.header), DeviceNote.of(record.header)
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


def _count(found: JournalContents, rows: RowsHeader) -> None:
    key = key_of(rows)
    if key not in found.devices:
        parts = len(found.devices)
        name = found.journal.name + (f"-part-{parts + 1}" if parts else "")
        found.devices[key] = ExportedDevice(name, found.journal, *key)
    device = found.devices[key]
    device.rows += rows.rows
    device.is_narrow &= rows.is_narrow


def key_of(rows: RowsHeader) -> Key:
    """What tells one rectangle of numbers from another in a journal."""
    return rows.settings, rows.n_inputs, rows.n_outputs, rows.n_tunables


def records_with_arrays(found: JournalContents) -> Iterator[tuple[RowsHeader, dict[str, Float64Array]]]:
    """Every whole record of rows that the survey saw, oldest first.

    Raises
    ------
    UnreadableError, OSError
    """
    file: ChunkFile | None = None
    try:
        for record in read_through(found.journal.path):
            if isinstance(record, Damage) or (rows := RowsHeader.of(record.header)) is None:
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


Call = tuple[int, RowsHeader, dict[str, Float64Array]]


def row_blocks(found: JournalContents) -> Iterator[ExportedRows]:
    """All rows that a survey saw, in blocks of about :data:`BLOCK_BYTES` or :data:`BLOCK_ROWS`.

    Raises
    ------
    OSError
    """
    gathering = {key: _Gathering(device) for key, device in found.devices.items()}
    for number, (header, arrays) in enumerate(records_with_arrays(found)):
        part = gathering[key_of(header)]
        part.add((number, header, arrays))
        if part.is_full:
            yield part.block()
    for part in gathering.values():
        if part.calls:
            yield part.block()


class _Gathering:
    """Calls of one device that wait to be handed over."""

    def __init__(self, device: ExportedDevice) -> None:
        self.device = device
        self.calls: list[Call] = []
        self._rows = 0
        self._start = 0

    def add(self, call: Call) -> None:
        self.calls.append(call)
        self._rows += call[1].rows

    @property
    def is_full(self) -> bool:
        row_bytes = 8 * (self.device.n_inputs + self.device.n_outputs + self.device.n_tunables)
        return self._rows >= BLOCK_ROWS or self._rows * row_bytes >= BLOCK_BYTES

    def block(self) -> ExportedRows:
        headers = [header for _, header, _ in self.calls]
        counts = np.array([header.rows for header in headers])
        block = ExportedRows(
            device=self.device,
            start=self._start,
            row=np.concatenate([np.arange(h.first_row, h.first_row + h.rows) for h in headers]),
            call=np.repeat(np.array([number for number, _, _ in self.calls]), counts),
            started_seconds=np.repeat(_moments([h.started_seconds for h in headers]), counts),
            device_seconds=np.repeat(np.array([h.duration_seconds / h.rows for h in headers]), counts),
            purpose=_texts([h.purpose for h in headers], counts),
            step=_texts([h.step for h in headers], counts),
            stimuli=np.concatenate([arrays["stimuli"] for _, _, arrays in self.calls]),
            responses=np.concatenate([arrays["responses"] for _, _, arrays in self.calls]),
            tuning=np.repeat([tuning_or_none(arrays) for _, _, arrays in self.calls], counts, axis=0),
        )
        self._start += self._rows
        self.calls, self._rows = [], 0
        return block


def tuning_or_none(arrays: Mapping[str, Float64Array]) -> Float64Array:
    """The tuning of a call, shape (n_tunables,); without values where the device has none."""
    return arrays["tuning"][0] if "tuning" in arrays else np.empty(0)


def _texts(values: list[str], counts: NDArray[np.int64]) -> NDArray[np.object_]:
    return np.repeat(np.array([storable(value) for value in values], dtype=object), counts)


def _moments(seconds: list[float]) -> Float64Array:
    """Times as they are, and what no calendar holds as not a number."""
    values = np.array(seconds)
    return np.where((values >= EARLIEST_SECONDS) & (values <= LATEST_SECONDS), values, np.nan)


def storable(text: str) -> str:
    """The text without what HDF5 cannot hold: half a character, or a zero byte."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
