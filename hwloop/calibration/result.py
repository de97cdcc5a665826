"""A finished calibration: figures with intervals, what they hold for, and what to do about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwloop.calibration.estimate import CONFIDENCE, Estimate
from hwloop.calibration.figure_names import FIGURES
from hwloop.calibration.first_look import FirstLook
from hwloop.calibration.mixing_figures import MixingResult
from hwloop.calibration.paired import PairedResult
from hwloop.calibration.recommendation import Recommendation, recommend
from hwloop.calibration.settling_sweep import SettlingSweep
from hwloop.calibration.timing import BatchTimes
from hwloop.device import DeviceSpec


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
    look
        Memory and pairing as first seen.
    figures
        By name; :data:`hwloop.calibration.figure_names.FIGURES` says what each is.
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
    look: FirstLook
    figures: dict[str, Estimate]
    batch_times: BatchTimes
    analysis: PairedResult | MixingResult
    sweep: SettlingSweep | None = None
    interrupted_at: int = 0

    @cached_property
    def recommended(self) -> Recommendation:
        """Settings, with reasons."""
        return recommend(self.spec, self.figures, self.analysis.curves, self.batch_times, self.look.paired)

    @cached_property
    def warnings(self) -> list[str]:
        """What limits the figures; empty if nothing does."""
        found = []
        if self.look.longer:
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
        if not self.look.paired:
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
            "channel_to_channel": self.look.paired,
            "lags": self.look.lags,
            "warnings": self.warnings,
            "figures": {
                name: {
                    "title": FIGURES[name].title,
                    "meaning": FIGURES[name].meaning,
                    "axes": list(FIGURES[name].axes),
                    **estimate.as_dict(),
                }
                for name, estimate in self.figures.items()
            },
            "batches": {
                "rows": self.batch_times.rows.astype(int).tolist(),
                "seconds": self.batch_times.seconds.as_dict(),
            },
            "settling_sweep": None if self.sweep is None else self.sweep.as_dict(),
            "recommended": self.recommended.as_dict(),
        }
