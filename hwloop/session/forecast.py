"""What a run will cost, before its first row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Forecast:
    """Rows still to be measured, and the time in seconds that the device needs for them, if it is known."""

    rows: int
    seconds: float | None = None

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return rows if self.seconds is None else f"{rows}, about {readable_time(self.seconds)}"


def readable_time(seconds: float) -> str:
    """A time as a person says it: ``0.4 s``, ``41 min``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
