"""How long must a row last? Memory between rows against a device's setting in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from hwloop.calibration.memory import Steps
from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.events import Listener
from hwloop.journal import Journal
from hwloop.probing.statistics import Estimate
from hwloop.probing.stimuli import contrast, steps_between
from hwloop.session import Session

STEPS, STEP_ROWS = 12, 12
ROWS_PER_VALUE = STEPS * STEP_ROWS
TOLERATED = 0.01  # of a change in the first row after it, beyond what waiting cannot remove
LEAST_VALUES = 4  # for a fit of three parameters


@dataclass(frozen=True, eq=False)
class SettlingSweep:
    """Memory at each value of the setting.

    Attributes
    ----------
    setting
        Name of the device's setting.
    seconds
        Its values, rising, shape (values,).
    memory
        Share of a change that its first row lacks, mean over outputs, shape (values,).
    floor, start, time_constant
        f, m0 and tau of memory = f + m0 exp(-seconds / tau), tau in seconds; f is what no waiting removes. NaN
        where there are fewer than four values, or the memory does not decay over them.
    recommended
        The shortest value at which surely less than 1 % is missing beyond f, ``None`` if there is none.
    """

    setting: str
    seconds: Float64Array
    memory: Estimate
    floor: Estimate
    start: Estimate
    time_constant: Estimate
    recommended: float | None

    def model(self, seconds: Float64Array) -> Float64Array:
        """The fitted memory at these values of the setting."""
        floor, start, tau = (float(e.value) for e in (self.floor, self.start, self.time_constant))
        return _decay(seconds, floor, start, tau)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("memory", "floor", "start", "time_constant")
        figures = {name: getattr(self, name).as_dict() for name in names}
        seconds = self.seconds.tolist()
        return {"setting": self.setting, "seconds": seconds, **figures, "recommended": self.recommended}


def sweep_settling(
    open_with: Callable[[float], Device],
    setting: str,
    seconds: Sequence[float],
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    journal_of: Callable[[int], Journal | None] = lambda number: None,
) -> SettlingSweep:
    """Measure ``ROWS_PER_VALUE`` rows at each value.

    Parameters
    ----------
    open_with
        Builds the device with a value of the setting.
    setting
        Its name.
    seconds
        Values, at least 2, all different and positive.
    seed
        Draws the stimuli.
    listeners
        Called with every event of the sessions.
    journal_of
        Gives the journal for each value's rows, by the value's number from 0 in rising order; what it holds
        already is not measured again. In memory by default.

    Raises
    ------
    ConfigError
        Fewer values, or such that are no times.
    DeviceError
    """
    values = np.array(sorted(seconds), dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all() or values[0] <= 0 or (np.diff(values) == 0).any():
        raise ConfigError(f"a settling sweep needs at least two different times in seconds, not {list(seconds)}")
    points = [
        _memory_at(open_with(float(value)), seed, listeners, journal_of(number))
        for number, value in enumerate(values)
    ]
    memory, error = (np.array(column) for column in zip(*points, strict=True))
    estimate = Estimate.normal(memory, error)
    fit = _fitted_decay(values, memory, error)
    remaining = float(fit[0].value) if np.isfinite(fit[0].value) else 0.0
    beyond = np.maximum(np.abs(estimate.low - remaining), np.abs(estimate.high - remaining))
    short = np.flatnonzero(beyond < TOLERATED)
    recommended = float(values[short[0]]) if len(short) else None
    return SettlingSweep(setting, values, estimate, *fit, recommended)


def _memory_at(
    device: Device, seed: int, listeners: Sequence[Listener], journal: Journal | None
) -> tuple[float, float]:
    stimuli = steps_between(*contrast(device.spec, np.random.default_rng(seed)), STEPS, STEP_ROWS)
    with Session(device, journal=journal, budget=ROWS_PER_VALUE, listeners=listeners) as session:
        responses = session.measure(stimuli, "calibrate")
    left, error = Steps(responses.reshape(STEPS, STEP_ROWS, -1)).relative()
    weight = 1 / np.maximum(error[:, 0], 1e-300) ** 2
    if not weight.sum() > 0:
        return np.nan, np.nan
    # The settled half of each step is noisy too, by so much less as it has more rows.
    inflation = np.sqrt(1 + 2 / STEP_ROWS)
    return float(left[:, 0] @ weight / weight.sum()), inflation / float(np.sqrt(weight.sum()))


def _decay(seconds: Float64Array, floor: float, start: float, time_constant: float) -> Float64Array:
    return np.asarray(floor + start * np.exp(-seconds / time_constant))


def _fitted_decay(
    seconds: Float64Array, memory: Float64Array, error: Float64Array
) -> tuple[Estimate, Estimate, Estimate]:
    """Floor, start and time constant, each with its interval."""
    unknown = (Estimate.unknown(),) * 3
    seen = memory[0] - memory[-1] > 4 * np.hypot(error[0], error[-1])
    if len(seconds) < LEAST_VALUES or not seen or not (error > 0).all():
        return unknown
    guess = (float(memory[-1]), float(memory[0] - memory[-1]), float(seconds.mean()))
    ends = ([-1.0, 0.0, 1e-3 * seconds[0]], [1.0, np.inf, 1e3 * seconds[-1]])
    try:
        fit, covariance = curve_fit(_decay, seconds, memory, guess, error, absolute_sigma=True, bounds=ends)
    except RuntimeError:  # no end found
        return unknown
    errors = np.sqrt(np.diagonal(covariance))
    floor, start = (Estimate.normal(fit[i], errors[i]) for i in (0, 1))
    return floor, start, Estimate.log_normal(fit[2], errors[2] / fit[2], unit="s")
