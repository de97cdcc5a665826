"""What a device was built from: its constructor's arguments, and what was changed on the object since."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.device.plain_value import UNDESCRIBED, PlainValues, plain_path

if TYPE_CHECKING:
    from hwloop.device.base import Device

PLACE = "device inside"  # its number stands where the device was given


@dataclass(frozen=True)
class MadeOf:
    """Settings as plain values, and the devices that were among them.

    They are taken down when the device is built, before its constructor runs: what the caller does to an array, or
    another program to a file, later on is no setting of this device.
    """

    settings: Mapping[str, Any]
    devices: tuple[Device, ...]
    names: tuple[str, ...] = ()  # of the arguments that change an answer


def made_of(
    device: Device, cls: type[Device], arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> MadeOf | None:
    """What a call of a constructor of ``device``, its class's own or a base class's, says of it.

    ``None`` if those are no arguments of it.
    """
    if cls.__init__ is object.__init__:
        return MadeOf({}, ())
    try:
        bound = inspect.signature(cls.__init__).bind(None, *arguments, **keywords)
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    given: dict[str, Any] = {}
    for number, (name, value) in enumerate(bound.arguments.items()):
        if number and kinds[name] is inspect.Parameter.VAR_KEYWORD:
            given |= value
        elif number:
            given[name] = value
    devices: list[Device] = []

    def place(value: Any) -> Any:
        if not hasattr(type(value), "all_harmless_settings"):
            return None
        if value is device:
            return {"itself": True}
        if not any(value is each for each in devices):
            devices.append(value)
        return {PLACE: next(number for number, each in enumerate(devices) if each is value)}

    given = {name: value for name, value in given.items() if name not in cls.self_described}
    plain = plain_settings(given, cls.path_settings, device.all_harmless_settings(), PlainValues(place))
    names = tuple(name for name in given if name not in device.all_harmless_settings())
    return MadeOf(plain, tuple(devices), names)


def plain_settings(
    given: Mapping[str, Any],
    paths: Collection[str],
    harmless: Collection[str],
    values: PlainValues | None = None,
) -> dict[str, Any]:
    """Settings as plain values, but those that change no answer; one that is ``None`` is as good as not there."""
    values = PlainValues() if values is None else values
    found = {}
    for name, value in given.items():
        if value is None or name in harmless:
            continue
        try:
            found[name] = plain_path(value) if name in paths else values.of(value)
        except Exception as error:  # whatever an object of the caller's does when it is looked at
            found[name] = {UNDESCRIBED: f"a {type(value).__name__} that cannot be read ({type(error).__name__})"}
    return found


class LiveSettings:
    """Sees what somebody changes on a device that is built already, such as ``device.gain = 5.0``.

    It compares the attributes that bear the name of a constructor's argument, with or without an underscore:
    numbers and text by value, arrays by which object they are. What changes them within a call of the device
    (``open``, ``close``, ``identify``, ``measure``) is its own state. What changes them between two calls has
    changed a setting, and is part of the device's description from then on.

    Attributes
    ----------
    changed
        The settings that are others than when the device was built, as plain values by attribute.
    """

    def __init__(self, device: Device, names: Iterable[str]) -> None:
        self._names = tuple(place for name in names for place in (name, f"_{name}"))
        self._built = self._last = self._now(device)
        self.changed: dict[str, Any] = {}

    def _now(self, device: Device) -> dict[str, Any]:
        values = vars(device)
        return {name: values[name] for name in self._names if isinstance(values.get(name, _ABSENT), WATCHED)}

    def look(self, device: Device) -> None:
        """Take down what has changed since the last call."""
        now = self._now(device)
        for name in now.keys() | self._last.keys():
            value = now.get(name, _ABSENT)
            if _same(value, self._last.get(name, _ABSENT)):
                continue
            if _same(value, self._built.get(name, _ABSENT)):
                self.changed.pop(name, None)
            else:
                self.changed[name] = "deleted" if value is _ABSENT else PlainValues().of(value)
        self._last = now

    def settle(self, device: Device) -> None:
        """What a call of the device has changed is its own state."""
        self._last = self._now(device)


WATCHED = (bool, int, float, str, type(None), np.generic, np.ndarray)
_ABSENT = object()


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return value is other
    return bool(value == other or (value != value and other != other))  # not-a-number is itself


def look(device: Device) -> None:
    """See what somebody has changed on a device, or on those inside of it, since its last call."""
    for each in _with_inside(device):
        if each._live_settings is not None:
            each._live_settings.look(each)
        elif each._made_of is not None:  # its constructor is none that could be waited for, as a dataclass's
            object.__setattr__(each, "_live_settings", LiveSettings(each, each._made_of.names))


def settle(device: Device) -> None:
    """What was changed on a device, or on those inside of it, since they were looked at is their own state."""
    for each in _with_inside(device):
        if each._live_settings is not None:
            each._live_settings.settle(each)


def _with_inside(device: Device) -> Iterator[Device]:
    yield device
    for inside in device.devices_inside:
        yield from _with_inside(inside)


def settings_changed(device: Device) -> dict[str, Any]:
    """Every setting of a device, and of those inside of it, that is another than when it was built."""
    look(device)
    return dict(_changed(device, ""))


def _changed(device: Device, place: str) -> Iterator[tuple[str, Any]]:
    here = f"{place}{type(device).__name__}."
    if device._live_settings is not None:
        for name, value in device._live_settings.changed.items():
            yield here + name.lstrip("_"), value
    for number, inside in enumerate(device.devices_inside):
        yield from _changed(inside, f"{here}{number}.")
