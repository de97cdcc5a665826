"""Several equal devices that measure the rows of one stage together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import Any, ClassVar, TypeVar

import numpy as np

from hwloop.device import Device, DeviceDescription, DeviceSpec, RowHandling
from hwloop.device.hold import handed_on
from hwloop.device.spec import Float64Array
from hwloop.device.wrapper import parts
from hwloop.errors import (
    BadReading,
    ConfigError,
    DeviceChanged,
    DeviceCrashed,
    DeviceDisconnected,
    DeviceError,
    DeviceTimeout,
)
from hwloop.events import Event, Listener, MayStand
from hwloop.jobs import Job, fulfil, run_jobs
from hwloop.registry import open_device

T = TypeVar("T")
KINDS = (DeviceChanged, DeviceTimeout, DeviceDisconnected, DeviceCrashed, BadReading)


class Pool(Device):
    """Shares the rows of every call evenly among equal devices, which measure at the same time.

    K members take one K-th of the time. Before its share each is told the number of its first row
    (:meth:`hwloop.Device.continue_from`), so copies of one simulation, its noise and drift included, answer to
    the last bit as one of them alone, however rows are cut into calls and whoever is fast. Each member is opened,
    asked and closed on one thread of its own.

    It is right where members are interchangeable: workers that run the same simulation (``worker:`` devices take a
    processor each; a device in this process shares Python's lock with the others), copies of a chip that are
    equal within their noise. Two physical set-ups hardly ever are: each fibre has its own transmission matrix, and
    no digital map serves both. Give each of those a stage of its own (``[[device]]`` once a stage): stages on
    several devices measure at once too.

    A member that fails fails the call, by name, and its rows are not given to others: a run would end with
    answers that depend on who failed when. Put ``retrying`` around a member to have it measure again.

    Parameters
    ----------
    devices
        At least one: devices, names or device files, or tables with ``name`` and ``settings``.

    Raises
    ------
    ConfigError
        Members whose specs differ; it names in what.
    """

    path_settings: ClassVar = frozenset({"devices"})
    self_described: ClassVar = frozenset({"devices"})
    handling = RowHandling(deals_out=True)
    hands_tuning_on = True

    def __init__(self, devices: Sequence[Device | str | Mapping[str, Any]]) -> None:
        if isinstance(devices, str) or not len(devices):
            raise ConfigError("a pool needs a list of at least one device")
        members = [_built(device) for device in devices]
        _refuse_shared(members)
        self._members = [_Member(number, device) for number, device in enumerate(members)]
        self.spec = _common_spec([device.spec for device in members])
        self._rows = 0  # measured so far
        self._measuring = False
        self._one_at_a_time = threading.Lock()

    @property
    def devices(self) -> list[Device]:
        """The members."""
        return [member.device for member in self._members]

    def progress(self) -> dict[str, Any]:
        """The rows of all, and each member's."""
        return super().progress() | {"rows": self._rows}

    def stood(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        """Each member is told of its own."""
        for member in self._members:
            prefix = f"{member.number}/"
            own = {at.removeprefix(prefix): its for at, its in positions.items() if at.startswith(prefix)}
            member.device.stood(own)

    @property
    def reproducible(self) -> bool:  # type: ignore[override]
        return all(device.reproducible for device in self.devices)

    def open(self) -> None:
        """Open every member; if one cannot be, all are closed to their safe state."""
        try:
            self._all([member.open() for member in self._members])
        except BaseException as failure:
            try:
                self.close()
            except DeviceError as second:
                failure.add_note(str(second))
            raise

    def close(self) -> None:
        """Close every member to its safe state, whatever becomes of the others; safe to call twice.

        Another thread may close the pool while rows are measured: then no member's own thread is waited for.
        """
        now = self._measuring
        self._all([member.close_now() if now else member.close() for member in self._members])

    def identify(self) -> str:
        return f"Pool({'; '.join(self._all([member.begin(member.device.identify) for member in self._members]))})"

    def unit(self) -> str:
        """Nothing of its own: the members say who they are."""
        return ""

    @property
    def devices_inside(self) -> Sequence[Device]:
        return self.devices

    def _described_inside(self) -> tuple[DeviceDescription, ...]:
        """Each member is asked on its own thread."""
        return tuple(self._all([member.begin(member.device.describe) for member in self._members]))

    def versions(self) -> dict[str, str]:
        every = [version for device in self.devices for version in device.versions().items()]
        names = dict.fromkeys(name for name, _ in every)
        return {name: ", ".join(dict.fromkeys(text for of, text in every if of == name)) for name in names}

    def continue_from(self, rows: int) -> None:
        self._rows = rows

    @property
    def listener(self) -> Listener | None:
        """Told of one thing at a time, whichever member it comes from."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = listener
        for member in self._members:
            told = partial(self._in_turn, member.number)
            member.device.listener = None if listener is None else told

    def _in_turn(self, number: int, event: Event) -> None:
        if isinstance(event, MayStand):
            event = replace(event, place=f"{number}/{event.place}")
        with self._one_at_a_time:
            self.tell(event)

    def _measure(self, inputs: Float64Array) -> Float64Array:
        members = len(self._members)
        bounds = [len(inputs) * number // members for number in range(members + 1)]
        self._measuring = True
        try:
            answers = self._all(
                [
                    member.begin(partial(_answered, member.device, inputs[start:end], self._rows + start))
                    for member, start, end in zip(self._members, bounds[:-1], bounds[1:], strict=True)
                ]
            )
        finally:
            self._measuring = False
        self._rows += len(inputs)
        return np.concatenate(answers)

    def _tune(self, values: Float64Array) -> None:
        """All members, at the same time."""
        self._measuring = True
        try:
            self._all([member.begin(partial(member.device.tune, values)) for member in self._members])
        finally:
            self._measuring = False

    def _all(self, futures: Sequence[Future[T]]) -> list[T]:
        """What the members answer, in their order, when the last is ready; names the first that failed."""
        failures = [future.exception() for future in futures]
        for member, failure in zip(self._members, failures, strict=True):
            if failure is not None:
                raise _named(member, failure, sum(each is not None for each in failures)) from failure
        return [future.result() for future in futures]

    def __getstate__(self) -> dict[str, Any]:
        """A pool is copied closed; the lock stays behind."""
        return {key: value for key, value in self.__dict__.items() if key != "_one_at_a_time"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._one_at_a_time = threading.Lock()


class _Member:
    """A device and the one thread that calls it, from the time it is opened until it is closed."""

    def __init__(self, number: int, device: Device) -> None:
        self.number, self.device = number, device
        self._jobs: SimpleQueue[Job | None] | None = None

    def open(self) -> Future[None]:
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=run_jobs, args=(self._jobs,), name="hwloop-pool", daemon=True).start()
        return self.begin(self.device.open)

    def begin(self, step: Callable[[], T]) -> Future[T]:
        """Run a step on the member's thread; at once, on the caller's, while it is closed and has none."""
        future: Future[T] = Future()
        step = handed_on(step)
        if self._jobs is None:
            fulfil(future, step)
        else:
            self._jobs.put(partial(fulfil, future, step))
        return future

    def close(self) -> Future[None]:
        closed = self.begin(self.device.close)
        self._end_thread()
        return closed

    def close_now(self) -> Future[None]:
        """From another thread, although the member's own may still be measuring; that ends when it comes back."""
        self._end_thread()
        closed: Future[None] = Future()
        threading.Thread(target=fulfil, args=(closed, handed_on(self.device.close)), daemon=True).start()
        return closed

    def _end_thread(self) -> None:
        jobs, self._jobs = self._jobs, None
        if jobs is not None:
            jobs.put(None)


def _answered(device: Device, stimuli: Float64Array, first_row: int) -> Float64Array:
    """A member's share; of a call shorter than the pool it may be none."""
    if not len(stimuli):
        return np.empty((0, device.spec.n_outputs))
    device.continue_from(first_row)
    return device.measure(stimuli)


def _built(device: Device | str | Mapping[str, Any]) -> Device:
    if isinstance(device, Device):
        return device
    if isinstance(device, str):
        return open_device(device)
    is_table = isinstance(device, Mapping) and not set(device) - {"name", "settings"}
    if not is_table or not isinstance(device.get("name"), str):
        raise ConfigError(f"a member of a pool is a name, or a table with name and settings, not {device!r}")
    return open_device(device["name"], **device.get("settings", {}))


def _refuse_shared(members: Sequence[Device]) -> None:
    """Two members must not drive one device, however deep inside of them it is."""
    seen: set[int] = set()
    for member in members:
        own = {id(part) for part, _ in parts(member)}
        if own & seen:
            raise ConfigError("a device stands twice in the pool; each member must be a device of its own")
        seen |= own


def _common_spec(specs: Sequence[DeviceSpec]) -> DeviceSpec:
    """The members' spec, for all of them together."""
    first = specs[0].as_dict()
    for number, spec in enumerate(specs):
        for field, value in spec.as_dict().items():
            if value != first[field]:
                raise ConfigError(
                    f"members 0 and {number} of the pool differ in {field}: {first[field]!r} and {value!r}; a "
                    "pool needs equal devices, others can serve a stage each"
                )
    spec, members = specs[0], len(specs)
    rows = None if spec.max_rows is None else spec.max_rows * members
    seconds = None if spec.row_seconds is None else spec.row_seconds / members
    return replace(spec, max_rows=rows, row_seconds=seconds)


def _named(member: _Member, failure: BaseException, failures: int) -> BaseException:
    """The same kind of error, saying which member it comes from."""
    kind = next((kind for kind in KINDS if isinstance(failure, kind)), DeviceError)
    others = f"; so did {failures - 1} more" if failures > 1 else ""
    return kind(f"member {member.number} of the pool ({type(member.device).__name__}) failed{others}: {failure}")
