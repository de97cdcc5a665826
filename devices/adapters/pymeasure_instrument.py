"""A PyMeasure instrument, its properties being the channels."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from hwloop.devices.adapters.channels import ChannelDevice, Gettable, Settable, limits_within
from hwloop.devices.adapters.sent_values import Choices, NumberFormat

OF_SETTERS = {"set_command", "validator", "values", "map_values", "set_process"}
NUMBER = re.compile(r"%[-+ 0#]*[0-9]*(?:\.[0-9]+)?[hlL]?[diouxXeEfFgGrs]")
DISCRETE_VALIDATORS = ("strict_discrete_set", "truncated_discrete_set")
RANGE_VALIDATORS = ("strict_range", "truncated_range", "strict_discrete_range")


class PyMeasureDevice(ChannelDevice):
    """Properties of a PyMeasure instrument in, properties out.

    Parameters
    ----------
    instrument
        Connected already; its own outputs are switched by ``on_open`` and ``on_close``, for example
        ``on_close=instrument.shutdown``.
    settables
        Names of properties (``"voltage"``, ``"ch_1.voltage"``), or ``(name, low, high)``. Without limits, those
        of the property's range validator hold; a property without one needs limits. Of a discrete set the
        nearest value is sent. A format that cannot resolve the range, such as ``%f`` for nanoamperes, is refused.
    gettables
        Names of properties, or ``(name, size)`` where one reads several numbers.
    input_unit, output_unit
        PyMeasure states units in prose alone.
    settling_seconds, row_seconds, on_open, on_close
        See :class:`ChannelDevice`.

    Raises
    ------
    ValueError
        Limits are missing, or wider than the property's own.
    """

    self_described: ClassVar = ChannelDevice.self_described | {"instrument"}

    def __init__(
        self,
        instrument: Any,
        settables: Sequence[Any],
        gettables: Sequence[Any],
        *,
        input_unit: str = "",
        output_unit: str = "",
        settling_seconds: float = 0.0,
        row_seconds: float | None = None,
        on_open: Callable[[], object] | None = None,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(
            [_settable(instrument, item, input_unit) for item in settables],
            [_gettable(instrument, item, output_unit) for item in gettables],
            settling_seconds=settling_seconds,
            row_seconds=row_seconds,
            on_open=on_open,
            on_close=on_close,
        )
        self.instrument = instrument

    def identify(self) -> str:
        """The instrument's ``*IDN?`` where it has one, else its name, with the channels."""
        try:
            who = self.instrument.id
        except (AttributeError, NotImplementedError):
            who = self.instrument.name
        return f"{who}: {super().identify()}"

    def unit(self) -> str:
        """The instrument's ``*IDN?``; empty where it has none."""
        try:
            return str(self.instrument.id)
        except (AttributeError, NotImplementedError):
            return ""


def _settable(instrument: Any, item: Any, unit: str) -> Settable:
    name, given = Settable.split(item)
    owner, attribute = _owner(instrument, name)
    setter = _setter(owner, attribute)
    levels = _levels(name, setter)
    low, high = limits_within(name, given, _own_limits(setter, levels))
    return Settable(
        name,
        partial(setattr, owner, attribute),
        low,
        high,
        unit,
        get=partial(getattr, owner, attribute) if _can_be_read(owner, attribute) else None,
        levels=levels,
        number_format=None if levels else _number_format(setter),
    )


def _gettable(instrument: Any, item: Any, unit: str) -> Gettable:
    name, size = Gettable.split(item)
    owner, attribute = _owner(instrument, name)
    if not hasattr(type(owner), attribute):
        raise ValueError(f"{type(owner).__name__} has no property {attribute!r} to read")
    return Gettable(name, partial(getattr, owner, attribute), unit, size or 1)


def _owner(instrument: Any, name: str) -> tuple[Any, str]:
    """The object whose property it is, the instrument or a channel of it, and the property's own name."""
    path, _, attribute = name.rpartition(".")
    return (attrgetter(path)(instrument) if path else instrument), attribute


def _setter(owner: Any, attribute: str) -> dict[str, Any]:
    """What PyMeasure keeps of a property that can be set: validator, values, command and the like.

    They are defaults of the setter, and those of a dynamic property that were changed in the instance.

    Raises
    ------
    ValueError
        There is no such property, or it cannot be set.
    """
    found = getattr(type(owner), attribute, None)
    if isinstance(found, property) and found.fset is not None:
        prefix = f"{getattr(found, 'prefix', '')}{attribute}_"
        parameters = inspect.signature(found.fset).parameters
        known = OF_SETTERS & set(parameters)
        settings = {name: getattr(owner, prefix + name, parameters[name].default) for name in known}
        if settings.get("set_command", "") is not None:
            return settings
    raise ValueError(f"{type(owner).__name__} has no property {attribute!r} that can be set")


def _can_be_read(owner: Any, attribute: str) -> bool:
    """Whether the property has a command that asks for it."""
    found = getattr(type(owner), attribute)
    parameters = inspect.signature(found.fget).parameters if found.fget is not None else {}
    prefix = f"{getattr(found, 'prefix', '')}{attribute}_"
    command = getattr(owner, f"{prefix}get_command", getattr(parameters.get("get_command"), "default", None))
    return command is not None and command is not inspect.Parameter.empty


def _levels(name: str, setter: dict[str, Any]) -> Choices | None:
    """The only values that the property takes; ``None`` where it takes any within its limits."""
    values = setter.get("values")
    mapped = setter.get("map_values") and isinstance(values, dict | list | tuple | range)
    if mapped or getattr(setter.get("validator"), "__name__", "") in DISCRETE_VALIDATORS:
        return Choices.of(name, list(values)) if values is not None else None
    return None


def _own_limits(setter: dict[str, Any], levels: Choices | None) -> tuple[float, float] | None:
    """What the property lets through; ``None`` if it states no range."""
    if levels is not None:
        return min(levels.values), max(levels.values)
    if getattr(setter.get("validator"), "__name__", "") not in RANGE_VALIDATORS:
        return None
    values = np.asarray(setter["values"], dtype=np.float64)
    return float(values.min()), float(values.max())


def _number_format(setter: dict[str, Any]) -> NumberFormat | None:
    """The format of the command; ``None`` where it holds none, or several."""
    command = setter.get("set_command")
    if not isinstance(command, str):
        return None
    found = NUMBER.findall(command.replace("%%", ""))
    if len(found) != 1:
        return None
    return NumberFormat(command, setter.get("set_process") or _unchanged, partial(operator.mod, found[0]))


def _unchanged(value: Any) -> Any:
    return value
