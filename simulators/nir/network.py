"""A feed-forward network as an engine: population by population, each over all of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.simulators.nir.populations import Population, WeightedSum, full
from hwloop.simulators.nir.wiring import FeedForwardWiring
from hwloop.simulators.spiking.engine import Engine, Window, engine_versions
from hwloop.simulators.spiking.layer import SpikingLayer

CELLS_AT_ONCE = 2**25  # neurons times steps times rows

MakeEngine = Callable[[SpikingLayer, Window], Engine]


class FeedForward:
    """Runs a network on engines of single layers.

    In a feed-forward network no population waits for a later one, so one is run through the whole window before
    the next. Spikes pass all populations within a step. A leaky integrator is linear: it needs no engine.

    Parameters
    ----------
    wiring
        The network.
    window
        Settling and window.
    make_engine
        Called for every population that fires.
    """

    def __init__(self, wiring: FeedForwardWiring, window: Window, make_engine: MakeEngine) -> None:
        self._wiring, self._window = wiring, window
        self._last = wiring.output.straight_source
        self._stages: dict[str, PopulationStage] = {}
        for name, neurons in wiring.populations.items():
            # The last one's engine reads out; the others' spikes are wanted from the first step on.
            time = window if name == self._last else Window(window.step_seconds, window.total_steps)
            traces = any(
                source in wiring.populations and not wiring.populations[source].fires
                for source in wiring.inputs[name].terms
            )
            kind = _Currents if traces or not neurons.fires else _Synapses
            self._stages[name] = PopulationStage(neurons, kind(wiring.inputs[name]), time, make_engine)
        widths = [wiring.n_channels, *(len(p.gain) for p in wiring.populations.values())]
        self._rows_at_once = max(1, CELLS_AT_ONCE // (max(widths) * window.total_steps))

    def run(self, drive: NDArray[Any], activity: Iterable[str]) -> dict[str, NDArray[Any]]:
        """As :meth:`hwloop.simulators.spiking.engine.Engine.run`.

        Behind the last population a linear map may stand: ``"counts"`` are then weighted sums, not whole numbers.
        """
        names, step = list(activity), self._rows_at_once
        parts = [self._run(drive[start : start + step], names) for start in range(0, len(drive), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _run(self, drive: NDArray[Any], names: list[str]) -> dict[str, NDArray[Any]]:
        sent: dict[str, NDArray[Any]] = {self._wiring.input_name: drive}
        for name, stage in self._stages.items():
            arriving = [sent[source] for source in self._wiring.inputs[name].terms]
            if name == self._last and stage.population.fires:
                return stage.read_out(arriving, names)
            sent[name] = stage.sent(arriving)
        return {name: self._behind_the_last(sent, name) for name in names}

    def firing_shares(self, drive: NDArray[Any]) -> dict[str, Float64Array]:
        """Of every population that fires, the share of all steps in which each neuron does, by name."""
        sent: dict[str, NDArray[Any]] = {self._wiring.input_name: drive}
        found: dict[str, Float64Array] = {}
        for name, stage in self._stages.items():
            arriving = [sent[source] for source in self._wiring.inputs[name].terms]
            sent[name] = stage.sent(arriving)
            if stage.population.fires:
                found[name] = sent[name].mean(axis=(0, 1), dtype=np.float64)
        return found

    def _behind_the_last(self, sent: dict[str, NDArray[Any]], name: str) -> Float64Array:
        """Sums over the window (counts), or the last step (membrane), of what leaves the graph."""
        if name not in ("counts", "membrane"):
            raise ValueError(f"the graph does not end in neurons that fire, so it has no {name.replace('_', ' ')}")
        signal, first = self._wiring.output, self._window.settle_steps
        total = np.zeros((len(next(iter(sent.values()))), signal.width))
        for source, matrix in signal.terms.items():
            train = sent[source]
            value = train[:, -1] if name == "membrane" else train[:, first:].sum(axis=1, dtype=np.float64)
            total += value * matrix if matrix.ndim == 1 else ExactProduct(matrix)(value)
        return total + signal.offset * (1 if name == "membrane" else self._window.steps)

    @property
    def versions(self) -> dict[str, str]:
        """Of the software of engines that live elsewhere; all of them are of one kind."""
        every = [engine_versions(stage.engine) for stage in self._stages.values()]
        return next((versions for versions in every if versions), {})

    def close(self) -> None:
        """End engines that live elsewhere."""
        for stage in self._stages.values():
            close = getattr(stage.engine, "close", None)
            if close is not None:
                close()


class PopulationStage:
    """A population, what brings its input, and the engine of those that fire."""

    def __init__(
        self, population: Population, inputs: _Synapses | _Currents, window: Window, make_engine: MakeEngine
    ) -> None:
        self.population, self._inputs, self._steps = population, inputs, window.total_steps
        self.engine: Engine | None = None
        if population.fires:
            self.engine = make_engine(SpikingLayer(inputs.weights(), population.neuron), window)

    def read_out(self, arriving: list[NDArray[Any]], names: list[str]) -> dict[str, NDArray[Any]]:
        """The activity of a population that fires; potentials as NIR has them."""
        assert self.engine is not None
        activity = self.engine.run(self._inputs.drive(arriving, self._steps), names)
        if "membrane" in activity:
            activity["membrane"] = activity["membrane"] + self.population.zero
        return activity

    def sent(self, arriving: list[NDArray[Any]]) -> NDArray[Any]:
        """Spikes, or the potentials of leaky integrators, in every step: (rows, total_steps, neurons)."""
        drive = self._inputs.drive(arriving, self._steps)
        if self.engine is not None:
            return self.engine.run(drive, ["spikes"])["spikes"]
        return potentials(self.population, np.broadcast_to(drive, (len(drive), self._steps, drive.shape[-1])))


def potentials(population: Population, currents: Float64Array) -> Float64Array:
    """Of leaky integrators, in every step; currents and potentials of shape (rows, steps, neurons)."""
    neuron = population.neuron
    keep_u, keep_v = 1.0 - np.asarray(neuron.du), 1.0 - np.asarray(neuron.dv)
    found = np.empty(currents.shape)
    u, v = np.zeros((2, len(currents), currents.shape[2]))
    for step in range(currents.shape[1]):
        u = u * keep_u + currents[:, step]
        v = v * keep_v + u + neuron.bias
        found[:, step] = v
    return found + population.zero


class _Synapses:
    """Input of an engine by its own synapses: what arrives is spikes, or the stimulus."""

    def __init__(self, signal: WeightedSum) -> None:
        self._signal = signal
        self._offset = bool(signal.offset.any())

    def weights(self) -> Float64Array:
        """One above the other; a constant comes through a channel that is always 1."""
        weights = self._signal.stacked()
        return np.concatenate([weights, self._signal.offset[np.newaxis]]) if self._offset else weights

    def drive(self, arriving: list[NDArray[Any]], steps: int) -> NDArray[Any]:
        """(rows, channels) where all is constant, else (rows, steps, channels)."""
        if self._offset:
            arriving = [*arriving, np.ones((len(arriving[0]), 1), dtype=arriving[0].dtype)]
        if len(arriving) == 1:
            return arriving[0]
        if any(part.ndim == 3 for part in arriving):
            arriving = [in_every_step(part, steps) for part in arriving]
        return np.concatenate(arriving, axis=-1)


class _Currents:
    """Input as currents, computed here: what arrives are potentials, which lie on no grid."""

    def __init__(self, signal: WeightedSum) -> None:
        self._signal = signal
        self._products = [ExactProduct(full(matrix)) for matrix in signal.terms.values()]

    def weights(self) -> Float64Array:
        """An engine gets each current for itself."""
        return np.eye(self._signal.width)

    def drive(self, arriving: list[NDArray[Any]], steps: int) -> Float64Array:
        """(rows, steps, neurons), or (rows, 1, neurons) where all is constant."""
        total = np.broadcast_to(self._signal.offset, (1, 1, self._signal.width))
        for part, product in zip(arriving, self._products, strict=True):
            currents = product(part.reshape(-1, part.shape[-1]))
            total = total + currents.reshape(len(part), 1 if part.ndim == 2 else steps, -1)
        return np.asarray(total)


def in_every_step(part: NDArray[Any], steps: int) -> NDArray[Any]:
    """(rows, steps, channels) of what may be constant."""
    if part.ndim == 3:
        return part
    return np.broadcast_to(part[:, np.newaxis], (len(part), steps, part.shape[1]))
