"""Timed calls of a device: how they are made, and what they tell of latency and pace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwloop.deadline import Clock
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, stacked
from hwloop.session import Session

MEDIAN_ERROR = float(np.sqrt(np.pi / 2))  # of a normal sample's median, over that of its mean


@dataclass(frozen=True)
class TimedCall:
    """One call: its rows, and the seconds from asking to having the answer."""

    rows: int
    seconds: float


def by_size(calls: Iterable[TimedCall]) -> dict[int, Float64Array]:
    """Seconds of the calls by their number of rows, which rises."""
    seconds: dict[int, list[float]] = {}
    for call in calls:
        seconds.setdefault(call.rows, []).append(call.seconds)
    return {rows: np.array(seconds[rows]) for rows in sorted(seconds)}


@dataclass
class TimedSession:
    """Measures through a session with purpose ``calibrate``, and times the calls where that is asked for.

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
    calls: list[TimedCall] = field(default_factory=list)
    rows: int = 0
    recorded: int = field(init=False)

    def __post_init__(self) -> None:
        self.recorded = self.session.journal.rows

    def measure(
        self, stimuli: Float64Array, timed: bool = False, tuning: Float64Array | None = None
    ) -> Float64Array:
        """Measure stimuli of shape (rows, n_inputs); ``timed`` where all of them are one call of the driver."""
        begin = self.clock.now()
        responses = self.session.measure(stimuli, "calibrate", tuning=tuning)
        seconds = self.clock.now() - begin
        first, rows = self.rows, len(stimuli)
        self.rows += rows
        if timed and self.rows <= self.recorded:
            self.calls.append(TimedCall(rows, self.session.journal.duration_seconds(first, rows)))
        elif timed and first >= self.recorded:  # a call that was cut by a stop says nothing of a call's time
            self.calls.append(TimedCall(rows, seconds))
        return responses


@dataclass(frozen=True, eq=False)
class BatchTimes:
    """Rows a call, and the median time of such a call with its interval, in seconds."""

    rows: Float64Array
    seconds: Estimate


def batch_times(calls: Sequence[TimedCall]) -> BatchTimes:
    """Medians by batch size, with the interval of a logarithm that is normal."""
    sizes = by_size(calls)
    return BatchTimes(np.array(list(sizes), dtype=np.float64), stacked([_median(s) for s in sizes.values()]))


def _median(times: Float64Array) -> Estimate:
    seconds, count = np.maximum(times, 1e-9), len(times)
    spread = float(np.std(np.log(seconds), ddof=1)) if count > 1 else np.inf
    return Estimate.log_normal(np.median(seconds), MEDIAN_ERROR * spread / np.sqrt(count), count - 1, "s")


def timing_figures(calls: Sequence[TimedCall]) -> dict[str, Estimate]:
    """``latency`` and ``row_time`` of t = latency + rows * row_time, and the rate of the largest calls by it.

    Errors are taken for proportional to the time of a call, as they mostly are. Calls that took far longer than
    others of their size, because the machine was busy, count less (Huber's weights).
    """
    sizes = np.array([call.rows for call in calls], dtype=np.float64)
    seconds = np.array([call.seconds for call in calls])
    columns = np.stack([np.ones_like(sizes), sizes], axis=1)
    pace = np.maximum(seconds, 1e-9)
    weight = np.ones_like(pace)
    fit = np.zeros(2)
    for _ in range(20):
        scaled = columns * (weight / pace)[:, np.newaxis]
        fit, *_ = np.linalg.lstsq(scaled, seconds * weight / pace, rcond=None)
        pace = np.maximum(columns @ fit, 1e-3 * np.median(seconds) + 1e-12)
        residual = (seconds - columns @ fit) / pace
        spread = 1.4826 * np.median(np.abs(residual)) + 1e-12
        weight = np.sqrt(np.minimum(1.0, 2.5 * spread / np.maximum(np.abs(residual), 1e-300)))
    scaled = columns * (weight / pace)[:, np.newaxis]
    dof = max(len(sizes) - 2, 1)
    variance = float(np.sum(np.square(weight * residual))) / dof
    covariance = variance * np.linalg.pinv(scaled.T @ scaled)
    largest = float(sizes.max())
    call = np.array([1.0, largest])
    longest = Estimate.normal(call @ fit, np.sqrt(call @ covariance @ call), dof)
    # On a busy machine the time of a call may be known to no better than "not negative": then the rate has no
    # upper end.
    rate, low = (largest / np.maximum(end, 1e-12) for end in (longest.value, longest.high))
    high = np.asarray(largest / longest.low if longest.low > 0 else np.inf)
    errors = np.sqrt(np.diagonal(covariance))
    latency, row_time = (
        Estimate.normal(value, error, dof).mapped(lambda end: np.maximum(end, 0.0), "s")
        for value, error in zip(fit, errors, strict=True)
    )
    return {"latency": latency, "row_time": row_time, "rows_per_second": Estimate(rate, low, high, "rows/s")}
