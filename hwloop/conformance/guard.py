"""What a check puts around a device: guarded limits, timed calls, time-outs, interrupts between two lines."""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import DeviceTimeout, LimitError, StimulusError
from hwloop.probing.timing import TimedCall

Result = TypeVar("Result")
CodeLine = tuple[str, int]  # file and line number
OUTSIDE = ("hwloop.device.", "hwloop.session.", "hwloop.conformance.", "hwloop.probing.")  # are no driver's


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
    tunings
        What was written to its tunables, in order.
    """

    def __init__(self, device: Device, injector: InterruptInjector) -> None:
        self.device = device
        self.injector = injector
        self.breaches: list[str] = []
        self.calls: list[TimedCall] = []
        self.entered = self.inputs_changed = self.replies_changed = self.closes = 0
        self.tunings: list[Float64Array] = []
        self._driver, self._close, self._tuner = device._measure, device.close, device._tune
        self._last: tuple[Any, Any] = (None, None)
        self._during: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        try:
            vars(device).update(_measure=self._guarded, close=self._counted_close, _tune=self._guarded_tune)
            self.installed = True
        except TypeError:  # a class with __slots__
            self.installed = False

    def remove(self) -> None:
        """Leave the device as it was."""
        if self.installed:
            for name in ("_measure", "close", "_tune"):
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

    def _guarded_tune(self, values: Float64Array) -> None:
        spec, name = self.device.spec, type(self.device).__name__
        try:
            spec.all_tunables.refuse_out_of_limits(np.asarray(values, dtype=np.float64), name)
        except (LimitError, StimulusError) as error:
            breach = f"past tune() to the driver would have gone: {error}"
            self.breaches.append(breach)
            raise LimitError(breach) from error
        self.tunings.append(np.array(values))
        self._tuner(values)

    def _guarded(self, inputs: Float64Array) -> Any:
        self.entered += 1
        self._refuse_breach(inputs)
        before = np.array(inputs)
        watched = self.injector.armed
        begin = time.perf_counter()
        with self._during():
            reply = self.injector.call(self._driver, inputs) if watched else self._driver(inputs)
        seconds = time.perf_counter() - begin
        if not watched and self._during is contextlib.nullcontext:
            self.calls.append(TimedCall(len(before), seconds))
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


class Interruption(KeyboardInterrupt):
    """A Ctrl-C that the check itself raises."""


class InterruptInjector:
    """Acts just before a line of the driver, as a Ctrl-C or another thread does; finds out which lines run.

    Parameters
    ----------
    packages
        Top-level names of the packages whose lines count as the driver's.
    """

    def __init__(self, packages: frozenset[str]) -> None:
        self.packages = packages
        self.lines: list[CodeLine] = []  # of the last call that was watched, each once, in order
        self.fired = False
        self._at: CodeLine | None = None
        self._action: Callable[[], None] | None = None
        self._armed = False

    def watch(self) -> None:
        """Note the lines of the next call."""
        self._arm(None, None)

    def act_at(self, line: CodeLine, action: Callable[[], None]) -> None:
        """Run ``action`` once in the next call, before this line; what it raises comes out of the line."""
        self._arm(line, action)

    def disarm(self) -> None:
        """Leave the next call alone."""
        self._armed = False

    @property
    def armed(self) -> bool:
        """Whether the next call is watched."""
        return self._armed

    def _arm(self, line: CodeLine | None, action: Callable[[], None] | None) -> None:
        self.lines, self.fired = [], False
        self._at, self._action, self._armed = line, action, True

    def call(self, function: Callable[[Float64Array], Any], inputs: Float64Array) -> Any:
        """Call the driver, watched."""
        self._armed = False
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return function(inputs)
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in self.packages or module.startswith(OUTSIDE):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            if line not in self.lines:
                self.lines.append(line)
            if line == self._at and not self.fired and self._action is not None:
                self.fired = True
                self._action()
        return self._line


class Hung(DeviceTimeout):
    """A call of the device did not come back; its thread is lost, and the device with it."""


def within(seconds: float, what: str, function: Callable[[], Result]) -> Result:
    """Run ``function`` on a thread of its own and return its result.

    Raises
    ------
    Hung
        It was not done in time. It goes on in the background: nothing can stop it.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # handed on to the caller, whatever it is
            failures.append(error)

    thread = threading.Thread(target=work, name=f"hwloop-check: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Hung(f"{what} did not come back within {seconds:g} s")
    if failures:
        raise failures[0]
    return results[0]
