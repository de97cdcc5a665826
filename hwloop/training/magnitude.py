"""How large training inputs are, for what is added to them: by their spread, not by where their zero lies."""

from __future__ import annotations

from torch import Tensor

# Of the spread about the columns' own means: a standard deviation of all values together counts up to this often.
MOST_OF_SPREAD = 2.0


def largest_spread(inputs: Tensor) -> float:
    """The widest range of a column of (rows, n)."""
    return float((inputs.amax(dim=0) - inputs.amin(dim=0)).max())


def amplitude(inputs: Tensor) -> float:
    """The largest magnitude, but no more than :func:`largest_spread`; 1 where nothing varies.

    For features from 0 up, as pixels are, the two are the same, and for features around 0 it is the magnitude. An
    offset, which says nothing, cannot make it larger.
    """
    return min(float(inputs.abs().max()), largest_spread(inputs)) or 1.0


def typical_deviation(inputs: Tensor) -> float:
    """The standard deviation of all values, but no more than twice that about the columns' own means."""
    about_means = float((inputs - inputs.mean(dim=0)).square().mean().sqrt())
    return min(float(inputs.std()), MOST_OF_SPREAD * about_means)
