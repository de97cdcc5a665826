"""Lava's arithmetic without Lava: NumPy that follows its models operation by operation, in any Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Dict, Iterable, Mapping, Tuple

import numpy as np
from numpy.typing import NDArray

from .fixed_point import DECAY_UNITY, INPUT_SHIFT, REGISTER, fixed_point

Array = NDArray[Any]
BLOCK_ROWS = 256


class LayerTwin(ABC):
    """Base of the twins: runs a layer step by step; a subclass has the arithmetic of a step.

    Parameters
    ----------
    layer
        By name, see :func:`.fixed_point.fixed_point`.
    steps, settle_steps
        Steps in which activity is read, and steps before them.
    """

    scale: float = 1.0  # of a membrane, integers over values
    current: Array
    membrane: Array

    def __init__(self, layer: Mapping[str, Array], steps: int, settle_steps: int = 0) -> None:
        self.steps, self.settle_steps = steps, settle_steps
        self.n_neurons = np.shape(layer["weights"])[1]

    def run(self, drive: Array, activity: Iterable[str]) -> Dict[str, Array]:
        """The named activities of a drive.

        Parameters
        ----------
        drive
            Constant, shape (rows, n_inputs), or of every step, (rows, settle_steps + steps, n_inputs).
        activity
            Some of ``counts`` and ``first_spike`` (rows, neurons) int32, ``membrane`` (rows, neurons) float64,
            ``spikes`` (rows, steps, neurons) uint8.
        """
        messages = self.messages(drive)
        blocks = [self._block(messages[k : k + BLOCK_ROWS]) for k in range(0, max(1, len(drive)), BLOCK_ROWS)]
        spikes, membrane = (np.concatenate(parts) for parts in zip(*blocks))
        first = np.where(spikes.any(axis=1), spikes.argmax(axis=1), self.steps)
        found = {
            "counts": spikes.sum(axis=1, dtype=np.int32),
            "first_spike": first.astype(np.int32),
            "membrane": np.asarray(membrane / self.scale, dtype=np.float64),
            "spikes": spikes,
        }
        return {name: found[name] for name in activity}

    def _block(self, messages: Array) -> Tuple[Array, Array]:
        """Spikes (rows, steps, neurons) in the window and membranes (rows, neurons) at its end."""
        rows = len(messages)
        fired = np.zeros((rows, self.n_neurons), dtype=bool)
        spikes = np.zeros((rows, self.steps, self.n_neurons), dtype=np.uint8)
        self.start(fired.shape)
        constant = self.input(messages) if messages.ndim == 2 else None
        for step in range(self.settle_steps + self.steps):
            activation = self.input(messages[:, step]) if constant is None else constant
            fired = self.step(activation + self.feedback(fired))
            if step >= self.settle_steps:
                spikes[:, step - self.settle_steps] = fired
        return spikes, self.membrane

    @abstractmethod
    def messages(self, drive: Array) -> Array:
        """What is sent for a drive."""

    @abstractmethod
    def input(self, messages: Array) -> Array:
        """Activations by messages, (rows, n_inputs) to (rows, neurons)."""

    @abstractmethod
    def feedback(self, fired: Array) -> Any:
        """Activations by the spikes of the step before, (rows, neurons), or 0."""

    @abstractmethod
    def start(self, shape: Tuple[int, ...]) -> None:
        """Every neuron of (rows, neurons) at rest, in ``self.current`` and ``self.membrane``."""

    @abstractmethod
    def step(self, activation: Array) -> Array:
        """One step; where neurons fired, (rows, neurons)."""


class FixedPointTwin(LayerTwin):
    """``PyLifResetModelBitAcc`` and ``PyDenseModelBitAcc`` of Lava 0.10, to the last bit.

    Parameters
    ----------
    message_bits
        Bits of a stimulus.
    layer, steps, settle_steps
        As of :class:`LayerTwin`.
    """

    def __init__(self, layer: Mapping[str, Array], message_bits: int, steps: int, settle_steps: int = 0) -> None:
        super().__init__(layer, steps, settle_steps)
        self.layer = fixed_point(layer, message_bits)
        self.scale = self.layer.scale
        # Doubles hold these integers and their sums exactly, and multiply far faster.
        self._weights = self.layer.weights.astype(float)
        self._recurrent = None if self.layer.recurrent is None else self.layer.recurrent.astype(float)
        self._bias = np.left_shift(self.layer.bias.astype(np.int64), self.layer.bias_exp)
        self._threshold = self.layer.threshold << INPUT_SHIFT

    def messages(self, drive: Array) -> Array:
        """Integers."""
        return self.layer.messages(drive)

    def input(self, messages: Array) -> Array:
        """Weighted sums, shifted by the weight exponent."""
        return _shifted(messages @ self._weights, self.layer.weight_exp)

    def feedback(self, fired: Array) -> Any:
        """The same of recurrent synapses."""
        return 0 if self._recurrent is None else _shifted(fired @ self._recurrent, self.layer.recurrent_exp)

    def start(self, shape: Tuple[int, ...]) -> None:
        """Registers at 0."""
        self.current, self.membrane = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)

    def step(self, activation: Array) -> Array:
        """As ``subthr_dynamics``: decay, add, wrap the current around, stop the membrane at its ends."""
        self.current = _wrapped(_decayed(self.current, self.layer.du + 1) + (activation << INPUT_SHIFT))
        membrane = _decayed(self.membrane, self.layer.dv) + self.current + self._bias
        self.membrane = np.clip(membrane, 1 - REGISTER, REGISTER - 1)
        fired = np.asarray(self.membrane > self._threshold)
        self.membrane[fired] = 0
        return fired


class FloatingTwin(LayerTwin):
    """``PyLifResetModelFloat`` in doubles, with what ``DiverseLIFReset`` adds to it."""

    def __init__(self, layer: Mapping[str, Array], steps: int, settle_steps: int = 0) -> None:
        super().__init__(layer, steps, settle_steps)
        self._layer = layer
        self._refractory_steps = int(layer["refractory_steps"])

    def messages(self, drive: Array) -> Array:
        """The drive in doubles."""
        return np.asarray(drive, dtype=float)

    def input(self, messages: Array) -> Array:
        """Weighted sums."""
        return np.asarray(messages @ self._layer["weights"])

    def feedback(self, fired: Array) -> Any:
        """Weighted sums of spikes."""
        return fired @ self._layer["recurrent"] if "recurrent" in self._layer else 0.0

    def start(self, shape: Tuple[int, ...]) -> None:
        """At rest, and free to fire."""
        self.current, self.membrane = np.zeros(shape), np.zeros(shape)
        self._resting = np.zeros(shape, dtype=int)

    def step(self, activation: Array) -> Array:
        """As ``subthr_dynamics``."""
        layer = self._layer
        self.current = self.current * (1 - layer["du"]) + activation
        self.membrane = self.membrane * (1 - layer["dv"]) + self.current + layer["bias"]
        self.membrane[self._resting > 0] = 0
        self._resting -= 1
        fired = np.asarray(self.membrane > layer["threshold"])
        if layer["subtract"]:
            self.membrane -= fired * layer["threshold"]
        else:
            self.membrane[fired] = 0
            self._resting[fired] = self._refractory_steps
        return fired


def _shifted(sums: Array, exponent: int) -> Array:
    whole = sums.astype(np.int64)
    return whole << exponent if exponent > 0 else whole >> -exponent


def _decayed(register: Array, parts: int) -> Array:
    """Less so many parts in 4096, towards zero."""
    return np.asarray(np.sign(register) * ((np.abs(register) * (DECAY_UNITY - parts)) >> 12))


def _wrapped(register: Array) -> Array:
    """Beyond 24 bits registers go round."""
    register = np.where(register > REGISTER, register - 2 * REGISTER, register)
    return np.where(register <= -REGISTER, register + 2 * REGISTER, register)
