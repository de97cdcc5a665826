"""Samples of a signal between its samples: for two cards whose clocks do not run alike."""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hwloop.device.spec import Float64Array

HALF_WIDTH = 24  # samples on each side that have a say
KAISER_BETA = 9.0  # the error of a tone up to 0.8 of half the sample rate is below 1e-4
PHASES = 512  # of a sample, between which weights are interpolated: to 1e-6
BLOCK_SAMPLES = 1 << 14  # computed together, to bound the memory


def sampled_at(signal: Float64Array, positions: Float64Array) -> Float64Array:
    """A signal at fractional positions, by a windowed sinc (Kaiser); silence lies before and after it.

    Parameters
    ----------
    signal
        Shape (samples,).
    positions
        In samples from its first, shape (n,).

    Returns
    -------
    ndarray of shape (n,).
    """
    windows = sliding_window_view(np.pad(signal, HALF_WIDTH + 1), 2 * HALF_WIDTH + 1)
    found = np.empty(len(positions))
    for start in range(0, len(positions), BLOCK_SAMPLES):
        block = slice(start, start + BLOCK_SAMPLES)
        whole = np.floor(positions[block]).astype(np.int64)
        phase, between = np.divmod((positions[block] - whole) * PHASES, 1.0)
        lower = _weights()[phase.astype(np.int64)]
        upper = _weights()[phase.astype(np.int64) + 1]
        weights = lower + between[:, np.newaxis] * (upper - lower)
        around = windows[np.clip(whole + 1, 0, len(windows) - 1)]
        found[block] = np.einsum("ij,ij->i", weights, around)
    return found


@functools.cache
def _weights() -> Float64Array:
    """The weights of the samples around a position, shape (phases + 1, samples)."""
    offset = np.linspace(0.0, 1.0, PHASES + 1)[:, np.newaxis]
    distance = np.arange(-HALF_WIDTH, HALF_WIDTH + 1) - offset
    inside = np.sqrt(np.maximum(0.0, 1.0 - np.square(distance / (HALF_WIDTH + 1))))
    return np.asarray(np.sinc(distance) * np.i0(KAISER_BETA * inside) / np.i0(KAISER_BETA))
