"""QCoDeS parameters in, QCoDeS parameters out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from hwloop.device.description import plain_settings
from hwloop.devices.adapters.channels import ChannelDevice, Gettable, Settable, limits_within
from hwloop.devices.adapters.qcodes_values import levels_of, number_format_of, own_limits, source_chain
from hwloop.errors import DeviceError

OF_PARAMETERS = ("full_name", "unit", "scale", "offset", "step", "inter_delay", "val_mapping")


class QCoDeSDevice(ChannelDevice):
    """QCoDeS parameters as the channels of a device; their units are the channels'.

    Parameters
    ----------
    settables
        Parameters, or ``(parameter, low, high)``. Without limits, those of the parameter's validators hold
        (``Numbers``, ``Ints``, ``Multiples``, ``Enum`` of numbers, a ``val_mapping`` of numbers), and of its
        source's if it delegates; a parameter without such limits needs them given. Where only some values are
        allowed the nearest is sent. One with a ``step`` must be readable.
    gettables
        Parameters, or ``(parameter, size)``; the size is known of a ``MultiParameter``, of one with an ``Arrays``
        validator, and of a complex number, which is two.
    settling_seconds, row_seconds, on_open, on_close
        See :class:`ChannelDevice`.

    Raises
    ------
    ValueError
        Limits are missing, or wider than the validators'.
    """

    def __init__(
        self,
        settables: Sequence[Any],
        gettables: Sequence[Any],
        *,
        settling_seconds: float = 0.0,
        row_seconds: float | None = None,
        on_open: Callable[[], object] | None = None,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(
            [_settable(item) for item in settables],
            [_gettable(item) for item in gettables],
            settling_seconds=settling_seconds,
            row_seconds=row_seconds,
            on_open=on_open,
            on_close=on_close,
        )
        parameters = [Settable.split(item)[0] for item in settables]
        parameters += [Gettable.split(item)[0] for item in gettables]
        roots = [parameter.root_instrument for parameter in parameters if parameter.root_instrument is not None]
        self._instruments = list(dict.fromkeys(roots))

    def identify(self) -> str:
        """Vendor, model, serial number and firmware of every instrument concerned, with the channels."""
        who = ["/".join(str(value) for value in root.get_idn().values()) for root in self._instruments]
        return ": ".join([*who, super().identify()])

    def unit(self) -> str:
        """What every instrument says of itself; empty if one of them has no serial number."""
        who = [root.get_idn() for root in self._instruments]
        numbered = who and all(each.get("serial") for each in who)
        return "; ".join("/".join(map(str, each.values())) for each in who) if numbered else ""

    def _part(self, part: Any) -> Any:
        """A parameter with what it does to a value."""
        names = OF_PARAMETERS if hasattr(type(part), "full_name") else ()
        known = {name: getattr(part, name, None) for name in names}
        return {**super()._part(part), **plain_settings(known, (), ())}


def _settable(item: Any) -> Settable:
    parameter, given = Settable.split(item)
    name = parameter.full_name
    stepped = any(each.step for each in source_chain(parameter))
    if stepped and not parameter.gettable:
        raise ValueError(
            f"{name} is set in steps of {parameter.step}, but cannot be read: where it stands is not known when "
            "the device is opened, and the first value would be a jump. Give it a get_cmd, or no step and put "
            "slew-limited around the device"
        )
    levels = levels_of(parameter)
    own = own_limits(parameter, levels)
    if own is not None and given is None and not (math.isfinite(own[0]) and math.isfinite(own[1])):
        own = None
    low, high = limits_within(name, given, own)
    return Settable(
        name,
        parameter.set,
        low,
        high,
        parameter.unit or "",
        get=partial(_stands, parameter) if stepped else parameter.get if parameter.gettable else None,
        levels=levels,
        number_format=None if levels else number_format_of(parameter),
    )


def _stands(parameter: Any) -> float:
    """Where a ramp begins: QCoDeS takes it from a cache that this reading renews.

    Raises
    ------
    DeviceError
        It reads no number: the next value would be a jump.
    """
    try:
        return float(parameter.get())
    except (LookupError, TypeError, ValueError) as error:
        raise DeviceError(
            f"{parameter.full_name} is set in steps, but does not read where it stands ({error}); nothing is "
            "set. Set it by hand, then open the device again"
        ) from error


def _gettable(item: Any) -> Gettable:
    parameter, size = Gettable.split(item)
    units = getattr(parameter, "units", None)  # a MultiParameter has several
    unit = ", ".join(dict.fromkeys(units)) if units else getattr(parameter, "unit", "") or ""
    return Gettable(parameter.full_name, parameter.get, unit, _size(parameter) if size is None else size)


def _size(parameter: Any) -> int:
    """Numbers in a reading: of a MultiParameter's shapes, an array's validator, a complex number."""
    shapes = getattr(parameter, "shapes", None)
    if shapes is not None:
        return sum(math.prod(shape) for shape in shapes)
    size = 1
    for validator in parameter.validators:
        size *= math.prod(getattr(validator, "shape", None) or ())
        types = getattr(validator, "valid_types", ()) or ()
        if type(validator).__name__ == "ComplexNumbers" or any(_is_complex(kind) for kind in types):
            size *= 2
    return size


def _is_complex(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, complex | np.complexfloating)
