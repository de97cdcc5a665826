"""Settable channels in, gettable channels out: write k values, wait, read m values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec
from hwloop.device.made_of import plain_settings
from hwloop.device.plain_numbers import NotPlainError, plain_numbers
from hwloop.device.plain_value import PlainValues, qualified
from hwloop.device.spec import Float64Array
from hwloop.errors import BadReading, DeviceDisconnected, DeviceError
from hwloop.simulators.settings import real_number, whole_number


@dataclass(frozen=True)
class Settable:
    """One input channel.

    Parameters
    ----------
    name
        For messages.
    set
        Sets the channel to a value within [low, high], given as a Python float.
    low, high
        What the hardware survives, in ``unit``.
    unit
        As text.
    rest
        What ``close`` sets, within the limits; ``None`` for the allowed value that is nearest to zero.
    """

    name: str
    set: Callable[[float], object]
    low: float
    high: float
    unit: str = ""
    rest: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite([self.low, self.high]).all() or not self.low < self.high:
            raise ValueError(
                f"{self.name}: limits must be finite, and the lower below the upper, not {self.limits}"
            )
        if self.rest is not None:
            real_number(f"{self.name}: rest", self.rest, self.low, self.high)

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper limit."""
        return self.low, self.high

    @property
    def resting(self) -> float:
        """The value of the safe state."""
        return float(min(max(0.0, self.low), self.high)) if self.rest is None else float(self.rest)


@dataclass(frozen=True)
class Gettable:
    """One reading of ``size`` numbers; ``get`` returns a number or an array, in ``unit``."""

    name: str
    get: Callable[[], Any]
    unit: str = ""
    size: int = 1

    def __post_init__(self) -> None:
        whole_number(f"{self.name}: size", self.size, low=1)


class ChannelDevice(Device):
    """A device made of channels that are set and read one by one.

    Every row: all settables in order, a pause, all gettables in order. ``close`` sets every channel to rest,
    whatever happened.

    Parameters
    ----------
    settables, gettables
        At least one of each.
    settling_seconds
        From the last setting of a row to its first reading.
    row_seconds
        Expected time of a row for forecasts, without settling; ``None`` if unknown.
    identity
        Who answers.
    on_open, on_close
        Called when the device is opened, before anything is set (to switch outputs on), and after it went to
        rest (to switch them off).
    """

    self_described: ClassVar = frozenset({"settables", "gettables", "identity"})
    harmless_settings: ClassVar = {
        "row_seconds": "the pace that is expected; it stands in the spec",
        "on_close": "called after the last row",
    }

    def __init__(
        self,
        settables: Sequence[Settable],
        gettables: Sequence[Gettable],
        *,
        settling_seconds: float = 0.0,
        row_seconds: float | None = None,
        identity: str = "",
        on_open: Callable[[], object] | None = None,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        if not settables or not gettables:
            raise ValueError("a device needs at least one channel to set and one to read")
        self.settables, self.gettables = tuple(settables), tuple(gettables)
        self.settling_seconds = real_number("settling_seconds", settling_seconds, low=0.0)
        self.identity = identity
        self._on_open, self._on_close = on_open, on_close
        self._is_open = False
        channels = {"settables": self.settables, "gettables": self.gettables}
        self._channels = plain_settings(channels, (), (), _ChannelValues(self._part))
        self.spec = DeviceSpec(
            len(self.settables),
            sum(gettable.size for gettable in self.gettables),
            input_low=np.array([settable.low for settable in self.settables]),
            input_high=np.array([settable.high for settable in self.settables]),
            input_unit=_common(settable.unit for settable in self.settables),
            output_unit=_common(gettable.unit for gettable in self.gettables),
            row_seconds=None if row_seconds is None else row_seconds + self.settling_seconds,
        )

    def open(self) -> None:
        """Call ``on_open``; nothing is set before the first row."""
        if not self._is_open:
            self._is_open = True  # even if on_open fails: then close() is to bring everything to rest
            if self._on_open is not None:
                self._on_open()

    def close(self) -> None:
        """Every channel to rest, then ``on_close``; a channel that fails does not keep the others from it.

        Raises
        ------
        DeviceError
            Not everything is in the safe state; the message says what is not.
        """
        if not self._is_open:
            return
        self._is_open = False
        failures = [failure for step, do in self._steps_to_rest() if (failure := _failure_of(step, do))]
        if failures:
            raise DeviceError(
                f"not everything is in its safe state: {'; '.join(failures)}. Switch it off by hand, then look "
                "at the connection"
            )

    def identify(self) -> str:
        """The identity that was given, or the channels' names, and the settling time."""
        names = [*(settable.name for settable in self.settables), *(gettable.name for gettable in self.gettables)]
        return f"{self.identity or ', '.join(names)}, settling {self.settling_seconds:g} s"

    def unit(self) -> str:
        """The identity that was given; names of channels are none."""
        return self.identity

    def described_settings(self) -> dict[str, Any]:
        """The channels by name, limits, unit and what sets and reads them."""
        return {**self._channels, **super().described_settings()}

    def _part(self, part: Any) -> Any:
        """An object that a channel's function uses: by its class, for its state changes."""
        return {"object": qualified(type(part))}

    def _measure(self, inputs: Float64Array) -> Float64Array:
        if not self._is_open:
            raise DeviceDisconnected("the device is closed, its channels are at rest; open it first")
        return np.stack([self._row(row) for row in inputs])

    def _row(self, row: Float64Array) -> Float64Array:
        self._write([float(value) for value in row])
        if self.settling_seconds:
            time.sleep(self.settling_seconds)
        readings = self._read()
        return np.concatenate([_numbers(*pair) for pair in zip(self.gettables, readings, strict=True)])

    def _write(self, values: Sequence[float]) -> None:
        """Set every channel; a subclass may do it at once."""
        for settable, value in zip(self.settables, values, strict=True):
            settable.set(value)

    def _read(self) -> Sequence[Any]:
        """One reading of every gettable; a subclass may do it at once."""
        return [gettable.get() for gettable in self.gettables]

    def _steps_to_rest(self) -> Iterable[tuple[str, Callable[[], object]]]:
        for settable in self.settables:
            yield settable.name, partial(settable.set, settable.resting)
        if self._on_close is not None:
            yield "on_close", self._on_close


def limits_within(
    name: str, given: tuple[float, float] | None, own: tuple[float, float] | None
) -> tuple[float, float]:
    """The limits that hold: the given ones, which must lie within the instrument's own where it states any.

    Raises
    ------
    ValueError
    """
    if given is None and own is None:
        raise ValueError(f"{name} states no limits; give them: ({name}, low, high)")
    if given is None:
        assert own is not None
        return own
    if own is not None and not (own[0] <= given[0] and given[1] <= own[1]):
        raise ValueError(f"{name}: the given limits {given} lie outside the instrument's own, {own}")
    return given


def split_settable(item: Any) -> tuple[Any, tuple[float, float] | None]:
    """``channel`` or ``(channel, low, high)``."""
    if not isinstance(item, tuple):
        return item, None
    if len(item) != 3:
        raise ValueError(f"a settable is a channel, or (channel, low, high), not {item!r}")
    return item[0], (float(item[1]), float(item[2]))


def split_gettable(item: Any) -> tuple[Any, int | None]:
    """``channel`` or ``(channel, size)``."""
    if not isinstance(item, tuple):
        return item, None
    if len(item) != 2:
        raise ValueError(f"a gettable is a channel, or (channel, size), not {item!r}")
    return item[0], whole_number("size", item[1], low=1)


def _numbers(gettable: Gettable, reading: Any) -> Float64Array:
    try:
        values = plain_numbers(reading, gettable.unit)
    except NotPlainError as error:
        raise BadReading(f"{gettable.name} reads {str(reading)[:80]}, but {error}") from error
    if values.size != gettable.size:
        raise BadReading(f"{gettable.name} reads {str(reading)[:80]}, not {gettable.size} real numbers")
    return values.astype(np.float64).reshape(gettable.size)


class _ChannelValues(PlainValues):
    """Channels and the functions that set and read them, objects as the device names them."""

    def __init__(self, part: Callable[[Any], Any]) -> None:
        super().__init__()
        self._part = part

    def _held_by(self, value: Any, depth: int) -> Any:
        return super()._held_by(value, depth) if isinstance(value, Settable | Gettable) else self._part(value)


def _common(units: Iterable[str]) -> str:
    """The unit that all share, or all of them in order."""
    listed = list(units)
    return listed[0] if len(set(listed)) == 1 else ", ".join(unit or "1" for unit in listed)


def _failure_of(step: str, do: Callable[[], object]) -> str:
    try:
        do()
    except Exception as error:
        return f"{step} ({type(error).__name__}: {error})"
    return ""
