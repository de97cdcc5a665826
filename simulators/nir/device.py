"""The devices ``nir:FILE``: a spiking network from a NIR file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device.declared import NOTHING, DeclaredSetting, choice, real
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, HwloopWarning
from hwloop.simulators.nir.graph_file import read_graph
from hwloop.simulators.nir.network import FeedForward
from hwloop.simulators.nir.wiring import FeedForwardWiring, leading_to_the_output, what_has_no_effect, wired
from hwloop.simulators.spiking.coding import SpikeCoding
from hwloop.simulators.spiking.device import SpikingDevice
from hwloop.simulators.spiking.engine import ENGINES

INTEGRATIONS = ("euler", "exact")


class NIRDevice(SpikingDevice):
    """Feed-forward spiking network from a NIR file, on torch or another engine.

    Nodes: Linear, Affine, Scale, Flatten, LIF, CubaLIF, IF, LI and CubaLI; sums where edges meet. Every row starts
    at the reset potentials (leaky integrators: at v_leak).

    Parameters
    ----------
    path
        The file.
    coding
        As for ``spiking-lif``. snnTorch takes a file's time constants in steps of 1e-4 s.
    output
        ``"rate"``, ``"counts"``, ``"first-spike"`` or ``"membrane"`` of the last neurons; behind a linear map the
        rate or counts, weighted; of leaky integrators the potentials at the end, ``"membrane"``. ``None`` for the
        rate, or the potentials where the graph ends in leaky integrators.
    integration
        ``"euler"``, as other NIR platforms have it, or ``"exact"`` decays.
    input_gain
        What the stimulus, in [-1, 1] or [0, 1], is multiplied with at the graph's input.
    engine, engine_settings
        What simulates: a name of the entry-point group ``hwloop.spiking_engines``, and settings of its own.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds what is not simulated here.
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    path_settings: ClassVar = frozenset({"path"})

    path: str = DeclaredSetting(NOTHING)  # type: ignore[assignment]
    coding: SpikeCoding = SpikeCoding(step_seconds=1e-4, output=None)
    integration: str = choice("euler", INTEGRATIONS)
    input_gain: float = real(1.0, -1e6, 1e6)
    engine: str = "torch"
    engine_settings: Mapping[str, Any] | None = None

    def _set_up(self) -> None:
        window, graph = self.coding.window(), read_graph(self.path)
        try:
            wiring = wired(graph, window.step_seconds, self.integration, self.input_gain)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from error
        self._settings["output"] = _output(wiring, self.coding.output)
        n_inputs = wiring.n_channels * (window.steps if self.coding.encoding == "raw" else 1)
        self._set_up_coding(n_inputs, wiring.output.width)
        own = dict(self.engine_settings or {})
        self._network = FeedForward(wiring, window, lambda *layer: ENGINES.build(self.engine, *layer, **own))
        self._engine = self._network
        self._kinds = {name: node.kind for name, node in graph.nodes.items()}
        self._wiring = wiring
        self._is_probed = False
        for note in what_has_no_effect(graph, leading_to_the_output(graph)):
            warnings.warn(f"{self.path}: {note}", HwloopWarning, stacklevel=5)
        self._digest = hashlib.sha256(Path(self.path).read_bytes()).hexdigest()[:12]

    def open(self) -> None:
        """Nothing is connected; the first time, neurons that never fire, or always, are said with the reason."""
        super().open()
        if not self._is_probed:
            self._is_probed = True
            for note in self._probe():
                warnings.warn(f"{self.path}: {note}", HwloopWarning, stacklevel=2)

    def _probe(self) -> Iterator[str]:
        """What a few stimuli over the whole range show; it is simulated in torch and counts as no row."""
        network = self._network
        if self.engine != "torch":
            network = FeedForward(self._wiring, self.window, lambda *layer: ENGINES.build("torch", *layer))
        widths = [self._wiring.n_channels, *(len(p.gain) for p in self._wiring.populations.values())]
        stimuli = probe_stimuli(self.spec.low, self.spec.high, max(widths) * self.window.total_steps)
        drive = self._encoding.drive(stimuli, self.window, [np.random.default_rng(k) for k in range(len(stimuli))])
        return silent_or_stuck(network, drive, self._kinds, self.window.step_seconds, self.input_gain)

    def close(self) -> None:
        """End engines that live elsewhere; the next row starts them again."""
        self._network.close()

    def _named_settings(self) -> dict[str, Any]:
        return {**super()._named_settings(), "path": f"{Path(self._settings['path']).name} {self._digest}"}


def _output(wiring: FeedForwardWiring, chosen: str | None) -> str:
    """The output to read, checked against what leaves the graph."""
    fire = {name in wiring.populations and wiring.populations[name].fires for name in wiring.output.terms}
    if not set(wiring.output.terms) <= set(wiring.populations) or len(fire) > 1:
        raise ConfigError("what leaves the graph mixes spikes, potentials or the input itself; it has no one unit")
    if not fire.pop():
        allowed = ["membrane"]
    elif wiring.output.straight_source is None:
        allowed = ["rate", "counts"]
    else:
        allowed = ["rate", "counts", "first-spike", "membrane"]
    if chosen is not None and chosen not in allowed:
        raise ConfigError(
            f"output {chosen!r} is not what leaves the graph; the nearest allowed value is {allowed[0]!r} "
            f"(of {', '.join(allowed)})"
        )
    return chosen or allowed[0]


# -- does anything fire? -----------------------------------------------------------------------------------------

ALWAYS = 0.99  # of all steps
MOST_ROWS, CELLS = 16, 2**23  # neurons times steps times rows


def probe_stimuli(low: Float64Array, high: Float64Array, cells_a_row: int) -> Float64Array:
    """Random stimuli over the whole range, fewer of them for a large network; the last is at the upper limits."""
    rows = int(np.clip(CELLS // max(1, cells_a_row), 1, MOST_ROWS))
    return np.concatenate([np.random.default_rng(0).uniform(low, high, (rows, len(low))), high[np.newaxis]])


def silent_or_stuck(
    network: FeedForward,
    drive: NDArray[np.floating],
    kinds: Mapping[str, str],
    step_seconds: float,
    input_gain: float,
) -> Iterator[str]:
    """Notes on populations of which no neuron fires, or all fire in every step.

    Parameters
    ----------
    drive
        Encoded stimuli.
    kinds
        NIR's kind of every node.
    """
    asked, quiet = f"{len(drive)} stimuli over the whole range", ""
    for name, shares in network.firing_shares(drive).items():
        neurons = f"the {len(shares)} neurons of node {name!r} ({kinds[name]})"
        if shares.max() == 0:
            likely = f"that node {quiet!r} is silent too" if quiet else _why_silent(kinds[name], step_seconds)
            quiet = quiet or name
            yield f"none of {neurons} fires at any of {asked}; the likely reason is {likely}"
        elif shares.min() >= ALWAYS:
            yield (
                f"all of {neurons} fire in every step at {asked}; the likely reason is an input that is too large "
                f"(input_gain = {input_gain:g}), or a time step (step_seconds = {step_seconds:g}) that is not "
                "that of the tool that wrote the file"
            )


def _why_silent(kind: str, step_seconds: float) -> str:
    if kind == "IF":
        return (
            f"that IF adds dt r S in a step of dt = {step_seconds:g} s where the tool that wrote the file adds "
            f"r S: give input_gain = {1 / step_seconds:g} if the input drives it"
        )
    return (
        f"the time step (step_seconds = {step_seconds:g}; snnTorch writes for 1e-4 s, Norse for 1e-3 s), or an "
        "input that is too small: give a larger input_gain"
    )
