"""The instruments that a :class:`WaveformDevice` can be told to use, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwloop.device.settings import one_of
from hwloop.devices.scpi import ScpiLink
from hwloop.devices.waveform.instruments import Generator, Oscilloscope
from hwloop.devices.waveform.keysight_33500 import Keysight33500
from hwloop.devices.waveform.keysight_infiniivision import KeysightInfiniiVision

# Each takes a link, a channel and the points of its memory.
GENERATORS: dict[str, Callable[[ScpiLink, int, int], Generator]] = {"keysight-33500": Keysight33500}
OSCILLOSCOPES: dict[str, Callable[[ScpiLink, int, int], Oscilloscope]] = {
    "keysight-infiniivision": KeysightInfiniiVision
}


def make_generator(model: str, resource: str, channel: int, points: int, **link_options: Any) -> Generator:
    """A generator behind a link of its own, not opened yet; ValueError names the nearest model."""
    make = GENERATORS[one_of("generator_model", model, GENERATORS)]
    return make(ScpiLink(resource, **link_options), channel, points)


def make_oscilloscope(model: str, resource: str, channel: int, points: int, **link_options: Any) -> Oscilloscope:
    """An oscilloscope likewise."""
    make = OSCILLOSCOPES[one_of("oscilloscope_model", model, OSCILLOSCOPES)]
    return make(ScpiLink(resource, **link_options), channel, points)
