"""From a device to its calibration: plan, measure through a session, estimate, recommend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.calibration.figure_table import described, figure_lines
from hwloop.calibration.main_part import Analysis
from hwloop.calibration.memory import Pilot, measure_pilot
from hwloop.calibration.mixing import analyse_mixing, measure_mixing
from hwloop.calibration.paired import PairedData, analyse_paired, measure_paired
from hwloop.calibration.plan import Plan, plan_rows
from hwloop.calibration.recommendation import Recommendation, recommend
from hwloop.calibration.settling_sweep import SettlingSweep
from hwloop.calibration.tunables import measure_tunables
from hwloop.deadline import MONOTONIC, Clock
from hwloop.device import Device, DeviceSpec
from hwloop.html_report.summary import summary
from hwloop.probing.statistics import CONFIDENCE, Estimate
from hwloop.probing.timing import BatchTimes, TimedSession, batch_times, timing_figures
from hwloop.session import Forecast, Session

if TYPE_CHECKING:
    from hwloop.events import Listener
    from hwloop.journal import Journal


@dataclass(frozen=True, eq=False)
class Calibration:
    """What :func:`hwloop.calibration.calibrate` found.

    Attributes
    ----------
    identity, spec
        Of the device.
    rows, seed
        Rows measured, and the seed of their order.
    middle_row
        Number of the row at which gains and offsets hold; drift moves them from there.
    pilot
        Memory and pairing as first seen.
    figures
        By name; :data:`hwloop.calibration.figure_table.FIGURES` says what each is.
    batch_times
        Time of a call against its rows.
    analysis
        Curves, residuals and references, for plots.
    sweep
        Memory against a setting in seconds, if that was measured too.
    interrupted_at
        The row, from 0, at which an interrupted calibration went on; 0 for one that was not.
    """

    identity: str
    spec: DeviceSpec
    rows: int
    seed: int
    middle_row: float
    pilot: Pilot
    figures: dict[str, Estimate]
    batch_times: BatchTimes
    analysis: Analysis
    sweep: SettlingSweep | None = None
    interrupted_at: int = 0

    def _repr_html_(self) -> str:
        lines = [
            (each.group, each.title, each.value, each.unit, each.meaning) for each in figure_lines(self.figures)
        ]
        facts = {name: value for name, value, _ in self.recommended.rows("the device's own")}
        return summary(
            f"Calibration of {self.identity}",
            {"rows measured": f"{self.rows:,}"} | {f"recommended {name}": value for name, value in facts.items()},
            ("", "figure", "value", "unit", "meaning"),
            lines,
            "; ".join(self.warnings),
        )

    @cached_property
    def recommended(self) -> Recommendation:
        """Settings, with reasons."""
        return recommend(self.spec, self.figures, self.analysis.curves, self.batch_times, self.pilot.paired)

    @cached_property
    def warnings(self) -> list[str]:
        """What limits the figures; empty if nothing does."""
        found = []
        if self.pilot.longer:
            found.append(
                "a row is remembered for longer than could be fitted: gains are those of rows that have not "
                "settled; give each row more time (--settling KEY finds how much, if the device has a setting for "
                "it), then calibrate again"
            )
        if self.interrupted_at:
            found.append(
                f"it was interrupted, and went on at row {self.interrupted_at:,}: drift rates span the break; "
                "calibrate again where they matter"
            )
        if not self.pilot.paired:
            found.append("the device mixes its inputs: figures hold near one operating point (docs/calibrate.md)")
        return found

    def device_table(self, table: dict[str, Any]) -> dict[str, Any]:
        """A device TOML's table with the recommended settings around the device that ``table`` describes.

        Parameters
        ----------
        table
            ``device``, and ``settings`` and ``wrap`` if there are any: what was calibrated.
        """
        return {**table, "wrap": [*table.get("wrap", []), *self.recommended.wrappers()]}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every figure with its interval, unit, meaning and axes."""
        return {
            "identity": self.identity,
            "spec": self.spec.as_dict(),
            "rows": self.rows,
            "seed": self.seed,
            "interrupted_at": self.interrupted_at,
            "confidence": CONFIDENCE,
            "middle_row": self.middle_row,
            "channel_to_channel": self.pilot.paired,
            "lags": self.pilot.lags,
            "warnings": self.warnings,
            "figures": {name: described(name, estimate) for name, estimate in self.figures.items()},
            "batches": {
                "rows": self.batch_times.rows.astype(int).tolist(),
                "seconds": self.batch_times.seconds.as_dict(),
            },
            "settling_sweep": None if self.sweep is None else self.sweep.as_dict(),
            "recommended": self.recommended.as_dict(),
        }


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
    timed = TimedSession(session, clock)
    units = (device.spec.input_unit, device.spec.output_unit)
    with session:
        pilot = measure_pilot(timed, plan, rng)
        data = measure_paired(timed, plan, pilot, rng) if pilot.paired else measure_mixing(timed, plan, pilot, rng)
        tuned = measure_tunables(timed, rng)
        identity = session.identity
    analysis = analyse_paired(data, units) if isinstance(data, PairedData) else analyse_mixing(data, units)
    return Calibration(
        identity=identity,
        spec=device.spec,
        rows=timed.rows,
        seed=seed,
        middle_row=analysis.middle_row,
        pilot=pilot,
        figures={**analysis.figures, **timing_figures(timed.calls), **tuned},
        batch_times=batch_times(timed.calls),
        analysis=analysis,
        interrupted_at=timed.recorded,
    )
