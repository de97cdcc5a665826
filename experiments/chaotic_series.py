"""The Mackey-Glass series at NeuroBench's constants, and the error that it scores forecasts by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.time_series import mackey_glass_flow, series_of_values

LYAPUNOV_TIME = 197.0  # at a delay of 17, in units of the series' time
POINTS_A_LYAPUNOV_TIME = 75
CONSTANT_PAST = 0.7206597
LYAPUNOV_TIMES = 20  # ten to train on, then ten to forecast
SUBSTEPS = 197  # of the integrator, a point: a step is 1/75 at a delay of 17


def neurobench_mackey_glass(
    points: int = 1501, start: int = 0, *, delay: float = 17.0, lyapunov_time: float = LYAPUNOV_TIME
) -> Float64Array:
    """Mackey-Glass at NeuroBench's constants, (points,), 75 points a Lyapunov time.

    x' = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x, x = 0.7206597 before t = 0. NeuroBench trains on 10
    Lyapunov times (750 points), lets the model run free over the next 10, and repeats this with ``start`` at
    every half Lyapunov time (0, 37, 75 and so on). Heun's method with 197 steps a point; the series is chaotic, so
    after some Lyapunov times another integrator's is another orbit of the same equation. Source: Yik et al.,
    Nat. Commun. 16, 1545 (2025), and the dataset ``MackeyGlass`` of its package.

    Parameters
    ----------
    points
        At least 1; 1,501 are training, forecast, and the point after them.
    start
        The number of the first point.
    delay
        Of the equation: NeuroBench takes 17 to 30.
    lyapunov_time
        In units of the series' time; 197 is that of a delay of 17.
    """
    if points < 1 or start < 0 or not delay > 0 or not lyapunov_time > 0:
        raise DatasetError(
            "the series needs at least one point, a start of 0 or later, a delay and a Lyapunov time above 0; not "
            f"{points}, {start}, {delay:g}, {lyapunov_time:g}"
        )
    from scipy.signal import lfilter

    h = lyapunov_time / POINTS_A_LYAPUNOV_TIME / SUBSTEPS
    lag = max(1, round(delay / h))
    x = np.empty(lag + 1 + (start + points) * SUBSTEPS)
    x[: lag + 1] = CONSTANT_PAST
    # Within one delay what flows in is known, and Heun's step is x[k+1] = decay x[k] + drive[k]: a filter.
    decay = 1 - 0.1 * h + (0.1 * h) ** 2 / 2
    for k in range(lag, len(x) - 1, lag):
        steps = min(lag, len(x) - 1 - k)
        flow = mackey_glass_flow(x[k - lag : k - lag + steps + 1])
        drive = h / 2 * ((1 - 0.1 * h) * flow[:-1] + flow[1:])
        x[k + 1 : k + 1 + steps] = lfilter([1.0], [1.0, -decay], drive, zi=[decay * x[k]])[0]
    return np.asarray(x[lag + start * SUBSTEPS :: SUBSTEPS][:points])


def mackey_glass_neurobench(start: int = 0, steps: int = 150, washout: int = 45) -> Dataset:
    """Mackey-Glass at NeuroBench's constants: 20 Lyapunov times of one series, predicted one step.

    The 1,500 points are cut into sequences that follow one another. With half of them for test, the first 10
    Lyapunov times are trained on, as there. See :func:`neurobench_mackey_glass`.

    Parameters
    ----------
    start
        The number of the first point: NeuroBench repeats at 0, 37, 75 and so on.
    steps
        Of a sequence; 1,500 must be a multiple of it.
    washout
        Steps at its start that count nowhere; NeuroBench's reservoir warms up for 45.
    """
    total = LYAPUNOV_TIMES * POINTS_A_LYAPUNOV_TIME
    if steps < 2 or total % steps or total // steps < 2:
        raise DatasetError(f"{total} points make no whole sequences of {steps} steps, at least two of them")
    series = neurobench_mackey_glass(total + 1, start)[:, None]
    inputs, targets = (part.reshape(-1, steps, 1) for part in (series[:-1], series[1:]))
    what = "Mackey-Glass at NeuroBench's constants, 75 points a Lyapunov time"
    return series_of_values("mackey-glass-neurobench", inputs, targets, washout, ("x(t+1)",), what, in_time=True)


def smape(targets: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Symmetric mean absolute percentage error, 0 to 200: 200 times the mean of |y - p| / (|y| + |p|).

    Where both are 0 nothing is wrong; a prediction that is no number counts 200, as in NeuroBench, where it makes
    the whole score 200.
    """
    y, p = np.asarray(targets, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.shape != p.shape or y.size == 0:
        raise ValueError(f"targets {y.shape} and predictions {p.shape} must have one shape, and values")
    if not np.all(np.isfinite(p)):
        return 200.0
    size = np.abs(y) + np.abs(p)
    return float(200 * np.mean(np.abs(y - p) / np.where(size > 0, size, 1.0)))
