"""Shows how far a command that measures rows into a folder has come, and keeps what to say if it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from rich.console import Console

from hwloop.cli.command import ProgressKept
from hwloop.events import Event, RowsMeasured

if TYPE_CHECKING:
    from hwloop.runs.recording_folder import RecordingFolder


class RowsProgress:
    """Rows measured of those planned, on standard error; where that is no terminal the forecast alone.

    Parameters
    ----------
    console
        Of standard error.
    kept
        Told what is on disk after every row.
    folder
        That the rows are kept in.
    """

    doing: ClassVar[str] = "measuring"

    def __init__(self, console: Console, kept: ProgressKept, folder: RecordingFolder) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._console, self._kept, self.folder = console, kept, folder
        self._measured, self._total = 0, 0
        self._bar = Progress(
            TextColumn(self.doing),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=0, visible=False)  # until it is known how many rows

    def __enter__(self) -> Self:
        if self.folder.set_aside is not None:
            self._say(f"what was measured here before is kept in {self.folder.set_aside}")
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, rows: int, text: str, recorded: int = 0) -> None:
        """Say that so many rows come, in words, and how many of them are known already."""
        self._say(text)
        if recorded:
            self._say(f"goes on with {recorded:,} rows that were measured before it was interrupted")
        self._total += rows
        self._bar.update(self._task, total=self._total, visible=True)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def __call__(self, event: Event) -> None:
        if isinstance(event, RowsMeasured):
            self._measured += event.rows
            self._kept.note = (
                f"{self._measured:,} rows are kept in {self.folder.path}: the same command goes on with them"
            )
            self._bar.update(self._task, completed=self._measured)
