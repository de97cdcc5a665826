"""Answers that raise no error and are wrong all the same: checks that tell some of them from readings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.errors import BadReading
from hwloop.registry import check_settings


@dataclass(frozen=True, eq=False)
class Exchange:
    """One answered call: arrays of shape (rows, n_inputs) and (rows, n_outputs)."""

    stimuli: Float64Array
    responses: Float64Array


class PlausibilityCheck(ABC):
    """One reason not to trust an answer.

    Attributes
    ----------
    is_a_guess
        True where a healthy device may give such an answer once in a while, so that one which comes again
        may turn out to be genuine; False where it never may.
    """

    is_a_guess: ClassVar[bool] = True

    @abstractmethod
    def check(self, now: Exchange, before: Exchange | None) -> None:
        """Compare an answer with its stimuli, and with the answer before it if there was one.

        Raises
        ------
        BadReading
            The answer is not to be trusted; the message says why.
        """


class NotRepeated(PlausibilityCheck):
    """A stale reply: bit for bit the previous call's answer, although the stimuli differ.

    A device with few outputs, or few levels, repeats itself by chance. So only an answer of at least
    ``min_distinct`` different readings is held against it.

    Parameters
    ----------
    min_distinct
        At least 1.
    """

    def __init__(self, min_distinct: int = 4) -> None:
        self.min_distinct = whole_number("min_distinct", min_distinct, low=1)

    def check(self, now: Exchange, before: Exchange | None) -> None:
        """Raise BadReading if the answer is the previous one."""
        if before is None or not np.array_equal(now.responses, before.responses):
            return
        if np.array_equal(now.stimuli, before.stimuli) or np.unique(now.responses).size < self.min_distinct:
            return
        raise BadReading(
            "the answer is bit for bit the previous call's, although the stimuli differ: a stale reply"
        )


class NotConstant(PlausibilityCheck):
    """An output stage that is stuck or dark: the answer does not depend on what it should depend on.

    Either all rows of a call answer alike although their stimuli differ, or every reading is the same number.
    Only an answer of at least ``min_readings`` readings is held against it.

    Parameters
    ----------
    min_readings
        At least 2.
    """

    def __init__(self, min_readings: int = 4) -> None:
        self.min_readings = whole_number("min_readings", min_readings, low=2)

    def check(self, now: Exchange, before: Exchange | None) -> None:
        """Raise BadReading if the answer is a constant."""
        responses = now.responses
        if responses.size < self.min_readings or np.any(responses != responses[0]):
            return
        if np.any(now.stimuli != now.stimuli[0]):
            raise BadReading(f"{len(responses)} rows of different stimuli got one and the same response")
        if responses.shape[1] >= self.min_readings and np.all(responses == responses[0, 0]):
            raise BadReading(f"all {responses.shape[1]} outputs read {float(responses[0, 0])!r}")


class WithinRange(PlausibilityCheck):
    """A reading beyond what the detector can give, or a whole answer stuck at one end of it.

    This is a fact and no guess: such an answer is never accepted, however often it comes. Do not use it where
    a stimulus may drive all outputs to one end (a dark frame at the lower one).

    Parameters
    ----------
    low, high
        Ends of the range, in the output's unit.
    min_readings
        An answer of fewer readings may stand at one end; at least 1.
    """

    is_a_guess = False

    def __init__(self, low: float, high: float, min_readings: int = 4) -> None:
        self.low, self.high = real_number("low", low), real_number("high", high)
        if self.low >= self.high:
            raise ValueError(f"a range must rise from low to high, not from {low!r} to {high!r}")
        self.min_readings = whole_number("min_readings", min_readings, low=1)

    def check(self, now: Exchange, before: Exchange | None) -> None:
        """Raise BadReading if a reading lies outside, or all at one end."""
        responses = now.responses
        outside = (responses < self.low) | (responses > self.high)
        if outside.any():
            row, output = (int(i) for i in np.argwhere(outside)[0])
            raise BadReading(
                f"row {row}, output {output} reads {float(responses[row, output])!r}, which lies outside the "
                f"detector's range [{self.low!r}, {self.high!r}]"
            )
        for end in (self.low, self.high):
            if responses.size >= self.min_readings and np.all(responses == end):
                raise BadReading(f"every reading stands at {end!r}, one end of the detector's range")


CHECKS: dict[str, type[NotRepeated] | type[NotConstant] | type[WithinRange]] = {
    "not-repeated": NotRepeated,
    "not-constant": NotConstant,
    "within-range": WithinRange,
}
DEFAULT_CHECKS = ("not-repeated", "not-constant")


def plausibility_checks(given: Sequence[Any]) -> list[PlausibilityCheck]:
    """Checks from objects, names, or tables of a name and its settings, as a TOML file gives them.

    Raises
    ------
    ValueError, ConfigError
        An unknown name or setting; the nearest is named.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise ValueError(f"plausible must be a list of checks ({', '.join(CHECKS)}), not {given!r}")
    return [item if isinstance(item, PlausibilityCheck) else _from_name(item) for item in given]


def _from_name(item: Any) -> PlausibilityCheck:
    settings = dict(item) if isinstance(item, Mapping) else {"name": item}
    name = one_of("plausibility check", settings.pop("name", None), CHECKS)
    check_settings(CHECKS[name], settings, f"plausibility check {name!r}")
    return CHECKS[name](**settings)
