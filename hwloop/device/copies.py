"""Copies of a device: hardware has none, a simulation becomes another object with a counter of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwloop.device.base import Device


def copied(device: Device, duplicate: Callable[[Any], Any], memo: dict[int, Any]) -> Device:
    """What a copy of a device is: the same object where anything in it drives hardware.

    Two drivers of one instrument would get each other's readings. Sessions on one object share it instead.
    """
    if not is_simulated(device):
        memo[id(device)] = device
        return device
    twin = type(device).__new__(type(device))
    memo[id(device)] = twin
    state = duplicate(device.__getstate__())
    restore = getattr(twin, "__setstate__", None)
    if restore is not None:
        restore(state)
    else:
        twin.__dict__.update(state or {})
    return twin


def is_simulated(device: Device) -> bool:
    """Whether a device says so (``simulated``), or holds devices of which all do."""
    inside = device.devices_inside
    return device.simulated or (bool(inside) and all(map(is_simulated, inside)))


def shallow(device: Device) -> Device:
    """For ``copy.copy``."""
    return copied(device, lambda state: state, {})


def deep(device: Device, memo: dict[int, Any]) -> Device:
    """For ``copy.deepcopy``."""
    return copied(device, lambda state: copy.deepcopy(state, memo), memo)
