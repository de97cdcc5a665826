"""Fit every candidate to measured pairs, choose on held-out rows, and build the twin."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError, TrainingDiverged
from hwloop.twin.candidate import Candidate, ColumnScaling
from hwloop.twin.device import CandidateScore, ResidualNoise, Twin, TwinReport
from hwloop.twin.linear import AffineCandidate
from hwloop.twin.mlp import Perceptron
from hwloop.twin.modulus import Modulus

MIN_ROWS = 20
HELD_OUT_FRACTION = 0.15


def default_candidates() -> tuple[Candidate, ...]:
    """The candidates that :func:`fit` tries, the simplest first."""
    return (AffineCandidate(), Modulus(), Perceptron())


def fit(inputs: Any, outputs: Any, seed: int = 0, candidates: tuple[Candidate, ...] | None = None) -> Twin:
    """Fit a surrogate to measured stimulus and response pairs.

    Parameters
    ----------
    inputs
        Stimuli, shape (rows, n_inputs), at least 20 rows. Their range, rounded outward, becomes the
        twin's limits.
    outputs
        The responses measured to them, shape (rows, n_outputs). A few rows in a hundred may be glitches.
    seed
        Decides which rows are held out, the random starts of the fits, and the twin's noise.
    candidates
        What to try; by default affine, modulus and a small perceptron. The one with the smallest robust
        error on held-out rows (15 %) wins, and is then fitted to all rows.

    Returns
    -------
    Twin
        A device with the residual noise of the held-out rows, ``noiseless()`` and ``report``.

    Raises
    ------
    DatasetError
        The arrays do not pair up, hold a value that is not finite, or have too few rows.
    TrainingDiverged
        No candidate gives finite numbers.
    """
    began = time.perf_counter()
    stimuli, responses = _checked_pairs(inputs, outputs)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(stimuli))
    n_held_out = max(2, round(HELD_OUT_FRACTION * len(stimuli)))
    held_out, fitted = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
    scaling = ColumnScaling.fitted_to(stimuli[fitted])
    standardised = scaling.forward(stimuli)

    scores, predictions = [], {}
    tried = default_candidates() if candidates is None else candidates
    for candidate in tried:
        start = time.perf_counter()
        model = candidate.fit(standardised[fitted], responses[fitted], rng)
        seconds = time.perf_counter() - start
        predictions[candidate.name] = model(standardised[held_out])
        scores.append(CandidateScore.of(candidate.name, predictions[candidate.name], responses[held_out], seconds))
    errors = np.array([score.robust_error for score in scores])
    if not np.isfinite(errors).any():
        raise TrainingDiverged(
            f"no twin of {len(stimuli):,} rows: {_tried(tried)} gave no finite number for rows held out"
        )
    best = int(np.nanargmin(np.where(np.isfinite(errors), errors, np.nan)))
    noise = ResidualNoise.fitted_to(predictions[tried[best].name], responses[held_out])
    final = tried[best].fit(standardised, responses, rng)
    if not np.isfinite(final(standardised)).all():
        raise TrainingDiverged(f"the twin {_tried(tried[best : best + 1])} diverged on all {len(stimuli):,} rows")
    report = TwinReport(
        winner=tried[best].name,
        candidates=tuple(scores),
        fitted_rows=len(stimuli),
        held_out_rows=n_held_out,
        data_sha256=hashlib.sha256(stimuli.tobytes() + responses.tobytes()).hexdigest(),
        seconds=time.perf_counter() - began,
    )
    return Twin(_spec_of(stimuli, responses), scaling, final, report, noise, seed)


def _tried(candidates: tuple[Candidate, ...]) -> str:
    return ", ".join(candidate.name for candidate in candidates)


def _spec_of(stimuli: Float64Array, responses: Float64Array) -> DeviceSpec:
    low, high = _rounded_range(stimuli)
    return DeviceSpec(n_inputs=stimuli.shape[1], n_outputs=responses.shape[1], input_low=low, input_high=high)


def _rounded_range(stimuli: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Range of each channel, rounded outward to two digits of its width: 0.0003 to 0.9997 is 0 to 1.

    Random stimuli never quite reach the ends of the range that they were drawn from.
    """
    low, high = stimuli.min(axis=0), stimuli.max(axis=0)
    width = high - low
    step = 10.0 ** (np.floor(np.log10(np.where(width > 0, width, 1.0))) - 1)
    # Rounding to a millionth of a step first keeps 0.42 from becoming 0.43 by a rounding error.
    low_rounded = np.minimum(low, np.floor(np.round(low / step, 6)) * step)
    high_rounded = np.maximum(high, np.ceil(np.round(high / step, 6)) * step)
    # A channel that never moved has no range, and a device needs one: the next number up is the least.
    moved = width > 0
    return np.where(moved, low_rounded, low), np.where(moved, high_rounded, np.nextafter(low, np.inf))


def _checked_pairs(inputs: Any, outputs: Any) -> tuple[Float64Array, Float64Array]:
    try:
        stimuli = np.asarray(inputs, dtype=np.float64)
        responses = np.asarray(outputs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"a twin is fitted to arrays of real numbers: {error}") from error
    if stimuli.ndim != 2 or responses.ndim != 2 or len(stimuli) != len(responses):
        raise DatasetError(
            "a twin is fitted to stimuli (rows, n_inputs) and responses (rows, n_outputs) of the same rows, "
            f"but their shapes are {stimuli.shape} and {responses.shape}"
        )
    if len(stimuli) < MIN_ROWS or 0 in (stimuli.shape[1], responses.shape[1]):
        raise DatasetError(
            f"a twin needs at least {MIN_ROWS} measured rows, one input and one output, "
            f"but the shapes are {stimuli.shape} and {responses.shape}; measure more rows"
        )
    for name, values in (("stimulus", stimuli), ("response", responses)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, channel = (int(i) for i in bad[0])
            raise DatasetError(
                f"a twin is fitted to finite numbers, but the {name} of row {row}, channel {channel} is "
                f"{values[row, channel]}; leave the row out or measure it again"
            )
    return stimuli, responses
