"""From a device's settings to what is computed: every setting checked, what is left open drawn by the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.declared import SettingsGroup, choice, real, whole
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.simulators.acoustic.medium import Complex, Medium, Resistor
from hwloop.simulators.acoustic.shapes import BULGES, Places, Shape, scattered
from hwloop.simulators.acoustic.tone_field import ToneSetup


class Room(SettingsGroup):
    """The cavity.

    Parameters
    ----------
    shape, width, height
        ``"sinai"`` or ``"rectangle"``; the enclosing rectangle, in m.
    n_modes
        Modes kept, 2 to 2000: no source or scatterer is smaller than their shortest wave.
    speed, loss
        c in m/s; gamma in 1/s.
    """

    shape: str = choice("sinai", BULGES)
    width: float = real(1.0, 1e-6)
    height: float = real(0.7, 1e-6)
    n_modes: int = whole(300, 2, 2000)
    speed: float = 343.0
    loss: float = 40.0

    def medium(self) -> Medium:
        """The linear medium that fills it."""
        shape = Shape.named(self.shape, self.width, self.height)
        return Medium.filled(shape, self.n_modes, self.speed, self.loss)


class Resistance(SettingsGroup):
    """The scatterers, and where everything stands.

    Parameters
    ----------
    drive_level
        rms of p_t at the scatterers with all inputs at 1, in units of the rate at which they saturate.
    scatterer_strength
        1 takes the most power from a free wave of the middle tone; 0 to 100.
    asymmetry
        b of F, 0 to 2: even harmonics.
    positions
        Optional, ``{"loudspeakers": [(x, y), ...], ...}`` in m, also of "scatterers" and "microphones"; else
        drawn by the seed.
    """

    drive_level: float = real(1.0, 1e-6, 1e6)
    scatterer_strength: float = real(1.0, 0.0, 100.0)
    asymmetry: float = 0.5
    positions: dict[str, Any] | None = None


TONE_RATIO = 4.0  # harmonics that are computed, over the highest tone


@dataclass(frozen=True)
class Tones:
    """Inputs i = 0, 1, ..., in equal shares to the loudspeakers; input i plays tone number i mod n_tones.

    Parameters
    ----------
    n_inputs, n_loudspeakers, n_tones
        With as many tones as inputs each has its own; with fewer, several loudspeakers play the same tone.
    first, spacing
        Tone number t is the harmonic first + spacing t of the fundamental.
    """

    n_inputs: int
    n_loudspeakers: int
    n_tones: int
    first: int
    spacing: int

    @property
    def driven(self) -> NDArray[np.int64]:
        """Harmonics that are played, ascending."""
        return self.first + self.spacing * np.arange(self.n_tones)

    @property
    def tone_of_input(self) -> NDArray[np.int64]:
        """Shape (n_inputs,)."""
        return np.arange(self.n_inputs) % self.n_tones

    @property
    def loudspeaker_of_input(self) -> NDArray[np.int64]:
        """Shape (n_inputs,)."""
        return np.arange(self.n_inputs) * self.n_loudspeakers // self.n_inputs

    def excitation(self, rng: np.random.Generator) -> Complex:
        """Amplitude 1 and a random phase for each input, shape (n_inputs, n_tones, n_loudspeakers).

        With equal phases all tones would peak at once.
        """
        found = np.zeros((self.n_inputs, self.n_tones, self.n_loudspeakers), dtype=np.complex128)
        phases = np.exp(2j * np.pi * rng.random(self.n_inputs))
        found[np.arange(self.n_inputs), self.tone_of_input, self.loudspeaker_of_input] = phases
        return found

    @property
    def default_lines(self) -> NDArray[np.int64]:
        """The tones and their second harmonics."""
        return np.unique(np.concatenate([self.driven, 2 * self.driven]))

    def default_harmonics(self, lines: NDArray[np.int64]) -> int:
        """Four times the highest tone, or what the lines need; a multiple of 12, which transforms fast."""
        wanted = max(TONE_RATIO * float(self.driven[-1]), float(lines.max()))
        return 12 * int(np.ceil(wanted / 12))


def tone_setup(
    given: Mapping[str, Any],
    room: Room,
    resistance: Resistance,
    places_rng: np.random.Generator,
    phases_rng: np.random.Generator,
) -> ToneSetup:
    """The setup of a tone drive.

    Parameters
    ----------
    given
        Settings, named as :class:`AcousticCavity` takes them.
    room, resistance
        The cavity and its scatterers.
    places_rng, phases_rng
        Draw positions that are not given, and the phases of the tones.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """
    tones = _tones(given)
    lines = _lines(given["lines"], tones)
    medium = room.medium()
    fundamental = given["fundamental"]
    if fundamental is None:
        fundamental = medium.angular_frequencies[-1] / (4 * np.pi * int(tones.driven[-1]))
    fundamental = real_number("fundamental", fundamental, 1e-3)
    harmonics = tones.default_harmonics(lines) if given["harmonics"] is None else given["harmonics"]
    matched = 4 * medium.speed**2 / (2 * np.pi * fundamental * float(np.mean(tones.driven)))
    return ToneSetup(
        medium=medium,
        places=places_in(given, medium.shape, places_rng),
        law=Resistor(resistance.asymmetry),
        strength=matched * resistance.scatterer_strength,
        fundamental=fundamental,
        harmonics=whole_number("harmonics", harmonics, int(max(lines.max(), tones.driven[-1])), 20_000),
        driven=tones.driven,
        excitation=tones.excitation(phases_rng),
        lines=lines,
        drive_level=resistance.drive_level,
    )


def _tones(given: Mapping[str, Any]) -> Tones:
    n_inputs = whole_number("n_inputs", given["n_inputs"], 1, 2000)
    loudspeakers = whole_number("n_loudspeakers", given["n_loudspeakers"], 1, 1000)
    n_tones = -(-n_inputs // loudspeakers) if given["n_tones"] is None else given["n_tones"]
    return Tones(
        n_inputs,
        loudspeakers,
        whole_number("n_tones", n_tones, 1, n_inputs),
        whole_number("first_tone", given["first_tone"], 1, 5000),
        whole_number("tone_spacing", given["tone_spacing"], 1, 1000),
    )


def _lines(given: Any, tones: Tones) -> NDArray[np.int64]:
    if given is None:
        return tones.default_lines
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray) or len(given) == 0:
        raise ValueError(f"lines must be a list of harmonic numbers such as [20, 21, 40], not {given!r}")
    found = np.array([whole_number("lines", line, 1, 10_000) for line in given], dtype=np.int64)
    if len(set(found.tolist())) < len(found):
        raise ValueError("lines must differ from each other; leave out those that are there twice")
    return found


def places_in(given: Mapping[str, Any], shape: Shape, rng: np.random.Generator) -> Places:
    """Positions as they are given, the others drawn."""
    positions = given["positions"] or {}
    names = ("loudspeakers", "scatterers", "microphones")
    for name in positions:
        one_of("group in positions", name, names)
    lowest = {"scatterers": 0}
    counts = [whole_number(f"n_{name}", given[f"n_{name}"], lowest.get(name, 1), 1000) for name in names]
    groups = dict(zip(names, scattered(shape, counts, rng), strict=True))
    for name, count in zip(names, counts, strict=True):
        if name in positions:
            groups[name] = shape.checked_positions(name, positions[name])
            if len(groups[name]) != count:
                raise ValueError(f"positions has {len(groups[name])} {name}, but n_{name} is {count}")
    return Places(**groups)
