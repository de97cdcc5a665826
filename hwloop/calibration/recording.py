"""Sends the rows of a calibration, and times those calls that latency is found from."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwloop.deadline import Clock
from hwloop.device.spec import Float64Array
from hwloop.session import Session


@dataclass(frozen=True)
class Call:
    """One call: its rows, and the seconds from asking to having the answer."""

    rows: int
    seconds: float


@dataclass
class Recording:
    """Measures through a session, purpose ``calibrate``.

    Parameters
    ----------
    session
        The road to the device.
    clock
        Times the calls.

    Attributes
    ----------
    calls
        Those that were timed.
    rows
        Rows measured so far.
    recorded
        Rows that the session's journal held before the first: those are answered from it, and timed as they were
        when they were measured.
    """

    session: Session
    clock: Clock
    calls: list[Call] = field(default_factory=list)
    rows: int = 0
    recorded: int = field(init=False)

    def __post_init__(self) -> None:
        self.recorded = self.session.journal.rows

    def measure(self, stimuli: Float64Array, timed: bool = False) -> Float64Array:
        """Measure stimuli of shape (rows, n_inputs); ``timed`` where all of them are one call of the driver."""
        begin = self.clock.now()
        responses = self.session.measure(stimuli, "calibrate")
        seconds = self.clock.now() - begin
        first, rows = self.rows, len(stimuli)
        self.rows += rows
        if timed and self.rows <= self.recorded:
            self.calls.append(Call(rows, self.session.journal.duration_seconds(first, rows)))
        elif timed and first >= self.recorded:  # a call that was cut by a stop says nothing of a call's time
            self.calls.append(Call(rows, seconds))
        return responses
