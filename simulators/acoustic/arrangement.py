"""From a device's settings to what is computed: every setting checked, what is left open drawn by the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.simulators.acoustic.medium import Medium
from hwloop.simulators.acoustic.places import Places, scattered
from hwloop.simulators.acoustic.scatterers import Resistor
from hwloop.simulators.acoustic.shapes import BULGES, Shape
from hwloop.simulators.acoustic.tone_field import ToneSetup
from hwloop.simulators.acoustic.tones import Tones


def tone_setup(
    given: Mapping[str, Any], places_rng: np.random.Generator, phases_rng: np.random.Generator
) -> ToneSetup:
    """The setup of a tone drive.

    Parameters
    ----------
    given
        Settings, named as :class:`AcousticCavity` takes them.
    places_rng, phases_rng
        Draw positions that are not given, and the phases of the tones.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """
    tones = _tones(given)
    lines = _lines(given["lines"], tones)
    shape = cavity_shape(given)
    modes = whole_number("n_modes", given["n_modes"], 2, 2000)
    medium = Medium.filled(shape, modes, given["speed"], given["loss"])
    fundamental = given["fundamental"]
    if fundamental is None:
        fundamental = medium.angular_frequencies[-1] / (4 * np.pi * int(tones.driven[-1]))
    fundamental = real_number("fundamental", fundamental, 1e-3)
    harmonics = tones.default_harmonics(lines) if given["harmonics"] is None else given["harmonics"]
    matched = 4 * medium.speed**2 / (2 * np.pi * fundamental * float(np.mean(tones.driven)))
    return ToneSetup(
        medium=medium,
        places=places_in(given, shape, places_rng),
        law=Resistor(given["asymmetry"]),
        strength=matched * real_number("scatterer_strength", given["scatterer_strength"], 0.0, 100.0),
        fundamental=fundamental,
        harmonics=whole_number("harmonics", harmonics, int(max(lines.max(), tones.driven[-1])), 20_000),
        driven=tones.driven,
        excitation=tones.excitation(phases_rng),
        lines=lines,
        drive_level=real_number("drive_level", given["drive_level"], 1e-6, 1e6),
    )


def cavity_shape(given: Mapping[str, Any]) -> Shape:
    """The shape that settings name."""
    width, height = (real_number(name, given[name], 1e-6) for name in ("width", "height"))
    return Shape.named(one_of("shape", given["shape"], BULGES), width, height)


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
