"""Recommended settings, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwloop.calibration.memory import rows_until
from hwloop.calibration.transfer_curve import ONE_DECIBEL, LevelMeans
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate
from hwloop.probing.timing import BatchTimes

GOOD_SNR = 30.0  # dB: noise of 3 % of the signal's rms, less than a trained network notices
MOST_AVERAGES = 16
LATENCY_SHARE = 0.1  # of the time of a call
ROUNDING = 1e-6  # of full scale: less nonlinearity than that is none
TURNS = 4.0  # standard errors by which a curve must turn round to count as one that does


@dataclass(frozen=True)
class Recommendation:
    """What ``open_device`` shall wrap the device in.

    Attributes
    ----------
    settling_rows, averages, rows_per_call
        Rows thrown away after a change, rows averaged, rows a call of the device as recommended.
    input_low, input_high
        The range, shape (n_inputs,), ``None`` where it is the device's own.
    correction
        Table for the wrapper ``calibrated``, or ``None``.
    reasons
        By setting: why.
    """

    settling_rows: int
    averages: int
    rows_per_call: int
    input_low: list[float] | None
    input_high: list[float] | None
    correction: dict[str, Any] | None
    reasons: dict[str, str]

    def wrappers(self) -> list[dict[str, Any]]:
        """Tables for a device TOML's ``[[wrap]]``, from the inside out."""
        wraps: list[dict[str, Any]] = []
        if self.settling_rows:
            wraps.append({"name": "settled", "rows": self.settling_rows})
        if self.averages > 1:
            wraps.append({"name": "averaged", "n": self.averages})
        names = ("rows_per_call", "input_low", "input_high", "correction")
        calibrated = {name: value for name in names if (value := getattr(self, name)) is not None}
        return [*wraps, {"name": "calibrated", **calibrated}]

    def rows(self, whole_range: str) -> list[tuple[str, str, str]]:
        """Name, value and reason of every setting; ``whole_range`` stands for a range that is not narrowed."""
        values = {
            "range": "narrowed" if self.input_low else whole_range,
            "averages": self.averages,
            "settling_rows": self.settling_rows,
            "rows_per_call": self.rows_per_call,
            "correction": "none" if self.correction is None else self.correction["kind"],
        }
        return [(name.replace("_", " "), str(value), self.reasons[name]) for name, value in values.items()]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; of the correction its kind alone."""
        return {**asdict(self), "correction": None if self.correction is None else self.correction["kind"]}


def recommend(
    spec: DeviceSpec,
    figures: dict[str, Estimate],
    curves: Sequence[LevelMeans],
    times: BatchTimes,
    paired: bool,
) -> Recommendation:
    """Settings that follow from the figures; the rules are in docs/calibrate.md."""
    reasons: dict[str, str] = {}
    averages, reasons["averages"] = _averages(figures)
    settling, reasons["settling_rows"] = _settling(figures, curves, averages)
    low, high, reasons["range"] = _range(spec, curves, paired)
    correction, reasons["correction"] = _correction(figures, curves, paired)
    rows, reasons["rows_per_call"] = _rows_per_call(spec, figures, times, settling + averages)
    return Recommendation(settling, averages, rows, low, high, correction, reasons)


def _averages(figures: dict[str, Estimate]) -> tuple[int, str]:
    snr = float(np.median(figures["snr"].value))
    if not snr > 0:
        return 1, "the outputs hardly respond; averaging would not mend that"
    wanted = 10 ** ((GOOD_SNR - snr) / 10)
    averages = int(np.clip(np.ceil(wanted - 1e-9), 1, MOST_AVERAGES)) if np.isfinite(wanted) else 1
    if averages == 1:
        return 1, f"SNR is {snr:.1f} dB in a single row (median); averaging pays below {GOOD_SNR:.0f} dB"
    reached = snr + 10 * np.log10(averages)
    limit = f"; {GOOD_SNR:.0f} dB would take {np.ceil(wanted):,.0f}" if wanted > MOST_AVERAGES else ""
    return averages, f"brings the SNR from {snr:.1f} to {reached:.1f} dB (median){limit}"


def _settling(figures: dict[str, Estimate], curves: Sequence[LevelMeans], averages: int) -> tuple[int, str]:
    kernel, errors = figures["memory_kernel"].value, figures["memory_kernel"].half_width
    seen = np.abs(kernel) > 2 * errors
    if not seen.any():
        return 0, "no memory of earlier rows was seen"
    span = float(np.median([curve.full_scale for curve in curves]))
    noise = float(np.median(figures["noise"].value)) / np.sqrt(averages)
    tolerated = float(np.clip(noise / span if span else 1.0, 1e-5, 0.05))
    rows = max(rows_until(np.where(mask, line, 0.0), tolerated) for line, mask in zip(kernel, seen, strict=True))
    first = 100 * float(np.abs(figures["memory"].value).max())
    return rows, (
        f"up to {first:.2g} % of a change is missing in its first row; after {rows} more rows less than the "
        f"noise, {100 * tolerated:.2g} % of full scale, is"
    )


def _range(
    spec: DeviceSpec, curves: Sequence[LevelMeans], paired: bool
) -> tuple[list[float] | None, list[float] | None, str]:
    if not paired:
        return None, None, "it mixes its inputs, and its nonlinearity is what a network uses"
    ends = np.array([_uncompressed(curve) for curve in curves])
    low, high = np.maximum(ends[:, 0], spec.low), np.minimum(ends[:, 1], spec.high)
    narrowed = int(np.sum((low > spec.low) | (high < spec.high)))
    if not narrowed:
        return None, None, "no channel is compressed by 1 dB within the device's limits"
    reason = f"{narrowed} of {len(curves)} channels are compressed by 1 dB or more beyond it"
    return low.tolist(), high.tolist(), reason


def _uncompressed(curve: LevelMeans) -> tuple[float, float]:
    """The widest range about the middle half in which no level is compressed by 1 dB."""
    if _monotone(curve)[1]:  # it turns round: a network may want that, and no line is there to leave
        return float(curve.levels[0]), float(curve.levels[-1])
    fine = ~(curve.shortfall > ONE_DECIBEL)
    middle = len(fine) // 2
    low, high = middle, middle
    while low > 0 and fine[low - 1]:
        low -= 1
    while high < len(fine) - 1 and fine[high + 1]:
        high += 1
    return float(curve.levels[low]), float(curve.levels[high])


def _correction(
    figures: dict[str, Estimate], curves: Sequence[LevelMeans], paired: bool
) -> tuple[dict[str, Any] | None, str]:
    if not paired:
        return None, "no output belongs to one input"
    turning = [channel for channel, curve in enumerate(curves) if _monotone(curve)[1]]
    if turning:
        return None, f"the curve of channel {turning[0]} does not rise or fall throughout"
    if (figures["inl_max"].low > ROUNDING).any():
        worst = 100 * float(figures["inl_max"].value.max())
        lines = [_inverse_points(curve) for curve in curves]
        readings, values = ([line[part].tolist() for line in lines] for part in (0, 1))
        table = {"kind": "monotone", "readings": readings, "values": values}
        return table, f"an INL of up to {worst:.2g} % of full scale is seen beyond its error"
    line = {name: figures[name].value.tolist() for name in ("gain", "offset")}
    return {"kind": "affine", **line}, "no nonlinearity is seen beyond its error"


def _monotone(curve: LevelMeans) -> tuple[Float64Array, bool]:
    """The nearest curve that never turns, and whether the measured one does, beyond its error."""
    sign = 1.0 if curve.means[-1] >= curve.means[0] else -1.0
    monotone = sign * rising(sign * curve.means)
    tolerated = TURNS * np.sqrt(np.diagonal(curve.covariance)) + ROUNDING * np.ptp(curve.means)
    turns = np.abs(monotone - curve.means) > tolerated
    return monotone, bool(turns.any() or np.ptp(monotone) == 0)


def rising(values: Float64Array) -> Float64Array:
    """Least-squares fit that never falls, by pooling adjacent violators.

    (Barlow et al., Statistical Inference under Order Restrictions, 1972.)
    """
    blocks: list[list[float]] = []  # mean and length
    for value in values:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (last, n_last), (before, n_before) = blocks.pop(), blocks.pop()
            total = n_last + n_before
            blocks.append([(last * n_last + before * n_before) / total, total])
    return np.concatenate([np.full(int(length), mean) for mean, length in blocks])


def _inverse_points(curve: LevelMeans) -> tuple[Float64Array, Float64Array]:
    """Strictly rising readings and the stimulus of each, of a curve that does not turn.

    Those of the recommended range: beyond it readings hardly differ, and would be told apart by noise.
    """
    low, high = _uncompressed(curve)
    inside = (curve.levels >= low) & (curve.levels <= high)
    levels, monotone = curve.levels[inside], _monotone(curve)[0][inside]
    readings = np.unique(monotone)
    return readings, np.array([levels[monotone == reading].mean() for reading in readings])


def _rows_per_call(
    spec: DeviceSpec, figures: dict[str, Estimate], times: BatchTimes, held: int
) -> tuple[int, str]:
    """Stimuli a call, each of ``held`` rows of the device."""
    latency, row_time = float(figures["latency"].value), float(figures["row_time"].value)
    largest = int(times.rows[-1])
    wanted = latency / row_time * (1 - LATENCY_SHARE) / LATENCY_SHARE if row_time > 0 else np.inf
    rows = largest if not wanted < largest else max(1, 2 ** int(np.ceil(np.log2(max(wanted, 1.0)))))
    rows = min(rows, largest)
    share = latency / (latency + rows * row_time) if latency + rows * row_time > 0 else 0.0
    each = f", {rows // held or 1} stimuli of {held} rows each" if held > 1 else ""
    cap = ""
    if rows == largest and share > LATENCY_SHARE:
        cap = f" ({'its own limit' if spec.max_rows == largest else 'the largest call that was timed'})"
    return max(1, rows // held), (
        f"{rows} rows of the device in a call{each}: the latency of {1e3 * latency:.3g} ms is then "
        f"{100 * share:.0f} % of its time{cap}"
    )
