"""Print tables, figures and warnings; what a file says is shown letter by letter, never interpreted.

Tables are :class:`FittedTable`: on a narrow terminal they lose columns, never figures or names.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from hwloop.experiment.config import ExperimentConfig

FILE_COLUMNS = 140
RECORDED_FILE_COLUMNS = 160
BEFORE_WRAPPING = 100


class PipedConsole(Console):
    """Says that its reader is gone, where rich would end the process in the midst of whatever goes on."""

    def on_broken_pipe(self) -> None:
        """Called while a ``BrokenPipeError`` is handled: it goes on to the command, which closes devices first."""
        raise


def new_console(stderr: bool = False, file_columns: int = FILE_COLUMNS, **options: Any) -> Console:
    """A terminal as wide as it is; a file or pipe gets room for the whole table. Options are rich's."""
    console = PipedConsole(stderr=stderr, **options)
    return console if console.is_terminal else PipedConsole(stderr=stderr, width=file_columns, **options)


def recorded_console(stderr: bool = False) -> Console:
    """A terminal as wide as it is; a file or pipe gets room for the whole table."""
    return new_console(stderr, RECORDED_FILE_COLUMNS, highlight=False, markup=False)


@dataclass(frozen=True)
class Heading:
    """A column of a table.

    Attributes
    ----------
    title
        A line break where it may be broken.
    drop
        Where the room is scarce, columns of the highest number go first; 0 stays. None is ever cut. From
        :data:`BEFORE_WRAPPING` up they go before a name is wrapped.
    wraps
        Whether a cell may take several lines; else a line of it stays whole.
    right
        Whether figures stand in it.
    least
        Letters that a wrapping column needs at least.
    name
        What it is called below the table when it was dropped; by default its title.
    """

    title: str
    drop: int = 0
    wraps: bool = False
    right: bool = False
    least: int = 12
    name: str = ""

    @property
    def called(self) -> str:
        """Its name, on one line."""
        return self.name or " ".join(self.title.split())


class FittedTable:
    """A table that fits its console: columns are dropped, the least important first, and named below.

    Figures and words are never cut. A name that is too long for the room that is left is wrapped.

    Parameters
    ----------
    headings
        Its columns.
    title
        Above it.
    elsewhere
        Where dropped columns can be seen, as in ``--json has them``.
    """

    def __init__(self, headings: Sequence[Heading], title: str | Text = "", elsewhere: str = "") -> None:
        self.headings = tuple(headings)
        self.title = title
        self.elsewhere = elsewhere
        self._rows: list[tuple[list[Text], str] | None] = []

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """A cell a column."""
        if len(cells) != len(self.headings):
            raise ValueError(f"{len(cells)} cells for {len(self.headings)} columns")
        self._rows.append(([cell if isinstance(cell, Text) else Text(cell) for cell in cells], style))

    def add_section(self) -> None:
        """A rule below the rows so far."""
        self._rows.append(None)

    def fitting(self, width: int) -> list[int]:
        """Which columns there is room for, by number; at least those that are never dropped."""
        kept = list(range(len(self.headings)))
        for wrapping, least_drop in ((False, BEFORE_WRAPPING), (True, 1)):
            while self._width(kept, wrapping) > width:
                droppable = [number for number in kept if self.headings[number].drop >= least_drop]
                if not droppable:
                    break
                kept.remove(max(droppable, key=lambda number: (self.headings[number].drop, number)))
        return kept

    def _width(self, kept: Sequence[int], wrapping: bool = True) -> int:
        """Columns of a terminal that the table needs at least; three between two of its own."""
        return sum(self._needs(number, wrapping) + 3 for number in kept) - 3

    def _needs(self, number: int, wrapping: bool) -> int:
        heading = self.headings[number]
        lines = [line for row in self._rows if row for line in row[0][number].plain.splitlines()]
        longest = max((Text(line).cell_len for line in [*lines, *heading.title.split("\n")]), default=0)
        return min(longest, heading.least) if heading.wraps and wrapping else longest

    def print(self, console: Console) -> None:
        """Print what fits, and below it what does not."""
        from rich.box import SIMPLE_HEAD
        from rich.segment import Segments
        from rich.table import Table

        kept = self.fitting(console.width)
        table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
        for heading in (self.headings[number] for number in kept):
            table.add_column(
                Text(heading.title),
                justify="right" if heading.right else "left",
                no_wrap=not heading.wraps,
                overflow="fold",
            )
        for row in self._rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*(row[0][number] for number in kept), style=row[1])
        if self.title:
            console.print(self.title if isinstance(self.title, Text) else Text(self.title, style="bold"))
        # What stays may need more than there is: then the terminal breaks the lines, and nothing is cut.
        options = console.options.update(max_width=max(self._width(kept), console.width))
        console.print(Segments(list(console.render(table, options))), crop=False, end="")
        dropped = [heading.called for n, heading in enumerate(self.headings) if n not in kept]
        if dropped:
            where = f"; {self.elsewhere}" if self.elsewhere else ""
            console.print(
                Text(f"no room at {console.width} columns for: {', '.join(dropped)}{where}", style="dim")
            )


def plain(text: str) -> str:
    """Without control characters, which a damaged file could send to the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def moment(seconds: float | None) -> str:
    """A Unix time as local date and time."""
    try:
        return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "?"


def size(count: int) -> str:
    """Bytes in decimal units."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


@contextmanager
def shown_warnings(console: Console) -> Iterator[None]:
    """Show every :class:`hwloop.errors.HwloopWarning` inside, from any thread; others as ever."""
    from hwloop.errors import HwloopWarning

    with warnings.catch_warnings():
        show = warnings.showwarning

        def one_line(message: Any, category: type[Warning], *place: Any, **rest: Any) -> None:
            if issubclass(category, HwloopWarning):
                console.print(f"warning: {message}", highlight=False, markup=False, soft_wrap=True)
            else:
                show(message, category, *place, **rest)

        warnings.showwarning = one_line
        warnings.simplefilter("always", HwloopWarning)
        yield


def with_data_read(config: ExperimentConfig) -> ExperimentConfig:
    """The same with what is chosen when the user's own data are read, which is said on standard error.

    For a command that reads them once more for each of its parts: they all get the same, or are refused.
    """
    if config.dataset.file is None and ":" not in config.dataset.title:
        return config
    dataset = config.dataset.build()
    errors = new_console(stderr=True)
    for note in getattr(dataset, "notes", ()):
        errors.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    return config.model_copy(update={"dataset": config.dataset.as_read(dataset)})
