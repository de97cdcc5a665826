"""Stimuli that probe a device, all within its limits; every row of a stream begins at rest, to stand by itself."""

from __future__ import annotations

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array

MODERATE = 0.77  # of the half range: a mean square of 1/5, as data have that are encoded for the device
SURELY_DIFFERENT = 16  # inputs: fewer random signs might all agree, or all disagree


def middle(spec: DeviceSpec) -> Float64Array:
    """The middle of every channel's range, shape (n_inputs,)."""
    return np.asarray(0.5 * spec.low + 0.5 * spec.high)


def half_range(spec: DeviceSpec) -> Float64Array:
    """Half of every channel's range, shape (n_inputs,)."""
    return np.asarray(0.5 * spec.high - 0.5 * spec.low)


def moderate(spec: DeviceSpec, rows: int, rng: np.random.Generator) -> Float64Array:
    """Random rows about the middle of the range, shape (rows, n_inputs)."""
    return clipped(spec, middle(spec) + half_range(spec) * rng.uniform(-MODERATE, MODERATE, (rows, spec.n_inputs)))


def mirrored(spec: DeviceSpec, rows: Float64Array) -> Float64Array:
    """The same rows on the other side of the middle: -x where the limits are symmetric."""
    return clipped(spec, 2.0 * middle(spec) - rows)


def rest(spec: DeviceSpec) -> Float64Array:
    """As close to zero on every channel as the limits allow, shape (1, n_inputs)."""
    return clipped(spec, np.zeros((1, spec.n_inputs)))


def strong(spec: DeviceSpec, rng: np.random.Generator) -> Float64Array:
    """Far from rest on every channel, each by its own random amount, shape (1, n_inputs)."""
    start = rest(spec)
    far = np.where(spec.high - start >= start - spec.low, spec.high, spec.low)
    return clipped(spec, start + rng.uniform(0.4, 1.0, start.shape) * (far - start))


def contrast(spec: DeviceSpec, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Two stimuli, shape (n_inputs,), that even a device that is blind to the sign of its inputs tells apart.

    Where there are as many outputs as inputs all inputs move together, from a quarter of the range to nine tenths;
    otherwise each lies at a quarter or at three quarters, in both stimuli as ``rng`` says.
    """
    centre, half = middle(spec), half_range(spec)
    if spec.n_inputs == spec.n_outputs:
        return standing_alone(spec, centre - half / 2), standing_alone(spec, centre + 0.8 * half)
    first, second = (rng.choice([-0.5, 0.5], spec.n_inputs) for _ in range(2))
    if spec.n_inputs < SURELY_DIFFERENT:
        second = first + np.where(first < 0, 1.3, -0.6)
    return standing_alone(spec, centre + first * half), standing_alone(spec, centre + second * half)


def steps_between(low: Float64Array, high: Float64Array, steps: int, rows: int) -> Float64Array:
    """Low and high in turns, each held for ``rows`` rows, low first; shape (steps * rows, n_inputs)."""
    return np.where(np.repeat(np.arange(steps) % 2, rows)[:, np.newaxis] == 1, high, low)


def clipped(spec: DeviceSpec, rows: Float64Array) -> Float64Array:
    """Rows taken back within the limits, which rounding may have carried them over."""
    return standing_alone(spec, np.asarray(np.clip(rows, spec.low, spec.high)))


def standing_alone(spec: DeviceSpec, rows: Float64Array) -> Float64Array:
    """The same rows (..., n_inputs), where the device streams with a reset before each."""
    if spec.streams:
        rows = rows.copy()
        rows[..., -1] = spec.high[-1]
    return rows
