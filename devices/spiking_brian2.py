"""The device ``spiking-brian2``: neurons of any equations, simulated by Brian2 in a worker process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device.checks import checked_stimuli
from hwloop.device.declared import real
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.devices.brian2_worker import Brian2Worker, lif_worker
from hwloop.errors import DeviceError
from hwloop.events import DeviceFault
from hwloop.simulators.spiking.brian2.neuron_models import NeuronModel
from hwloop.simulators.spiking.device import LIFReservoir
from hwloop.simulators.spiking.layer import SpikingLayer

logger = logging.getLogger(__name__)
OF_LIF = ("tau_membrane_seconds", "tau_synapse_seconds", "refractory_seconds", "reset")


class SpikingBrian2(LIFReservoir):
    """Neurons of any equations, simulated by Brian2 in a process of its own.

    Parameters
    ----------
    neuron
        ``"lif"``, the neuron of ``spiking-lif``, spike for spike; ``"lif-continuous"``, ``"adex"``, ``"hh"``; or a
        table of the fields of :class:`~hwloop.simulators.spiking.brian2.neuron_models.NeuronModel`. **Equations
        are code**: Brian2 compiles and runs them.
    parameters
        Other values of a named neuron's constants, text with units: ``{"tau": "10*ms"}``. Those of ``"lif"`` are
        settings of their own.
    target
        ``"numpy"``, or ``"cython"``: about three times faster; needs a C++ compiler, and the first time that a
        neuron is used compiles for 10 to 60 s.
    white_noise
        A factor of every ``xi`` in the equations.
    start_seconds, deadline_seconds
        For starting and compiling, and for one answer; then the worker is ended and started again.
    reservoir
        Everything else is a setting of :class:`~hwloop.simulators.spiking.device.LIFReservoir`; with a neuron
        other than ``"lif"`` currents and weights are in its ``input_unit`` instead of rheobases.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    ConfigError
        When it is opened: Brian2 refuses the equations.
    """

    harmless_settings: ClassVar = {
        "start_seconds": "how long the start is waited for",
        "deadline_seconds": "how long an answer is waited for",
    }
    _engine: Brian2Worker

    neuron: str | Mapping[str, Any] = "lif"
    parameters: Mapping[str, str | float] | None = None
    target: str = "numpy"
    white_noise: float = real(1.0, 0.0, 1000.0, quiet=0.0)
    start_seconds: float = 180.0
    deadline_seconds: float = 60.0

    def _completed(self, given: dict[str, Any]) -> dict[str, Any]:
        neuron, parameters = given["neuron"], given["parameters"]
        return given | {
            "neuron": dict(neuron) if isinstance(neuron, Mapping) else neuron,
            "parameters": None if parameters is None else dict(parameters),
            "white_noise": real_number("white_noise", given["white_noise"], 0.0, 1000.0),
        }

    def _set_up(self) -> None:
        self._model = None if self.neuron == "lif" else NeuronModel.from_settings(self.neuron)
        self._faults = 0
        super()._set_up()
        if self._model is not None:
            noisy = self._model.noisy and self.white_noise > 0 and self.trial is None
            unit = self._model.membrane_unit if self.coding.output == "membrane" else self.spec.output_unit
            deterministic = self.spec.deterministic and not noisy
            self.spec = replace(self.spec, output_unit=unit, deterministic=deterministic)

    def open(self) -> None:
        """Start the worker.

        Raises
        ------
        ConfigError
            Brian2 refuses the neuron.
        """
        compiling = "; 10 to 60 s more the first time that this neuron is compiled"
        logger.info("starting Brian2: 2 to 5 s%s", compiling if self.target == "cython" else "")
        self._engine.open()

    def close(self) -> None:
        self._engine.close()

    def spikes(self, stimuli: Any) -> NDArray[Any]:
        rows = checked_stimuli(stimuli, self.spec, type(self).__name__)
        self._engine.trials = self._numbers(self.rows_measured, len(rows))
        return super().spikes(rows)

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        self._engine.trials = self._numbers(first_row, len(drive))
        return super()._signal(drive, first_row)

    def _numbers(self, first_row: int, rows: int) -> Sequence[int]:
        return range(first_row, first_row + rows) if self.trial is None else [self.trial] * rows

    def _engine_of(self, layer: SpikingLayer) -> Brian2Worker:
        settings: dict[str, Any] = {
            "target": self.target,
            "start_seconds": self.start_seconds,
            "deadline_seconds": self.deadline_seconds,
            "lost": self._lost,
        }
        if self._model is None:
            self._refuse_parameters()
            return lif_worker(layer, self.window, **settings)
        return Brian2Worker(
            self._general_model(self._model),
            self.window,
            self._in_input_units(layer),
            noise_seed=self._trials,
            noise_scale=self.white_noise,
            **settings,
        )

    def _general_model(self, model: NeuronModel) -> NeuronModel:
        for name in OF_LIF:
            if self._settings[name] != self.declarations.settings[name].default:
                raise ValueError(
                    f"{name} belongs to neuron 'lif'; this neuron's constants are set by parameters, such as "
                    f"{', '.join(model.parameters) or 'none: it has no constants'}"
                )
        return model.with_parameters(self.parameters or {})

    def _refuse_parameters(self) -> None:
        if self.parameters:
            raise ValueError(f"neuron 'lif' takes no parameters; set {', '.join(OF_LIF)}")

    def _in_input_units(self, layer: SpikingLayer) -> dict[str, Float64Array]:
        """Weights and currents without the factors that the shared neuron's time constants bring."""
        du, dv = self.lif.decays(self.window.step_seconds)
        weights = layer.weights / (du if self._encoding.spiking else du * dv)
        recurrent = None if layer.recurrent is None else layer.recurrent / du
        plain = SpikingLayer(weights, layer.neuron, recurrent)  # on a grid again: sums without an order
        arrays = {"weights": plain.weights, "bias": np.broadcast_to(layer.neuron.bias, layer.n_neurons) / dv}
        return arrays if plain.recurrent is None else {**arrays, "recurrent": plain.recurrent}

    def _lost(self, error: DeviceError) -> None:
        self._faults += 1
        action = "worker started again; the same rows are measured once more"
        self.tell(DeviceFault(self._faults, f"{type(error).__name__}: {error}", 0, action))
