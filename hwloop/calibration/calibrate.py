"""From a device to its calibration: plan, measure through a session, estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hwloop.calibration.first_look import look_first
from hwloop.calibration.mixing import measure_mixing
from hwloop.calibration.mixing_figures import analyse_mixing
from hwloop.calibration.paired import analyse_paired, measure_paired
from hwloop.calibration.plan import Plan, plan_rows
from hwloop.calibration.recording import Recording
from hwloop.calibration.result import Calibration
from hwloop.calibration.timing import batch_times, timing_figures
from hwloop.deadline import MONOTONIC, Clock
from hwloop.device import Device
from hwloop.session import Forecast, Session

if TYPE_CHECKING:
    from hwloop.events import Listener
    from hwloop.journal import Journal


def calibrate(
    device: Device,
    budget: int | None = None,
    *,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    announce: Callable[[Plan, Forecast], None] | None = None,
    clock: Clock = MONOTONIC,
    journal: Journal | None = None,
) -> Calibration:
    """Measure what a device does, and how well that is known.

    Parameters
    ----------
    device
        Any device; it is opened, and closed to its safe state. Stimuli stay within its limits.
    budget
        Rows to measure; fewer give wider intervals. ``None`` for :func:`hwloop.calibration.plan.default_rows`.
    seed
        Of the random order of the stimuli.
    listeners
        Called with every event of the session.
    announce
        Called with the plan and its forecast before the first row.
    clock
        Times the calls.
    journal
        Keeps every row; one that was stopped in the middle of the same calibration is gone on with. In memory by
        default.

    Returns
    -------
    Figures with 95 % intervals, recommended settings, and what the plots need.

    Raises
    ------
    BudgetExceeded
        The budget is too small; nothing was measured.
    DeviceError
        The device failed.
    JournalError
        The journal was recorded on another device, or of another calibration.
    """
    plan = plan_rows(device.spec, budget)
    session = Session(device, journal=journal, budget=plan.rows, listeners=listeners)
    if announce is not None:
        announce(plan, session.forecast(plan.rows))
    rng = np.random.default_rng(seed)
    recording = Recording(session, clock)
    with session:
        look = look_first(recording, plan, rng)
        if look.paired:
            data = measure_paired(recording, plan, look, rng)
        else:
            mixing_data = measure_mixing(recording, plan, look, rng)
        identity = session.identity
    calls = recording.calls
    figures = timing_figures(calls)
    units = (device.spec.input_unit, device.spec.output_unit)
    analysis = analyse_paired(data, units) if look.paired else analyse_mixing(mixing_data, units)
    return Calibration(
        identity=identity,
        spec=device.spec,
        rows=recording.rows,
        seed=seed,
        middle_row=analysis.middle_row,
        look=look,
        figures={**analysis.figures, **figures},
        batch_times=batch_times(calls),
        analysis=analysis,
        interrupted_at=recording.recorded,
    )
