"""Device: the base class of every driver, which answers a batch of stimuli with measured responses."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self, final

import numpy as np

from hwloop.device.checks import checked_stimuli, copy_readings
from hwloop.device.description import ConstructorArguments, DeviceDescription, constructor_arguments
from hwloop.device.hold import Hold, LiveSettings, asking, called, closing, guard, look_between_calls, opening
from hwloop.device.plain_value import UNDESCRIBED, qualified
from hwloop.device.spec import DeviceSpec, Float64Array, RowHandling
from hwloop.device.tuning import (
    PLACE,
    Tuned,
    assert_again,
    checked_tuning,
    kind_of,
    left_standing,
    same_tuning,
    set_tuning,
)
from hwloop.errors import DeviceError, HwloopError
from hwloop.events import Event, Listener


class Device(ABC):
    """A physical system, or a simulation of one.

    A driver supplies ``spec`` and :meth:`_measure`, nothing else; with ``spec.tunables``, :meth:`_tune` too.
    ``measure`` and ``tune`` are final: they are the only roads to the hardware, and check every stimulus and every
    tuning before, and every response after.
    """

    spec: DeviceSpec
    rows_together: ClassVar[int | None] = None
    """Rows from which on a longer call is not faster a row: more are handed to ``_measure`` in pieces of so many.

    For simulations, whose memory then stays in the processor's cache. What the hardware can take in one call is
    ``spec.max_rows``.
    """
    reproducible: bool = False
    """Whether a new object built alike answers the same rows alike: a simulation with a seed.

    Its rows are no measurements, and may be thrown away when a comparison is done with them.
    """
    path_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings that are paths: in a file they count from its folder, if what they name lies there.

    A device is described by the content of the file, so that a moved one is the same.
    """
    harmless_settings: ClassVar[Mapping[str, str]] = {}
    """Settings that change no answer, each with the reason: they are no part of the device's description.

    A class lists its own; those of its base classes count too.
    """
    built_as: Mapping[str, Any] | None = None
    """How :func:`hwloop.open_device` built it, as a device file would say it; ``None`` for one built in Python."""
    built_from: str = ""
    """The device file that it was built from, for messages; empty for none."""
    self_described: ClassVar[frozenset[str]] = frozenset()
    """Settings that the class puts into words itself, in :meth:`described_settings`: nobody else looks at them."""
    identity_states_settings: ClassVar[bool] = False
    """Whether :meth:`identify` leaves no setting out that changes an answer, so that old journals, which hold
    nothing else, say for certain what they were recorded on."""
    handling: RowHandling | None = None
    """What becomes of rows on their way to the devices inside; ``None`` says nothing, and is taken for the worst.

    Only devices that hold devices say it. Some of one class may do less than others: then it is a property.
    """
    rests_when_left: ClassVar[bool] = False
    """True where hardware may go to its safe state without this program, as a watchdog or a server sees to it.

    After a crash it may then stand there as well as where it was last driven.
    """
    _rows_answered = 0
    simulated: ClassVar[bool] = False
    """Nothing but arithmetic, so that a copy is another device, with noise and drift counted by itself.

    A copy of any other device, of an estimator or session that holds one too, holds the same object.
    """
    hands_tuning_on: ClassVar[bool] = False
    """Its tunables are those of the devices inside, which it tunes in :meth:`_tune`, all alike: as wrappers do."""
    settles_itself: ClassVar[bool] = False
    """:meth:`_tune` returns when the values have settled, as where a device in another process waits for that."""
    _tuned: Tuned | None = None
    _listener: Listener | None = None
    _built_from_arguments: ConstructorArguments | None = None
    _bases_built_from: Mapping[str, ConstructorArguments] = {}
    _live_settings: LiveSettings | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what the device is built from, whatever its constructor does with it."""
        if (args or kwargs) and cls.__init__ is object.__init__:  # which looks at nothing if there is a __new__
            named = ", ".join(repr(name) for name in kwargs) or repr(args[0])
            raise TypeError(f"{cls.__name__} has no settings, so {named} can mean nothing to it")
        device = super().__new__(cls)
        device._note_arguments(args, kwargs)
        return device

    def _note_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_built_from_arguments", constructor_arguments(self, type(self), args, kwargs))
        object.__setattr__(self, "_bases_built_from", {})
        _see_constructors(type(self))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        guard(cls, Device)
        if "__new__" in cls.__dict__:  # one of its own that keeps the arguments to itself
            cls.__new__ = staticmethod(_noting_arguments(cls.__dict__["__new__"].__func__))  # type: ignore[method-assign]
        if "__init__" in cls.__dict__:
            cls.__init__ = _noting_base(cls, cls.__dict__["__init__"])  # type: ignore[method-assign]
        if "continue_from" in cls.__dict__:  # rows are counted on from there
            cls.continue_from = _counting_on(cls.__dict__["continue_from"])  # type: ignore[method-assign]
        for name in ("measure", "tune"):
            if getattr(cls, name) is not getattr(Device, name):
                raise TypeError(
                    f"{cls.__name__} overrides {name}(), which holds the safety checks; write _{name}() instead"
                )

    @opening
    def open(self) -> None:
        """Connect to the hardware. Called before the first row; safe to call twice.

        Where it is opened again within a call, or a call has failed, the same unit must answer as before
        (:meth:`identify`), else a :class:`DeviceChanged` stops it.
        """

    @closing
    def close(self) -> None:
        """Bring the hardware to its safe state and disconnect; safe to call twice."""

    @asking
    def identify(self) -> str:
        """Who answers: an instrument's ``*IDN?``, a serial number, or a simulator's name and seed."""
        return type(self).__name__

    def unit(self) -> str:
        """Who answers, whatever its settings: an instrument's serial number. Empty if nothing says so.

        It is part of the device's description. By default it is what :meth:`identify` says, if the class has one
        of its own; one whose identity shows settings too may say less here.
        """
        return "" if type(self).identify is Device.identify else self.identify()

    @property
    def devices_inside(self) -> Sequence[Device]:
        """The devices that this one holds; by default those that its constructor was given."""
        every = [] if self._built_from_arguments is None else list(self._built_from_arguments.devices)
        for made in self._bases_built_from.values():
            every += [device for device in made.devices if not any(device is each for each in every)]
        return every

    def described_settings(self) -> dict[str, Any]:
        """Every setting that changes an answer, as plain values; by default the arguments of the constructor.

        A class that can say more of itself overrides this, with :func:`hwloop.device.description.plain_settings`.
        """
        if self._built_from_arguments is None:
            return {"settings": {UNDESCRIBED: f"what {type(self).__name__} was built from"}}
        return dict(self._built_from_arguments.settings)

    @classmethod
    def all_harmless_settings(cls) -> dict[str, str]:
        """The settings that change no answer, with the reasons, of this class and its base classes."""
        found: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            found |= base.__dict__.get("harmless_settings", {})
        return found

    def describe(self, identity: str = "") -> DeviceDescription:
        """Describe this device, to compare it with others; ask when it is open.

        One that cannot say who it is while it is closed has no identity until then.

        Parameters
        ----------
        identity
            What :meth:`identify` has just answered, so that the hardware is not asked twice; empty to ask it.
        """
        inside = self._described_inside()
        who = ""
        with contextlib.suppress(DeviceError):
            who = self._who(identity)
        return DeviceDescription(
            name=qualified(type(self)),
            settings=self._all_settings(),
            inside=inside,
            identity=who,
            vouched=bool(who or inside) and all(each.vouched for each in inside),
            spec=self.spec,
            harmless=frozenset(self.all_harmless_settings()),
        )

    def _who(self, identity: str) -> str:
        """What :meth:`unit` says, or :meth:`identify` where a class that is derived from it has one of its own."""
        for base in type(self).__mro__:
            if "unit" in base.__dict__:
                return self.unit()
            if "identify" in base.__dict__:
                return identity or self.identify()
        raise AssertionError("Device has both")

    def _all_settings(self) -> dict[str, Any]:
        """The class's own, what its constructor gave to base classes beyond them, and what was changed since."""
        settings = self.described_settings()
        given = {
            f"{name}.{key}": value
            for name, made in self._bases_built_from.items()
            for key, value in made.settings.items()
            if settings.get(key) != value
        }
        look_between_calls(self)
        changed = {} if self._live_settings is None else self._live_settings.changed
        return settings | given | {name.lstrip("_"): value for name, value in changed.items()}

    def _described_inside(self) -> tuple[DeviceDescription, ...]:
        return tuple(device.describe() for device in self.devices_inside)

    def versions(self) -> dict[str, str]:
        """Versions of the software that answers in another process, such as ``{"python": "3.10.13"}``.

        Empty where none does, or none was started yet. They are written down with a run; no row depends on them.
        """
        return {}

    def continue_from(self, rows: int) -> None:
        """Told before the first row when a run goes on in which ``rows`` rows were measured already.

        A device that shares its rows with others (:class:`hwloop.devices.pool.Pool`) is told before every share.

        A simulation moves its noise and drift to where they were; hardware has nothing to do.
        """
        self._rows_answered = rows

    @property
    def rows_answered(self) -> int:
        """Rows that this object has answered, to whomever, or was told of."""
        return self._rows_answered

    def progress(self) -> dict[str, Any]:
        """How far this device has come, as plain JSON values; the journal keeps it with every call.

        A later process hands it to :meth:`resume`, and gets for the next row what this object would have answered.
        By default it is the rows that were answered (``rows_measured``, where a simulation counts them itself) and
        the progress of every device inside: these may have measured other rows, or more. A device with more state
        adds it. What stands under ``attempts`` counts calls that failed too, and never goes back.
        """
        own: dict[str, Any] = {"rows": int(getattr(self, "rows_measured", self._rows_answered))}
        inside = [device.progress() for device in self.devices_inside]
        return own | {"inside": inside} if inside else own

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Go on as a device of the same description did when this was its :meth:`progress`.

        Called before the first row, once the device is open. By default :meth:`continue_from`, then the same for
        every device inside.
        """
        if "rows" in progress:
            rows = progress["rows"]
            if type(rows) is not int or rows < 0:
                raise ValueError(f"{type(self).__name__} cannot have answered {rows!r} rows")
            self.continue_from(rows)
        for device, its in zip(self.devices_inside, progress.get("inside", ()), strict=False):
            device.resume(its)

    def stood(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        """Told after opening where the hardware may stand, as an earlier process left word in the journal.

        ``positions`` holds the details of :class:`hwloop.events.MayStand` by place. By default every device inside
        is told, and tunables that must be walked begin there.
        """
        if PLACE in positions and not self.hands_tuning_on:
            left_standing(self, positions[PLACE], self.rests_when_left)
        for device in self.devices_inside:
            device.stood(positions)

    def position(self) -> Float64Array | None:
        """Where the hardware stands now, shape (n_inputs,), in the unit of the stimuli; ``None`` if unknown.

        Asked when the device has been opened, by :class:`hwloop.devices.slew_limited.SlewLimited`: a driver that
        can read its settings back, or that sets them when it opens, answers it.
        """
        return None

    @property
    def listener(self) -> Listener | None:
        """Called with what happens to the device beyond its answers; set by the session that measures."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = listener

    def tell(self, event: Event) -> None:
        """Tell the session, if there is one, what happened: a retry, a fault."""
        if self.listener is not None:
            self.listener(event)

    @abstractmethod
    def _measure(self, inputs: Float64Array) -> Any:
        """Measure stimuli of shape (rows, n_inputs), already checked; return (rows, n_outputs)."""

    @final
    def measure(self, inputs: Any) -> Float64Array:
        """Measure a batch of stimuli.

        Parameters
        ----------
        inputs
            Real numbers of shape (rows, n_inputs), in ``spec.input_unit`` and within the spec's limits.

        Returns
        -------
        ndarray of shape (rows, n_outputs), float64, in ``spec.output_unit``.

        Raises
        ------
        StimulusError, LimitError
            Before anything reaches the hardware.
        BadReading, DeviceTimeout, DeviceDisconnected, DeviceError
            When the hardware fails or answers with something that is no reading. Also, before anything reaches it,
            where a session has it (which alone may call it), or where this process was forked since it was opened.
        DeviceChanged
            Another unit answers since a call failed, or ``spec`` is another than when the device was opened.
        """
        spec, inside, name = self.spec, self.devices_inside, type(self).__name__
        stimuli = checked_stimuli(inputs, spec, name)
        rows = len(stimuli)
        responses = np.empty((rows, spec.n_outputs))
        step = min(spec.max_rows or max(rows, 1), self.rows_together or max(rows, 1))
        with called(self, inside) as hold:
            hold.check_spec(self, spec)
            if spec.tunables:
                self._make_sure_of_tuning(hold)
            doubtful, hold.doubtful = hold.doubtful, True
            for start in range(0, rows, step):
                part = slice(start, start + step)
                try:
                    reply = self._measure(stimuli[part])
                except HwloopError:
                    raise
                except Exception as error:
                    is_open = hold.process is not None
                    raise _driver_error(name, error, len(stimuli[part]), is_open) from error
                copy_readings(reply, responses[part], spec, name)
                self._rows_answered += len(responses[part])
            if doubtful and hold.identity is not None:
                hold.recognise(self)
            hold.doubtful = False
        return responses

    def _make_sure_of_tuning(self, hold: Hold) -> None:
        """Before rows: a failed call or write may have left other values than those that are said to be set."""
        if not self.hands_tuning_on:
            if self._tuned is not None and (hold.doubtful or not self._tuned.is_sure):
                assert_again(self, hold)
        elif np.isnan(self.tuning).any():
            raise DeviceError(
                f"the devices inside of {type(self).__name__} are tuned differently, since a write to one of them "
                "failed; tune it again before the next row"
            )

    @property
    def tuning(self) -> Float64Array:
        """What is set now, shape (n_tunables,), read-only; ``spec.tunable_rest`` after opening.

        Not-a-number where the devices inside of this one differ, after a write to one of them has failed.
        """
        if self.hands_tuning_on:
            every = [device.tuning for device in self.devices_inside]
            if all(same_tuning(each, every[0]) for each in every):
                return every[0]
            return np.full(self.spec.n_tunables, np.nan)
        view = (self.spec.tunable_rest if self._tuned is None else self._tuned.set_to).view()
        view.flags.writeable = False
        return view

    @final
    def tune(self, values: Any) -> None:
        """Set the tunables; they stay until they are set again, or the device is closed.

        Parameters
        ----------
        values
            A mapping of names to values, where the other names keep theirs, or a flat array of shape
            (n_tunables,), in the order of ``spec.tunables``. Nothing is rounded or clipped here
            (:meth:`hwloop.DeviceSpec.nearest_tuning` does). What is set already is not written again.

        Raises
        ------
        TuningError, LimitError
            Before anything reaches the hardware.
        DeviceTimeout, DeviceDisconnected, DeviceError
            When a write fails; what was set before is then written again before the next row. Also, before
            anything reaches it, where a session has it, or this process was forked since it was opened.
        DeviceChanged
            ``spec`` is another than when the device was opened.
        """
        spec, inside, name = self.spec, self.devices_inside, type(self).__name__
        with called(self, inside) as hold:
            target = checked_tuning(values, spec, self.tuning, name)
            hold.check_spec(self, spec)
            if self.hands_tuning_on:
                self._tune(target)
            elif spec.tunables:
                set_tuning(self, hold, target)

    def _tune(self, values: Float64Array) -> None:
        """Write a tuning of shape (n_tunables,), already checked, and at most ``max_change`` from the last.

        A driver whose spec has tunables defines it: when it returns, the hardware has the values; what they need
        to settle is waited for outside. Simulated physics may leave it away, and reads ``self.tuning``.
        """
        if self.spec.tunables and not (type(self).simulated and not self.devices_inside):
            raise DeviceError(
                f"{type(self).__name__} has tunables, but no _tune() that sets them; nothing was set. Write it, "
                "or, if it hands them on to the devices inside, say so: hands_tuning_on = True"
            )

    def __repr__(self) -> str:
        """What it is, without asking the hardware."""
        from hwloop.device.shown import device_line  # only where somebody looks

        return device_line(self)

    def _repr_html_(self) -> str:
        from hwloop.device.shown import device_html

        return device_html(self)

    def __copy__(self) -> Device:
        return _copied(self, lambda state: state, {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Device:
        return _copied(self, lambda state: copy.deepcopy(state, memo), memo)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _copied(device: Device, duplicate: Callable[[Any], Any], memo: dict[int, Any]) -> Device:
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
    if device._live_settings is not None and twin._live_settings is device._live_settings:
        object.__setattr__(twin, "_live_settings", device._live_settings.copy())
    if twin._tuned is not None:
        object.__setattr__(twin, "_tuned", replace(twin._tuned, is_open=False))
    return twin


def is_simulated(device: Device) -> bool:
    """Whether a device says so (``simulated``), or holds devices of which all do."""
    inside = device.devices_inside
    return device.simulated or (bool(inside) and all(map(is_simulated, inside)))


def _driver_error(name: str, error: Exception, rows: int, is_open: bool) -> DeviceError:
    """What becomes of an error that a driver's library raises."""
    kind = kind_of(error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if not is_open:
        return kind(
            f"{name} is not open, and failed while measuring {rows} rows ({what}); open it first: "
            "'with device:', or device.open() and in the end device.close()"
        )
    return kind(
        f"{name} failed while measuring {rows} rows ({what}); check the device and its connection, then run again"
    )


def _noting_base(cls: type[Device], constructor: Any) -> Any:
    """A constructor that notes what a derived class gives to it; its own arguments are noted already."""

    @functools.wraps(constructor)
    def noting(self: Device, *args: Any, **kwargs: Any) -> None:
        if type(self) is not cls and cls.__name__ not in self._bases_built_from:
            made = constructor_arguments(self, cls, args, kwargs)
            if made is not None:
                object.__setattr__(self, "_bases_built_from", {**self._bases_built_from, cls.__name__: made})
        constructor(self, *args, **kwargs)
        _constructed(self, noting)

    noting.__dict__[_SEEN] = True
    return noting


def _constructed(device: Device, constructor: Any) -> None:
    """Watch the settings of a device from the end of its own class's constructor on."""
    if type(device).__init__ is constructor:
        names = _watched_names(device)
        object.__setattr__(device, "_live_settings", LiveSettings(device, names, Device.__dict__.keys()))


def _watched_names(device: Device) -> list[str]:
    """The arguments of every constructor that it has, its own and those of base classes, given or by default."""
    made = [device._built_from_arguments, *device._bases_built_from.values()]
    names = dict.fromkeys(name for each in made if each is not None for name in each.names)
    for base in type(device).__mro__:
        if inspect.isfunction(base.__dict__.get("__init__")):
            names |= dict.fromkeys(list(inspect.signature(base.__dict__["__init__"]).parameters)[1:])
    kept = device.all_harmless_settings().keys() | type(device).self_described
    return [name for name in names if name not in kept]


def _see_constructors(cls: type[Device]) -> None:
    """See the end of constructors that a class got later, as of a dataclass, or from a base that is no device."""
    for base in cls.__mro__:
        if base is Device or not issubclass(base, Device):
            continue
        own = base.__dict__.get("__init__")
        home = next(each for each in base.__mro__ if "__init__" in each.__dict__)
        if own is None and home is not object and not issubclass(home, Device):
            base.__init__ = _ending(base, home.__dict__["__init__"], of_mixin=True)  # type: ignore[method-assign]
        elif inspect.isfunction(own) and not _is_seen(own):
            base.__init__ = _ending(base, own, of_mixin=False)  # type: ignore[method-assign]


def _ending(cls: type[Device], constructor: Any, of_mixin: bool) -> Any:
    @functools.wraps(constructor)
    def ending(self: Device, *args: Any, **kwargs: Any) -> None:
        if of_mixin:
            super(cls, self).__init__(*args, **kwargs)  # another class may stand between the two
        else:
            constructor(self, *args, **kwargs)
        _constructed(self, ending)

    ending.__dict__[_SEEN] = True
    return ending


def _is_seen(constructor: Any) -> bool:
    return _SEEN in constructor.__dict__


_SEEN = "_its_end_is_seen"


def _noting_arguments(new: Any) -> Any:
    @functools.wraps(new)
    def noting(cls: type[Device], *args: Any, **kwargs: Any) -> Any:
        device = new(cls, *args, **kwargs)
        if isinstance(device, Device):
            device._note_arguments(args, kwargs)
        return device

    return noting


def _counting_on(continue_from: Any) -> Any:
    """A driver's ``continue_from``, which need not call its base class's."""

    @functools.wraps(continue_from)
    def counting(self: Device, rows: int) -> None:
        self._rows_answered = rows
        continue_from(self, rows)

    return counting
