"""Options: what a part can be told, declared once with its default, its range and its meaning."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from hwloop.docstrings import parameter_meanings
from hwloop.errors import ConfigError
from hwloop.registry import nearest

Value = TypeVar("Value")


@dataclass(frozen=True)
class Range:
    """The values that an option takes.

    Attributes
    ----------
    must
        What a value must be; ends the sentence "the option must ...".
    holds
        Whether a value is one of them.
    names
        All values, where they are names; a refusal tells the nearest.
    """

    must: str
    holds: Callable[[Any], bool]
    names: tuple[str, ...] = ()

    def refusal(self, name: str, value: Any) -> str | None:
        """Why the value is refused; ``None`` if it is not."""
        if self.holds(value):
            return None
        if self.names:
            return f"unknown {name} {value!r}: {nearest(str(value), self.names)}"
        return f"{name} must {self.must}, not {value!r}"

    def check(self, name: str, value: Any) -> None:
        """Refuse a value outside the range.

        Raises
        ------
        ConfigError
        """
        if refused := self.refusal(name, value):
            raise ConfigError(refused)


def whole_number(least: int) -> Range:
    """Whole numbers from ``least`` up."""

    def holds(value: Any) -> bool:
        return not isinstance(value, bool) and isinstance(value, numbers.Integral) and int(value) >= least

    return Range(f"be a whole number of at least {least}", holds)


COUNT = whole_number(1)


def real_number(must: str, holds: Callable[[Any], bool]) -> Range:
    """Numbers for which something holds; what is no number is refused in the same words."""
    return Range(must, lambda value: isinstance(value, numbers.Real | np.number) and bool(holds(value)))


POSITIVE = real_number("be positive and finite", lambda value: 0 < value < math.inf)
FINITE = real_number("be finite", math.isfinite)
NOT_NEGATIVE = real_number("not be negative", lambda value: 0 <= value < math.inf)
FINITE_NOT_NEGATIVE = Range("be finite and not negative", NOT_NEGATIVE.holds)
SHARE = real_number("lie within [0, 1]", lambda value: 0 <= value <= 1)
INNER_SHARE = real_number("lie between 0 and 1", lambda value: 0 < value < 1)
ANY = Range("", lambda value: True)


def one_of(known: Iterable[str]) -> Range:
    """The names of a table."""
    names = tuple(known)
    return Range(f"be one of {', '.join(names)}", names.__contains__, names)


def chosen(name: str, value: str, known: Mapping[str, Value]) -> Value:
    """What stands in a table under the value of an option.

    Raises
    ------
    ConfigError
        Nothing does; the nearest known name is told.
    """
    one_of(known).check(name, value)
    return known[value]


def option(default: Any, takes: Range = ANY) -> Any:
    """A field of a dataclass that users can set by its name; the class's docstring says what it means.

    Parameters
    ----------
    default
        Its value where it is not given.
    takes
        Its values, see :func:`check_options`.
    """
    return field(default=default, metadata={"takes": takes})


def meanings_of(part: Any) -> dict[str, str]:
    """What the docstrings of a part and of its base classes say of each of its options."""
    found: dict[str, str] = {}
    for kind in reversed(type(part).__mro__):
        found |= parameter_meanings(kind.__doc__ or "")
    return found


def check_options(part: Any, error: type[Exception] = ConfigError) -> None:
    """Refuse the first declared option of a dataclass whose value is outside its range."""
    for each in fields(part):
        takes = each.metadata.get("takes")
        if takes is not None and (refused := takes.refusal(each.name, getattr(part, each.name))):
            raise error(refused)


class WithOptions:
    """Base of the parts that declare options: their values are checked when the part is made.

    Raises
    ------
    ConfigError
        A value outside its range.
    """

    def __post_init__(self) -> None:
        check_options(self)


class Settings:
    """Base of plain settings.

    Raises
    ------
    ValueError
        A value outside its range.
    """

    def __post_init__(self) -> None:
        check_options(self, ValueError)
