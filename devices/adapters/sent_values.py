"""What of a value really reaches an instrument: one of a few levels, or what a number format leaves of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from hwloop.errors import StimulusError

PROBES = 17  # values of a channel's range that a format must tell apart
LEAST_TOLD_APART = 9


class Levels(ABC):
    """The only values that a channel takes."""

    @abstractmethod
    def nearest(self, value: float, low: float, high: float) -> float:
        """The level within the limits that is nearest to ``value``."""

    def as_set(self, level: float) -> Any:
        """What the instrument's library takes for a level."""
        return level


@dataclass(frozen=True)
class Choices(Levels):
    """A few numbers, each with what the library takes for it.

    Raises
    ------
    ValueError
        Something is no finite number.
    """

    values: Mapping[float, Any]
    _sorted: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sorted", np.array(sorted(self.values), dtype=np.float64))

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> Choices:
        """From what a library lists; words are refused."""
        try:
            numbers = {float(value): value for value in values if not isinstance(value, str | bytes)}
        except (TypeError, ValueError):
            numbers = {}
        if len(numbers) < 2 or len(numbers) < len(set(values)) or not np.isfinite(list(numbers)).all():
            shown = ", ".join(repr(value) for value in list(values)[:8])
            raise ValueError(
                f"{name} takes {shown}: a channel of a device takes two different numbers at least. Give a "
                "function that sets it by number: Settable(name, function, low, high)"
            )
        return cls(numbers)

    def nearest(self, value: float, low: float, high: float) -> float:
        """Of two equally near ones the lower."""
        within = self._sorted[(self._sorted >= low) & (self._sorted <= high)]
        return float(within[np.abs(within - value).argmin()])

    def as_set(self, level: float) -> Any:
        return self.values[level]


@dataclass(frozen=True)
class Multiples(Levels):
    """Whole multiples of ``step``, whole numbers where ``whole``."""

    step: float
    whole: bool = False

    def nearest(self, value: float, low: float, high: float) -> float:
        """To the nearest multiple, within the limits."""
        count = min(max(round(value / self.step), np.ceil(low / self.step)), np.floor(high / self.step))
        return float(count * self.step)

    def as_set(self, level: float) -> Any:
        """A whole number where the library insists on one."""
        return round(level) if self.whole else level


@dataclass(frozen=True)
class NumberFormat:
    """A value goes through ``process``, then becomes text by ``text``: what the text says is what is sent.

    ``shown`` is the format as the driver's author wrote it.
    """

    shown: str
    process: Callable[[Any], Any]
    text: Callable[[Any], str]

    def require_resolution(self, name: str, low: float, high: float) -> None:
        """Refuse a format that cannot tell values of the range apart.

        Raises
        ------
        ValueError
        """
        told_apart = len({self.text(self.process(float(value))) for value in np.linspace(low, high, PROBES)})
        if told_apart < LEAST_TOLD_APART:
            raise ValueError(
                f"{name}: the format {self.shown!r} sends {told_apart} different values for {PROBES} between "
                f"{low:g} and {high:g}; mend the property's format (such as %.9e), or give the limits in its unit"
            )

    def sent(self, name: str, value: float, low: float, high: float) -> float:
        """The value that is sent for ``value``, in its own unit.

        Raises
        ------
        StimulusError
            It differs by more than half a step of the format.
        """
        try:
            number = Decimal(self.text(self.process(value)))
        except InvalidOperation:  # words, or a form of its own: what it stands for is the instrument's business
            return value
        at_low, at_high = float(self.process(low)), float(self.process(high))
        slope = (at_high - at_low) / (high - low)
        if not np.isfinite(slope) or slope == 0.0 or not self._is_linear(low, high, at_low, slope):
            return value
        exact = at_low + slope * (value - low)
        exponent = number.as_tuple().exponent
        half = 0.5 * 10.0 ** (exponent if isinstance(exponent, int) else 0)
        if abs(float(number) - exact) > half * (1 + 1e-6) + 1e-12 * abs(exact):
            raise StimulusError(
                f"{name}: {value:.9g} would be sent as {number} by the format {self.shown!r}, which is "
                f"{abs(float(number) - exact):.3g} away, more than half a step of {2 * half:g}; nothing was sent. "
                "Mend the property (does it cut digits off?)"
            )
        sent = low + (float(number) - at_low) / slope
        return value if abs(sent - value) <= 1e-12 * max(abs(low), abs(high)) else sent

    def _is_linear(self, low: float, high: float, at_low: float, slope: float) -> bool:
        """Whether the middle of the range is processed to the middle, to a step of whole numbers."""
        middle = float(self.process((low + high) / 2))
        return abs(middle - (at_low + slope * (high - low) / 2)) <= 1.0 + 1e-9 * abs(middle)
