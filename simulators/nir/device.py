"""The devices ``nir:FILE``: a spiking network from a NIR file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hwloop.device.settings import one_of, real_number
from hwloop.errors import ConfigError, HwloopWarning
from hwloop.simulators.nir.network import FeedForward
from hwloop.simulators.nir.probe import probe_stimuli, silent_or_stuck
from hwloop.simulators.nir.reading import read_graph
from hwloop.simulators.nir.understood import what_has_no_effect
from hwloop.simulators.nir.wiring import Wiring, leading_to_the_output, wired
from hwloop.simulators.spiking.device import SpikingDevice
from hwloop.simulators.spiking.engine import ENGINES
from hwloop.simulators.spiking.window import Window

INTEGRATIONS = ("euler", "exact")


class NIRDevice(SpikingDevice):
    """Feed-forward spiking network from a NIR file, on torch or another engine.

    Nodes: Linear, Affine, Scale, Flatten, LIF, CubaLIF, IF, LI and CubaLI; sums where edges meet. Every row starts
    at the reset potentials (leaky integrators: at v_leak).

    Parameters
    ----------
    path
        The file.
    window_seconds, step_seconds, settle_seconds, encoding, max_rate_hz, run, device_number, trial, row_seconds
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
    seed
        As ``run``, where that is not given.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds what is not simulated here.
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    path_settings: ClassVar = frozenset({"path"})

    def __init__(
        self,
        path: str,
        *,
        window_seconds: float = 0.1,
        step_seconds: float = 1e-4,
        settle_seconds: float = 0.0,
        encoding: str = "current",
        output: str | None = None,
        max_rate_hz: float = 100.0,
        integration: str = "euler",
        input_gain: float = 1.0,
        engine: str = "torch",
        engine_settings: Mapping[str, Any] | None = None,
        run: int | None = None,
        device_number: int = 0,
        trial: int | None = None,
        row_seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        settings = locals()
        window = Window.from_seconds(step_seconds, window_seconds, settle_seconds)
        one_of("integration", integration, INTEGRATIONS)
        gain = real_number("input_gain", input_gain, -1e6, 1e6)
        graph = read_graph(path)
        try:
            wiring = wired(graph, window.step_seconds, integration, gain)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        n_inputs = wiring.n_channels * (window.steps if encoding == "raw" else 1)
        super().__init__(
            {**settings, "output": _output(wiring, output)}, n_inputs=n_inputs, n_outputs=wiring.output.width
        )
        own = dict(engine_settings or {})
        self._network = FeedForward(wiring, self.window, lambda *layer: ENGINES.build(engine, *layer, **own))
        self._engine = self._network
        self._kinds = {name: node.kind for name, node in graph.nodes.items()}
        self._wiring = wiring
        self._is_probed = False
        for note in what_has_no_effect(graph, leading_to_the_output(graph)):
            warnings.warn(f"{path}: {note}", HwloopWarning, stacklevel=3)
        self._digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]

    def open(self) -> None:
        """Nothing is connected; the first time, neurons that never fire, or always, are said with the reason."""
        super().open()
        if not self._is_probed:
            self._is_probed = True
            for note in self._probe():
                warnings.warn(f"{self._settings['path']}: {note}", HwloopWarning, stacklevel=2)

    def _probe(self) -> Iterator[str]:
        """What a few stimuli over the whole range show; it is simulated in torch and counts as no row."""
        network, given = self._network, self._settings
        if given["engine"] != "torch":
            network = FeedForward(self._wiring, self.window, lambda *layer: ENGINES.build("torch", *layer))
        widths = [self._wiring.n_channels, *(len(p.gain) for p in self._wiring.populations.values())]
        stimuli = probe_stimuli(self.spec.low, self.spec.high, max(widths) * self.window.total_steps)
        drive = self._encoding.drive(stimuli, self.window, [np.random.default_rng(k) for k in range(len(stimuli))])
        return silent_or_stuck(network, drive, self._kinds, self.window.step_seconds, given["input_gain"])

    def close(self) -> None:
        """End engines that live elsewhere; the next row starts them again."""
        self._network.close()

    def _named_settings(self) -> dict[str, Any]:
        return {**super()._named_settings(), "path": f"{Path(self._settings['path']).name} {self._digest}"}


def _output(wiring: Wiring, chosen: str | None) -> str:
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
