"""What may be tuned about a trainer, and which of its options fills a row budget; the trainer itself says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Factory = TypeVar("Factory", bound=Callable[..., Any])
ATTRIBUTE = "hwloop_tuning"
MAX_FILL = 100_000


@dataclass(frozen=True)
class LogRange:
    """A positive number between two bounds, equally likely in every decade."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(f"a range needs 0 < low < high, not {self.low} and {self.high}")


@dataclass(frozen=True)
class Range:
    """A number between two bounds, equally likely everywhere; a whole one where both bounds are whole numbers."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a range needs low < high, not {self.low} and {self.high}")

    @property
    def whole(self) -> bool:
        """Whether it is one of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice needs at least one value")


@dataclass(frozen=True)
class Tuning:
    """The search space of a trainer.

    Attributes
    ----------
    options
        By option: the values that are worth trying.
    fills_budget
        The option, a whole number from 1, that a larger row budget makes larger, such as ``epochs``; ``None``
        where a trainer's rows do not depend on an option.
    """

    options: Mapping[str, LogRange | Range | Choice] = field(default_factory=dict)
    fills_budget: str | None = None


def tunable(
    *, fills_budget: str | None = None, **options: LogRange | Range | Choice
) -> Callable[[Factory], Factory]:
    """Declare what may be tuned about the trainer that a function builds::

    @tunable(lr=LogRange(1e-3, 0.1), fills_budget="epochs")
    def my_rule(*, lr=0.01, epochs=10, seed=0) -> Trainer: ...
    """

    def declare(factory: Factory) -> Factory:
        setattr(factory, ATTRIBUTE, Tuning(options, fills_budget))
        return factory

    return declare


def tuning_of(factory: Callable[..., Any]) -> Tuning:
    """What a trainer declares; one that declares nothing runs with its defaults."""
    found = getattr(factory, ATTRIBUTE, None)
    return found if isinstance(found, Tuning) else Tuning()


def largest_that_fits(cost: Callable[[int], int], budget: int) -> int | None:
    """The largest whole number n from 1 to ``MAX_FILL`` with ``cost(n) <= budget``; ``None`` if even 1 costs more.

    ``cost`` must not fall as n grows.
    """
    if cost(1) > budget:
        return None
    low, high = 1, 2
    while high < MAX_FILL and cost(high) <= budget:
        low, high = high, 2 * high
    high = min(high, MAX_FILL + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return low
