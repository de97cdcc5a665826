"""What a device was built from: the arguments of its constructor, as they were when it was called."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    return MadeOf(plain, tuple(devices))


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
