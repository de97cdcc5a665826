"""A journal that is only read: an earlier run's, or one that somebody else is writing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import JournalError
from hwloop.journal.catalogue import Catalogue
from hwloop.journal.chunk import Damage
from hwloop.journal.record import Journal, Note, Record
from hwloop.journal.survey import Survey


class ReadOnlyJournal(Journal):
    """What a journal's folder held when it was opened; takes no lock and changes nothing.

    Parameters
    ----------
    folder
        Of a :class:`hwloop.journal.DiskJournal`.

    Raises
    ------
    JournalError
        There is no such folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.damage: list[Damage] = []
        self._catalogue = Catalogue(self.folder)
        try:
            for found in Survey(self.folder).read_on():
                if isinstance(found, Damage):
                    self.damage.append(found)
                else:
                    self._catalogue.enter(found)
        except OSError as error:
            raise JournalError(f"{self.folder} cannot be read ({error.strerror}); check the path") from error

    @property
    def rows(self) -> int:
        """Rows recorded when it was opened."""
        return self._catalogue.rows

    def append(self, record: Record) -> None:
        """Refused."""
        raise JournalError(f"{self.folder} was opened for reading; nothing is written to it")

    def note(self, note: Note) -> None:
        """Refused."""
        raise JournalError(f"{self.folder} was opened for reading; nothing is written to it")

    def readable(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Every row that was recorded and is not damaged."""
        return self._catalogue.readable(numbers)

    def read_rows(self, numbers: NDArray[np.int64]) -> tuple[Float64Array, Float64Array]:
        """Stimuli and responses of rows by number."""
        return self._catalogue.read_rows(numbers)

    def started_seconds(self, numbers: NDArray[np.int64]) -> Float64Array:
        """Unix time at which the call began that measured each row."""
        return self._catalogue.started_seconds(numbers)

    def duration_seconds(self, first: int, rows: int) -> float:
        """Device time of consecutive rows."""
        return self._catalogue.duration_seconds(first, rows)

    def records(self) -> Iterator[Record]:
        """Every record of rows, oldest first."""
        return (self._catalogue.record_of_rows(entry) for entry in range(self._catalogue.records_of_rows))

    def progress(self) -> dict[str, Any]:
        """How far the device had come behind the last row."""
        return dict(self._catalogue.state.progress)

    def positions(self) -> dict[str, dict[str, Any]]:
        """Where hardware may stand."""
        return dict(self._catalogue.state.positions)

    def notes(self) -> Iterator[Note]:
        """Every note, oldest first, but those of progress and positions."""
        return self._catalogue.notes()

    def close(self) -> None:
        """Close the files; safe to call twice."""
        self._catalogue.close()
