"""Generated time series, and as datasets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.dataset import Dataset
from hwloop.tasks import SequenceOfSymbols, SequenceOfValues
from hwloop.tasks.sequence import normalised_mse

RUNAWAY = 2.0  # with ten values like this the next one of order ten is above it whatever the input
SETTLING = 100  # steps of a series that are dropped: it has forgotten how it began
MACKEY_GLASS_STEP = 0.1  # of the integrator, in units of the series' time


def narma(order: int, sequences: int, steps: int, seed: int = 0) -> tuple[Float64Array, Float64Array]:
    """Inputs u and targets y, each (sequences, steps, 1), of the nonlinear moving average of an order n.

    y(t+1) = 0.3 y(t) + 0.05 y(t) sum_{i=0..n-1} y(t-i) + 1.5 u(t-n+1) u(t) + 0.1, u uniform in [0, 0.5]; that of
    order 2 is y(t+1) = 0.4 y(t) + 0.4 y(t) y(t-1) + 0.6 u(t)^3 + 0.1. The target of step t is y(t+1). A sequence
    whose y runs away, which happens at order 10, is drawn again. Source: Atiya and Parlos, IEEE Trans. Neural
    Netw. 11, 697 (2000); the range of u is theirs, and makes the task as hard as it is.

    Parameters
    ----------
    order
        2, 5 or 10.

    Raises
    ------
    DatasetError
        Another order, or no steps.
    """
    _require(sequences, steps)
    if order not in (2, 5, 10):
        raise DatasetError(f"a NARMA series has order 2, 5 or 10 here, not {order!r}")
    rng = np.random.default_rng(seed)
    drawn = [_narma_sequence(order, rng, steps + SETTLING) for _ in range(sequences)]
    return (
        np.stack([u[SETTLING:, None] for u, _ in drawn]),
        np.stack([y[SETTLING + 1 :, None] for _, y in drawn]),
    )


def narma10(sequences: int, steps: int, seed: int = 0) -> tuple[Float64Array, Float64Array]:
    """Inputs and targets of the tenth-order moving average: :func:`narma` of order 10."""
    return narma(10, sequences, steps, seed)


def _narma_sequence(order: int, rng: np.random.Generator, steps: int) -> tuple[Float64Array, Float64Array]:
    while True:
        u, y = rng.uniform(0.0, 0.5, steps), np.zeros(steps + 1)
        for t in range(order - 1, steps):
            if order == 2:
                y[t + 1] = 0.4 * y[t] + 0.4 * y[t] * y[t - 1] + 0.6 * u[t] ** 3 + 0.1
                continue
            recent = y[t - order + 1 : t + 1].sum()
            grown = 0.3 * y[t] + 0.05 * y[t] * recent + 1.5 * u[t - order + 1] * u[t] + 0.1
            y[t + 1] = min(grown, 10.0)
        if y.max() < RUNAWAY:
            return u, y


def mackey_glass(sequences: int, steps: int, *, delay: float = 17.0, seed: int = 0) -> Float64Array:
    """Chaotic series x at whole times, (sequences, steps, 1): x' = 0.2 x(t-delay) / (1 + x(t-delay)^10) - 0.1 x.

    Heun's method with steps of 0.1; sequences begin at different constants. Source: Mackey and Glass, Science 197,
    287 (1977); as a benchmark, Jaeger and Haas, Science 304, 78 (2004).
    """
    _require(sequences, steps)
    rng, h = np.random.default_rng(seed), MACKEY_GLASS_STEP
    lag, every = round(delay / h), round(1 / h)
    x = np.empty((lag + 1 + (steps + 10 * SETTLING) * every, sequences))
    x[: lag + 1] = rng.uniform(0.5, 1.3, sequences)
    for k in range(lag, len(x) - 1):
        before, after = mackey_glass_flow(x[k - lag]), mackey_glass_flow(x[k - lag + 1])
        slope = before - 0.1 * x[k]
        x[k + 1] = x[k] + h / 2 * (slope + after - 0.1 * (x[k] + h * slope))
    return np.asarray(x[::every][-steps:].T[:, :, None])


def mackey_glass_flow(delayed: Float64Array) -> Float64Array:
    """What the delayed value adds to x': 0.2 x / (1 + x^10)."""
    return np.asarray(0.2 * delayed / (1 + delayed**10))


def nmse(predicted: Float64Array, target: Float64Array) -> float:
    """Mean squared error over the target's variance: 0 is exact, 1 is what its mean would score."""
    return normalised_mse(target.ravel(), predicted.ravel())


def _require(sequences: int, steps: int) -> None:
    if sequences < 1 or steps < 1:
        raise DatasetError(f"a series needs at least one sequence of one step, not {sequences} of {steps}")


def narma10_sequences(sequences: int = 12, steps: int = 600, washout: int = 50, seed: int = 0) -> Dataset:
    """NARMA10: 12 sequences of 600 steps, each drawn by itself; the target is the next value of y.

    Parameters
    ----------
    sequences, steps
        How many, and how long.
    washout
        Steps at the start of each that are neither trained on nor scored.
    seed
        Of the sequences; that of a run splits them.
    """
    return _narma_dataset(10, "tenth-order nonlinear moving average", sequences, steps, washout, seed)


def narma5_sequences(sequences: int = 12, steps: int = 600, washout: int = 50, seed: int = 0) -> Dataset:
    """NARMA5: the same of order 5, 12 sequences of 600 steps.

    Parameters
    ----------
    sequences, steps, washout, seed
        See :func:`narma10_sequences`.
    """
    return _narma_dataset(5, "fifth-order nonlinear moving average", sequences, steps, washout, seed)


def narma2_sequences(sequences: int = 12, steps: int = 600, washout: int = 50, seed: int = 0) -> Dataset:
    """NARMA2: the same of order 2, whose input comes cubed; 12 sequences of 600 steps.

    Parameters
    ----------
    sequences, steps, washout, seed
        See :func:`narma10_sequences`.
    """
    return _narma_dataset(2, "second-order nonlinear moving average", sequences, steps, washout, seed)


def _narma_dataset(order: int, what: str, sequences: int, steps: int, washout: int, seed: int) -> Dataset:
    inputs, targets = narma(order, sequences, steps, seed)
    return series_of_values(f"narma{order}", inputs, targets, washout, ("y(t+1)",), what)


def mackey_glass_sequences(
    sequences: int = 12,
    steps: int = 600,
    washout: int = 50,
    ahead: int | Sequence[int] = 1,
    delay: float = 17.0,
    seed: int = 0,
) -> Dataset:
    """Mackey-Glass: 12 chaotic sequences of 600 steps from constants of their own, predicted ``ahead`` steps.

    Parameters
    ----------
    sequences, steps, washout, seed
        See :func:`narma10_sequences`.
    ahead
        How many steps, at least 1; several numbers for as many targets a step.
    delay
        Of the equation.
    """
    horizons = [ahead] if isinstance(ahead, int) else list(ahead)
    if not horizons or not all(isinstance(each, int) and each >= 1 for each in horizons):
        raise DatasetError(f"ahead must be whole numbers of at least 1, not {ahead!r}")
    series = mackey_glass(sequences, steps + max(horizons), delay=delay, seed=seed)
    targets = np.concatenate([series[:, each : each + steps] for each in horizons], axis=2)
    names = tuple(f"x(t+{each})" for each in horizons)
    return series_of_values(
        "mackey-glass", series[:, :steps], targets, washout, names, f"Mackey-Glass, delay {delay:g}"
    )


LEVELS = (-3.0, -1.0, 1.0, 3.0)
# Of the symbols n + 2 to n - 7 in the channel's output at n.
CHANNEL = (0.08, -0.12, 1.0, 0.18, -0.1, 0.091, -0.05, 0.04, 0.03, 0.01)
EQUALISER_LAG = 2


def nonlinear_channel(
    sequences: int, steps: int, snr_db: float | None = 28.0, seed: int = 0
) -> tuple[Float64Array, NDArray[np.int64]]:
    """Received signal u (sequences, steps, 1), and which of -3, -1, 1, 3 was sent two steps before.

    q(n) = 0.08 d(n+2) - 0.12 d(n+1) + d(n) + 0.18 d(n-1) - 0.1 d(n-2) + 0.091 d(n-3) - 0.05 d(n-4) + 0.04 d(n-5)
    + 0.03 d(n-6) + 0.01 d(n-7) of symbols d drawn at random; u = q + 0.036 q^2 - 0.011 q^3 + noise. The target at
    n, (sequences, steps), is the number of d(n-2) among the levels. Source: Jaeger and Haas (2004), as above.

    Parameters
    ----------
    snr_db
        Mean square of the signal over that of the white Gaussian noise, in dB; ``None`` for no noise.
    """
    _require(sequences, steps)
    rng = np.random.default_rng(seed)
    ahead, behind = EQUALISER_LAG, len(CHANNEL) - EQUALISER_LAG - 1
    sent = rng.integers(0, len(LEVELS), (sequences, behind + steps + ahead))
    d = np.array(LEVELS)[sent]
    q = np.zeros((sequences, steps))
    for k, weight in enumerate(CHANNEL):  # d(n + 2 - k) of step 0 stands in column behind + 2 - k
        q += weight * d[:, behind + ahead - k : behind + ahead - k + steps]
    u = q + 0.036 * q**2 - 0.011 * q**3
    if snr_db is not None:
        u += rng.standard_normal(u.shape) * np.sqrt(np.mean(u**2) / 10 ** (snr_db / 10))
    return u[:, :, None], sent[:, behind - EQUALISER_LAG : behind - EQUALISER_LAG + steps]


def channel_sequences(
    sequences: int = 20, steps: int = 1000, washout: int = 20, snr_db: float | None = 28.0, seed: int = 0
) -> Dataset:
    """Channel equalisation: which of four levels was sent, from what a nonlinear channel delivers.

    Parameters
    ----------
    sequences, steps, washout, seed
        See :func:`narma10_sequences`.
    snr_db
        See :func:`nonlinear_channel`.
    """
    inputs, targets = nonlinear_channel(sequences, steps, snr_db, seed)
    noise = "no noise" if snr_db is None else f"noise at {snr_db:g} dB"
    names, codes = tuple(f"{level:g}" for level in LEVELS), tuple((level,) for level in LEVELS)
    return Dataset(
        "channel",
        inputs.reshape(sequences, -1),
        targets,
        description=f"{sequences} sequences of {steps:,} symbols through a nonlinear channel, {noise}",
        task=SequenceOfSymbols(steps, washout, names=names, codes=codes),
    )


def series_of_values(
    name: str,
    inputs: Float64Array,
    targets: Float64Array,
    washout: int,
    names: tuple[str, ...],
    what: str,
    in_time: bool = False,
) -> Dataset:
    """Inputs and targets, each (sequences, steps, values), as a dataset of sequences.

    Parameters
    ----------
    names
        Of the values of a step.
    what
        What the series is, for the description.
    in_time
        Whether the sequences are stretches of one series, which are never shuffled.
    """
    sequences, steps, _ = inputs.shape
    return Dataset(
        name,
        inputs.reshape(sequences, -1),
        targets.reshape(sequences, -1),
        description=f"{sequences} sequences of {steps:,} steps: {what}",
        task=SequenceOfValues(steps, washout, in_time=in_time, names=names),
    )
