"""The time that one row takes: settling, then the window in which spikes are read, in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwloop.device.settings import real_number

MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Window:
    """Time of a row in whole steps.

    Attributes
    ----------
    step_seconds
        One step, dt.
    steps
        Steps of the window T, in which spikes count.
    settle_steps
        Steps before it, in which the network runs and nothing is read.
    """

    step_seconds: float
    steps: int
    settle_steps: int = 0

    @classmethod
    def from_seconds(cls, step_seconds: Any, window_seconds: Any, settle_seconds: Any) -> Window:
        """Checked: a window and a settling that are no whole number of steps are refused.

        Raises
        ------
        ValueError
            With the reason and the nearest allowed value.
        """
        step = real_number("step_seconds", step_seconds, 1e-7, 1.0)
        return cls(
            step,
            whole_steps("window_seconds", real_number("window_seconds", window_seconds), step, fewest=1),
            whole_steps("settle_seconds", real_number("settle_seconds", settle_seconds), step),
        )

    @property
    def seconds(self) -> float:
        """Length of the window, without settling."""
        return self.steps * self.step_seconds

    @property
    def total_steps(self) -> int:
        """Steps that a row takes, settling included."""
        return self.settle_steps + self.steps


def whole_steps(name: str, seconds: float, step_seconds: float, fewest: int = 0) -> int:
    """``seconds`` in steps; raises ValueError, with the nearest allowed value, if they are no whole number."""
    steps = round(min(max(seconds / step_seconds, fewest), MOST_STEPS))
    if abs(steps * step_seconds - seconds) > 1e-6 * step_seconds * max(1, steps):
        raise ValueError(
            f"{name} must be a whole number of steps of {step_seconds:.12g} s, {fewest} to {MOST_STEPS}, not "
            f"{seconds:.12g}; the nearest allowed value is {steps * step_seconds:.12g}"
        )
    return steps
