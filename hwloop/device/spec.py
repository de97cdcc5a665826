"""Specifies what a device promises: channels, limits and pace; what a wrapper does to rows; a derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwloop.device.tunables import Float64Array as Float64Array
from hwloop.device.tunables import Tunable, Tunables


@dataclass(frozen=True, eq=False)
class DeviceSpec:
    """The contract of one device.

    Parameters
    ----------
    n_inputs, n_outputs
        Channels of a stimulus and of a response.
    input_low, input_high
        Physical limits of the stimulus in ``input_unit``, one number or an array of shape (n_inputs,).
    input_unit, output_unit
        Units as text, for messages, reports and exported files.
    max_rows
        Rows that one call of the driver may carry; ``None`` for no limit.
    row_seconds
        Expected time of one row in seconds, for forecasts and deadlines; ``None`` if unknown.
    deterministic
        True when the same stimulus always gives the same response to the last bit.
    n_nudges
        ``n_outputs`` where every output can be nudged, else 0. Nudges are the last inputs: the k-th of them pushes
        on the very degree of freedom that output k reads, and rests at 0. An input before them, a *drive*, pushes
        on the one that the output of its own number reads. A unit of any input pushes equally hard, all outputs
        read at one gain, and what a push at one place does at another, the same push there does here
        (reciprocity), as where the physics settles in a minimum of an energy.
    tunables
        Parameters inside the device that are set and then stay, see :meth:`hwloop.Device.tune`; ``()`` for none.
    streams
        True where the state goes on from row to row: a response depends on the rows before, back to the last
        *reset*. The last input is the reset: above the middle of its limits it brings the device to rest before
        its row. A session measures such rows in order, recalls none, and drives the device again from the last
        reset when it goes on from a journal.
    watts
        What the device draws while it answers, for the joules of a prediction; ``None`` if nobody has measured it.
    """

    n_inputs: int
    n_outputs: int
    input_low: float | Float64Array = 0.0
    input_high: float | Float64Array = 1.0
    input_unit: str = ""
    output_unit: str = ""
    max_rows: int | None = None
    row_seconds: float | None = None
    deterministic: bool = False
    n_nudges: int = 0
    tunables: tuple[Tunable, ...] = Tunables()
    streams: bool = False
    watts: float | None = None

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_outputs", "max_rows"):
            value = getattr(self, name)
            if value is None and name == "max_rows":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"DeviceSpec.{name} must be a whole number of at least 1, not {value!r}")
            object.__setattr__(self, name, int(value))
        if self.row_seconds is not None and not (np.isfinite(self.row_seconds) and self.row_seconds >= 0):
            raise ValueError(f"DeviceSpec.row_seconds must be a time in seconds, not {self.row_seconds!r}")
        if self.watts is not None and not (np.isfinite(self.watts) and self.watts >= 0):
            raise ValueError(f"DeviceSpec.watts must be a power in watts, not {self.watts!r}")
        for name in ("input_low", "input_high"):
            object.__setattr__(self, name, self._checked_limit(name))
        if not np.all(np.asarray(self.input_low) < np.asarray(self.input_high)):
            raise ValueError("DeviceSpec.input_low must lie below input_high on every channel")
        self._check_nudges()
        object.__setattr__(self, "tunables", Tunables(self.tunables))
        if self.streams and (self.n_nudges or self.n_inputs < 2):
            raise ValueError("DeviceSpec: a stream needs a drive and a reset, its last input; it has no nudges")

    def _check_nudges(self) -> None:
        nudges, allowed = self.n_nudges, (0, self.n_outputs)
        if isinstance(nudges, bool) or not isinstance(nudges, int | np.integer) or nudges not in allowed:
            raise ValueError(
                f"DeviceSpec.n_nudges must be 0, or n_outputs ({self.n_outputs}) for one an output, not {nudges!r}"
            )
        object.__setattr__(self, "n_nudges", int(nudges))
        if not nudges:
            return
        if not 1 <= self.n_drives <= self.n_outputs:
            raise ValueError(
                f"DeviceSpec: of {self.n_inputs} inputs, {nudges} of them nudges, 1 to {self.n_outputs} must be "
                f"drives, each on what an output reads, not {self.n_drives}"
            )
        if not (np.all(self.low[self.n_drives :] < 0) and np.all(self.high[self.n_drives :] > 0)):
            raise ValueError("DeviceSpec: a nudge needs limits on both sides of 0, where it is at rest")

    def _checked_limit(self, name: str) -> float | Float64Array:
        limit = np.array(getattr(self, name), dtype=np.float64)  # a copy, so that nobody moves a limit later
        if limit.shape not in ((), (self.n_inputs,)):
            raise ValueError(
                f"DeviceSpec.{name} must be one number or have shape ({self.n_inputs},), not {limit.shape}"
            )
        if not np.all(np.isfinite(limit)):
            raise ValueError(f"DeviceSpec.{name} must be finite: a device without a limit cannot be protected")
        if limit.shape == ():
            return float(limit)
        limit.flags.writeable = False
        return limit

    @property
    def low(self) -> Float64Array:
        """Lower limit of every input channel, shape (n_inputs,)."""
        return np.broadcast_to(np.asarray(self.input_low, dtype=np.float64), (self.n_inputs,))

    @property
    def high(self) -> Float64Array:
        """Upper limit of every input channel, shape (n_inputs,)."""
        return np.broadcast_to(np.asarray(self.input_high, dtype=np.float64), (self.n_inputs,))

    @property
    def n_drives(self) -> int:
        """Inputs that take data: all but the nudges and the reset of a stream."""
        return self.n_inputs - self.n_nudges - self.streams

    def resets(self, stimuli: Float64Array) -> NDArray[np.bool_]:
        """Which rows (rows, n_inputs) bring the device to rest first; of one that does not stream, all."""
        if not self.streams:
            return np.ones(len(stimuli), dtype=bool)
        return np.asarray(stimuli[:, -1] > (self.low[-1] + self.high[-1]) / 2)

    @property
    def all_tunables(self) -> Tunables:
        """The tunables together, whose limits, steps and rest are flat arrays."""
        assert isinstance(self.tunables, Tunables)
        return self.tunables

    @property
    def n_tunables(self) -> int:
        """Values that can be tuned: the sum of the tunables' counts."""
        return self.all_tunables.n_values

    @property
    def tunable_low(self) -> Float64Array:
        """Lower limit of every value that can be tuned, shape (n_tunables,), in the order of ``tunables``."""
        return self.all_tunables.low

    @property
    def tunable_high(self) -> Float64Array:
        """Upper limit of every value that can be tuned, shape (n_tunables,)."""
        return self.all_tunables.high

    @property
    def tunable_rest(self) -> Float64Array:
        """The tuning of a device that has just been opened, and of one that is closed, shape (n_tunables,)."""
        return self.all_tunables.rest

    def flat_tuning(self, values: Any, others: Any = None) -> Float64Array:
        """The values as a flat copy, shape (n_tunables,).

        Parameters
        ----------
        values
            A mapping of names to values, or a flat array.
        others
            Flat array of what a mapping leaves out; ``None`` for the values at rest.

        Raises
        ------
        TuningError
            Unknown names, wrong shapes, or no finite real numbers. Limits and steps are not looked at.
        """
        return self.all_tunables.flat_values(values, self.tunable_rest if others is None else others)

    def named_tuning(self, values: Any) -> dict[str, Float64Array]:
        """The values by name, each of shape (count,); ``values`` as :meth:`flat_tuning` takes them."""
        every = self.flat_tuning(values)
        return {each.name: every[place].copy() for each, place in self.all_tunables.slices()}

    def nearest_tuning(self, values: Any) -> Float64Array:
        """The nearest tuning that can be set, shape (n_tunables,): clipped to the limits, rounded to the steps.

        For trainers, whose steps lead anywhere; :meth:`hwloop.Device.tune` itself never moves a value.
        """
        return self.all_tunables.nearest(self.flat_tuning(values))

    def writes_between(self, start: Any, end: Any) -> int:
        """Writes that lead from one tuning to another: 0 where they are equal, several where it is walked."""
        return self.all_tunables.writes_between(self.flat_tuning(start), self.flat_tuning(end))

    def as_dict(self) -> dict[str, Any]:
        """The spec as plain numbers, lists and text, for JSON and TOML.

        ``n_nudges``, ``tunables``, ``streams`` and ``watts`` stand in it only where there are some.
        """
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        # A device that has none is described as it was before there were any.
        if not self.n_nudges:
            del values["n_nudges"]
        if self.tunables:
            values["tunables"] = [each.as_dict() for each in self.tunables]
        else:
            del values["tunables"]
        if not self.streams:
            del values["streams"]
        if self.watts is None:
            del values["watts"]
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}

    def differences(self, other: DeviceSpec) -> list[str]:
        """In what ``other`` differs, in words: ``spec.max_rows is 7, not 8``, this one's value first."""
        if self is other or self == other:
            return []
        mine, theirs = self.as_dict(), other.as_dict()
        names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
        return [f"spec.{name} is {mine.get(name)!r}, not {theirs.get(name)!r}" for name in names]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceSpec) and all(
            _equal(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__
        )

    def __hash__(self) -> int:
        return hash((self.n_inputs, self.n_outputs, self.input_unit, self.output_unit, self.max_rows))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


@runtime_checkable
class Differentiable(Protocol):
    """What a simulated device may offer beside :meth:`Device.measure`, for the yardstick that exact gradients are.

    No trainer needs it but those that say that they use a model.
    """

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative of a loss by the stimuli (rows, n_inputs), from that by the responses (rows, n_outputs).

        It is that of the noiseless response; converters count as the lines that they approximate.
        """
        ...


@runtime_checkable
class TunableDifferentiable(Protocol):
    """What a simulated device may offer beside :class:`Differentiable`: exact gradients of its tunables.

    A yardstick, as that is: no trainer needs it but those that say that they use a model.
    """

    def pull_back_tuning(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative of a loss by the tuning (n_tunables,), under the tuning that is set.

        ``stimuli`` has shape (rows, n_inputs), ``gradients`` is that by the responses (rows, n_outputs).
        """
        ...


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
