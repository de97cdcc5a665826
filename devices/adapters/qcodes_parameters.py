"""QCoDeS parameters in, QCoDeS parameters out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hwloop.device.made_of import plain_settings
from hwloop.devices.adapters.channels import (
    ChannelDevice,
    Gettable,
    Settable,
    limits_within,
    split_gettable,
    split_settable,
)

OF_PARAMETERS = ("full_name", "unit", "scale", "offset", "step", "inter_delay", "val_mapping")


class QCoDeSDevice(ChannelDevice):
    """QCoDeS parameters as the channels of a device; their units are the channels'.

    Parameters
    ----------
    settables
        Parameters, or ``(parameter, low, high)``. Without limits, those of the parameter's ``Numbers`` or
        ``Ints`` validators hold; a parameter without such limits needs them given. Values for ``Ints`` are
        rounded.
    gettables
        Parameters, or ``(parameter, size)``; the size of one with an ``Arrays`` validator is known.
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
        parameters = [split_settable(item)[0] for item in settables]
        parameters += [split_gettable(item)[0] for item in gettables]
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
    parameter, given = split_settable(item)
    bounds = [
        v for v in parameter.validators if hasattr(v, "min_value") and hasattr(v, "validate") and v.is_numeric
    ]
    own = None
    if bounds:
        own = (max(float(v.min_value) for v in bounds), min(float(v.max_value) for v in bounds))
        if given is None and not (math.isfinite(own[0]) and math.isfinite(own[1])):
            own = None
    low, high = limits_within(parameter.full_name, given, own)
    whole = any(isinstance(v.min_value, int) and type(v).__name__.endswith("Ints") for v in bounds)

    def set_value(value: float) -> None:
        parameter.set(round(value) if whole else value)

    return Settable(parameter.full_name, set_value, low, high, parameter.unit or "")


def _gettable(item: Any) -> Gettable:
    parameter, size = split_gettable(item)
    if size is None:
        shapes = [v.shape for v in parameter.validators if getattr(v, "shape", None)]
        size = math.prod(shapes[0]) if shapes else 1
    return Gettable(parameter.full_name, parameter.get, parameter.unit or "", size)
