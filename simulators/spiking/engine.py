"""What computes spikes, for how long: the window of a row, and the interface of torch, Brian2 and Lava."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from hwloop.device.settings import real_number
from hwloop.registry import Registry

MOST_STEPS = 1_000_000
ACTIVITIES = ("counts", "first_spike", "membrane", "spikes")

# Called with a layer, a window and settings of their own.
ENGINES = Registry("spiking engine", "hwloop.spiking_engines")


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


class Engine(Protocol):
    """A layer of neurons that runs for one window; numpy in, numpy out, so that it may live in another Python."""

    def run(self, drive: NDArray[Any], activity: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Run every row from rest, and report what is asked for.

        Parameters
        ----------
        drive
            Currents that last for all of the window and its settling, shape (rows, n_inputs), or currents or
            spikes (1) in every step, shape (rows, total_steps, n_inputs). Real numbers of any type.
        activity
            Names of :data:`ACTIVITIES`. With settling left out of count and time:

            - ``"counts"``: spikes of each neuron, (rows, neurons), int32;
            - ``"first_spike"``: number of its step within the window, from 0; as many as the window has steps
              where there was none; (rows, neurons), int32;
            - ``"membrane"``: v after the last step, (rows, neurons), float64;
            - ``"spikes"``: 1 where a neuron fired, (rows, steps, neurons), uint8.

        Returns
        -------
        dict
            The arrays by name.
        """
        ...


def engine_versions(engine: Any) -> dict[str, str]:
    """Versions of the software of an engine that lives elsewhere, by name; empty for one that does not."""
    return dict(getattr(engine, "versions", {}))
