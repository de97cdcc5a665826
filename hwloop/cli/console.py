"""Where tables and messages of the commands are printed."""

from __future__ import annotations

from typing import Any

from rich.console import Console

FILE_COLUMNS = 140


class PipedConsole(Console):
    """Says that its reader is gone, where rich would end the process in the midst of whatever goes on."""

    def on_broken_pipe(self) -> None:
        """Called while a ``BrokenPipeError`` is handled: it goes on to the command, which closes devices first."""
        raise


def new_console(stderr: bool = False, file_columns: int = FILE_COLUMNS, **options: Any) -> Console:
    """A terminal as wide as it is; a file or pipe gets room for the whole table. Options are rich's."""
    console = PipedConsole(stderr=stderr, **options)
    return console if console.is_terminal else PipedConsole(stderr=stderr, width=file_columns, **options)
