"""Every record of a journal by its header, from files that are none to be waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hwloop.journal.chunk import ChunkReader, Damage, Located, chunk_numbers, chunk_path
from hwloop.runs.files import UnreadableError, require_file


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
