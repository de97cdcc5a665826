"""Print tables, figures and warnings; what a file says is shown letter by letter, never interpreted."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

FILE_COLUMNS = 140
RECORDED_FILE_COLUMNS = 160


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
