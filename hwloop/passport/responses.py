"""What repeated and slightly changed inputs tell: noise, consistency, drift, ranks and effective dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, quantile

DRAWS = 200  # of the bootstrap
BLOCKS = 20  # of the jackknife
BLOCK_LEAST = 5  # samples of a block of the bootstrap
EDGE = 1.05  # above the largest singular value of pure noise (Marchenko and Pastur, 1967)
RESOLVED = 1e-9


@dataclass(frozen=True, eq=False)
class Repeats:
    """Responses to the same inputs: first, at once again, and at the end; shape (samples, nodes) each.

    ``spread`` is the standard deviation of each node over all inputs.
    """

    first: Float64Array
    again: Float64Array
    last: Float64Array
    spread: Float64Array

    @property
    def noise(self) -> Float64Array:
        """Standard deviation of a response about itself, shape (nodes,)."""
        return np.asarray(np.sqrt(np.mean(np.square(self.again - self.first), axis=0) / 2))

    def figures(self, seed: int) -> dict[str, Estimate]:
        """Consistency, noise share and drift, each with its bootstrap interval over blocks of samples."""
        live = self.spread > 0
        if not live.any():
            unknown = Estimate.unknown()
            return {"consistency": unknown, "noise_share": unknown, "drift": unknown}
        # One scale for all: an output that hardly moves is no measure of the others.
        scale = np.sqrt(np.mean(np.square(self.spread[live])))
        parts = [part[:, live] / scale for part in (self.first, self.again, self.last)]
        blocks = np.array_split(np.arange(len(self.first)), max(2, min(len(self.first) // BLOCK_LEAST, 100)))
        rng = np.random.default_rng(seed)
        drawn = []
        for _ in range(DRAWS):
            chosen = np.concatenate([blocks[k] for k in rng.integers(0, len(blocks), len(blocks))])
            drawn.append(_of_repeats(*(part[chosen] for part in parts)))
        spread = np.std(drawn, axis=0, ddof=1)
        consistency, noise, drift = _of_repeats(*parts)
        reach = quantile() * spread
        return {
            "consistency": Estimate.within(consistency, reach[0], -1.0, 1.0),
            "noise_share": Estimate.root(noise, reach[1]),
            "drift": Estimate.root(drift, reach[2]),
        }


def _of_repeats(first: Float64Array, again: Float64Array, last: Float64Array) -> tuple[float, float, float]:
    """Mean correlation of repeats; mean squares of noise and of what moved, over that of the responses."""
    a, b = first - first.mean(axis=0), again - again.mean(axis=0)
    norms = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    live = norms > 0
    correlations = (a * b).sum(axis=0)[live] / norms[live]
    noise = float(np.mean(np.square(again - first))) / 2
    # The middle of the two first against the last: noise leaves 3/2 of its square in the difference.
    moved = float(np.mean(np.square(last - (first + again) / 2))) - 1.5 * noise
    return float(correlations.mean()) if live.any() else float("nan"), noise, moved


def rank_above_noise(states: Float64Array, repeats: Repeats) -> Estimate:
    """Singular values of the centred states that noise alone would not give; with the interval of the noise.

    Parameters
    ----------
    states
        Shape (samples, nodes).
    """
    live = repeats.spread > 0
    if not live.any():
        return Estimate.exact(0.0)
    centred = (states - states.mean(axis=0))[:, live]
    floor = np.maximum(repeats.noise[live], RESOLVED * repeats.spread[live])
    values = np.linalg.svd(centred / floor, compute_uv=False)
    edge = EDGE * (np.sqrt(len(states)) + np.sqrt(live.sum()))
    # What is as large as noise makes it, and what would be if the noise were known too small.
    uncertainty = quantile() / np.sqrt(2 * len(repeats.first))
    edges = edge * np.array([1.0, 1 + uncertainty, max(1 - uncertainty, 0.5)])
    value, low, high = (values[:, np.newaxis] > edges).sum(axis=0).astype(np.float64)
    return Estimate(np.asarray(value), np.asarray(low), np.asarray(high))


def effective_dimension(states: Float64Array) -> Estimate:
    """Participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2; interval by the jackknife.

    Nodes count as they are: a strong one weighs more. (Gao and Ganguli, Curr. Opin. Neurobiol. 32, 148 (2015).)
    """
    rows = states - states.mean(axis=0)
    blocks = np.array_split(rows, min(BLOCKS, len(rows)))
    gram = rows.T @ rows
    whole, left_out = _participation(gram), []
    for block in blocks:
        left_out.append(_participation(gram - block.T @ block))
    count = len(blocks)
    error = np.sqrt((count - 1) / count * np.sum(np.square(np.array(left_out) - np.mean(left_out))))
    return Estimate.normal(whole, error, count - 1)


def _participation(gram: Float64Array) -> float:
    square = float(np.square(gram).sum())
    return float(np.trace(gram)) ** 2 / square if square > 0 else 0.0
