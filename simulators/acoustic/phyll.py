"""The preset ``phyll``: a cavity with the coupling and the faults of a recorded one.

The recording (8,000 rows of 20 inputs and 20 outputs; Momeni et al., Science 382, 1297 (2023)) looks like that of
four loudspeakers with five tones each and four microphones read at five lines. Input 5 s + t is tone t of
loudspeaker s, output 5 m + l line l of microphone m. Lines 0, 2 and 4 are tones 0, 1 and 2; lines 1 and 3 are
weak mixing products; tones 3 and 4 are not heard. ``benchmarks/fit_phyll_preset.py`` fitted the constants in
``phyll.json``.

The couplings are not put in place of the physics: all loudspeakers together play, for every input, what makes the
field of this cavity at the microphones the recorded one. The scatterers see that field, and answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.simulators.acoustic.medium import Complex
from hwloop.simulators.acoustic.readings import (
    Background,
    GainGlitches,
    GroupJitter,
    QuadratureNoise,
    WanderingGain,
)
from hwloop.simulators.acoustic.tone_field import ToneSetup
from hwloop.simulators.imperfections import ImperfectionChain

# Tones a, b, c at 10, 11 and 13 times the fundamental; the weak lines are the mixing products 2 a - b and 2 c - b.
LINES = (10, 9, 11, 15, 13)
CHANNELS = 20
DRIFT_ROWS = 1000
SETTINGS = {
    "n_inputs": CHANNELS, "n_tones": 5, "n_loudspeakers": 4, "n_microphones": 4, "n_scatterers": 8,
    "lines": LINES, "readout": "magnitude", "fundamental": None, "first_tone": 9, "tone_spacing": 1,
    "harmonics": 60, "drive_level": 0.05, "scatterer_strength": 0.3, "asymmetry": 0.5, "positions": None,
    "dac_bits": None,
}  # fmt: skip


class Phyll:
    """What a cavity takes from the recording."""

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that the preset makes; inputs that the recorded device does not have are refused."""
        whole_number("n_inputs (of the preset phyll)", given["n_inputs"], 1, CHANNELS)
        return dict(SETTINGS)

    def setup(self, plain: ToneSetup) -> ToneSetup:
        """A setup whose response to a small drive is the recorded one."""
        lines = np.array(LINES)
        recorded = self._array("transmission").reshape(CHANNELS, 4, len(LINES))
        heard = small_signal(plain, plain.angular(lines))
        # Shape (inputs, lines, loudspeakers), so that heard @ excitation is what was recorded.
        excitation = np.linalg.solve(heard, recorded.transpose(2, 1, 0)).transpose(2, 0, 1).astype(np.complex128)
        return replace(plain, driven=lines, lines=lines, excitation=excitation, loudness=1.0)

    def imperfections(self, stream: Callable[[str], NoiseStream]) -> ImperfectionChain:
        """The recorded faults, in the order in which the signal meets them."""
        each = np.arange(CHANNELS)
        line_of = each % len(LINES)
        jitter, channel_jitter, loadings, floor, gains = (
            np.array(self._constants[name])
            for name in ("line_jitter", "channel_jitter", "drift_loadings", "floor", "glitch_gains")
        )
        return ImperfectionChain(
            None,
            (
                Background(self._array("constant")),
                GroupJitter(jitter, line_of, stream("line-jitter")),
                GroupJitter(channel_jitter, each, stream("channel-jitter")),
                WanderingGain(loadings[np.newaxis], DRIFT_ROWS, stream("gain-drift")),
                GainGlitches(self._constants["glitch_rate"], gains.T, each, stream("glitches")),
                QuadratureNoise(floor, stream("floor")),
            ),
        )

    @cached_property
    def _constants(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(files(__package__).joinpath("phyll.json").read_text(encoding="utf-8"))
        return found

    def _array(self, name: str) -> Complex:
        parts: list[Float64Array] = [np.array(self._constants[f"{name}_{part}"]) for part in ("real", "imag")]
        return np.asarray(parts[0] + 1j * parts[1])


def small_signal(setup: ToneSetup, angular: Float64Array) -> Complex:
    """Pressures at the microphones per source of each loudspeaker, with scatterers at F(v) = v.

    Shape (frequencies, microphones, loudspeakers).
    """
    medium, places = setup.medium, setup.places
    direct = medium.green(places.microphones, places.loudspeakers, angular)
    if len(places.scatterers) == 0:
        return direct
    rate = 1j * angular[:, np.newaxis, np.newaxis]
    impedance = setup.strength * rate * medium.green(places.scatterers, places.scatterers, angular)
    free = rate * medium.green(places.scatterers, places.loudspeakers, angular)
    forces = np.linalg.solve(np.eye(len(places.scatterers)) + impedance, free)
    return direct - setup.strength * medium.green(places.microphones, places.scatterers, angular) @ forces
