"""Recorded figures as text for a terminal. What a file says is shown letter by letter, never interpreted."""

from __future__ import annotations

import time

from rich.console import Console

from hwloop.cli.console import new_console

FILE_COLUMNS = 160


def console(stderr: bool = False) -> Console:
    """A terminal as wide as it is; a file or pipe gets room for the whole table."""
    return new_console(stderr, FILE_COLUMNS, highlight=False, markup=False)


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
