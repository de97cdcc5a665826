"""The instruments that a :class:`WaveformDevice` can be told to use, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hwloop.device.settings import one_of
from hwloop.devices.scpi import ScpiLink
from hwloop.devices.waveform.instruments import Generator, Oscilloscope
from hwloop.devices.waveform.keysight_33500 import Keysight33500
from hwloop.devices.waveform.keysight_infiniivision import KeysightInfiniiVision
from hwloop.registry import Registry

# Each takes a link, a channel and the points of its memory. Other packages add theirs by the entry points below.
GENERATORS: dict[str, Callable[[ScpiLink, int, int], Generator]] = {"keysight-33500": Keysight33500}
OSCILLOSCOPES: dict[str, Callable[[ScpiLink, int, int], Oscilloscope]] = {
    "keysight-infiniivision": KeysightInfiniiVision
}
OTHER_GENERATORS = Registry("generator_model", "hwloop.generators")
OTHER_OSCILLOSCOPES = Registry("oscilloscope_model", "hwloop.oscilloscopes")


def make_generator(model: str, resource: str, channel: int, points: int, **link_options: Any) -> Generator:
    """A generator behind a link of its own, not opened yet; ValueError names the nearest model."""
    make = _maker(model, GENERATORS, OTHER_GENERATORS)
    generator: Generator = make(ScpiLink(resource, **link_options), channel, points)
    return generator


def make_oscilloscope(model: str, resource: str, channel: int, points: int, **link_options: Any) -> Oscilloscope:
    """An oscilloscope likewise."""
    make = _maker(model, OSCILLOSCOPES, OTHER_OSCILLOSCOPES)
    oscilloscope: Oscilloscope = make(ScpiLink(resource, **link_options), channel, points)
    return oscilloscope


def _maker(model: str, known: Mapping[str, Any], others: Registry) -> Any:
    """The class of a model: known here, an entry point of another package's, or ``package.module:Class``."""
    if isinstance(model, str) and ":" in model:
        return others.load(model)
    name = one_of(others.kind, model, [*known, *others.entries()])
    return known[name] if name in known else others.load(name)
