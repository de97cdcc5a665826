"""Settable channels in, gettable channels out: write k values, wait, read m values."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device import Device, DeviceSpec
from hwloop.device.checks import NotPlainError, plain_numbers
from hwloop.device.description import plain_settings
from hwloop.device.plain_value import PlainValues, qualified
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.adapters.sent_values import Levels, NumberFormat
from hwloop.errors import BadReading, DeviceDisconnected, DeviceError
from hwloop.events import StimuliRounded


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
    get
        Reads what the channel is set to now, where it can be read: asked when the device is opened, and before it
        goes to rest, for another hand may have moved it.
    levels
        The only values that it takes; the nearest is sent.
    number_format
        What becomes of a value on its way.
    """

    name: str
    set: Callable[[float], object]
    low: float
    high: float
    unit: str = ""
    rest: float | None = None
    get: Callable[[], Any] | None = None
    levels: Levels | None = None
    number_format: NumberFormat | None = None

    def __post_init__(self) -> None:
        if not np.isfinite([self.low, self.high]).all() or not self.low < self.high:
            raise ValueError(
                f"{self.name}: limits must be finite, and the lower below the upper, not {self.limits}"
            )
        if self.rest is not None:
            real_number(f"{self.name}: rest", self.rest, self.low, self.high)
        if self.number_format is not None:
            self.number_format.require_resolution(self.name, self.low, self.high)

    def send(self, value: float) -> None:
        """Set the channel to a value as :meth:`sent` gives it."""
        self.set(self.as_set(value))

    def as_set(self, value: float) -> Any:
        """What the instrument's library takes for it."""
        return value if self.levels is None else self.levels.as_set(value)

    def sent(self, value: float) -> float:
        """What is sent for a value: a level, or what the format leaves of it.

        Raises
        ------
        StimulusError
            The format would send something else.
        """
        if self.levels is not None:
            return self.levels.nearest(value, self.low, self.high)
        if self.number_format is None:
            return value
        return self.number_format.sent(self.name, value, self.low, self.high)

    def now(self) -> float | None:
        """What it is set to; ``None`` where that cannot be read, or is no number that the library knows."""
        try:
            reading = None if self.get is None else self.get()
        except (LookupError, TypeError, ValueError):
            return None
        return float(reading) if isinstance(reading, int | float | np.number) else None

    @staticmethod
    def split(item: Any) -> tuple[Any, tuple[float, float] | None]:
        """``channel`` or ``(channel, low, high)``: the channel, and the limits that were given."""
        if not isinstance(item, tuple):
            return item, None
        if len(item) != 3:
            raise ValueError(f"a settable is a channel, or (channel, low, high), not {item!r}")
        return item[0], (float(item[1]), float(item[2]))

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper limit."""
        return self.low, self.high

    @property
    def resting(self) -> float:
        """The value of the safe state."""
        rest = float(min(max(0.0, self.low), self.high)) if self.rest is None else float(self.rest)
        return rest if self.levels is None else self.levels.nearest(rest, self.low, self.high)


@dataclass(frozen=True)
class Gettable:
    """One reading of ``size`` numbers; ``get`` returns a number, an array or several of them, in ``unit``.

    A complex number is two: its real part, then its imaginary part.
    """

    name: str
    get: Callable[[], Any]
    unit: str = ""
    size: int = 1

    def __post_init__(self) -> None:
        whole_number(f"{self.name}: size", self.size, low=1)

    @staticmethod
    def split(item: Any) -> tuple[Any, int | None]:
        """``channel`` or ``(channel, size)``: the channel, and the size that was given."""
        if not isinstance(item, tuple):
            return item, None
        if len(item) != 2:
            raise ValueError(f"a gettable is a channel, or (channel, size), not {item!r}")
        return item[0], whole_number("size", item[1], low=1)


class ChannelDevice(Device):
    """A device made of channels that are set and read one by one.

    Every row: all settables in order, a pause, all gettables in order. ``close`` sets every channel to rest,
    whatever happened. What can be read of the settables is read when the device is opened, and again before it
    goes to rest: a library that ramps from where it believes to stand then knows what another hand has done.

    Where levels or a number format round a value, what is really sent is told
    (:class:`hwloop.events.StimuliRounded`), and stands in the journal.

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
        self._stands: list[float | None] = []
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
        """Call ``on_open``, and ask every channel where it stands; nothing is set before the first row."""
        if not self._is_open:
            self._is_open = True  # even if on_open fails: then close() is to bring everything to rest
            if self._on_open is not None:
                self._on_open()
            self._stands = self._asked()

    def position(self) -> Float64Array | None:
        """What the channels are set to, as they said when the device was opened or as they were set since."""
        known = [value for value in self._stands if value is not None]
        return np.array(known) if self._is_open and len(known) == len(self.settables) else None

    def _asked(self) -> list[float | None]:
        """What every settable is set to; a subclass may ask all at once."""
        return [settable.now() for settable in self.settables]

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
        sent = [self._sent(row) for row in inputs]  # of all rows, before the first is sent
        self._tell_rounded(inputs, sent)
        return np.stack([self._row(row) for row in sent])

    def _sent(self, row: Float64Array) -> list[float]:
        return [settable.sent(float(value)) for settable, value in zip(self.settables, row, strict=True)]

    def _tell_rounded(self, asked: Float64Array, sent: Sequence[Sequence[float]]) -> None:
        difference = np.abs(np.asarray(sent) - asked)
        if difference.any():
            channels = np.flatnonzero(difference.any(axis=0))
            names = [self.settables[channel].name for channel in channels]
            values = np.asarray(sent)[:, channels].tolist()
            self.tell(StimuliRounded(names, float(difference.max()), values))

    def _row(self, row: Sequence[float]) -> Float64Array:
        self._write(row)
        self._stands = list(row)
        if self.settling_seconds:
            time.sleep(self.settling_seconds)
        readings = self._read()
        return np.concatenate([_numbers(*pair) for pair in zip(self.gettables, readings, strict=True)])

    def _write(self, values: Sequence[float]) -> None:
        """Set every channel; a subclass may do it at once."""
        for settable, value in zip(self.settables, values, strict=True):
            settable.send(value)

    def _read(self) -> Sequence[Any]:
        """One reading of every gettable; a subclass may do it at once."""
        return [gettable.get() for gettable in self.gettables]

    def _steps_to_rest(self) -> Iterable[tuple[str, Callable[[], object]]]:
        for settable in self.settables:
            yield settable.name, partial(_to_rest, settable)
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


def _to_rest(settable: Settable) -> None:
    if settable.get is not None:
        with contextlib.suppress(Exception):  # what cannot be read is set to rest all the same
            settable.get()
    settable.send(settable.resting)


def _flat(reading: Any, unit: str) -> NDArray[Any]:
    """All numbers of a reading in order; complex ones as two."""
    if isinstance(reading, list | tuple) and any(np.ndim(part) or np.iscomplexobj(part) for part in reading):
        return np.concatenate([_flat(part, unit) for part in reading])
    if np.iscomplexobj(reading):
        parts = plain_numbers(reading.real, unit), plain_numbers(reading.imag, unit)
        return np.stack(parts, axis=-1).ravel()
    return plain_numbers(reading, unit).ravel()


def _numbers(gettable: Gettable, reading: Any) -> Float64Array:
    try:
        values = _flat(reading, gettable.unit)
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
