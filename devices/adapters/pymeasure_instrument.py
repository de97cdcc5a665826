"""A PyMeasure instrument, its properties being the channels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from hwloop.devices.adapters.channels import (
    ChannelDevice,
    Gettable,
    Settable,
    limits_within,
    split_gettable,
    split_settable,
)

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
        of the property's range validator hold; a property without one needs limits.
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
    name, given = split_settable(item)
    owner, attribute = _owner(instrument, name)
    low, high = limits_within(name, given, _own_limits(owner, attribute))
    return Settable(name, partial(setattr, owner, attribute), low, high, unit)


def _gettable(instrument: Any, item: Any, unit: str) -> Gettable:
    name, size = split_gettable(item)
    owner, attribute = _owner(instrument, name)
    if not hasattr(type(owner), attribute):
        raise ValueError(f"{type(owner).__name__} has no property {attribute!r} to read")
    return Gettable(name, partial(getattr, owner, attribute), unit, size or 1)


def _owner(instrument: Any, name: str) -> tuple[Any, str]:
    """The object whose property it is, the instrument or a channel of it, and the property's own name."""
    path, _, attribute = name.rpartition(".")
    return (attrgetter(path)(instrument) if path else instrument), attribute


def _own_limits(owner: Any, attribute: str) -> tuple[float, float] | None:
    """What the property's range validator lets through; ``None`` if that is not a range.

    PyMeasure keeps ``validator`` and ``values`` as defaults of the setter, and those of a dynamic property that
    were changed in the instance.
    """
    found = getattr(type(owner), attribute, None)
    settings = _setter_settings(owner, attribute, found) if isinstance(found, property) and found.fset else None
    if settings is None or settings.get("set_command", "") is None:
        raise ValueError(f"{type(owner).__name__} has no property {attribute!r} that can be set")
    if getattr(settings.get("validator"), "__name__", "") not in RANGE_VALIDATORS:
        return None
    values = np.asarray(settings["values"], dtype=np.float64)
    return float(values.min()), float(values.max())


def _setter_settings(owner: Any, attribute: str, found: property) -> dict[str, Any]:
    prefix = f"{getattr(found, 'prefix', '')}{attribute}_"
    parameters = inspect.signature(found.fset).parameters  # type: ignore[arg-type]
    return {
        name: getattr(owner, prefix + name, parameters[name].default)
        for name in ("set_command", "validator", "values")
        if name in parameters
    }
