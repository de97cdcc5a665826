"""The nodes of NIR that have a state, as populations of the discrete neuron, and the signals between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.simulators.nir.graph_file import NIRNode
from hwloop.simulators.spiking.neuron import DiscreteLIF, PerNeuron

FIRING = ("LIF", "CubaLIF", "IF")
SILENT = ("LI", "CubaLI")
KINDS = (*FIRING, *SILENT)
MOST_WEIGHTS = 50_000_000  # of one matrix


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one node.

    Attributes
    ----------
    neuron
        Its potential is measured from ``zero``; of infinite threshold where the node does not fire.
    gain
        What the node's input is multiplied with to be a change of u in a step, shape (neurons,).
    zero
        The potential that 0 stands for, that of the reset, shape (neurons,).
    fires
        False for a leaky integrator, whose potential is what it sends out.
    """

    neuron: DiscreteLIF
    gain: Float64Array
    zero: Float64Array
    fires: bool


def population(name: str, node: NIRNode, width: int, step_seconds: float, integration: str) -> Population:
    """The population of a node of :data:`KINDS` with an input of ``width`` channels.

    In every step i += d_syn (w_in S - i), then v += d_mem (v_leak - v + r i), then spike where v > v_threshold and
    v = v_reset: d = dt / tau (``integration="euler"``, as other NIR platforms have it) or 1 - exp(-dt / tau)
    (``"exact"``). LIF and LI have no synapse, i = S; IF no leak, v += dt r S.

    Raises
    ------
    ConfigError
        A parameter is missing or of the wrong size, a time constant is not positive, or a step exceeds it.
    """
    read = _Parameters(name, node, width)
    fires, cuba = node.kind in FIRING, node.kind.startswith("Cuba")
    dv, du = np.zeros(width), np.ones(width)
    drive = read("r") * (step_seconds if node.kind == "IF" else 1.0)
    if node.kind != "IF":
        dv = read.decay("tau_mem" if cuba else "tau", step_seconds, integration)
        drive = drive * dv
    if cuba:
        du = read.decay("tau_syn", step_seconds, integration)
        drive = drive * du * read("w_in", 1.0)
    leak = np.zeros(width) if node.kind == "IF" else read("v_leak")
    zero = read("v_reset", 0.0) if fires else leak
    threshold = read("v_threshold") - zero if fires else np.inf
    neuron = DiscreteLIF(_one(du), _one(dv), _one(dv * (leak - zero)), _one(threshold))
    return Population(neuron, drive, zero, fires)


class _Parameters:
    """Parameters of one node, each given for all of its neurons."""

    def __init__(self, name: str, node: NIRNode, width: int) -> None:
        self._what, self._given, self._width = f"node {name!r} ({node.kind})", node.parameters, width

    def __call__(self, parameter: str, default: float | None = None) -> Float64Array:
        values = self._given.get(parameter, None if default is None else np.array(default))
        if values is None:
            raise ConfigError(f"{self._what} lacks its parameter {parameter!r}")
        if values.size not in (1, self._width):
            raise ConfigError(
                f"{self._what}: {parameter!r} has {values.size} values, but {self._width} channels come in"
            )
        return np.array(np.broadcast_to(values.ravel(), (self._width,)))

    def decay(self, parameter: str, step_seconds: float, integration: str) -> Float64Array:
        """What decays in a step."""
        tau = self(parameter)
        if (tau <= 0).any():
            raise ConfigError(f"{self._what}: {parameter!r} must be positive, not {tau.min():g}")
        if integration == "exact":
            return np.asarray(-np.expm1(-step_seconds / tau))
        if step_seconds > tau.min():
            raise ConfigError(
                f"{self._what}: steps of {step_seconds:g} s are longer than {parameter!r}; the nearest allowed "
                f"value of step_seconds is {tau.min():g}"
            )
        return np.asarray(step_seconds / tau)


def _one(values: PerNeuron) -> PerNeuron:
    """One number where all neurons have the same."""
    numbers = np.asarray(values, dtype=np.float64)
    return float(numbers.flat[0]) if (numbers == numbers.flat[0]).all() else numbers


# -- signals between populations ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """sum_k activity_k @ matrix_k + offset, of ``width`` channels.

    Attributes
    ----------
    terms
        By the name of the population (or of the input) that it comes from: a matrix (from, width), or the
        diagonal of one, shape (width,).
    offset
        Shape (width,).
    """

    terms: dict[str, Float64Array]
    offset: Float64Array

    @classmethod
    def straight_from(cls, source: str, width: int, gain: float = 1.0) -> WeightedSum:
        """What a population sends out, as it is."""
        return cls({source: np.full(width, gain)}, np.zeros(width))

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.offset)

    @property
    def straight_source(self) -> str | None:
        """The population whose activity the signal is, unaltered; ``None`` if it is more than that."""
        if len(self.terms) != 1 or self.offset.any():
            return None
        ((source, matrix),) = self.terms.items()
        return source if matrix.ndim == 1 and (matrix == 1).all() else None

    def scaled(self, scale: Float64Array) -> WeightedSum:
        """Channel by channel; ``scale`` has shape (width,)."""
        return WeightedSum({source: matrix * scale for source, matrix in self.terms.items()}, self.offset * scale)

    def through(self, weights: Float64Array) -> WeightedSum:
        """Behind a matrix of shape (width, channels)."""
        terms = {
            source: matrix[:, np.newaxis] * weights if matrix.ndim == 1 else matrix @ weights
            for source, matrix in self.terms.items()
        }
        return WeightedSum(terms, self.offset @ weights)

    def shifted(self, offset: Float64Array) -> WeightedSum:
        """With a constant added."""
        return WeightedSum(self.terms, self.offset + offset)

    def plus(self, other: WeightedSum) -> WeightedSum:
        """The sum of two signals of one width."""
        terms = dict(self.terms)
        for source, matrix in other.terms.items():
            terms[source] = _sum(terms[source], matrix) if source in terms else matrix
        return WeightedSum(terms, self.offset + other.offset)

    def stacked(self) -> Float64Array:
        """All matrices, one above the other, in the order of ``terms``: (all channels, width)."""
        return np.concatenate([full(matrix) for matrix in self.terms.values()])


def full(matrix: Float64Array) -> Float64Array:
    """A matrix, also where only its diagonal is held."""
    if matrix.ndim == 2:
        return matrix
    if matrix.size**2 > MOST_WEIGHTS:
        raise ConfigError(
            f"{matrix.size:,} neurons, each with an input of its own, are more than is simulated here"
        )
    return np.diag(matrix)


def _sum(one: Float64Array, other: Float64Array) -> Float64Array:
    return one + other if one.ndim == other.ndim else full(one) + full(other)
