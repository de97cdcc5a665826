"""Stands before the driver's own method while a device is checked: nothing beyond its limits passes."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.conformance.line_hook import LineHook
from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import LimitError


@dataclass(frozen=True)
class Call:
    """One call of the driver: its rows and its time in seconds."""

    rows: int
    seconds: float


class Guard:
    """Takes the place of one device's ``_measure``, as an attribute of that object alone.

    It refuses what lies beyond the device's limits even where a wrapper goes round ``measure``, and notes what
    the driver does with the arrays that it is handed and that it returns.

    Attributes
    ----------
    breaches
        What would have reached the hardware beyond its limits, in words.
    inputs_changed, replies_changed
        Calls in which the driver altered its stimuli, and returned arrays that it altered later.
    calls
        Every call that was not watched line by line, nor given a context.
    closes
        How often the device was closed.
    """

    def __init__(self, device: Device, hook: LineHook) -> None:
        self.device = device
        self.hook = hook
        self.breaches: list[str] = []
        self.calls: list[Call] = []
        self.entered = self.inputs_changed = self.replies_changed = self.closes = 0
        self._driver, self._close = device._measure, device.close
        self._last: tuple[Any, Any] = (None, None)
        self._during: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        try:
            vars(device).update(_measure=self._guarded, close=self._counted_close)
            self.installed = True
        except TypeError:  # a class with __slots__
            self.installed = False

    def remove(self) -> None:
        """Leave the device as it was."""
        if self.installed:
            for name in ("_measure", "close"):
                vars(self.device).pop(name, None)

    @contextlib.contextmanager
    def around(self, during: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
        """Until the end enter a context, on the driver's thread, around every call of it."""
        self._during = during
        try:
            yield
        finally:
            self._during = contextlib.nullcontext

    def _counted_close(self) -> None:
        self.closes += 1
        self._close()

    def _guarded(self, inputs: Float64Array) -> Any:
        self.entered += 1
        self._refuse_breach(inputs)
        before = np.array(inputs)
        watched = self.hook.armed
        begin = time.perf_counter()
        with self._during():
            reply = self.hook.call(self._driver, inputs) if watched else self._driver(inputs)
        seconds = time.perf_counter() - begin
        if not watched and self._during is contextlib.nullcontext:
            self.calls.append(Call(len(before), seconds))
        self.inputs_changed += not np.array_equal(before, inputs)
        self._compare_with_last(reply)
        return reply

    def _refuse_breach(self, inputs: Float64Array) -> None:
        spec, name = self.device.spec, type(self.device).__name__
        values = np.atleast_2d(inputs)
        if values.shape[1] != spec.n_inputs:
            return  # not ours to judge: the device's own checks, or the driver, refuse it
        inside = (values >= spec.low) & (values <= spec.high)
        if not inside.all():
            row, channel = (int(i) for i in np.argwhere(~inside)[0])
            breach = (
                f"{name}: {float(values[row, channel])!r} on channel {channel} would have gone past measure() to "
                f"the driver, whose limits are [{spec.low[channel]:g}, {spec.high[channel]:g}]"
            )
            self.breaches.append(breach)
            raise LimitError(breach)

    def _compare_with_last(self, reply: Any) -> None:
        last, copy = self._last
        if isinstance(last, np.ndarray):
            equal = last.shape == copy.shape and bool(np.all((last == copy) | ((last != last) & (copy != copy))))
            self.replies_changed += not equal
        self._last = (reply, np.array(reply)) if isinstance(reply, np.ndarray) else (None, None)


def chain(device: Device) -> list[Device]:
    """A device and every device inside it, from the outside in."""
    return list(_nested(device, set()))


def _nested(device: Device, seen: set[int]) -> Iterator[Device]:
    if id(device) in seen:
        return
    seen.add(id(device))
    yield device
    for value in list(getattr(device, "__dict__", {}).values()):
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, Device):
                yield from _nested(inner, seen)


def overrides_measure(device: Device) -> bool:
    """Whether ``device.measure`` is anything else than the one that holds the checks."""
    own = "measure" in getattr(device, "__dict__", {})
    return own or inspect.getattr_static(type(device), "measure") is not vars(Device)["measure"]
