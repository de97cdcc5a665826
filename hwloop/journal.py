"""The seam to whatever keeps measurements: every row that a device answered is recorded before anyone uses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from hwloop.device.spec import Float64Array


@dataclass(frozen=True)
class Record:
    """One answered call of a device.

    Attributes
    ----------
    purpose
        What the rows were measured for, one of :data:`hwloop.session.PURPOSES`.
    device
        Identity of the device that answered.
    first_row
        Number of rows that the session had measured before this call.
    started_seconds, duration_seconds
        Unix time when the call began, and how long the device took.
    stimuli, responses
        Arrays of shape (rows, n_inputs) and (rows, n_outputs), float64.
    """

    purpose: str
    device: str
    first_row: int
    started_seconds: float
    duration_seconds: float
    stimuli: Float64Array
    responses: Float64Array


class Journal(ABC):
    """Keeps records in the order in which they were measured."""

    @abstractmethod
    def append(self, record: Record) -> None:
        """Keep a record; it must be safe when this returns."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Every record kept so far, oldest first."""

    def close(self) -> None:
        """Finish writing; safe to call twice."""


class InMemoryJournal(Journal):
    """A journal that lasts as long as the process, for tests and short simulations."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def append(self, record: Record) -> None:
        """Keep a record in memory."""
        self._records.append(record)

    def records(self) -> Iterator[Record]:
        """Every record kept so far, oldest first."""
        return iter(tuple(self._records))
