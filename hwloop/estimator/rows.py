"""The rows of a fit: what they count, in an order of their own, equal ones together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.tasks.weighted import exactly_smaller, in_own_unit


def checked_weights(sample_weight: Any, rows: int) -> NDArray[np.float64]:
    """What each row counts (rows,), never less than 0, over a power of two that makes sums finite; 1/2 by default.

    Raises
    ------
    DatasetError
        Another shape, no numbers, missing, infinite or negative ones, or zeros alone.
    """
    if sample_weight is None:
        return np.ones(rows)
    try:
        array = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"sample_weight must be numbers, one a row ({error})") from error
    weights = np.full(rows, float(array)) if array.ndim == 0 else array
    if weights.shape != (rows,):
        raise DatasetError(f"sample_weight must have shape ({rows},), one number a row, but has {weights.shape}")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise DatasetError(f"sample_weight of row {bad[0]} is {weights[bad[0]]}; give finite numbers from 0 up")
    if not weights.any():
        raise DatasetError("every sample_weight is zero; at least one row must count")
    return exactly_smaller(weights)


@dataclass(frozen=True)
class FitRows:
    """What a fit is made of.

    Attributes
    ----------
    inputs, targets
        Rows (rows, features) and what stands against them.
    weights
        What each row counts (rows,), whatever unit it was given in; ``None`` where all count the same.
    """

    inputs: NDArray[np.float64]
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None

    @classmethod
    def of(
        cls, inputs: NDArray[np.float64], targets: NDArray[Any], weights: NDArray[np.float64], together: bool
    ) -> FitRows:
        """Rows that count, ordered by their bits: the same fit whatever order they come in.

        Parameters
        ----------
        together
            Whether equal rows with equal targets become one whose weight is their sum, so that a row of weight 2
            is the row twice, to the last bit.
        """
        counts = weights > 0
        inputs, targets, weights = inputs[counts], targets[counts], weights[counts]
        order = np.argsort(_keys(inputs, targets), kind="stable")
        inputs, targets, weights = inputs[order], targets[order], weights[order]
        if together:
            keys = _keys(inputs, targets)
            first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
            inputs, targets, weights = inputs[first], targets[first], np.add.reduceat(weights, first)
        weights = in_own_unit(weights)
        return cls(inputs, targets, None if bool((weights == 1.0).all()) else weights)


def _keys(inputs: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.void]:
    """One comparable value a row: its bits, with -0 as 0."""
    columns = targets.reshape(len(targets), -1).astype(np.float64)
    both = np.ascontiguousarray(np.hstack([inputs, columns]) + 0.0)
    return both.view(np.dtype((np.void, both.dtype.itemsize * both.shape[1])))[:, 0]
