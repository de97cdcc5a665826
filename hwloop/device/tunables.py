"""Tunables: parameters inside a device that are set and then stay; their limits, steps and rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import LimitError, TuningError

Float64Array = NDArray[np.float64]
MOST_VALUES = 1 << 24  # of one tunable; more are a mistake, or meant to fill the memory
ON_STEP = 1e-6  # how far from a step a value may lie, in steps: what a decimal number in a file is off


@dataclass(frozen=True, eq=False)
class Tunable:
    """Values of one kind inside a device: bias voltages, phase shifters, pixels of a metasurface, a gain.

    Parameters
    ----------
    name
        What they are called, such as ``"phases"``; unique within a device.
    count
        How many values there are.
    low, high
        Limits in ``unit``, one number or an array of shape (count,).
    unit
        As text, for messages and reports.
    step
        Values lie at ``low + k * step`` with a whole k; ``None`` where every value can be set. Binary pixels have
        low 0, high 1 and step 1.
    rest
        The safe value, set when the device is opened and before it is closed: one number or an array of shape
        (count,). ``None`` for ``low``.
    max_change
        Largest change of one value at one write; a larger one is walked in several writes. ``None`` for any.
    settling_seconds
        Waited for after every write. A simulation does not wait.
    """

    name: str
    count: int = 1
    low: float | Float64Array = 0.0
    high: float | Float64Array = 1.0
    unit: str = ""
    step: float | None = None
    rest: float | Float64Array | None = None
    max_change: float | None = None
    settling_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"Tunable.name must be text, not {self.name!r}")
        count = self.count
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= MOST_VALUES:
            raise ValueError(
                f"{self._named('count')} must be a whole number from 1 to {MOST_VALUES}, not {count!r}"
            )
        object.__setattr__(self, "count", int(count))
        if not isinstance(self.unit, str):
            raise ValueError(f"{self._named('unit')} must be text, not {self.unit!r}")
        for name in ("low", "high"):
            object.__setattr__(self, name, self._checked_values(name))
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise ValueError(f"{self._named('low')} must lie below high for every value")
        for name in ("step", "max_change"):
            object.__setattr__(self, name, self._checked_positive(name))
        seconds = self.settling_seconds
        if isinstance(seconds, bool) or not (np.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{self._named('settling_seconds')} must be a time in seconds, not {seconds!r}")
        object.__setattr__(self, "settling_seconds", float(seconds))
        self._check_step()
        object.__setattr__(self, "rest", self.low if self.rest is None else self._checked_values("rest"))
        self._check_rest()

    def _named(self, field: str) -> str:
        return f"Tunable {self.name!r}: {field}"

    def _checked_values(self, name: str) -> float | Float64Array:
        values = np.array(getattr(self, name), dtype=np.float64)  # a copy, so that nobody moves a limit later
        if values.shape not in ((), (self.count,)) or not np.all(np.isfinite(values)):
            raise ValueError(
                f"{self._named(name)} must be one finite number, or one for each of {self.count} values"
            )
        if values.shape == ():
            return float(values)
        values.flags.writeable = False
        return values

    def _checked_positive(self, name: str) -> float | None:
        value = getattr(self, name)
        if value is None:
            return None
        if isinstance(value, bool) or not (np.isfinite(value) and value > 0):
            raise ValueError(f"{self._named(name)} must be a positive number or None, not {value!r}")
        return float(value)

    def _check_step(self) -> None:
        if self.step is None:
            return
        if not np.all(np.asarray(self.high) - np.asarray(self.low) >= self.step * (1 - ON_STEP)):
            raise ValueError(f"{self._named('step')} is larger than the range of a value: {self.step!r}")
        if self.max_change is not None and self.max_change < self.step * (1 - ON_STEP):
            raise ValueError(f"{self._named('max_change')} is smaller than a step, so that no value could change")

    def _check_rest(self) -> None:
        rest = np.broadcast_to(np.asarray(self.rest), (self.count,))
        if not np.all((rest >= self.low) & (rest <= self.high)):
            raise ValueError(f"{self._named('rest')} must lie within the limits, not at {self.rest!r}")
        if self.step is not None and not np.all(self.is_on_step(rest)):
            raise ValueError(f"{self._named('rest')} must lie on a step, at low + k * {self.step!r}")

    def is_on_step(self, values: Float64Array) -> NDArray[np.bool_]:
        """Which values, shape (count,), lie at ``low + k * step``; all where there is no step."""
        if self.step is None:
            return np.ones(np.shape(values), dtype=np.bool_)
        steps = (values - self.low) / self.step
        return np.asarray(np.abs(steps - np.round(steps)) <= ON_STEP)

    def nearest(self, values: Float64Array) -> Float64Array:
        """The values, shape (count,), clipped to the limits and rounded to the steps."""
        inside = np.clip(values, self.low, self.high)
        if self.step is None:
            return np.asarray(inside)
        last = np.floor((np.asarray(self.high) - self.low) / self.step + ON_STEP)
        steps = np.minimum(np.floor((inside - self.low) / self.step + 0.5), last)
        return np.asarray(np.minimum(self.low + steps * self.step, self.high))

    @property
    def change_at_once(self) -> float:
        """Largest change at one write, in whole steps where there are some; infinity for any."""
        if self.max_change is None:
            return float("inf")
        if self.step is None:
            return self.max_change
        return float(np.floor(self.max_change / self.step + ON_STEP) * self.step)

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and text."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tunable) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.count, self.unit))


def checked_tunables(given: Any) -> tuple[Tunable, ...]:
    """The tunables of a spec; plain tables, as :meth:`Tunable.as_dict` gives them, count as well.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(given, Mapping | str) or not isinstance(given, Sequence):
        raise TypeError(f"DeviceSpec.tunables must be a tuple of hwloop.Tunable, not {type(given).__name__}")
    found = tuple(each if isinstance(each, Tunable) else _of_table(each) for each in given)
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"DeviceSpec.tunables: two are named {name!r}; every name must be unique")
    return found


def _of_table(table: Any) -> Tunable:
    if not isinstance(table, Mapping):
        raise TypeError(f"DeviceSpec.tunables must hold hwloop.Tunable, not {type(table).__name__}")
    return Tunable(**table)


def slices(tunables: Sequence[Tunable]) -> Iterator[tuple[Tunable, slice]]:
    """Each tunable with its place among the flat values."""
    start = 0
    for each in tunables:
        yield each, slice(start, start + each.count)
        start += each.count


def flat(tunables: Sequence[Tunable], field: str) -> Float64Array:
    """One number for every value, shape (n_tunables,): ``low``, ``high`` or ``rest``."""
    parts = [
        np.broadcast_to(np.asarray(getattr(each, field), dtype=np.float64), (each.count,)) for each in tunables
    ]
    values = np.concatenate(parts) if parts else np.empty(0)
    values += 0.0  # -0.0 is 0.0
    values.flags.writeable = False
    return values


def flat_values(tunables: Sequence[Tunable], values: Any, others: Float64Array) -> Float64Array:
    """A flat float64 copy, shape (n_tunables,), of a mapping by name or an array; not checked against limits.

    Parameters
    ----------
    others
        What the names that a mapping leaves out keep, shape (n_tunables,).

    Raises
    ------
    TuningError
        Unknown names, wrong shapes, or no finite real numbers.
    """
    n_values = sum(each.count for each in tunables)
    if not isinstance(values, Mapping):
        return _finite(values, n_values, ", ".join({each.unit or "no unit" for each in tunables}), "the tuning")
    found = np.array(others, dtype=np.float64)
    names = {each.name for each in tunables}
    for name in values:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise TuningError(f"there is no tunable {name!r}; this device has: {known}")
    for each, place in slices(tunables):
        if each.name in values:
            found[place] = _finite(values[each.name], each.count, each.unit, f"tunable {each.name!r}")
    return found


def _finite(values: Any, count: int, unit: str, what: str) -> Float64Array:
    from hwloop.device.checks import (
        NotPlainError,
        plain_numbers,
    )  # which needs the spec, and that needs this module

    try:
        given = plain_numbers(values, unit)
    except NotPlainError as error:
        raise TuningError(f"{what} must be {count} real numbers, but {error}") from error
    if given.shape not in ((count,), () if count == 1 else (count,)):
        raise TuningError(f"{what} must have shape ({count},), one number a value, but has shape {given.shape}")
    with np.errstate(over="ignore"):
        found = np.array(given, dtype=np.float64).reshape(count) + 0.0
    if not np.isfinite(found).all():
        place = int(np.flatnonzero(~np.isfinite(found))[0])
        raise TuningError(f"{what}, value {place}, is {found[place]}; every value must be finite")
    return found


def refuse_out_of_limits(tunables: Sequence[Tunable], values: Float64Array, device: str) -> None:
    """Refuse values, shape (n_tunables,), that lie outside the limits or between two steps.

    Raises
    ------
    LimitError
        The message names tunable, index, value and limit.
    TuningError
        A value lies on no step.
    """
    for each, place in slices(tunables):
        own = values[place]
        low, high = (np.broadcast_to(np.asarray(limit), own.shape) for limit in (each.low, each.high))
        unit = f" {each.unit}" if each.unit else ""
        outside = np.flatnonzero(~((own >= low) & (own <= high)))
        if len(outside):
            at = int(outside[0])
            side, limit = ("below the lower", low[at]) if own[at] < low[at] else ("above the upper", high[at])
            raise LimitError(
                f"{device}: tunable {each.name!r}, value {at}: {float(own[at])!r}{unit} lies {side} limit of "
                f"{float(limit)!r}{unit}; nothing was set. Keep it within "
                f"[{float(low[at])!r}, {float(high[at])!r}]{unit}, or ask spec.nearest_tuning(values)"
            )
        between = np.flatnonzero(~each.is_on_step(own))
        if len(between):
            at = int(between[0])
            raise TuningError(
                f"{device}: tunable {each.name!r}, value {at}: {float(own[at])!r}{unit} lies between two steps of "
                f"{each.step!r}{unit} from {float(low[at])!r}{unit}; nothing was set. "
                "spec.nearest_tuning(values) rounds"
            )


def writes_between(tunables: Sequence[Tunable], start: Float64Array, end: Float64Array) -> int:
    """Writes that lead from one tuning to another, shape (n_tunables,): 0 where they are equal, mostly 1."""
    writes = 0 if np.array_equal(start, end) else 1
    for each, place in slices(tunables):
        at_once = each.change_at_once
        if np.isfinite(at_once):
            largest = float(np.abs(end[place] - start[place]).max())
            writes = max(writes, int(np.ceil(largest / at_once * (1 - 1e-12))))
    return writes


def walk(tunables: Sequence[Tunable], start: Float64Array, end: Float64Array) -> Iterator[Float64Array]:
    """Every tuning to write on the way from one to another, the last included: none differs by too much."""
    writes = writes_between(tunables, start, end)
    for write in range(1, writes):
        between = start + (end - start) * (write / writes)
        for each, place in slices(tunables):
            if each.step is not None:
                steps = np.floor((between[place] - each.low) / each.step + 0.5)
                between[place] = each.nearest(each.low + steps * each.step)
        yield between
    if writes:
        yield end.copy()


def settling_seconds(tunables: Sequence[Tunable], before: Float64Array | None, now: Float64Array) -> float:
    """What is waited for after a write: the longest time of those that it changed; of all if that is not known."""
    changed = [
        each.settling_seconds
        for each, place in slices(tunables)
        if before is None or not np.array_equal(before[place], now[place])
    ]
    return max(changed, default=0.0)
