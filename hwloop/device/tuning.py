"""Writes a device's tunables: from where they stand to where they should, in steps that they bear, and to rest."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.errors import (
    DeviceDisconnected,
    DeviceError,
    DeviceTimeout,
    HwloopError,
    JournalError,
    TuningError,
)
from hwloop.events import Event, MayStand
from hwloop.process import boot

PLACE = "tunables"


@dataclass(frozen=True, eq=False)
class Tuned:
    """What the tunables of a device are set to; it is replaced, never changed, so that copies may share it.

    Attributes
    ----------
    set_to
        What rows are measured under, shape (n_tunables,).
    at
        What was written last: on the way between two tunings, or at rest while the device is closed.
    is_sure
        That write succeeded, and the device has not been lost since.
    is_open
        They were brought to rest when the device was opened, and are again before it is closed.
    is_guess
        Nobody has said yet where an earlier process left them; they are taken to be at rest.
    """

    set_to: Float64Array
    at: Float64Array
    is_sure: bool = True
    is_open: bool = False
    is_guess: bool = False


class TunedDevice(Protocol):
    """What is asked of a device here; see :class:`hwloop.Device`."""

    _tuned: Tuned | None
    settles_itself: ClassVar[bool]
    rests_when_left: ClassVar[bool]

    @property
    def spec(self) -> DeviceSpec:
        """What it promises."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether it is arithmetic alone, which needs no time to settle."""
        ...

    def _tune(self, values: Float64Array) -> None: ...

    def tell(self, event: Event) -> None:
        """Tell the session."""
        ...


class Closings(Protocol):
    """Counts how often a device was closed; see :class:`hwloop.device.hold.Hold`."""

    closings: int


def state_of(device: TunedDevice) -> Tuned:
    """What its tunables are set to; at rest before anybody set them."""
    if device._tuned is not None:
        return device._tuned
    rest = device.spec.tunable_rest
    return Tuned(rest, rest)


def set_tuning(device: TunedDevice, closings: Closings, target: Float64Array) -> None:
    """Write a tuning that was checked, unless it is set already.

    Raises
    ------
    DeviceError
        A write failed: what was set before stays what it should be, and is written again before the next row.
    """
    state = state_of(device)
    if not state.is_sure:
        _write(device, closings, state.at)  # no farther from wherever it stands than one write may lead
    _walk(device, closings, target)
    object.__setattr__(device, "_tuned", replace(state_of(device), set_to=target))


def assert_again(device: TunedDevice, closings: Closings) -> None:
    """Write once more what is set: the device may have lost it, as with its power, or a write has failed."""
    state = device._tuned
    if state is None:
        return
    _write(device, closings, state.at)
    _walk(device, closings, state.set_to)


def after_open(device: TunedDevice, closings: Closings, is_lost: bool, in_call: bool, has_session: bool) -> None:
    """Bring the tunables of a device to rest that was opened; then to what they were set to, if it was not closed.

    Parameters
    ----------
    is_lost
        A call has failed since it was opened before.
    in_call
        It is opened again in the course of a call, whose rows are measured under what was set.
    has_session
        A session opens it, and will say where an earlier process left it (:func:`left_standing`): hardware that
        must be walked is written to when that is known, before its first row.
    """
    is_new, state = device._tuned is None, state_of(device)
    if state.is_open and state.is_sure and not is_lost:
        return
    rest = device.spec.tunable_rest
    wanted = state.set_to if in_call or state.is_open else rest
    walked = _must_be_walked(device)
    waits = is_new and has_session and walked
    if walked and not (state.is_open or state.is_sure or in_call or device.rests_when_left):
        _refuse_far_from_rest(device, state)
    at = state.at if state.is_open or (walked and not device.rests_when_left) else rest
    object.__setattr__(device, "_tuned", Tuned(wanted, at, False, True, waits))
    if not waits:
        assert_again(device, closings)


def _refuse_far_from_rest(device: TunedDevice, state: Tuned) -> None:
    """Refuse to write to a device that was closed where it stood, if no single write leads from there to rest."""
    if device.spec.writes_between(state.at, device.spec.tunable_rest) > 1:
        raise DeviceError(
            f"the tunables of {type(device).__name__} were not brought to rest when it was closed, so that they "
            "may stand there or where they were left, farther than one write may lead (max_change). Nothing was "
            "written. Bring them to rest by hand, and build the device anew"
        )


def left_standing(device: TunedDevice, details: Mapping[str, Any], rests_when_left: bool) -> None:
    """Take in where an earlier process left the tunables of hardware that must be walked.

    Parameters
    ----------
    details
        Of :class:`hwloop.events.MayStand`: between two tunings that one write leads over.
    rests_when_left
        Or at rest, where it goes without this program.

    Raises
    ------
    JournalError
        The details cannot be used.
    DeviceError
        It may stand farther than one write from anything that is known.
    """
    state, name = device._tuned, type(device).__name__
    if state is None or not state.is_guess or details.get("closed") is True:
        return
    values, rest = device.spec.all_tunables, device.spec.tunable_rest
    try:
        low, high = (np.array(details[side], dtype=np.float64) for side in ("low", "high"))
        started = details["boot"]
        if not low.shape == high.shape == rest.shape or not np.isfinite([low, high]).all():
            raise ValueError("they are no tunings of this device")
        values.refuse_out_of_limits(low, name)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(
            f"where the journal says that the tunables of {name} were left cannot be used ({error}); bring them "
            "to rest by hand, and begin a new run"
        ) from error
    if rests_when_left or started != boot():
        low, high = np.minimum(low, rest), np.maximum(high, rest)
    if (high - low > values.at_once * (1 + 1e-9)).any():
        raise DeviceError(
            f"{name} may have lost its power since its tunables were written last, and stand at rest or anywhere "
            "between two tunings, farther than one write may lead (max_change). Nothing was written. Bring them "
            "to rest by hand, and begin a new run (--reuse takes the rows)"
        )
    object.__setattr__(device, "_tuned", replace(state, at=low, is_guess=False))


def _must_be_walked(device: TunedDevice) -> bool:
    return not device.simulated and bool(np.isfinite(device.spec.all_tunables.at_once).any())


def _announce(device: TunedDevice, before: Float64Array, after: Float64Array, closed: bool = False) -> None:
    """Leave word, before hardware is moved that must be walked, where it may stand from now on."""
    low, high = np.minimum(before, after), np.maximum(before, after)
    device.tell(MayStand(PLACE, low.tolist(), high.tolist(), closed, boot()))


def bring_to_rest(device: TunedDevice, closings: Closings, is_free: bool, in_call: bool) -> HwloopError | None:
    """Bring the tunables to rest before the device is closed; gives what went wrong, if something did.

    Parameters
    ----------
    is_free
        No other thread is in a call of it. Otherwise the driver's ``close`` alone, which is made for that, brings
        it to its safe state.
    in_call
        It is opened again for the rows of the same call.
    """
    state = device._tuned
    if state is None or not (state.is_open or was_set_while_closed(state, device.spec)):
        return None
    if state.is_guess:  # nothing was written to it, and nobody knows where it stands
        object.__setattr__(device, "_tuned", None)
        return None
    failure: HwloopError | None = None
    rest = device.spec.tunable_rest
    if is_free:
        try:
            if not state.is_sure:
                _write(device, closings, state.at, at_the_end=True)
            _walk(device, closings, rest, at_the_end=True)
        except HwloopError as error:
            failure = error
    elif not device.simulated and not (state.is_sure and same_tuning(state.at, rest)):
        failure = DeviceError(
            "a call was still under way, so nothing was written; the driver's close() alone was called"
        )
    if is_free and failure is None and _must_be_walked(device):
        with contextlib.suppress(HwloopError):
            _announce(device, rest, rest, closed=True)
    closings.closings += 1
    is_there = is_free and failure is None
    at = rest if is_there else state_of(device).at
    object.__setattr__(device, "_tuned", Tuned(state.set_to if in_call else rest, at, is_there))
    return failure


def was_set_while_closed(state: Tuned, spec: DeviceSpec) -> bool:
    """Whether a device that needs no opening was tuned without, and must be brought to rest all the same."""
    return not state.is_open and state.is_sure and not same_tuning(state.at, spec.tunable_rest)


def _walk(device: TunedDevice, closings: Closings, target: Float64Array, at_the_end: bool = False) -> None:
    for values in device.spec.all_tunables.walk(state_of(device).at, target):
        _write(device, closings, values, at_the_end)


def _write(device: TunedDevice, closings: Closings, values: Float64Array, at_the_end: bool = False) -> None:
    """One write of the driver, and the time to settle; ``at_the_end`` nothing may keep it from its safe state."""
    before, closed = state_of(device), closings.closings
    if _must_be_walked(device):
        with contextlib.suppress(HwloopError) if at_the_end else contextlib.nullcontext():
            _announce(device, before.at, values)
    object.__setattr__(device, "_tuned", replace(before, is_sure=False))
    try:
        device._tune(values.copy())
    except HwloopError:
        raise
    except Exception as error:
        raise _driver_error(type(device).__name__, error) from error
    if not (device.simulated or device.settles_itself):
        known = before.at if before.is_sure else None
        _wait(device.spec.all_tunables.seconds_to_settle(known, values))
    if closings.closings != closed:
        raise DeviceDisconnected(f"{type(device).__name__} was closed by its owner while it was being tuned")
    values.flags.writeable = False
    object.__setattr__(device, "_tuned", replace(before, at=values, is_sure=True, is_guess=False))


def _wait(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)


def _driver_error(name: str, error: Exception) -> DeviceError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return kind_of(error)(
        f"{name} failed while it was tuned ({what}); check that it is open, and its connection, then run again"
    )


def kind_of(error: Exception) -> type[DeviceError]:
    """What becomes of an error that a driver's library raises."""
    if isinstance(error, TimeoutError):
        return DeviceTimeout
    return DeviceDisconnected if isinstance(error, ConnectionError | EOFError) else DeviceError


def checked_tuning(values: Any, spec: DeviceSpec, now: Float64Array, device: str) -> Float64Array:
    """A flat private copy of a tuning, shape (n_tunables,), within limits and on steps.

    Parameters
    ----------
    now
        What the names that a mapping leaves out keep.

    Raises
    ------
    TuningError, LimitError
    """
    flat = spec.flat_tuning(values, now)
    if np.isnan(flat).any():  # of what was given nothing is
        raise TuningError(
            f"{device}: the devices inside are tuned differently, since a write to one of them failed, so that "
            "what is left out has no value to keep; give all values. Nothing was set"
        )
    spec.all_tunables.refuse_out_of_limits(flat, device)
    flat.flags.writeable = False
    return flat


def same_tuning(one: Float64Array, other: Float64Array) -> bool:
    """Whether two tunings are equal to the last bit; one of unknown values equals none."""
    return one is other or np.array_equal(one, other)
