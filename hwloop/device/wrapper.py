"""DeviceWrapper: a device around a device; and checks of the order in which wrappers stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from hwloop.device.base import Device
from hwloop.device.spec import DeviceSpec, Float64Array, RowHandling
from hwloop.errors import ConfigError
from hwloop.events import Listener

WHAT_IT_DOES = {
    "changes_stimuli": "changes stimuli",
    "deals_out": "deals consecutive rows out to several devices",
    "adds_rows": "adds rows",
    "limits_steps": "limits steps itself",
    "reopens": "may close and open the device between two rows",
    "narrows_limits": "narrows the limits, so that the rest may lie outside",
}


def parts(device: Device, above: tuple[Device, ...] = ()) -> Iterator[tuple[Device, tuple[Device, ...]]]:
    """A device and all inside it, each with those that hold it, the outermost first.

    A device of its own that holds itself is looked at once.
    """
    yield device, above
    for inside in device.devices_inside:
        if all(inside is not each for each in (*above, device)):
            yield from parts(inside, (*above, device))


def inside_of(device: Device) -> list[Device]:
    """Everything inside a device."""
    return [part for part, above in parts(device) if above]


def declared(device: Device) -> RowHandling | None:
    """What a device says of its handling of rows; what a base class says counts only for its own ``_measure``."""
    order = type(device).__mro__
    said = next(place for place, kind in enumerate(order) if "handling" in kind.__dict__)
    done = next(place for place, kind in enumerate(order) if "_measure" in kind.__dict__)
    return device.handling if said <= done else None


def check_inside(wrapper: Device, promise: str, breaks: str, *unwanted: str) -> None:
    """Refuse a wrapper whose promise something inside would break.

    Parameters
    ----------
    wrapper
        It, already holding its device.
    promise
        What it promises, in words.
    breaks
        What happens otherwise, in words.
    unwanted
        Fields of :class:`RowHandling` that must not be set inside.

    Raises
    ------
    ConfigError
        The message names the right order, or what a wrapper has to say of itself.
    """
    outer = type(wrapper).__name__
    for part, above in parts(wrapper):
        inner, handling = type(part).__name__, declared(part)
        if part is wrapper or (handling is None and not part.devices_inside):
            continue
        if handling is None:
            raise ConfigError(
                f"{outer} promises {promise}, but {inner} inside it does not say what becomes of rows on their "
                f"way to the device. Put {outer} inside: {_swapped(wrapper, above[1:], part)}; or, if {inner} "
                "hands every row on once, unchanged and in order, declare it in its class: "
                "handling = hwloop.RowHandling() (its fields say what else a wrapper may do)"
            )
        for field in fields(RowHandling):
            if field.name in unwanted and getattr(handling, field.name):
                raise ConfigError(
                    f"{outer} promises {promise}, but {inner} inside it {WHAT_IT_DOES[field.name]}: {breaks}. "
                    f"{_advice(wrapper, above[1:], part, field.name)}"
                )


def _advice(wrapper: Device, between: tuple[Device, ...], part: Device, field: str) -> str:
    outer = type(wrapper).__name__
    if not part.devices_inside:
        return f"Put {outer} into what {type(part).__name__} serves"
    if field == "limits_steps":
        return f"One {outer} is enough: leave the outer one out"
    if field == "deals_out":
        return f"Put it around each member: {_swapped(wrapper, between, part)}"
    return f"Put it inside: {_swapped(wrapper, between, part)}; in a device file its [[wrap]] comes first"


def _swapped(wrapper: Device, between: tuple[Device, ...], part: Device) -> str:
    """The order with the wrapper moved to directly inside ``part``, as one writes it in Python."""
    held = [_layers(device) for device in part.devices_inside]
    moved = [f"{type(wrapper).__name__}({each}, ...)" for each in held]
    inside = moved[0] if len(moved) == 1 else f"[{', '.join(dict.fromkeys(moved))}, ...]"
    text = f"{type(part).__name__}({inside})"
    for each in reversed(between):
        text = f"{type(each).__name__}({text})"
    return text


def _layers(device: Device) -> str:
    held = device.devices_inside
    name = type(device).__name__
    return f"{name}({_layers(held[0])})" if len(held) == 1 else name


class DeviceWrapper(Device):
    """Base of all wrappers: passes everything on to ``device``.

    A wrapper calls ``self.device.measure``, never ``_measure``: so the limits of the device inside are
    checked on what really reaches it, whatever the wrapper does to a stimulus.

    A wrapper says in ``handling`` what becomes of rows on their way to the device inside. One that does not can
    only stand outside of those that promise something of these rows, such as
    :class:`hwloop.devices.slew_limited.SlewLimited`.

    Tunables are those of the device inside, and handed on to its ``tune``, never its ``_tune``.
    """

    hands_tuning_on = True

    def __init__(self, device: Device) -> None:
        self.device = device

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The spec of the device inside; a wrapper that changes it overrides this."""
        return self.device.spec

    @property
    def reproducible(self) -> bool:  # type: ignore[override]
        return self.device.reproducible

    def open(self) -> None:
        self.device.open()

    def close(self) -> None:
        self.device.close()

    def versions(self) -> dict[str, str]:
        return self.device.versions()

    def _tune(self, values: Float64Array) -> None:
        self.device.tune(values)

    def continue_from(self, rows: int) -> None:
        """Passed on; a wrapper that changes the number of rows overrides this."""
        self.device.continue_from(rows)

    def position(self) -> Float64Array | None:
        """That of the device inside, where the wrapper leaves stimuli as they are."""
        handling = declared(self)
        return None if handling is None or handling.changes_stimuli else self.device.position()

    @property
    def listener(self) -> Listener | None:
        return self.device.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self.device.listener = listener

    def identify(self) -> str:
        """The wrapper's name around the identity of the device inside."""
        return f"{type(self).__name__}({self.device.identify()})"

    def unit(self) -> str:
        """The wrapper's class; what it does is among its settings, and the device inside says who it is."""
        return type(self).__name__

    def _who(self, identity: str) -> str:
        """What a wrapper adds to the identity of the device inside where it has an identity of its own."""
        for base in type(self).__mro__:
            if "unit" in base.__dict__ or base.__dict__.get("identity_states_settings"):
                return self.unit()
            if "identify" in base.__dict__:
                inner, mine = self.device.identify(), identity or self.identify()
                return mine.replace(inner, "…") if inner else mine
        raise AssertionError("DeviceWrapper has both")

    @property
    def devices_inside(self) -> Sequence[Device]:
        return (self.device,)

    def described_settings(self) -> dict[str, Any]:
        """The wrapper's own settings; the device inside describes itself."""
        return {name: value for name, value in super().described_settings().items() if name != "device"}

    def _all_settings(self) -> dict[str, Any]:
        return {name: value for name, value in super()._all_settings().items() if not name.endswith(".device")}
