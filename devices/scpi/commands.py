"""A table of commands: one line for each, with unit, limits, step and slew, checked before anything is sent.

The names follow PyMeasure: ``control`` is set and asked, ``measurement`` asked only, ``setting`` set only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, Self, overload

from hwloop.device.settings import real_number
from hwloop.devices.scpi.link import ScpiLink
from hwloop.devices.scpi.replies import BOOLEAN, INTEGER, KEYWORD, NUMBER, Form
from hwloop.errors import LimitError

STEPS_A_SECOND = 50.0  # of a value that may only move at a limited rate
DIGITS = 12  # of a number that is sent


class HasLink(Protocol):
    """An instrument, as far as its commands know it."""

    link: ScpiLink
    asserted: dict[str, Any]


@dataclass(eq=False)
class Command:
    """A property of an instrument, behind one SCPI command.

    Parameters
    ----------
    header
        The command, such as ``"SOURce{channel}:VOLTage"``; asked with a question mark. What is in braces is an
        attribute of the instrument.
    what
        What it is, for the docstring and for messages.
    form
        Of the reply; a keyword where there are ``choices``.
    unit, low, high
        Unit and inclusive limits.
    resolution
        The step of the instrument, in the unit, counted from 0. A number is brought to the nearest step before it
        is sent, so that what is recorded is what the instrument does, and must read back within half a step. 0
        where the maker states none: then what reads back must agree to 0.1 %, or to half of its own last digit.
    choices
        The keywords that it takes, in their short form, which is what instruments answer.
    slew_per_second
        How fast the value may move; a larger change is made in steps, 50 a second.
    readable, writable
        Which of the two the instrument knows.
    asserted
        Whether the last value is set again when the link was opened anew. Not for what switches power on.
    """

    header: str
    what: str
    form: Form[Any] = NUMBER
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    resolution: float = 0.0
    choices: Sequence[str] = ()
    slew_per_second: float = math.inf
    readable: bool = True
    writable: bool = True
    asserted: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        self.resolution = real_number("resolution", self.resolution, low=0.0)
        if self.choices and self.form is NUMBER:
            self.form = KEYWORD
        verb = "Control" if self.readable and self.writable else "Measure" if self.readable else "Set"
        unit = f", in {self.unit}" if self.unit else ""
        limits = f", {self.low:g} to {self.high:g}" if math.isfinite(self.low) or math.isfinite(self.high) else ""
        steps = f" in steps of {self.resolution:g}" if self.resolution else ""
        choices = f", one of {', '.join(self.choices)}" if self.choices else ""
        self.__doc__ = f"{verb} {self.what}{unit}{limits}{steps}{choices} (``{self.header}``)."

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instrument: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instrument: HasLink, owner: type) -> Any: ...

    def __get__(self, instrument: HasLink | None, owner: type) -> Any:
        """Ask the instrument; on the class, the command itself."""
        if instrument is None:
            return self
        if not self.readable:
            raise AttributeError(f"{self.name} can only be set: {self.__doc__}")
        return instrument.link.query(f"{self.headed(instrument)}?", self.form)

    def __set__(self, instrument: HasLink, value: Any) -> None:
        """Check, then send.

        Raises
        ------
        LimitError
            Nothing was sent.
        """
        if not self.writable:
            raise AttributeError(f"{self.name} can only be measured: {self.__doc__}")
        value = self.checked(value, instrument)
        if math.isfinite(self.slew_per_second):
            self._ramp(instrument, value)
        instrument.link.write(self.text(value, instrument))
        if self.asserted:
            instrument.asserted[self.name] = value

    def headed(self, instrument: HasLink) -> str:
        """The command for this instrument."""
        return self.header.format_map(vars(instrument)) if "{" in self.header else self.header

    def text(self, value: Any, instrument: HasLink) -> str:
        """The command that sets a value."""
        if isinstance(value, bool):
            value = "ON" if value else "OFF"
        elif isinstance(value, float):
            value = f"{value:.{DIGITS}G}"
        return f"{self.headed(instrument)} {value}"

    def checked(self, value: Any, instrument: HasLink) -> Any:
        """The value as it will be sent, if the instrument may be given it.

        Raises
        ------
        LimitError
            It may not; nothing was sent.
        """
        if self.choices:
            if value not in self.choices:
                self._refuse(f"one of {', '.join(self.choices)}", value, instrument)
            return value
        if self.form is BOOLEAN:
            if value not in (True, False):  # 0 and 1 too; a word such as "OFF" is no truth value
                self._refuse("True or False", value, instrument)
            return bool(value)
        if self.form is not NUMBER and self.form is not INTEGER:
            return value
        unit = f" {self.unit}" if self.unit else ""
        try:
            number = float(value)
        except (TypeError, ValueError):
            self._refuse("a number", value, instrument)
        if not (self.low <= number <= self.high and math.isfinite(number)):
            self._refuse(f"{self.low:g} to {self.high:g}{unit}", value, instrument)
        if self.form is INTEGER:
            if not number.is_integer():
                self._refuse("whole numbers", value, instrument)
            return int(number)
        return float(f"{self._on_a_step(number):.{DIGITS}G}")

    def agrees(self, asked: Any, answered: Any, answer: str = "") -> bool:
        """Whether an answer, and its text, is what was asked for, to the resolution of the instrument."""
        if self.form is NUMBER:
            return numbers_agree(asked, answered, answer or repr(answered), self.resolution, self._span)
        if self.form is KEYWORD:
            return same_keyword(str(asked), answered)
        return bool(asked == answered)

    @property
    def _span(self) -> float:
        """Between the limits; 0 where there are none."""
        span = self.high - self.low
        return span if math.isfinite(span) else 0.0

    def _on_a_step(self, number: float) -> float:
        """The nearest step within the limits."""
        if not self.resolution:
            return number
        steps = round(number / self.resolution)
        if steps * self.resolution > self.high * (1 + 1e-12 * math.copysign(1, self.high)):
            steps -= 1
        elif steps * self.resolution < self.low * (1 - 1e-12 * math.copysign(1, self.low)):
            steps += 1
        return steps * self.resolution

    def _refuse(self, takes: str, value: Any, instrument: HasLink) -> NoReturn:
        place = f"{instrument.link.resource}: {self.name} ({self.headed(instrument)})"
        raise LimitError(f"{place} takes {takes}, not {value!r}; nothing was sent")

    def _ramp(self, instrument: HasLink, goal: float) -> None:
        """All steps but the last, which the caller sends."""
        value = float(instrument.link.query(f"{self.headed(instrument)}?", self.form))
        step = self.slew_per_second / STEPS_A_SECOND
        while abs(goal - value) > step:
            value += math.copysign(step, goal - value)
            instrument.link.write(self.text(value, instrument))
            time.sleep(1.0 / STEPS_A_SECOND)


def control(header: str, what: str, **options: Any) -> Command:
    """A value that can be set and asked; options as :class:`Command` takes them."""
    return Command(header, what, **options)


def measurement(header: str, what: str, **options: Any) -> Command:
    """A value that can only be asked."""
    return Command(header, what, writable=False, **options)


def setting(header: str, what: str, **options: Any) -> Command:
    """A value that can only be set."""
    return Command(header, what, readable=False, **options)


RELATIVE = 1e-3  # of a value whose instrument states no step
OF_THE_SPAN = 0.01  # a step that was read off a reply is not coarser than this
SHORTEST_KEYWORD = 3


def numbers_agree(asked: float, answered: float, answer: str, resolution: float, span: float) -> bool:
    """Within half a step.

    Parameters
    ----------
    asked, answered
        The two values, in the command's unit.
    answer
        The reply's text: its last digit that is not 0 shows the step of an instrument that states none.
    resolution
        The step, 0 where none is stated.
    span
        Between the command's limits, 0 where there are none.
    """
    difference = abs(asked - answered)
    rounding = 1e-9 * max(abs(asked), abs(answered)) + 1e-12
    if resolution:
        return difference <= resolution / 2 + rounding
    if math.isclose(asked, answered, rel_tol=RELATIVE, abs_tol=1e-12):
        return True
    coarse = OF_THE_SPAN * (span or abs(asked))
    return difference <= min(_last_digit(answer) / 2, coarse) + rounding


def _last_digit(answer: str) -> float:
    """The worth of the last digit of a number's text that is not a 0 behind its point."""
    mantissa, _, exponent = answer.strip().upper().partition("E")
    whole, _, decimals = mantissa.partition(".")
    kept = decimals.rstrip("0")
    power = int(exponent or 0)
    if kept:
        return float(10.0 ** (power - len(kept)))
    figures = whole.lstrip("+-")
    return float(10.0 ** (power + len(figures) - len(figures.rstrip("0")))) if figures.strip("0") else 10.0**power


def same_keyword(asked: str, answered: str) -> bool:
    """A keyword in its short form agrees with its long one."""
    short, answer = asked.upper(), answered.upper()
    longer = answer.removeprefix(short)
    return answer == short or (
        len(short) >= SHORTEST_KEYWORD and longer != answer and longer.isalpha() and not short[-1].isdigit()
    )
