"""From a reading back to the stimulus that caused it: one curve a channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.devices.monotone_curve import MonotoneCurve
from hwloop.registry import check_settings, nearest


class Correction(ABC):
    """Corrects the readings of ``n_channels`` channels."""

    n_channels: int

    @abstractmethod
    def apply(self, readings: Float64Array) -> Float64Array:
        """Corrected readings, shape (rows, n_channels)."""


class Affine(Correction):
    """(reading - offset) / gain.

    Parameters
    ----------
    gain, offset
        One number a channel; no gain may be 0.
    """

    def __init__(self, gain: Any, offset: Any) -> None:
        self.gain, self.offset = (_numbers(name, given, 1) for name, given in (("gain", gain), ("offset", offset)))
        if self.gain.shape != self.offset.shape:
            raise ValueError(f"gain has {len(self.gain)} channels, but offset {len(self.offset)}")
        if not self.gain.all():
            raise ValueError(
                f"the gain of channel {int(np.argmin(self.gain != 0))} is 0: nothing can be corrected"
            )
        self.n_channels = len(self.gain)

    def apply(self, readings: Float64Array) -> Float64Array:
        return np.asarray((readings - self.offset) / self.gain)


class Monotone(Correction):
    """A rising or falling curve through given points, straight beyond the first and the last.

    Parameters
    ----------
    readings
        Shape (n_channels, points), each line strictly rising.
    values
        What each reading stands for, same shape, each line rising or falling.
    """

    def __init__(self, readings: Any, values: Any) -> None:
        x, y = _lines("readings", readings), _lines("values", values)
        if len(x) != len(y):
            raise ValueError(f"readings has {len(x)} channels, but values {len(y)}")
        self._curves = [MonotoneCurve(line, value) for line, value in zip(x, y, strict=True)]
        self.n_channels = len(x)

    def apply(self, readings: Float64Array) -> Float64Array:
        return np.stack([curve(readings[:, i]) for i, curve in enumerate(self._curves)], axis=1)


KINDS: dict[str, type[Affine] | type[Monotone]] = {"affine": Affine, "monotone": Monotone}


def correction(table: Mapping[str, Any] | None) -> Correction | None:
    """A correction from a table such as ``{"kind": "affine", "gain": [1.1], "offset": [0.02]}``.

    Raises
    ------
    ValueError, ConfigError
        An unknown kind or setting, or numbers that make no curve.
    """
    if table is None:
        return None
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise ValueError(f'correction must be a table with a line kind = "affine" or "monotone", not {table!r}')
    kind = table["kind"]
    if kind not in KINDS:
        raise ValueError(f"unknown kind of correction {kind!r}: {nearest(kind, KINDS)}")
    settings = {name: value for name, value in table.items() if name != "kind"}
    check_settings(KINDS[kind], settings, f"correction {kind!r}")
    return KINDS[kind](**settings)


def _lines(name: str, given: Any) -> list[Float64Array]:
    if not isinstance(given, list | tuple | np.ndarray) or not len(given):
        raise ValueError(f"{name} must be a list with a list of numbers a channel")
    return [_numbers(name, line, 1) for line in given]


def _numbers(name: str, given: Any, ndim: int) -> Float64Array:
    try:
        numbers = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers ({error})") from error
    if numbers.ndim != ndim or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite numbers, one a channel or point, not {given!r}")
    return numbers
