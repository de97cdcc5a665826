"""A block of rows as one group of neurons, which Brian2 compiles once and which then runs on without an end.

Brian2 keeps clocks, preferences and devices in globals and is not thread-safe: one thread of a process owns it.
None of the files is kept that it leaves for a bug report.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from brian2 import Clock, Network, NeuronGroup, Synapses, have_same_dimensions, prefs, second
from brian2 import Quantity as BrianQuantity
from brian2.codegen.generators.numpy_generator import NumpyCodeGenerator
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import ArrayVariable
from brian2.utils.logger import BrianLogger
from numpy.typing import NDArray
from scipy import special

from hwloop.device.settings import nearest
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceError
from hwloop.simulators.spiking.brian2.neuron_models import NeuronModel, RowNoise, with_row_noise
from hwloop.simulators.spiking.brian2.quantities import parse_quantity
from hwloop.simulators.spiking.engine import Window

TARGETS = ("numpy", "cython")
# As Brian2 has them, less -ffast-math, and no fused multiply-add: a row's bits do not depend on its place.
COMPILER_ARGUMENTS = ["-w", "-O3", "-ffp-contract=off", "-march=native", "-std=c++11"]
BOOKKEEPING = "spikes_in_window : integer\nfirst_spike_step : integer"
COUNTING = "spikes_in_window += 1\nfirst_spike_step = int(clip(first_spike_step, 0, t_in_timesteps - {settling}))"
ARRIVING = "arriving : 1"


def prepare_brian2(target: str) -> None:
    """Set every preference that has a say in a result, whatever preference files the user has.

    Parameters
    ----------
    target
        ``"numpy"``, or ``"cython"``: compiled code, which Brian2 keeps in its cache.
    """
    prefs.codegen.target = target
    prefs.codegen.loop_invariant_optimisations = False  # it would add in another order
    prefs.codegen.cpp.extra_compile_args_gcc = COMPILER_ARGUMENTS
    prefs.core.default_float_dtype = np.float64
    prefs.logging.std_redirection = False
    # Brian2's own checks units by way of printing the array, which takes milliseconds.
    DEFAULT_FUNCTIONS["exprel"].implementations.add_implementation(NumpyCodeGenerator, code=special.exprel)
    _leave_no_files()


def _leave_no_files() -> None:
    # Brian2 opens a log and copies the script while it is imported, and keeps both if the process is killed.
    handler = BrianLogger.file_handler
    if handler is not None:
        handler.close()
        BrianLogger.file_handler = None
        logging.getLogger("brian2").removeHandler(handler)
    for name in ("tmp_log", "tmp_script"):
        path = getattr(BrianLogger, name)
        if path is not None:
            with contextlib.suppress(OSError):
                os.remove(path)
            setattr(BrianLogger, name, None)
    sys.excepthook = sys.__excepthook__


def brian_quantity(name: str, value: str | float) -> BrianQuantity | float:
    """The quantity that ``value`` says, in Brian2's units (those that equations know).

    Raises
    ------
    ValueError
        It is none, or names an unknown unit.
    """
    quantity = parse_quantity(name, value)
    result: BrianQuantity | float = quantity.number
    for unit, power in quantity.units:
        if unit not in DEFAULT_UNITS:
            close = difflib.get_close_matches(unit, DEFAULT_UNITS, n=3) or ["mV", "ms", "nA", "msiemens"]
            raise ValueError(f"{name} {value!r}: Brian2 knows no unit {unit!r}, but {', '.join(close)}")
        result = result * DEFAULT_UNITS[unit] ** power
    return result


class NeuronBlock:
    """``rows`` copies of a layer of neurons, side by side in one Brian2 group.

    ``Network.run`` is called once, to compile. What it would then do in every step, run its operations in order
    and advance the clock, is done here: calling it for every batch would cost a hundred times the step.

    Parameters
    ----------
    rows
        Rows that run together.
    neuron
        Of all neurons of the layer.
    n_neurons
        Neurons of the layer.
    window
        Settling and window.
    recurrent
        Weights from neuron i to neuron j, shape (n_neurons, n_neurons), or ``None``.
    per_neuron
        Values of parameters or of the initial state, by name, shape (n_neurons,), without unit or in SI units.
    """

    def __init__(
        self,
        rows: int,
        neuron: NeuronModel,
        n_neurons: int,
        window: Window,
        recurrent: Float64Array | None,
        per_neuron: Mapping[str, Float64Array],
    ) -> None:
        self.rows, self.n_neurons, self.window = rows, n_neurons, window
        self._neuron = neuron
        equations, noises = with_row_noise(neuron.equations)
        parts = [equations, BOOKKEEPING] + ([] if recurrent is None else [ARRIVING])
        group = self._neurons("\n".join(parts))
        for name, values in per_neuron.items():
            group.variables[name].get_value()[:] = np.tile(values, rows)
        objects = [group] if recurrent is None else [group, self._synapses(group, recurrent)]
        network = Network(*objects)
        network.run(0 * second, namespace={})
        self._operations = [operation.run for operation in network.sorted_objects]
        self._step_number, self._time = (group.clock.variables[name].get_value() for name in ("timestep", "t"))
        self._arrays = _arrays(group)
        self._rest = {name: self._arrays[name].copy() for name in _altered(group)}
        self._input, self._input_unit = self._variable(group, "input_variable", "input_unit")
        self._membrane, self._membrane_unit = self._variable(group, "membrane", "membrane_unit")
        self._arriving = self._arrays.get("arriving")
        self._noises = [self._arrays[name] for name in noises]
        self._fired = group.variables["_spikespace"].get_value()

    @property
    def noise_sources(self) -> int:
        """Independent white noises of a neuron."""
        return len(self._noises)

    def run(
        self, currents: Iterable[Float64Array], noise: RowNoise | None, activity: Collection[str], rows: int
    ) -> dict[str, NDArray[Any]]:
        """One window from rest.

        Parameters
        ----------
        currents
            For every step those of all neurons of the block, shape (rows * n_neurons,), in the neuron's
            ``input_unit``; the same array again where nothing has changed.
        noise
            Where the neuron has some.
        activity
            As :meth:`hwloop.simulators.spiking.engine.Engine.run`.
        rows
            Rows of the block that somebody asked for; the others run idle.
        """
        spikes = (
            np.zeros((self.window.steps, self.rows * self.n_neurons), np.uint8) if "spikes" in activity else None
        )
        for name, values in self._rest.items():
            np.copyto(self._arrays[name], values)
        loaded = None
        for step, current in zip(range(-self.window.settle_steps, self.window.steps), currents, strict=True):
            if step == 0:
                self._arrays["spikes_in_window"].fill(0)
                self._arrays["first_spike_step"].fill(self.window.steps)
            if current is not loaded or self._arriving is not None:
                self._drive(current)
                loaded = current
            if noise is not None:
                for target, values in zip(self._noises, noise.next_step(), strict=True):
                    np.copyto(target, values)
            self._advance(step + self.window.settle_steps)
            if spikes is not None and step >= 0:
                spikes[step, self._fired[: self._fired[-1]]] = 1
        return self._reports(activity, spikes, rows)

    def _drive(self, current: Float64Array) -> None:
        if self._arriving is not None:
            current = current + self._arriving
            self._arriving.fill(0.0)
        np.multiply(current, self._input_unit, out=self._input)

    def _advance(self, step: int) -> None:
        """One step of Brian2's own loop, at a time that begins with the row: nothing in it remembers another."""
        self._step_number[0] = step
        self._time[0] = step * self.window.step_seconds
        for operation in self._operations:
            operation()

    def _reports(
        self, activity: Collection[str], spikes: NDArray[np.uint8] | None, rows: int
    ) -> dict[str, NDArray[Any]]:
        self._refuse_divergence(rows)
        shape = (self.rows, self.n_neurons)
        found: dict[str, NDArray[Any]] = {}
        if "counts" in activity:
            found["counts"] = self._arrays["spikes_in_window"].reshape(shape).astype(np.int32)
        if "first_spike" in activity:
            found["first_spike"] = self._arrays["first_spike_step"].reshape(shape).astype(np.int32)
        if "membrane" in activity:
            found["membrane"] = self._membrane.reshape(shape) / self._membrane_unit
        if spikes is not None:
            found["spikes"] = np.ascontiguousarray(spikes.reshape(-1, *shape).swapaxes(0, 1))
        return {name: values[:rows] for name, values in found.items()}

    def _refuse_divergence(self, rows: int) -> None:
        for name in self._rest:
            values = self._arrays[name][: rows * self.n_neurons]
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                neuron = int(np.argmin(np.isfinite(values))) % self.n_neurons
                raise DeviceError(
                    f"the neurons' equations diverged: {name} of neuron {neuron} is no finite number after "
                    f"{self.window.total_steps} steps of {self.window.step_seconds:g} s; take a smaller "
                    "step_seconds, another method, or less current"
                )

    def _neurons(self, equations: str) -> NeuronGroup:
        # Names are the same in every block, and so is their compiled code.
        neuron = self._neuron
        reset = "\n".join([*neuron.reset.split(";"), COUNTING.format(settling=self.window.settle_steps)])
        group = NeuronGroup(
            self.rows * self.n_neurons,
            equations,
            threshold=neuron.threshold,
            reset=reset,
            refractory=neuron.refractory or False,
            method=neuron.method or None,
            clock=Clock(self.window.step_seconds * second, name="clock"),
            namespace=_constants(neuron),
            name="neurons",
        )
        if neuron.update:
            group.run_regularly(neuron.update, when="groups", order=1, name="neurons_update")
        for name, value in neuron.initial.items():
            setattr(group, name, _initial(name, value))
        return group

    def _variable(self, group: NeuronGroup, setting: str, unit_setting: str) -> tuple[NDArray[Any], float]:
        """The array of a variable that a setting names, in SI units, and its unit in these."""
        name, unit = getattr(self._neuron, setting), getattr(self._neuron, unit_setting)
        if name not in self._arrays:
            raise ValueError(f"{setting} {name!r} is no variable of the equations: {nearest(name, self._arrays)}")
        quantity = brian_quantity(unit_setting, unit)
        if not have_same_dimensions(quantity, group.variables[name].dim):
            raise ValueError(
                f"{unit_setting} {unit!r} does not fit {name}, which is in {group.variables[name].dim}"
            )
        return self._arrays[name], float(quantity)

    def _synapses(self, group: NeuronGroup, recurrent: Float64Array) -> Synapses:
        """Every row's own: a spike arrives at the next step, in the unit of the input."""
        sources, targets = np.nonzero(recurrent)
        first = self.n_neurons * np.arange(self.rows)[:, None]
        synapses = Synapses(
            group,
            group,
            "weight : 1 (constant)",
            on_pre="arriving_post += weight",
            clock=group.clock,
            name="synapses",
        )
        synapses.connect(i=(first + sources).ravel(), j=(first + targets).ravel())
        synapses.weight = np.tile(recurrent[sources, targets], self.rows)
        return synapses


def _constants(neuron: NeuronModel) -> dict[str, Any]:
    return {name: brian_quantity(f"parameter {name}", value) for name, value in neuron.parameters.items()}


def _initial(name: str, value: str | float) -> Any:
    """A quantity, or an expression for Brian2 to evaluate."""
    try:
        return brian_quantity(name, value)
    except ValueError:
        return value


def _arrays(group: NeuronGroup) -> dict[str, NDArray[Any]]:
    """The group's own arrays, one number a neuron, by name."""
    return {
        name: variable.get_value()
        for name, variable in group.variables.items()
        if isinstance(variable, ArrayVariable)
        and variable.owner.name == group.name
        and name not in ("i", "_spikespace")
    }


def _altered(group: NeuronGroup) -> list[str]:
    """Those that a run may alter."""
    return [name for name in _arrays(group) if not group.variables[name].constant]
