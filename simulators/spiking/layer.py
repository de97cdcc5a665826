"""One layer of spiking neurons as engines get it: whole multiples of a power of two, so that sums have no order.

Engines add up synaptic currents in orders of their own (BLAS, an event queue, a chip). So that all agree to the
last bit, weights and stimuli are put on grids so coarse that every product and every partial sum is exact in
double precision: what remains are the element-wise steps of :class:`DiscreteLIF`, which are the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.neuron import DiscreteLIF

STIMULUS_BITS = 20  # stimuli are multiples of 2**-20, at most 1 in size: they are exact in float32 too
DOUBLE_BITS = 53
LARGEST_WEIGHT = 1e6  # in rheobases


@dataclass(frozen=True, eq=False)
class SpikingLayer:
    """Input synapses, recurrent synapses and the neurons behind them.

    Attributes
    ----------
    weights
        Shape (n_inputs, neurons), in units of u.
    neuron
        Of all neurons of the layer, or with arrays (neurons,).
    recurrent
        ``recurrent[i, j]`` from neuron i to neuron j, shape (neurons, neurons), one step later; ``None`` for none.
    """

    weights: Float64Array
    neuron: DiscreteLIF
    recurrent: Float64Array | None = None

    def __post_init__(self) -> None:
        parts = [self.weights] if self.recurrent is None else [self.weights, self.recurrent]
        terms = sum(len(part) for part in parts)
        bits = DOUBLE_BITS - STIMULUS_BITS - max(1, (terms - 1).bit_length())
        largest = max(float(np.abs(part).max(initial=0.0)) for part in parts)
        step = np.ldexp(1.0, int(np.frexp(largest)[1]) - bits)
        for name, part in zip(("weights", "recurrent"), parts, strict=False):
            object.__setattr__(self, name, np.rint(part / step) * step)

    @property
    def n_inputs(self) -> int:
        """Channels that drive the layer."""
        return len(self.weights)

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return int(self.weights.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays by name, for an engine in another Python: no ``recurrent`` where there is none."""
        named = {name: np.asarray(value) for name, value in vars(self.neuron).items()}
        named["weights"] = self.weights
        return named if self.recurrent is None else {**named, "recurrent": self.recurrent}


def stimulus_on_grid(stimuli: Float64Array) -> Float64Array:
    """Stimuli within [-1, 1] rounded to the grid on which sums are exact."""
    return np.asarray(np.ldexp(np.rint(np.ldexp(stimuli, STIMULUS_BITS)), -STIMULUS_BITS))


# -- synapses: drawn by a seed, or given --------------------------------------------------------------------------


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
    if not (np.abs(weights) <= LARGEST_WEIGHT).all():
        raise ValueError(
            f"{name} must be finite and at most {LARGEST_WEIGHT:g} in size; the nearest allowed value is that"
        )
    return weights
