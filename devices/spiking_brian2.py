"""The device ``spiking-brian2``: neurons of any equations, simulated by Brian2 in a worker process."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device.checks import checked_stimuli
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.devices.brian2_worker import Brian2Worker, lif_worker
from hwloop.errors import DeviceError
from hwloop.events import DeviceFault
from hwloop.simulators.spiking.brian2.neuron_models import NeuronModel
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.spiking.reservoir import LIFReservoir, takes_settings_of

logger = logging.getLogger(__name__)
OF_LIF = ("tau_membrane_seconds", "tau_synapse_seconds", "refractory_seconds", "reset")


@takes_settings_of(LIFReservoir)
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
        Everything else is a setting of :class:`~hwloop.simulators.spiking.reservoir.LIFReservoir`; with a neuron
        other than ``"lif"`` currents and weights are in its ``input_unit`` instead of rheobases.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    ConfigError
        When it is opened: Brian2 refuses the equations.
    """

    quiet_settings: ClassVar = {**LIFReservoir.quiet_settings, "white_noise": 0.0}
    harmless_settings: ClassVar = {
        "start_seconds": "how long the start is waited for",
        "deadline_seconds": "how long an answer is waited for",
    }
    _engine: Brian2Worker

    def __init__(
        self,
        *,
        neuron: str | Mapping[str, Any] = "lif",
        parameters: Mapping[str, str | float] | None = None,
        target: str = "numpy",
        white_noise: float = 1.0,
        start_seconds: float = 180.0,
        deadline_seconds: float = 60.0,
        **reservoir: Any,
    ) -> None:
        self._model = None if neuron == "lif" else NeuronModel.from_settings(neuron)
        self._faults = 0
        super().__init__(
            neuron=neuron if isinstance(neuron, str) else dict(neuron),
            parameters=None if parameters is None else dict(parameters),
            target=target,
            white_noise=real_number("white_noise", white_noise, 0.0, 1000.0),
            start_seconds=start_seconds,
            deadline_seconds=deadline_seconds,
            **reservoir,
        )
        if self._model is not None:
            noisy = self._model.noisy and white_noise > 0 and self._trial is None
            unit = self._model.membrane_unit if self._settings["output"] == "membrane" else self.spec.output_unit
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
        logger.info("starting Brian2: 2 to 5 s%s", compiling if self._settings["target"] == "cython" else "")
        self._engine.open()

    def close(self) -> None:
        """End the worker."""
        self._engine.close()

    def spikes(self, stimuli: Any) -> NDArray[Any]:
        """As :meth:`hwloop.simulators.spiking.device.SpikingDevice.spikes`."""
        rows = checked_stimuli(stimuli, self.spec, type(self).__name__)
        self._engine.trials = self._numbers(self.rows_measured, len(rows))
        return super().spikes(rows)

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        self._engine.trials = self._numbers(first_row, len(drive))
        return super()._signal(drive, first_row)

    def _numbers(self, first_row: int, rows: int) -> Sequence[int]:
        return range(first_row, first_row + rows) if self._trial is None else [self._trial] * rows

    def _engine_of(self, layer: SpikingLayer) -> Brian2Worker:
        given = self._settings
        settings = {name: given[name] for name in ("target", "start_seconds", "deadline_seconds")}
        settings["lost"] = self._lost
        if self._model is None:
            self._refuse_parameters()
            return lif_worker(layer, self.window, **settings)
        return Brian2Worker(
            self._general_model(self._model),
            self.window,
            self._in_input_units(layer),
            noise_seed=self._trials,
            noise_scale=given["white_noise"],
            **settings,
        )

    def _general_model(self, model: NeuronModel) -> NeuronModel:
        defaults = inspect.signature(LIFReservoir).parameters
        for name in OF_LIF:
            if self._settings[name] != defaults[name].default:
                raise ValueError(
                    f"{name} belongs to neuron 'lif'; this neuron's constants are set by parameters, such as "
                    f"{', '.join(model.parameters) or 'none: it has no constants'}"
                )
        return model.with_parameters(self._settings["parameters"] or {})

    def _refuse_parameters(self) -> None:
        if self._settings["parameters"]:
            raise ValueError(f"neuron 'lif' takes no parameters; set {', '.join(OF_LIF)}")

    def _in_input_units(self, layer: SpikingLayer) -> dict[str, Float64Array]:
        """Weights and currents without the factors that the shared neuron's time constants bring."""
        du, dv = self.neuron.decays(self.window.step_seconds)
        weights = layer.weights / (du if self._encoding.spiking else du * dv)
        recurrent = None if layer.recurrent is None else layer.recurrent / du
        plain = SpikingLayer(weights, layer.neuron, recurrent)  # on a grid again: sums without an order
        arrays = {"weights": plain.weights, "bias": np.broadcast_to(layer.neuron.bias, layer.n_neurons) / dv}
        return arrays if plain.recurrent is None else {**arrays, "recurrent": plain.recurrent}

    def _lost(self, error: DeviceError) -> None:
        self._faults += 1
        action = "worker started again; the same rows are measured once more"
        self.tell(DeviceFault(self._faults, f"{type(error).__name__}: {error}", 0, action))
