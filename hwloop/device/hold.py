"""Holds a device: one owner, one call at a time, one process, one unit that answers, settings that stay."""

from __future__ import annotations

import copy
import enum
import functools
import inspect
import math
import os
import threading
import time
import types
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from hwloop.device.plain_value import PlainValues, undescribed
from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.device.tuning import Tuned, after_open, bring_to_rest
from hwloop.errors import BadReading, DeviceChanged, DeviceError, HwloopError
from hwloop.events import Event

T = TypeVar("T")
LAST_CALL_SECONDS = 0.25  # what a call in flight gets to end, so that tunables can be brought to rest behind it


class HeldDevice(Protocol):
    """What is asked of a device here; see :class:`hwloop.Device`."""

    _live_settings: Any
    _built_from_arguments: Any
    _tuned: Tuned | None
    hands_tuning_on: ClassVar[bool]
    settles_itself: ClassVar[bool]
    rests_when_left: ClassVar[bool]

    @property
    def simulated(self) -> bool:
        """Whether it is arithmetic alone."""
        ...

    def _tune(self, values: Float64Array) -> None: ...

    def tell(self, event: Event) -> None:
        """Tell the session."""
        ...

    @property
    def spec(self) -> DeviceSpec:
        """What it promises."""
        ...

    @property
    def devices_inside(self) -> Sequence[Any]:
        """The devices that it holds."""
        ...

    def identify(self) -> str:
        """Who answers."""
        ...

    def close(self) -> None:
        """Bring the hardware to its safe state."""
        ...


class Holder:
    """Holds devices for itself alone until it lets go, as a session does.

    Parameters
    ----------
    name
        For messages, such as ``"a session on Laser"``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = os.getpid()
        self.holds: list[Hold] = []

    def let_go(self) -> None:
        """Let others have what was held."""
        while self.holds:
            hold = self.holds.pop()
            if hold.holder is self:
                hold.holder = None


class Hold:
    """Knows of one device object who may call it, and which unit answered when it was opened.

    It is kept beside the device, not in it: a copy of a device begins with nothing.

    Attributes
    ----------
    holder
        Who has it; ``None`` while whoever likes may call it, one at a time.
    process
        In which it was opened; ``None`` while it is closed.
    identity
        What it said of itself when it was opened; ``None`` while nobody answers.
    spec
        What it promised at its first call since then.
    settings_changed
        Settings that were others when the device, or one inside of it, was built; as of its last call.
    doubtful
        A call has failed since then, and the driver may have connected to something else.
    closings
        How often it was closed: whoever is writing tunables meanwhile stops.
    given_up
        It was closed while another thread was in a call of it, which may still be under way.
    """

    def __init__(self, device: HeldDevice) -> None:
        self.device = weakref.ref(device, self._lost)
        self._key = id(device)
        self.lock = threading.RLock()  # held while it is called
        self.holder: Holder | None = None
        self.process: int | None = None
        self.identity: str | None = None
        self.spec: DeviceSpec | None = None
        self.asking_seconds = math.inf  # what identify() took last
        self.settings_changed: dict[str, Any] = {}
        self.doubtful = self.given_up = False
        self.closings = 0
        self.opening: int | None = None  # the thread that is in its open()

    def _lost(self, _: object) -> None:
        if _HOLDS.get(self._key) is self:
            del _HOLDS[self._key]

    def admit(self, device: HeldDevice) -> None:
        """Let this thread call the device, and take it for whom the thread works.

        Raises
        ------
        DeviceError
            Another has it, or another process.
        """
        refuse_fork(self.process, type(device).__name__)
        caller, holder = _this_thread.holder, self.holder
        if holder is caller:
            return
        if caller is not None:
            self.take(device, caller)
            return
        assert holder is not None
        refuse_fork(holder.process, type(device).__name__)
        raise DeviceError(
            f"{type(device).__name__} is in use by {holder.name}, and this call comes from another thread "
            f"({threading.current_thread().name}): measure through that session, or close it first. A device that "
            "calls others on threads of its own hands its calls on: hwloop.device.handed_on"
        )

    def take(self, device: HeldDevice, holder: Holder) -> None:
        """Have it for this holder alone; raises as :meth:`admit`."""
        with _taking:
            if self.holder is None:
                self.holder = holder
                holder.holds.append(self)
            other = self.holder
        if other is not holder:
            refuse_fork(other.process, type(device).__name__)
            raise DeviceError(
                f"{type(device).__name__} is in use by {other.name}, so {holder.name} cannot have it; nothing was "
                "sent. Measure with both on one session, or close the first"
            )

    def recognise(self, device: HeldDevice) -> None:
        """Compare who answers with who answered when the device was opened first; take note of that one.

        Raises
        ------
        DeviceChanged
            Another unit answers; the device was closed to its safe state.
        BadReading
            It says two things one after the other, the first of which is not its name.
        """
        began = time.perf_counter()
        try:
            found = device.identify()
        except Exception:
            if self.identity is None:
                return  # a session asks for itself, and says what is wrong
            raise
        self.asking_seconds = time.perf_counter() - began
        if self.identity is None:
            self.identity, self.spec = found, device.spec
        if found != self.identity:
            try:
                self._refuse(device, found, self.identity)
            except DeviceError as error:
                try:
                    device.close()
                except Exception as second:
                    error.add_note(f"It could not be closed either ({second}); check it by hand")
                raise
        self.doubtful = False

    def check_spec(self, device: HeldDevice, spec: DeviceSpec) -> None:
        """Refuse a spec that is another than at the first call since the device was opened.

        Raises
        ------
        DeviceChanged
        """
        if self.identity is None:
            return  # closed, or never opened
        if self.spec is None:
            self.spec = spec
        different = [] if spec is self.spec else spec.differences(self.spec)
        if different:
            raise DeviceChanged(
                f"{type(device).__name__} is another than when it was opened: {'; '.join(different)}. Nothing was "
                "sent. Close it, and begin anew with it as it is"
            )

    def _refuse(self, device: HeldDevice, found: str, expected: str) -> None:
        if device.identify() == expected:
            raise BadReading(
                f"{type(device).__name__} gives {found!r} for its name, and asked again {expected!r}: an answer "
                "to something else was still under way"
            )
        raise DeviceChanged(
            f"another {type(device).__name__} answers than before: {found!r}, where {expected!r} was opened. "
            f"Nothing that it measured is recorded. Connect {expected!r} again and go on, or begin anew with it"
        )

    def forget(self) -> None:
        """Forget the unit of a closed device: the next opening may find another."""
        self.process = self.identity = self.spec = None
        self.doubtful = False


class _ThisThread(threading.local):
    """State of this thread: whom it works for, how many device calls it is in, which devices they may change."""

    holder: Holder | None = None
    calls = 0
    changing: set[int] | None = None  # the devices that were looked at since it is in a call; None outside of any


_this_thread = _ThisThread()
_HOLDS: dict[int, Hold] = {}
_taking = threading.Lock()


def hold_of(device: HeldDevice) -> Hold:
    """What is known of a device object."""
    found = _HOLDS.get(id(device))
    if found is None or found.device() is not device:
        with _taking:
            found = _HOLDS.get(id(device))
            if found is None or found.device() is not device:
                found = _HOLDS[id(device)] = Hold(device)
    return found


@contextmanager
def called(device: HeldDevice, inside: Sequence[HeldDevice]) -> Iterator[Hold]:
    """A call of a device, and of those ``inside`` of it: by its holder alone, and one at a time."""
    hold = hold_of(device)
    hold.admit(device)
    with hold.lock, changing_itself(device, inside) as every:
        hold.admit(device)  # it may have been taken meanwhile
        hold.settings_changed = _settings_changed(every)
        _this_thread.calls += 1
        try:
            yield hold
        finally:
            _this_thread.calls -= 1


@contextmanager
def working_for(holder: Holder | None) -> Iterator[None]:
    """What this thread does inside is done for a holder."""
    before, _this_thread.holder = _this_thread.holder, holder
    try:
        yield
    finally:
        _this_thread.holder = before


@contextmanager
def changing_itself(device: HeldDevice, inside: Sequence[HeldDevice]) -> Iterator[list[HeldDevice]]:
    """A call of a device, within which it may change itself and those ``inside`` of it; gives all of them.

    Each is looked at once, when the first call begins that may change it: what was changed before is noticed,
    whatever call comes first.
    """
    before = _this_thread.changing
    looked = _this_thread.changing = set() if before is None else before
    every = [device, *_all_inside(inside, (device,))]
    first = [each for each in every if id(each) not in looked]
    looked.update(map(id, first))
    try:
        for each in first:
            look(each)
        yield every
    finally:
        _this_thread.changing = before
        for each in every:
            if each._live_settings is not None:
                each._live_settings.settle(each)


def changing_in_passing(device: HeldDevice, step: Callable[[], T]) -> T:
    """Take a step of a device that is no measurement, such as its ``progress()``: what it changes is its state.

    Not while another thread is in a call of the device, which alone knows what has changed.
    """
    if device._live_settings is None or id(device) in (_this_thread.changing or ()):
        return step()
    lock = hold_of(device).lock
    if not lock.acquire(blocking=False):
        return step()
    try:
        with changing_itself(device, device.devices_inside):
            return step()
    finally:
        lock.release()


def handed_on(step: Callable[[], T]) -> Callable[[], T]:
    """Wrap a step for another thread, so that it counts as part of this thread's call of a device.

    For a device that calls the devices inside of it on threads of its own:
    ``executor.submit(handed_on(lambda: device.measure(rows)))``.
    """
    holder, calls, changing = _this_thread.holder, _this_thread.calls, _this_thread.changing

    def step_elsewhere() -> T:
        before = _this_thread.calls, _this_thread.changing
        _this_thread.calls, _this_thread.changing = calls, changing
        try:
            with working_for(holder):
                return step()
        finally:
            _this_thread.calls, _this_thread.changing = before

    return step_elsewhere


def opened(device: HeldDevice, open_it: Callable[[], None]) -> None:
    """Open a device, and make sure that the same unit answers as before."""
    hold = hold_of(device)
    if hold.opening == threading.get_ident():  # in a base class's open()
        open_it()
        return
    hold.admit(device)
    with hold.lock:
        hold.admit(device)
        hold.opening, hold.process = threading.get_ident(), os.getpid()
        is_lost, hold.given_up = hold.doubtful, False
        try:
            with changing_itself(device, device.devices_inside) as every:
                hold.settings_changed = _settings_changed(every)
                open_it()
        finally:
            hold.opening = None
        hold.recognise(device)
        if device.spec.tunables and not device.hands_tuning_on:
            _bring_up(device, hold, is_lost)


def _bring_up(device: HeldDevice, hold: Hold, is_lost: bool) -> None:
    """Set the tunables of a device that was just opened; one where that fails is closed."""
    try:
        with changing_itself(device, device.devices_inside):
            after_open(device, hold, is_lost, bool(_this_thread.calls), _this_thread.holder is not None)
    except BaseException as error:
        try:
            device.close()
        except Exception as second:
            error.add_note(f"It could not be closed either ({second}); check it by hand")
        raise


def closed(device: HeldDevice, close_it: Callable[[], None]) -> None:
    """Close a device, from whatever thread, unless it is another's.

    A forked copy does not close what its parent has open, and nobody's driver what another has.
    """
    hold = hold_of(device)
    if hold.process not in (None, os.getpid()):
        return
    if None not in (hold.holder, _this_thread.holder) and hold.holder is not _this_thread.holder:
        return
    _give_up_call(device, hold, LAST_CALL_SECONDS if _is_tuned(device) else 0.0)
    failure: HwloopError | None = None
    try:
        with changing_itself(device, device.devices_inside):
            if device._tuned is not None:
                failure = _bring_down(device, hold)
            close_it()
    except BaseException as error:
        if failure is not None:
            error.add_note(f"Before, its tunables could not be brought to rest ({failure})")
        raise
    finally:
        if not _this_thread.calls:  # else it is opened again for the rows of the same call
            hold.forget()
    if failure is not None:
        raise DeviceError(
            f"the tunables of {type(device).__name__} could not be brought to rest before it was closed "
            f"({failure}); check it by hand"
        ) from failure


def _is_tuned(device: HeldDevice) -> bool:
    """Whether there are tunables to bring to rest; it is not asked for its spec, which may be far away."""
    every = (device, *_all_inside(device.devices_inside, (device,)))
    return any(each._tuned is not None and each._tuned.is_open for each in every)


def _bring_down(device: HeldDevice, hold: Hold) -> HwloopError | None:
    with hold.lock:
        return bring_to_rest(device, hold, not hold.given_up, bool(_this_thread.calls))


def _give_up_call(device: HeldDevice, hold: Hold, seconds: float) -> None:
    """Give up a call of another thread, which may never end: no one waits for it after so many seconds."""
    if hold.lock.acquire(timeout=seconds):
        hold.lock.release()
        return
    hold.lock, hold.given_up = threading.RLock(), True
    for inside in device.devices_inside:  # what brings it to its safe state may have to call them
        _give_up_call(inside, hold_of(inside), 0.0)


def refuse_fork(process: int | None, what: str) -> None:
    """Raise :class:`DeviceError` where ``what`` belongs to another process: this one was forked from it."""
    if process not in (None, os.getpid()):
        raise DeviceError(
            f"{what} was opened in process {process}, and this is process {os.getpid()}, forked from it: its "
            "threads and connections are not here. Close it before forking, or build one anew here"
        )


def _renew_locks() -> None:
    """In a forked process: a thread that is not here may have held them."""
    global _taking
    _taking = threading.Lock()
    for hold in list(_HOLDS.values()):
        hold.lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_locks)


class LiveSettings:
    """Notices settings that are changed on a device after it was built, such as ``device.gain = 5.0``.

    It compares the attributes that bear the name of a constructor's argument, with or without an underscore:
    numbers, text and what is made of them by value, arrays by which object they are. What changes them within a
    call of the device, by whatever method of :class:`hwloop.Device`, is its own state. What changes them between
    two calls has changed a setting, and is part of the device's description from then on.

    Attributes
    ----------
    changed
        The settings that were changed and not put back, as plain values by attribute.
    """

    def __init__(self, device: HeldDevice, names: Iterable[str], kept: Collection[str] = ()) -> None:
        places = dict.fromkeys(place for name in names for place in (name, f"_{name}"))
        self._names = tuple(name for name in places if name not in kept)
        self._slots = tuple(name for name in self._names if _is_slot(type(device), name))
        self._last = self._now(device)
        self._before: dict[str, Any] = {}  # what a changed setting was
        self._set_to: dict[str, Any] = {}
        self._times_over: dict[str, int] = {}
        self.changed: dict[str, Any] = {}

    def _now(self, device: HeldDevice) -> dict[str, Any]:
        values = vars(device)
        if self._slots:
            values = values | {name: getattr(device, name, _ABSENT) for name in self._slots}
        return {name: values[name] for name in self._names if name in values}

    def look(self, device: HeldDevice) -> None:
        """Take down what has changed since the last call."""
        now = self._now(device)
        for name in now.keys() | self._last.keys():
            value, last = now.get(name, _ABSENT), self._last.get(name, _ABSENT)
            if value is last:
                continue
            value, last = _if_watched(value), _if_watched(last)
            if _same(value, last):
                continue
            if name in self.changed and _same(value, self._before[name]):
                del self.changed[name], self._before[name]
                self._times_over.pop(name, None)
                continue
            if name in self.changed and not _same(last, self._set_to[name]):  # the device had moved it meanwhile
                self._times_over[name] = self._times_over.get(name, 0) + 1
            self._before.setdefault(name, last)
            self._set_to[name] = value
            self.changed[name] = "deleted" if value is _ABSENT else PlainValues().of(value)
        self._last = now

    def told_apart(self) -> dict[str, Any]:
        """What was changed, so that one that is set over the device's own value is told from one that stayed."""
        over = {name: f"{self.changed[name]}, once more ({times})" for name, times in self._times_over.items()}
        return self.changed | over

    def copy(self) -> LiveSettings:
        """The same, for a copy of the device, whose settings are changed apart from now on."""
        twin = copy.copy(self)
        for name in ("_before", "_set_to", "_times_over", "changed"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin

    def settle(self, device: HeldDevice) -> None:
        """What a call of the device has changed is its own state."""
        self._last = self._now(device)


PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
CALLED = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, np.ufunc, type)
WATCHED = (*PLAIN, *CALLED, np.ndarray, tuple, list, dict, set, frozenset, enum.Enum, PurePath)
_ABSENT = object()


def _if_watched(value: Any) -> Any:
    return value if isinstance(value, WATCHED) else _ABSENT


def _same(value: Any, other: Any) -> bool:
    if value is other:
        return True
    if isinstance(value, np.ndarray) or isinstance(other, np.ndarray):
        return False
    if isinstance(value, PLAIN) and isinstance(other, PLAIN):
        return bool(value == other or (value != value and other != other))  # not-a-number is itself
    if value is _ABSENT or other is _ABSENT:
        return False
    mine, theirs = PlainValues().of(value), PlainValues().of(other)
    return bool(mine == theirs) and not any(undescribed(mine))


def _is_slot(kind: type[Any], name: str) -> bool:
    return isinstance(inspect.getattr_static(kind, name, None), types.MemberDescriptorType)


def look(device: HeldDevice) -> None:
    """Take down what was changed on a device since its last call."""
    if device._live_settings is not None:
        device._live_settings.look(device)


def look_between_calls(device: HeldDevice) -> None:
    """Take it down, unless this thread is in a call that changes the device."""
    if id(device) not in (_this_thread.changing or ()):
        look(device)


def _all_inside(devices: Sequence[HeldDevice], above: tuple[HeldDevice, ...]) -> Iterator[HeldDevice]:
    for device in devices:
        if all(device is not each for each in above):
            yield device
            yield from _all_inside(device.devices_inside, (*above, device))


def _settings_changed(devices: Sequence[HeldDevice]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, each in enumerate(devices):
        if each._live_settings is not None:
            place = f"{type(each).__name__}{number or ''}."
            found |= {place + name.lstrip("_"): value for name, value in each._live_settings.told_apart().items()}
    return found


Method = Callable[..., Any]


def opening(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Guard an ``open``: the same unit must answer afterwards as before."""

    @functools.wraps(method)
    def open(self: HeldDevice, *arguments: Any, **options: Any) -> None:
        opened(self, lambda: method(self, *arguments, **options))

    return open


def closing(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Guard a ``close``: it closes nothing of another owner or process."""

    @functools.wraps(method)
    def close(self: HeldDevice, *arguments: Any, **options: Any) -> None:
        closed(self, lambda: method(self, *arguments, **options))

    return close


def asking(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """Guard an ``identify``: it never runs beside another call of the device."""

    @functools.wraps(method)
    def identify(self: HeldDevice, *arguments: Any, **options: Any) -> str:
        hold = hold_of(self)
        refuse_fork(hold.process, type(self).__name__)
        with hold.lock:
            if self._live_settings is None:  # there is nothing that it could change
                return method(self, *arguments, **options)
            with changing_itself(self, self.devices_inside):
                return method(self, *arguments, **options)

    return identify


def passing(method: Method) -> Method:
    """Guard a method that measures nothing: what it changes on the device is the device's own state."""

    @functools.wraps(method)
    def passing(self: HeldDevice, *arguments: Any, **options: Any) -> Any:
        return changing_in_passing(self, lambda: method(self, *arguments, **options))

    return passing


IN_PASSING = (
    *("unit", "versions", "described_settings", "position", "pull_back", "pull_back_tuning"),
    *("progress", "resume", "continue_from", "stood"),
)
GUARDS: dict[str, Callable[[Method], Method]] = {
    "open": opening,
    "close": closing,
    "identify": asking,
    **dict.fromkeys(IN_PASSING, passing),
}
PROPERTIES = ("spec", "handling", "reproducible", "simulated")


def guard(kind: type[Any], guarded_bases: type[Any]) -> None:
    """Put the guards around what a class defines of its own, or takes from a base that is no device."""
    for name, guarded in GUARDS.items():
        home = next((base for base in kind.__mro__ if name in base.__dict__), guarded_bases)
        method = home.__dict__.get(name)
        if inspect.isfunction(method) and (home is kind or not issubclass(home, guarded_bases)):
            setattr(kind, name, guarded(method))
    for name in PROPERTIES:
        found = kind.__dict__.get(name)
        if type(found) is property and found.fget is not None:
            setattr(kind, name, property(passing(found.fget), found.fset, found.fdel, found.__doc__))
