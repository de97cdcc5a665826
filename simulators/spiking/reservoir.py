"""A reservoir of leaky integrate-and-fire neurons: the network that torch, Brian2 and Lava simulate alike."""

from __future__ import annotations

import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.device import SpikingDevice
from hwloop.simulators.spiking.engine import Engine
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.spiking.neuron import DiscreteLIF, LIFNeuron
from hwloop.simulators.spiking.synapses import given_weights, random_inputs, random_recurrence

Kind = TypeVar("Kind", bound=type)
LARGEST_BIAS = 1000.0  # rheobases


class LIFReservoir(SpikingDevice):
    """Base of the reservoirs of leaky integrate-and-fire neurons; a subclass says what engine runs the layer.

    Neuron j has the current bias_j + sum_i W_ij x_i, in rheobases, and the equations of
    :class:`~hwloop.simulators.spiking.neuron.LIFNeuron`; recurrent synapses add the neurons' own spikes.

    Parameters
    ----------
    n_inputs
        Numbers in a row; with ``encoding="raw"`` steps of the window times channels.
    n_neurons
        Neurons, and outputs.
    window_seconds, step_seconds, settle_seconds
        The time T in which spikes are read, the step dt, and the time before T in which nothing is read.
    encoding
        ``"current"``: a constant current x; ``"poisson"``: spikes of rate x max_rate_hz; ``"latency"``: one spike,
        the earlier the larger x; ``"raw"``: a current for every step.
    output
        ``"rate"`` in Hz, ``"counts"``, ``"first-spike"`` in s (T where there was none) or ``"membrane"``, the
        potential at the end, in thresholds.
    max_rate_hz
        Of a Poisson input of 1; at most one spike a step.
    tau_membrane_seconds, tau_synapse_seconds, refractory_seconds, reset
        Of the neuron; ``reset`` is ``"zero"`` or ``"subtract"``.
    bias_current, bias_spread
        Mean and standard deviation, over neurons, of a constant current, in rheobases.
    input_scale, input_density
        Current, in rheobases, that stimuli of root mean square 1 drive (standard deviation over neurons), and the
        share of input synapses that is there. Where inputs are spikes, one through a weight of 1 moves the
        potential by one threshold.
    input_weights
        Synapses in place of random ones, shape (channels, neurons).
    recurrent_radius, recurrent_density
        Spectral radius of random synapses between the neurons (0: none) and the share that is there, one a neuron
        or more; a spike through a weight of 1 moves the potential by one threshold, beginning one step later.
    recurrent_weights
        Synapses in place of random ones, from row to column, shape (neurons, neurons).
    run, device_number
        Seed the random spikes of Poisson inputs, with the row's number:
        ``SeedSequence([run, device_number, row])``. The default of ``run`` is ``seed``.
    trial
        In place of the row's number, for all rows: each has the same random spikes.
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    seed
        Draws the synapses and the biases.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    def __init__(
        self,
        *,
        n_inputs: int = 64,
        n_neurons: int = 100,
        window_seconds: float = 0.1,
        step_seconds: float = 5e-4,
        settle_seconds: float = 0.0,
        encoding: str = "current",
        output: str = "rate",
        max_rate_hz: float = 100.0,
        tau_membrane_seconds: float = 0.02,
        tau_synapse_seconds: float = 0.005,
        refractory_seconds: float = 0.002,
        reset: str = "zero",
        bias_current: float = 1.0,
        bias_spread: float = 0.0,
        input_scale: float = 3.0,
        input_density: float = 1.0,
        input_weights: Any = None,
        recurrent_radius: float = 0.0,
        recurrent_density: float = 0.1,
        recurrent_weights: Any = None,
        run: int | None = None,
        device_number: int = 0,
        trial: int | None = None,
        row_seconds: float | None = None,
        seed: int = 0,
        **of_the_engine: Any,
    ) -> None:
        settings = {**locals(), **of_the_engine}
        del settings["of_the_engine"]
        super().__init__(settings)
        self.neuron = LIFNeuron(tau_membrane_seconds, tau_synapse_seconds, refractory_seconds, reset)
        self.layer = SpikingLayer(self._inputs(), self._discrete_neuron(), self._recurrence())
        self._engine = self._engine_of(self.layer)

    @abstractmethod
    def _engine_of(self, layer: SpikingLayer) -> Engine:
        """What runs the layer for ``self.window``; settings of its own are in ``self._settings``."""

    def _inputs(self) -> Float64Array:
        """Input synapses in units of u, shape (channels, neurons)."""
        given, step = self._settings, self.window.step_seconds
        shape = (self._n_channels, self._n_neurons)
        rng = self._stream("inputs").at_row(0)
        weights = random_inputs(rng, *shape, given["input_scale"], given["input_density"])
        if given["input_weights"] is not None:
            weights = given_weights("input_weights", given["input_weights"], shape)
        du, dv = self.neuron.decays(step)
        return weights * (du if self._encoding.spiking else du * dv)

    def _recurrence(self) -> Float64Array | None:
        given, neurons = self._settings, self._n_neurons
        rng = self._stream("recurrence").at_row(0)
        weights = random_recurrence(rng, neurons, given["recurrent_radius"], given["recurrent_density"])
        if given["recurrent_weights"] is not None:
            weights = given_weights("recurrent_weights", given["recurrent_weights"], (neurons, neurons))
        return None if weights is None else weights * self.neuron.decays(self.window.step_seconds)[0]

    def _discrete_neuron(self) -> DiscreteLIF:
        mean = real_number("bias_current", self._settings["bias_current"], -LARGEST_BIAS, LARGEST_BIAS)
        spread = real_number("bias_spread", self._settings["bias_spread"], 0.0, LARGEST_BIAS)
        normals = self._stream("bias").at_row(0).standard_normal(self._n_neurons)
        return self.neuron.discrete(self.window.step_seconds, mean + spread * normals)

    def _named_settings(self) -> dict[str, Any]:
        return {name: _short(value) for name, value in super()._named_settings().items()}


def _short(value: Any) -> Any:
    """Arrays of weights, in an identity, are named by a digest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {name: _short(entry) for name, entry in value.items()}
    numbers = np.ascontiguousarray(value, dtype="<f8")
    return f"{numbers.shape} {hashlib.sha256(numbers.tobytes()).hexdigest()[:12]}"


def takes_settings_of(base: type) -> Callable[[Kind], Kind]:
    """A class decorator: the signature shows the settings of ``base`` beside the class's own.

    A subclass that adds settings to those of its base passes the others on (``**reservoir``); with their names in
    its signature, a misspelt one is refused with the nearest, as everywhere.
    """

    def decorate(kind: Kind) -> Kind:
        own = [p for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
        more = [p for p in inspect.signature(base).parameters.values() if p.kind is p.KEYWORD_ONLY]
        kind.__signature__ = inspect.Signature([*more, *own])  # type: ignore[attr-defined]
        return kind

    return decorate
