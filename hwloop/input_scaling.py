"""Whether all columns of a table share one scale or have one each: chosen from training rows, with a reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ONE_SCALE: Final = "global"
SCALE_A_COLUMN: Final = "channel"
AUTO: Final = "auto"
INPUT_SCALINGS = (AUTO, ONE_SCALE, SCALE_A_COLUMN)
# Of the command line and of the estimators.
DEFAULT_INPUT_SCALING: Final = AUTO

# With one scale a column of a tenth of the spread has 1/10 of the device's range: 3.3 bits less than the others,
# and ten times their noise.
ALIKE = 10.0
# Columns of a curve: so many, with neighbours that correlate so well and whose spreads differ by less than this.
CURVE_COLUMNS, CURVE_CORRELATION, CURVE_STEP = 16, 0.8, 2.0
MOST_PAIRS = 0.9
LOOKED_AT = 2_000  # rows: enough for a spread, and little time
LARGEST = 1e150  # what is larger counts as this large, as the encoder has it
RESOLUTION = 2.0**-43  # what varies by less than this share of its value varies by rounding alone

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class InputScaling:
    """How the first stage's device is driven by the columns, and why.

    Attributes
    ----------
    name
        ``"global"`` (one scale for all columns) or ``"channel"`` (each column fills its own range).
    reason
        In words; empty where the user chose.
    """

    name: str
    reason: str = ""

    @property
    def text(self) -> str:
        """``one scale for all columns: ...`` as the console and the report say it."""
        return f"{'one scale for all columns' if self.name == ONE_SCALE else 'a scale a column'}: {self.reason}"


def decided(setting: str, rows: Rows, steps: int = 1) -> InputScaling:
    """What a setting means for these training rows, (rows, features); of sequences for those of a step."""
    if setting != AUTO:
        return InputScaling(setting)
    features = rows.shape[1]
    return chosen(rows.reshape(-1, features // steps) if steps > 1 and features % steps == 0 else rows)


def chosen(rows: Rows) -> InputScaling:
    """Chosen from training rows (rows, features); their order and scale do not matter.

    One scale keeps what is known of pixels and samples of a wave: a dim border is dim. It loses columns of
    another unit. So each column has its own where columns differ in kind: their spreads differ by more than a
    factor of ten, or the ranges of two do not meet. A column that mostly rests where the others rest, as border
    pixels do, may be dim; and columns in a row whose neighbours are alike, as in a spectrum, are one curve.
    """
    table = np.clip(rows[_evenly(len(rows))], -LARGEST, LARGEST)
    low, high = table.min(axis=0), table.max(axis=0)
    varying = high - low > np.maximum(RESOLUTION * np.maximum(np.abs(low), np.abs(high)), 1 / LARGEST)
    if varying.sum() < 2:
        return InputScaling(ONE_SCALE, "fewer than two columns vary")
    table, low, high = table[:, varying], low[varying], high[varying]
    spread = _spread(table)
    if _is_curve(table, spread):
        return InputScaling(ONE_SCALE, "neighbouring columns are alike, as samples of a wave are")
    ratio = _largest_ratio(table, spread, high - low)
    if ratio > ALIKE:
        power = f"{10.0 ** math.floor(math.log10(ratio)):,.6g}"  # not more: the splits of a table say the same
        return InputScaling(SCALE_A_COLUMN, f"the spreads of columns differ by a factor above {power}")
    if low.max() > high.min():
        return InputScaling(SCALE_A_COLUMN, "the ranges of columns do not meet")
    return InputScaling(ONE_SCALE, "the columns share a range, as pixels do")


def _evenly(count: int) -> Any:
    """Rows to look at, from the first to the last."""
    return slice(None) if count <= LOOKED_AT else np.linspace(0, count - 1, LOOKED_AT).astype(np.int64)


def _spread(table: Rows) -> Rows:
    """Standard deviation of each column, also where squares would overflow or underflow."""
    scale = np.abs(table).max(axis=0)
    spread: Rows = np.std(table / scale, axis=0) * scale
    return spread


def _largest_ratio(table: Rows, spread: Rows, width: Rows) -> float:
    """Of two columns' spreads; a column that mostly rests where the others rest counts only if it is large."""
    values, counts = np.unique(table, return_counts=True)
    resting = (table == values[counts.argmax()]).mean(axis=0) > 0.5
    if resting.all():
        return float(width.max() / np.median(width))
    busy = spread[~resting]
    return float(max(busy.max(), spread.max()) / busy.min())


def _is_curve(table: Rows, spread: Rows) -> bool:
    """Whether neighbours correlate, and have spreads alike."""
    if table.shape[1] < CURVE_COLUMNS or len(table) < 3:
        return False
    steps = np.maximum(spread[1:], spread[:-1]) / np.minimum(spread[1:], spread[:-1])
    unit = (table - table.mean(axis=0)) / spread
    correlation = np.abs((unit[:, 1:] * unit[:, :-1]).mean(axis=0))
    return bool((steps < CURVE_STEP).mean() >= MOST_PAIRS and np.median(correlation) >= CURVE_CORRELATION)
