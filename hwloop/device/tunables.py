"""Tunables: parameters inside a device that are set and then stay; their limits, steps and rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        if not (_is_number(seconds) and seconds >= 0):
            raise ValueError(f"{self._named('settling_seconds')} must be a time in seconds, not {seconds!r}")
        object.__setattr__(self, "settling_seconds", float(seconds))
        self._check_step()
        object.__setattr__(self, "rest", self.low if self.rest is None else self._checked_values("rest"))
        self._check_rest()

    def _named(self, field: str) -> str:
        return f"Tunable {self.name!r}: {field}"

    def _checked_values(self, name: str) -> float | Float64Array:
        given = np.asarray(getattr(self, name))
        is_real = given.dtype.kind in "biuf" and given.shape in ((), (self.count,))
        values = np.array(given if is_real else np.nan, dtype=np.float64)  # a copy: nobody moves a limit later
        if not np.all(np.isfinite(values)):
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
        if not (_is_number(value) and value > 0):
            raise ValueError(f"{self._named(name)} must be a positive number or None, not {value!r}")
        return float(value)

    def _check_step(self) -> None:
        if self.step is None:
            return
        if not np.all(np.asarray(self.high) - np.asarray(self.low) >= self.step * (1 - ON_STEP)):
            raise ValueError(f"{self._named('step')} is larger than the range of a value: {self.step!r}")
        if self.on_step > ON_STEP + 0.1:
            raise ValueError(
                f"{self._named('step')} is finer than numbers as large as the limits can show: {self.step!r}; "
                "count from another zero"
            )
        if self.max_change is not None and self.max_change < self.step * (1 - ON_STEP):
            raise ValueError(f"{self._named('max_change')} is smaller than a step, so that no value could change")

    def _check_rest(self) -> None:
        rest = np.broadcast_to(np.asarray(self.rest), (self.count,))
        if not np.all((rest >= self.low) & (rest <= self.high)):
            raise ValueError(f"{self._named('rest')} must lie within the limits, not at {self.rest!r}")
        steps = np.zeros(1) if self.step is None else (rest - self.low) / self.step
        if (np.abs(steps - np.round(steps)) > self.on_step).any():
            raise ValueError(f"{self._named('rest')} must lie on a step, at low + k * {self.step!r}")

    @property
    def on_step(self) -> float:
        """How far from a step a value may lie, in steps: at least what float64 is off that far from 0."""
        if self.step is None:
            return ON_STEP
        largest = float(max(np.abs(self.low).max(), np.abs(self.high).max()))
        return ON_STEP + float(4 * np.spacing(largest)) / self.step

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


class Tunables(tuple[Tunable, ...]):
    """The tunables of a device, and their values as flat arrays of shape (n_tunables,), in the same order.

    Parameters
    ----------
    given
        Tunables, or plain tables as :meth:`Tunable.as_dict` gives them.

    Raises
    ------
    TypeError, ValueError
    """

    def __new__(cls, given: Any = ()) -> Tunables:
        if isinstance(given, Tunables):
            return given  # with the arrays that it has made
        if isinstance(given, Mapping | str) or not isinstance(given, Sequence):
            raise TypeError(f"DeviceSpec.tunables must be a tuple of hwloop.Tunable, not {type(given).__name__}")
        found = super().__new__(cls, map(_tunable, given))
        names = [each.name for each in found]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"DeviceSpec.tunables: two are named {name!r}; every name must be unique")
        return found

    @cached_property
    def n_values(self) -> int:
        """The sum of the counts."""
        return sum(each.count for each in self)

    @cached_property
    def low(self) -> Float64Array:
        """Lower limits."""
        return self._flat(each.low for each in self)

    @cached_property
    def high(self) -> Float64Array:
        """Upper limits."""
        return self._flat(each.high for each in self)

    @cached_property
    def rest(self) -> Float64Array:
        """Values at rest."""
        return self._flat(each.rest for each in self)

    @cached_property
    def _steps(self) -> Float64Array:
        return self._flat(each.step or np.inf for each in self)

    @cached_property
    def _on_step(self) -> Float64Array:
        return self._flat(each.on_step for each in self)

    @cached_property
    def at_once(self) -> Float64Array:
        """Largest changes at one write, in whole steps where there are some; infinity for any."""
        return self._flat(each.change_at_once for each in self)

    @cached_property
    def _settling_seconds(self) -> Float64Array:
        return self._flat(each.settling_seconds for each in self)

    def _flat(self, fields: Iterable[Any]) -> Float64Array:
        parts = [np.broadcast_to(field, (each.count,)) for field, each in zip(fields, self, strict=True)]
        values = np.concatenate(parts) + 0.0 if parts else np.empty(0)  # -0.0 is 0.0
        values.flags.writeable = False
        return values

    def slices(self) -> Iterator[tuple[Tunable, slice]]:
        """Each tunable with its place among the flat values."""
        start = 0
        for each in self:
            yield each, slice(start, start + each.count)
            start += each.count

    def flat_values(self, values: Any, others: Float64Array) -> Float64Array:
        """A flat float64 copy of a mapping by name, or of an array; not checked against limits.

        Parameters
        ----------
        others
            What the names that a mapping leaves out keep.

        Raises
        ------
        TuningError
            Unknown names, wrong shapes, or no finite real numbers.
        """
        if not isinstance(values, Mapping):
            units = ", ".join({each.unit: None for each in self})
            return _finite(values, self.n_values, units, "the tuning")
        found = np.array(others, dtype=np.float64)
        names = {each.name for each in self}
        for name in values:
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                raise TuningError(f"there is no tunable {name!r}; this device has: {known}")
        for each, place in self.slices():
            if each.name in values:
                found[place] = _finite(values[each.name], each.count, each.unit, f"tunable {each.name!r}")
        return found

    def nearest(self, values: Float64Array) -> Float64Array:
        """The values clipped to the limits and rounded to the steps."""
        inside = np.clip(values, self.low, self.high)
        stepped = np.isfinite(self._steps)
        low, high, step, value = self.low[stepped], self.high[stepped], self._steps[stepped], inside[stepped]
        last = np.floor((high - low) / step + self._on_step[stepped])
        steps = np.minimum(np.floor((value - low) / step + 0.5), last)
        inside[stepped] = np.minimum(low + steps * step, high)
        return np.asarray(inside)

    def refuse_out_of_limits(self, values: Float64Array, device: str) -> None:
        """Refuse values that lie outside the limits or between two steps.

        Raises
        ------
        LimitError
            The message names tunable, index, value and limit.
        TuningError
            A value lies on no step.
        """
        fine = (values >= self.low) & (values <= self.high)
        if not fine.all():
            place = int(np.argmin(fine))
            what, unit = self._named(place)
            value, low, high = float(values[place]), float(self.low[place]), float(self.high[place])
            side, limit = ("below the lower", low) if value < low else ("above the upper", high)
            raise LimitError(
                f"{device}: {what}: {value!r}{unit} lies {side} limit of {limit!r}{unit}; nothing was set. "
                f"Keep it within [{low!r}, {high!r}]{unit}, or ask spec.nearest_tuning(values)"
            )
        steps = (values - self.low) / self._steps
        on_step = np.abs(steps - np.round(steps)) <= self._on_step
        if not on_step[np.isfinite(self._steps)].all():
            place = int(np.argmin(on_step | ~np.isfinite(self._steps)))
            what, unit = self._named(place)
            raise TuningError(
                f"{device}: {what}: {float(values[place])!r}{unit} lies between two steps of "
                f"{float(self._steps[place])!r}{unit} from {float(self.low[place])!r}{unit}; nothing was set. "
                "spec.nearest_tuning(values) rounds"
            )

    def _named(self, place: int) -> tuple[str, str]:
        """The tunable and index of a flat value, and its unit behind a space."""
        each, start = next((each, at.start) for each, at in self.slices() if place < at.stop)
        return f"tunable {each.name!r}, value {place - start}", f" {each.unit}" if each.unit else ""

    def writes_between(self, start: Float64Array, end: Float64Array) -> int:
        """Writes that lead from one tuning to another: 0 where they are equal, several where it is walked."""
        if np.array_equal(start, end):
            return 0
        times = float((np.abs(end - start) / self.at_once).max())
        return max(1, int(np.ceil(times * (1 - 1e-12))))

    def walk(self, start: Float64Array, end: Float64Array) -> Iterator[Float64Array]:
        """Every tuning to write on the way from one to another, the last included: none differs by too much."""
        writes = self.writes_between(start, end)
        for write in range(1, writes):
            yield self.nearest(start + (end - start) * (write / writes))
        if writes:
            yield end.copy()

    def seconds_to_settle(self, before: Float64Array | None, now: Float64Array) -> float:
        """What is waited for after a write: the longest time of what it changed; of all if that is not known."""
        changed = self._settling_seconds if before is None else self._settling_seconds[before != now]
        return float(changed.max(initial=0.0))


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return is_real and bool(np.isfinite(value))


def _tunable(given: Any) -> Tunable:
    if isinstance(given, Tunable):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"DeviceSpec.tunables must hold hwloop.Tunable, not {type(given).__name__}")
    return Tunable(**given)


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
        place = int(np.argmin(np.isfinite(found)))
        raise TuningError(f"{what}, value {place}, is {found[place]}; every value must be finite")
    return found
