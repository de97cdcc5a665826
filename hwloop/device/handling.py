"""What becomes of rows inside a device that holds devices, and which orders of wrappers follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hwloop.errors import ConfigError

if TYPE_CHECKING:
    from hwloop.device.base import Device


@dataclass(frozen=True)
class RowHandling:
    """What a wrapper does with rows before they reach the device inside.

    With nothing set, every row reaches it once, as it was asked for, in the same order, and it is opened and
    closed only when the wrapper is.

    Parameters
    ----------
    changes_stimuli
        Other values reach the device than were asked for.
    deals_out
        Consecutive rows go to different devices.
    adds_rows
        Rows reach the device that nobody asked for, or some several times.
    limits_steps
        The rows between two stimuli are added so that no step is too large.
    reopens
        The device may be closed and opened again between two rows, or measured again.
    narrows_limits
        Its limits are narrower than those of the device inside.
    """

    changes_stimuli: bool = False
    deals_out: bool = False
    adds_rows: bool = False
    limits_steps: bool = False
    reopens: bool = False
    narrows_limits: bool = False


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
