"""The one class that a lab writes: a black box that answers a batch of stimuli with measured responses."""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, final

import numpy as np

from hwloop.device.checks import checked_stimuli, copy_readings
from hwloop.device.description import DeviceDescription
from hwloop.device.made_of import MadeOf, made_of
from hwloop.device.plain_value import UNDESCRIBED, qualified
from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.errors import DeviceDisconnected, DeviceError, DeviceTimeout, HwloopError
from hwloop.events import Event, Listener


class Device(ABC):
    """A physical system, or a simulation of one.

    A driver supplies ``spec`` and :meth:`_measure`, nothing else. ``measure`` is final: it is the only road
    to the hardware, and it checks every stimulus before and every response after.
    """

    spec: DeviceSpec
    rows_together: ClassVar[int | None] = None
    """Rows from which on a longer call is not faster a row: more are handed to ``_measure`` in pieces of so many.

    For simulations, whose memory then stays in the processor's cache. What the hardware can take in one call is
    ``spec.max_rows``.
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
    self_described: ClassVar[frozenset[str]] = frozenset()
    """Settings that the class puts into words itself, in :meth:`described_settings`: nobody else looks at them."""
    identity_states_settings: ClassVar[bool] = False
    """Whether :meth:`identify` leaves no setting out that changes an answer, so that old journals, which hold
    nothing else, say for certain what they were recorded on."""
    _listener: Listener | None = None
    _made_of: MadeOf | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what the device is built from, whatever its constructor does with it."""
        device = super().__new__(cls)
        device._note_arguments(args, kwargs)
        return device

    def _note_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_made_of", made_of(type(self), args, kwargs))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__new__" in cls.__dict__:  # one of its own that keeps the arguments to itself
            cls.__new__ = staticmethod(_noting_arguments(cls.__dict__["__new__"].__func__))  # type: ignore[method-assign]
        if cls.measure is not Device.measure:
            raise TypeError(
                f"{cls.__name__} overrides measure(), which holds the safety checks; write _measure() instead"
            )

    def open(self) -> None:
        """Connect to the hardware. Called before the first row; safe to call twice."""

    def close(self) -> None:
        """Bring the hardware to its safe state and disconnect; safe to call twice."""

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
        return () if self._made_of is None else self._made_of.devices

    def described_settings(self) -> dict[str, Any]:
        """Every setting that changes an answer, as plain values; by default the arguments of the constructor.

        A class that can say more of itself overrides this, with :func:`hwloop.device.made_of.plain_settings`.
        """
        if self._made_of is None:
            return {"settings": {UNDESCRIBED: f"what {type(self).__name__} was built from"}}
        return dict(self._made_of.settings)

    @classmethod
    def all_harmless_settings(cls) -> dict[str, str]:
        """The settings that change no answer, with the reasons, of this class and its base classes."""
        found: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            found |= base.__dict__.get("harmless_settings", {})
        return found

    def describe(self, identity: str = "") -> DeviceDescription:
        """What this device is, for whoever asks whether it is the same as another; ask when it is open.

        One that cannot say who it is while it is closed has no identity until then.

        Parameters
        ----------
        identity
            What :meth:`identify` has just answered, so that the hardware is not asked twice; empty to ask it.
        """
        inside = self._described_inside()
        kind = type(self)
        plain = kind.unit is Device.unit and kind.identify is not Device.identify
        if not (identity and plain):
            with contextlib.suppress(DeviceError):
                identity = ""
                identity = self.unit()
        return DeviceDescription(
            name=qualified(kind),
            settings=self.described_settings(),
            inside=inside,
            identity=identity,
            vouched=bool(identity or inside) and all(each.vouched for each in inside),
            spec=self.spec,
        )

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
            When the hardware fails or answers with something that is no reading.
        """
        spec, name = self.spec, type(self).__name__
        stimuli = checked_stimuli(inputs, spec, name)
        rows = len(stimuli)
        responses = np.empty((rows, spec.n_outputs))
        step = min(spec.max_rows or max(rows, 1), self.rows_together or max(rows, 1))
        for start in range(0, rows, step):
            part = slice(start, start + step)
            copy_readings(self._call_driver(stimuli[part]), responses[part], spec, name)
        return responses

    def _call_driver(self, stimuli: Float64Array) -> Any:
        """Call ``_measure``; whatever a driver's library raises becomes a :class:`DeviceError`."""
        try:
            return self._measure(stimuli)
        except HwloopError:
            raise
        except Exception as error:
            kind: type[DeviceError] = DeviceError
            if isinstance(error, TimeoutError):
                kind = DeviceTimeout
            elif isinstance(error, ConnectionError | EOFError):
                kind = DeviceDisconnected
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise kind(
                f"{type(self).__name__} failed while measuring {len(stimuli)} rows ({what}); "
                "check the device and its connection, then run again"
            ) from error

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _noting_arguments(new: Any) -> Any:
    @functools.wraps(new)
    def noting(cls: type[Device], *args: Any, **kwargs: Any) -> Any:
        device = new(cls, *args, **kwargs)
        if isinstance(device, Device):
            device._note_arguments(args, kwargs)
        return device

    return noting
