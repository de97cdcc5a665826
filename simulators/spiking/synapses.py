"""Synapses of a reservoir: drawn by a seed, or given."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array

LARGEST = 1e6  # of a weight, in rheobases


def random_inputs(
    rng: np.random.Generator, n_inputs: int, n_neurons: int, scale: float, density: float
) -> Float64Array:
    """Gaussian weights of the input, shape (n_inputs, neurons), in rheobases a unit of stimulus.

    A share ``density`` of them is there. Their standard deviation is scale / sqrt(n_inputs density): a stimulus of
    root mean square r drives neurons with currents of standard deviation scale * r, however many inputs there are.
    """
    real_number("input_scale", scale, 0.0, 1000.0)
    real_number("input_density", density, 1.0 / n_inputs, 1.0)
    weights = rng.standard_normal((n_inputs, n_neurons)) * (rng.random((n_inputs, n_neurons)) < density)
    return np.asarray(scale / np.sqrt(n_inputs * density) * weights)


def random_recurrence(
    rng: np.random.Generator, n_neurons: int, spectral_radius: float, density: float
) -> Float64Array | None:
    """Sparse Gaussian weights between neurons, none to itself, scaled to a spectral radius; ``None`` for 0.

    In units of charge: a spike through a weight of 1 moves the potential, without leak, by one threshold. Where
    there is recurrence, a neuron has at least one synapse in the mean: the density is 1 / n_neurons or more.
    """
    real_number("recurrent_radius", spectral_radius, 0.0, 1000.0)
    real_number("recurrent_density", density, 1.0 / n_neurons if spectral_radius else 0.0, 1.0)
    if spectral_radius == 0:
        return None
    weights = rng.standard_normal((n_neurons, n_neurons)) * (rng.random((n_neurons, n_neurons)) < density)
    np.fill_diagonal(weights, 0.0)
    radius = float(np.abs(np.linalg.eigvals(weights)).max())
    return np.asarray(weights * (spectral_radius / radius) if radius else weights)


def given_weights(name: str, values: Any, shape: tuple[int, int]) -> Float64Array:
    """Weights of a user, checked.

    Raises
    ------
    ValueError
        Another shape, or a number that is not finite or beyond all bounds.
    """
    try:
        weights = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers of shape {shape} ({error})") from error
    if weights.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {weights.shape}")
    if not (np.abs(weights) <= LARGEST).all():
        raise ValueError(
            f"{name} must be finite and at most {LARGEST:g} in size; the nearest allowed value is that"
        )
    return weights
