"""How busy a device is kept while a trainer measures."""

from __future__ import annotations


class MeasuringPhase:
    """The time between the first and the last row of a measuring phase."""

    def __init__(self) -> None:
        self.busy_seconds = 0.0
        self._begin: float | None = None
        self._end = 0.0

    def extend(self, begin: float, end: float) -> None:
        """Enter a block that began and ended at these times in seconds."""
        self._begin = begin if self._begin is None else self._begin
        self._end = end
        self.busy_seconds += end - begin

    @property
    def wall_seconds(self) -> float:
        """Time from the first block's begin to the last one's end."""
        return 0.0 if self._begin is None else self._end - self._begin
