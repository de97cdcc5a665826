"""Brian2 in a worker process, as the engine of a spiking device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import one_of, real_number
from hwloop.device.spec import Float64Array
from hwloop.devices.worker.target import Target
from hwloop.devices.worker.worker import Worker
from hwloop.errors import DeviceError
from hwloop.simulators.spiking.brian2.neuron_models import PER_NEURON, NeuronModel, discrete_lif
from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.layer import SpikingLayer

TARGETS = ("numpy", "cython")
SERVED = "hwloop.simulators.spiking.brian2.engine:served_engine"


class Brian2Worker:
    """A layer of Brian2 neurons behind a worker, whose process starts with :meth:`open` or the first run.

    Parameters
    ----------
    neuron, window
        What runs, and for how long.
    arrays
        ``weights`` (n_inputs, n_neurons), ``bias`` (n_neurons,), and ``recurrent`` where there are such synapses.
    per_neuron
        Values of parameters by name, each of shape (n_neurons,), in SI units.
    noise_seed, noise_scale
        First words of the seed of a row's noise, before its trial's number; a factor of all of it.
    target
        ``"numpy"`` or ``"cython"``.
    start_seconds, deadline_seconds
        For starting and compiling, and for one answer; then the worker is ended and started again.
    lost
        Called with the error of a process that crashed or hung.

    Attributes
    ----------
    trials
        Numbers of the rows of the next run, which seed their noise; from 0 if it is empty.
    """

    def __init__(
        self,
        neuron: NeuronModel,
        window: Window,
        arrays: Mapping[str, Float64Array],
        per_neuron: Mapping[str, Float64Array] | None = None,
        *,
        noise_seed: Sequence[int] = (0, 0),
        noise_scale: float = 0.0,
        target: str = "numpy",
        start_seconds: float = 180.0,
        deadline_seconds: float = 60.0,
        lost: Callable[[DeviceError], None] = lambda error: None,
    ) -> None:
        settings = {
            "neuron": asdict(neuron),
            "window": asdict(window),
            "target": one_of("target", target, TARGETS),
            "noise_seed": list(noise_seed),
            "noise_scale": noise_scale,
        }
        own = {f"{PER_NEURON}{name}": values for name, values in (per_neuron or {}).items()}
        served = Target(
            SERVED,
            settings,
            {**arrays, **own},
            start_seconds=real_number("start_seconds", start_seconds, 1.0, 86_400.0),
            deadline_seconds=real_number("deadline_seconds", deadline_seconds, 0.1, 86_400.0),
        )
        self._worker = Worker(served, lost=lost)
        self.trials: Sequence[int] = ()

    def open(self) -> None:
        """Start the process, and let Brian2 build its code.

        Raises
        ------
        ConfigError
            Brian2 refuses the neuron.
        """
        self._worker.start()

    @property
    def versions(self) -> dict[str, str]:
        """As :attr:`hwloop.devices.worker.worker.Worker.versions`."""
        return self._worker.versions

    def run(self, drive: NDArray[Any], activity: Iterable[str]) -> dict[str, NDArray[Any]]:
        """As :meth:`hwloop.simulators.spiking.engine.Engine.run`."""
        self._worker.start()
        header = {"arguments": {"activity": list(activity)}}
        trials = np.asarray(self.trials or range(len(drive)), dtype=np.int64)
        return self._worker.ask("run", header, {"drive": drive, "trials": trials})[1]

    def close(self) -> None:
        """End the process; the next run starts another. Safe to call twice, from any thread."""
        self._worker.stop()


def lif_worker(layer: SpikingLayer, window: Window, **settings: Any) -> Brian2Worker:
    """Brian2 as an engine of the shared neuron; ``settings`` are those of :class:`Brian2Worker`."""
    neuron, per_neuron = discrete_lif(layer.neuron, layer.n_neurons)
    arrays = {"weights": layer.weights, "bias": np.zeros(layer.n_neurons)}
    if layer.recurrent is not None:
        arrays["recurrent"] = layer.recurrent
    return Brian2Worker(neuron, window, arrays, per_neuron, **settings)
