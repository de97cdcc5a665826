"""Deadlines: moments in time, not durations, so that handing one on does not extend it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Self


class Clock:
    """The time that this machine counts, and waiting in it; a test hands in one of its own."""

    def now(self) -> float:
        """Seconds since some moment in the past, never going back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds; Ctrl-C ends it."""
        time.sleep(seconds)


MONOTONIC = Clock()


@dataclass(frozen=True)
class Deadline:
    """The moment by which something must be done.

    Parameters
    ----------
    at_seconds
        The moment, in the seconds of ``clock``; infinity for never. It means nothing in another process.
    clock
        Tells the time.
    """

    at_seconds: float
    clock: Clock = field(default=MONOTONIC, repr=False)

    def __post_init__(self) -> None:
        if math.isnan(self.at_seconds):
            raise ValueError("Deadline.at_seconds must be a time in seconds, not nan")

    @classmethod
    def after(cls, seconds: float, clock: Clock = MONOTONIC) -> Self:
        """The moment ``seconds`` from now, at least 0; infinity for never.

        Raises
        ------
        ValueError
        """
        if not seconds >= 0:
            raise ValueError(f"a deadline lies at least 0 s ahead, not {seconds!r}")
        return cls(clock.now() + seconds, clock)

    @property
    def remaining_seconds(self) -> float:
        """Time that is left, 0 once it has passed."""
        return max(0.0, self.at_seconds - self.clock.now())

    @property
    def expired(self) -> bool:
        """Whether the moment has come."""
        return self.clock.now() >= self.at_seconds

    def earlier(self, other: Deadline) -> Deadline:
        """The one of two deadlines that comes first; both must be of one clock.

        Raises
        ------
        ValueError
        """
        if self.clock is not other.clock:
            raise ValueError("deadlines of two clocks cannot be compared; make both with the same one")
        return self if self.at_seconds <= other.at_seconds else other
