"""What a journal keeps, and the one interface of all journals."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array

DEVICE = "device"  # kind of the note that names the device of the rows behind it
PAUSED, RESTANDARDISED = "paused", "restandardised"  # kinds of notes of what followed from drift
PROGRESS, POSITION = "progress", "position"  # kinds of notes; of a record, the field
STATES = frozenset({PROGRESS, POSITION})  # there may be very many such notes, and of each only the last counts


@dataclass(frozen=True)
class Record:
    """One answered call of a device.

    Attributes
    ----------
    purpose
        What the rows were measured for, one of :data:`hwloop.session.PURPOSES`.
    device
        Fingerprint of the device: the digest of its description, see :class:`hwloop.device.DeviceDescription`.
    first_row
        Number of rows that the session had measured before this call.
    started_seconds, duration_seconds
        Unix time when the call began, and how long the device took.
    stimuli, responses
        Arrays of shape (rows, n_inputs) and (rows, n_outputs), float64.
    step
        Where in the run the rows were asked for, in words.
    progress
        How far the device had come behind these rows, by path: what changed since the record before.
        :meth:`hwloop.Device.resume` takes all of it.
    tuning
        What the device's tunables were set to, shape (n_tunables,), float64; ``None`` where it has none.
    writes, write_seconds
        Writes of tunables since the record before, and how long they took.
    """

    purpose: str
    device: str
    first_row: int
    started_seconds: float
    duration_seconds: float
    stimuli: Float64Array
    responses: Float64Array
    step: str = ""
    progress: dict[str, Any] = field(default_factory=dict)
    tuning: Float64Array | None = None
    writes: int = 0
    write_seconds: float = 0.0


@dataclass(frozen=True)
class Note:
    """Something that happened: a device opened, a fault, a checkpoint, a change of state.

    ``details`` holds plain JSON values.
    """

    kind: str
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = field(default_factory=time.time)


class Journal(ABC):
    """Keeps records in the order in which they were measured, and notes between them.

    Rows are numbered from 0 in that order.
    """

    @property
    @abstractmethod
    def rows(self) -> int:
        """Rows recorded so far, those no longer readable included."""

    @abstractmethod
    def append(self, record: Record) -> None:
        """Keep a record; it must be safe when this returns. One that begins elsewhere than behind the last row is
        refused.
        """

    @abstractmethod
    def note(self, note: Note) -> None:
        """Keep a note."""

    @abstractmethod
    def readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows can still be read, by number."""

    @abstractmethod
    def read_rows(self, numbers: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        """Stimuli (numbers, n_inputs) and responses (numbers, n_outputs) of readable rows."""

    @abstractmethod
    def started_seconds(self, numbers: NDArray[np.int64]) -> Float64Array:
        """Unix time at which the call began that measured each row."""

    @abstractmethod
    def duration_seconds(self, first: int, rows: int) -> float:
        """Device time of consecutive rows."""

    def tuning(self, number: int) -> Float64Array | None:
        """What a readable row was measured under, shape (n_tunables,); ``None`` on a device without tunables."""
        return None

    def measured_under(self, numbers: NDArray[np.int64], tuning: Float64Array | None) -> NDArray[np.bool_]:
        """Which readable rows were measured under a tuning, shape (n_tunables,); ``None`` on a device without."""
        return np.full(len(numbers), tuning is None)

    def writes(self, first: int, rows: int) -> tuple[int, float]:
        """Writes of tunables before records that begin with one of so many consecutive rows, and their seconds."""
        return 0, 0.0

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Every record that can still be read, oldest first."""

    @abstractmethod
    def notes(self) -> Iterator[Note]:
        """Every note, oldest first."""

    def begin_sync(self) -> None:
        """Begin to make everything kept so far survive a loss of power, and return at once."""

    def progress(self) -> dict[str, Any]:
        """How far the device had come behind the last row, by path; empty where the number of rows says it all."""
        kept = KeptState()
        for record in self.records():
            kept.enter_rows(record.progress)
        for note in self.notes():
            kept.enter_note(note.kind, note.details)
        return kept.progress

    def positions(self) -> dict[str, dict[str, Any]]:
        """Where hardware may stand: the last note of the kind ``position`` of each place."""
        kept = KeptState()
        for note in self.notes():
            kept.enter_note(note.kind, note.details)
        return kept.positions

    def sync(self) -> None:
        """Make everything kept so far survive a loss of power."""

    def close(self) -> None:
        """Finish writing; safe to call twice."""


class KeptState:
    """The last that was said of everything.

    Attributes
    ----------
    progress
        By path; see :class:`hwloop.journal.Record`. Notes of it tell of calls that failed.
    positions
        By place: where hardware may stand (:class:`hwloop.events.MayStand`).
    """

    def __init__(self) -> None:
        self.progress: dict[str, Any] = {}
        self.positions: dict[str, dict[str, Any]] = {}

    def enter_rows(self, changed: Mapping[str, Any]) -> None:
        """Take in what a record of rows says."""
        self.progress.update(changed)

    def enter_note(self, kind: str, details: Mapping[str, Any]) -> None:
        """Take in what a note says, if it is one of these."""
        if kind == PROGRESS:
            self.progress.update(details)
        elif kind == POSITION and isinstance(details.get("place"), str):
            self.positions[details["place"]] = dict(details)
