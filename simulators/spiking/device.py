"""What every simulated spiking device does, and the reservoir that torch, Brian2 and Lava simulate alike."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from hwloop.device.checks import checked_stimuli
from hwloop.device.declared import choice, real, whole
from hwloop.device.settings import one_of
from hwloop.device.spec import Float64Array
from hwloop.simulators.imperfections import ImperfectionChain
from hwloop.simulators.spiking.coding import ENCODINGS, READOUTS, SpikeCoding
from hwloop.simulators.spiking.engine import Engine, engine_versions
from hwloop.simulators.spiking.layer import SpikingLayer, given_weights, random_inputs, random_recurrence
from hwloop.simulators.spiking.neuron import RESETS, DiscreteLIF, LIFNeuron
from hwloop.simulators.substrate import Substrate

LARGEST_BIAS = 1000.0  # rheobases


class SpikingDevice(Substrate, shared=True):
    """Base of the spiking devices: encodes a stimulus, runs an engine from rest and reads its activity out.

    A subclass declares a :class:`~hwloop.simulators.spiking.coding.SpikeCoding` and builds the engine.

    Every row starts from rest, so none remembers another. What is random in the k-th row that the device measures
    is drawn from ``SeedSequence([run, device_number, k])`` and from nothing else: a row that is measured again
    under its number repeats.

    Parameters
    ----------
    run, device_number
        Seed the random spikes of Poisson inputs, with the row's number:
        ``SeedSequence([run, device_number, row])``. The default of ``run`` is ``seed``.
    trial
        In place of the row's number, for all rows: each has the same random spikes, so that :meth:`noiseless`
        repeats itself.
    """

    block_rows: ClassVar[int] = 256
    stream_prefix: ClassVar[str] = "spiking"
    reset_between_rows: ClassVar[bool] = True
    coding: SpikeCoding
    _engine: Engine

    run: int | None = whole(None, 0)
    device_number: int = whole(0, 0)
    trial: int | None = whole(None, 0, quiet=0)
    row_seconds: float | None = real(None, 0.0, 1e6)

    def _set_up_coding(self, n_inputs: int, n_outputs: int) -> None:
        """Everything but the engine, for so many numbers in a row and neurons that are read."""
        coding = self.coding
        self.window = coding.window()
        self._encoding = ENCODINGS[coding.encoding](self.window, coding.max_rate_hz)
        self._readout = READOUTS[one_of("output", self._settings["output"], READOUTS)]
        self._n_channels = self._encoding.channels(n_inputs, self.window)
        self._trials = [self.seed if self.run is None else self.run, self.device_number]
        self._chain = ImperfectionChain(None, ())
        self.spec = self._spec(
            n_inputs,
            n_outputs,
            still=not self._encoding.random or self.trial is not None,
            input_low=self._encoding.low,
            input_high=self._encoding.high,
            input_unit=self._encoding.unit,
            output_unit=self._readout.unit,
        )

    def versions(self) -> dict[str, str]:
        """Those of the engine, where it runs in another process."""
        return engine_versions(self._engine)

    def spikes(self, stimuli: Any) -> np.ndarray[Any, Any]:
        """Spike trains of stimuli, (rows, steps, neurons), for a raster plot; they count as no rows.

        What is random is that of the rows to be measured next.
        """
        rows = checked_stimuli(stimuli, self.spec, type(self).__name__)
        drive = self._encoding.drive(rows, self.window, self._rngs(self.rows_measured, len(rows)))
        return self._engine.run(drive, ["spikes"])["spikes"]

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        encoded = self._encoding.drive(drive, self.window, self._rngs(first_row, len(drive)))
        name = self._readout.activity
        return self._readout.response(self._engine.run(encoded, [name])[name], self.window)

    def _rngs(self, first_row: int, rows: int) -> list[np.random.Generator]:
        if not self._encoding.random:
            return []
        trials = [self.trial] * rows if self.trial is not None else range(first_row, first_row + rows)
        return [np.random.default_rng(np.random.SeedSequence([*self._trials, trial])) for trial in trials]


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
    """

    n_inputs: int = whole(64, 1, 1_000_000)
    n_neurons: int = whole(100, 1, 100_000)
    coding: SpikeCoding = SpikeCoding()
    tau_membrane_seconds: float = 0.02
    tau_synapse_seconds: float = 0.005
    refractory_seconds: float = 0.002
    reset: str = choice("zero", RESETS)
    bias_current: float = real(1.0, -LARGEST_BIAS, LARGEST_BIAS)
    bias_spread: float = real(0.0, 0.0, LARGEST_BIAS)
    input_scale: float = 3.0
    input_density: float = 1.0
    input_weights: Any = None
    recurrent_radius: float = 0.0
    recurrent_density: float = 0.1
    recurrent_weights: Any = None

    def _set_up(self) -> None:
        self._set_up_coding(self.n_inputs, self.n_neurons)
        self.lif = LIFNeuron(
            self.tau_membrane_seconds, self.tau_synapse_seconds, self.refractory_seconds, self.reset
        )
        self.layer = SpikingLayer(self._inputs(), self._discrete_neuron(), self._recurrence())
        self._engine = self._engine_of(self.layer)

    @abstractmethod
    def _engine_of(self, layer: SpikingLayer) -> Engine:
        """What runs the layer for ``self.window``; settings of its own are in ``self._settings``."""

    def _inputs(self) -> Float64Array:
        """Input synapses in units of u, shape (channels, neurons)."""
        shape = (self._n_channels, self.n_neurons)
        rng = self._stream("inputs").at_row(0)
        weights = random_inputs(rng, *shape, self.input_scale, self.input_density)
        if self.input_weights is not None:
            weights = given_weights("input_weights", self.input_weights, shape)
        du, dv = self.lif.decays(self.window.step_seconds)
        return weights * (du if self._encoding.spiking else du * dv)

    def _recurrence(self) -> Float64Array | None:
        neurons = self.n_neurons
        rng = self._stream("recurrence").at_row(0)
        weights = random_recurrence(rng, neurons, self.recurrent_radius, self.recurrent_density)
        if self.recurrent_weights is not None:
            weights = given_weights("recurrent_weights", self.recurrent_weights, (neurons, neurons))
        return None if weights is None else weights * self.lif.decays(self.window.step_seconds)[0]

    def _discrete_neuron(self) -> DiscreteLIF:
        normals = self._stream("bias").at_row(0).standard_normal(self.n_neurons)
        return self.lif.discrete(self.window.step_seconds, self.bias_current + self.bias_spread * normals)

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
