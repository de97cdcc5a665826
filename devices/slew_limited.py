"""Consecutive rows that differ by no more than a device can stand: the way from one to the next is a ramp."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling
from hwloop.device.spec import Float64Array
from hwloop.device.wrapper import check_inside, inside_of
from hwloop.devices.position_bounds import PositionBounds
from hwloop.devices.ramp import Ramp
from hwloop.errors import BadReading, DeviceDisconnected, DeviceError, HwloopError, JournalError
from hwloop.events import MayStand
from hwloop.process import boot

CHUNK_ROWS = 4096  # rows sent at once, to bound memory
PLACE = "SlewLimited"


class SlewLimited(DeviceWrapper):
    """Walks from each stimulus to the next in rows that step by at most ``per_row_max`` on every channel.

    For what must not jump: heaters, magnets, piezo stages, high voltages. The rows of a ramp are evenly spaced,
    measured like any other, and their responses are thrown away: they cost the device's time, and are neither
    counted nor recorded. Before it is closed it walks back to ``rest``.

    Where it starts: where the device says that it stands (:meth:`hwloop.Device.position`); else where an earlier
    process left it, by the session's journal; else at ``rest``. The journal is told before the device is moved,
    and no call of the device leads farther than two steps: so whenever the computer dies, one row is known that
    is a step away at most, from wherever the device then stands. Where too much is possible (it may have been
    closed, or have lost its power with the computer), no row is sent until ``stands_at`` tells.

    What stands inside must leave rows as they are: a wrapper that changes them, deals them out to several devices,
    or opens the device again is refused. Outside, all of them are right: ``retrying`` walks again from ``rest``,
    and members of a pool are wrapped one by one.

    After a failed call no row is sent until it was closed and opened, and closing then goes to the safe state
    without a walk, as it does when another thread closes it at once.

    Parameters
    ----------
    device
        The device inside.
    per_row_max
        Largest step from a row to the next, in the input's unit: one number, or one a channel. Positive.
    rest
        Stimulus of the safe state, at which the device stands when it was closed: one number, or one a channel,
        within the limits. ``None`` for what is nearest to zero.
    stands_at
        Where the device stands when it is opened next, if it does not say so itself and the journal does not know:
        one number, or one a channel. For the first opening after a crash; remove it then.

    Raises
    ------
    ConfigError
        Something inside would break the promise; the message names the right order.
    """

    handling = RowHandling(adds_rows=True, limits_steps=True)
    harmless_settings: ClassVar[Mapping[str, str]] = {"stands_at": "where the way to the first row begins"}

    def __init__(
        self,
        device: Device,
        per_row_max: float | Sequence[float],
        rest: float | Sequence[float] | None = None,
        stands_at: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(device)
        unwanted = ["changes_stimuli", "deals_out", "limits_steps", "reopens"]
        if rest is None:
            unwanted.append("narrows_limits")
        check_inside(self, "steps of at most per_row_max", "larger steps could reach the device", *unwanted)
        inner = device.spec
        self._step = _by_channel("per_row_max", per_row_max, inner.n_inputs)
        if not (self._step > 0).all():
            raise ValueError(f"per_row_max must be positive on every channel, not {per_row_max!r}")
        self._rest = np.clip(np.zeros(inner.n_inputs), inner.low, inner.high)
        if rest is not None:
            self._rest = _by_channel("rest", rest, inner.n_inputs)
        if not ((self._rest >= inner.low) & (self._rest <= inner.high)).all():
            raise ValueError(f"rest must lie within the device's limits, not {rest!r}")
        self._told = None if stands_at is None else _by_channel("stands_at", stands_at, inner.n_inputs)
        self._ramp = Ramp(self._step, inner.low, inner.high, CHUNK_ROWS)
        self._longest = self._ramp.rows_to(inner.low, inner.high)
        self._stands = PositionBounds.at(self._rest)
        self._announced: PositionBounds | None = None
        self._is_open = self._closing = self._driven = self._says_so = False
        self._failed = self._left_unsure = False
        self._turns = deque(["to walk home"])
        self._to_resume: dict[str, Any] | None = None
        self._rows_to_resume: int | None = None

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The inner spec; the time of a row and the rows a call are those of a walk across the whole range."""
        inner = self.device.spec
        seconds = None if inner.row_seconds is None else inner.row_seconds * self._longest
        rows = None if inner.max_rows is None else max(1, inner.max_rows // self._longest)
        return replace(inner, row_seconds=seconds, max_rows=rows)

    def identify(self) -> str:
        """The device inside and the largest step."""
        steps = self._step.tolist()
        largest = steps[0] if len(set(steps)) == 1 else steps
        return f"SlewLimited({self.device.identify()}, per_row_max={largest})"

    def unit(self) -> str:
        """The wrapper; what it does is among its settings."""
        return type(self).__name__

    # -- opening and closing ---------------------------------------------------------------------------

    def open(self) -> None:
        """Open the device inside, and find out where it stands."""
        self.device.open()
        if self._is_open:
            return
        found = self._asked()
        self._says_so = found is not None
        if found is not None:
            self._stands = PositionBounds.at(found)
        elif self._told is not None and not self._driven:
            self._stands = PositionBounds.at(self._told)
        self._is_open, self._closing, self._announced = True, False, None
        self._failed = self._left_unsure = False

    def stood(self, positions: Mapping[str, Mapping[str, Any]]) -> None:
        """Where an earlier process left the device, unless it says that itself, or this object has moved it."""
        self.device.stood(positions)
        details = positions.get(PLACE)
        if details is None or self._says_so or self._driven:
            return
        try:
            left = PositionBounds.from_lists(details["low"], details["high"], len(self._rest))
            closed, started = bool(details["closed"]), details["boot"]
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(
                f"where the journal says that {self._name} was left cannot be used ({error}); look at the device, "
                "and say in a new run where it stands: stands_at"
            ) from error
        if not closed and (started != boot() or any(part.rests_when_left for part in inside_of(self))):
            left = left.around(self._rest)
        if not closed and self._to_resume is None:
            self._to_resume = self.progress()  # for a run that had recorded nothing: it began at rest
        if self._told is None:
            self._stands = left
        elif closed and not left.around(self._told).is_within(self._step):
            self._stands = left
            raise DeviceError(
                f"{self._name}: stands_at says {_text(self._told)}, but the device was brought to {left} and "
                "closed since; remove stands_at"
            )

    def close(self) -> None:
        """Walk back to rest, and close the device inside whatever became of the walk."""
        try:
            if not (self._failed or self._closing or self._is_at(self._rest)):
                self._walk_home()
        finally:
            self._close_inside()

    def _walk_home(self) -> None:
        """Back to rest, where the way is known and no other thread is on it."""
        if not self._ramp.starts_from(self._stands):
            return
        try:
            turn = self._turns.pop()  # of two threads that close it at once, one gets it
        except IndexError:
            return
        going_on = self.progress()
        try:
            self._walk(self._rest[None])
        except DeviceError:
            if not self._closing:  # else another thread closes it at once
                raise
        finally:
            self._to_resume = going_on
            self._turns.append(turn)

    def _close_inside(self) -> None:
        self._closing = True
        at_rest = PositionBounds.at(self._rest)
        possible = at_rest if self._is_at(self._rest) else self._stands.around(self._rest)
        with contextlib.suppress(HwloopError):  # nothing may keep the device from its safe state
            self._announce(possible)
        self._is_open = False
        try:
            self.device.close()
        except BaseException:
            self._left_unsure, self._stands = True, possible
            raise
        if not self._left_unsure:  # a device that could not be closed may do nothing the second time
            self._stands, self._failed = at_rest, False
            with contextlib.suppress(HwloopError):
                self._announce(at_rest, closed=True)

    def _asked(self) -> Float64Array | None:
        """Where the device says that it stands."""
        found = self.device.position()
        if found is None:
            return None
        position = np.array(found, dtype=np.float64)
        if position.shape != self._rest.shape or not np.isfinite(position).all():
            raise BadReading(
                f"{type(self.device).__name__}.position() gave {found!r}, not {len(self._rest)} finite numbers"
            )
        beyond = np.abs(self._ramp.within(position) - position) > self._step
        if beyond.any():
            channel = int(np.argmax(beyond))
            raise DeviceError(
                f"{self._name}: channel {channel} stands at {position[channel]:g}, more than a step beyond its "
                "limits; bring it back by hand"
            )
        return position

    # -- going on --------------------------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """The last row, from which the next ramp begins, belongs to it."""
        if self._to_resume is not None:
            return dict(self._to_resume)
        own = super().progress()
        return own | {"position": self._stands.low.tolist()} if self._stands.is_exact else own

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Walk to the last row before the next one, so that the way to it is the same."""
        self._rows_answered = progress.get("rows", 0)
        self._to_resume, self._rows_to_resume = dict(progress), None

    def continue_from(self, rows: int) -> None:
        """Passed on, once the last row is reached again."""
        if self._to_resume is None:
            self.device.continue_from(rows)
        else:
            self._rows_to_resume = rows

    def _resume(self) -> None:
        """Back to where the run was, and then count the rows of the way as if there had been none."""
        going_on = self._to_resume
        if going_on is None:
            return
        last = np.array(going_on.get("position", self._rest), dtype=np.float64)
        if not self._is_at(last):
            self._send(last[None])
        for inside in going_on.get("inside", ()):
            self.device.resume(inside)
        if self._rows_to_resume is not None:
            self.device.continue_from(self._rows_to_resume)
        self._to_resume = self._rows_to_resume = None

    # -- measuring -------------------------------------------------------------------------------------

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return np.concatenate([self._walk(inputs[i : i + CHUNK_ROWS]) for i in range(0, len(inputs), CHUNK_ROWS)])

    def _walk(self, stimuli: Float64Array) -> Float64Array:
        """Responses to stimuli that are reached one after the other."""
        if self._failed or self._left_unsure:
            raise DeviceError(f"{self._name}: after a call that failed, or could not be closed; close and open it")
        if not self._ramp.starts_from(self._stands):
            raise DeviceError(
                f"{self._name} does not know where the device stands: {self._stands}, which is more than a step "
                f"(per_row_max) from any stimulus. Nothing was sent. Bring it to rest, {_text(self._rest)}, by "
                "hand, or look where it stands, and say so: stands_at"
            )
        self._failed = self._driven = True  # until the device has answered
        self._resume()
        answers = self._send(stimuli)
        self._failed = False
        return answers

    def _send(self, stimuli: Float64Array) -> Float64Array:
        answers = []
        for piece in self._ramp.pieces(self._stands, stimuli):
            self._announce(piece.possible)
            self._stands = piece.possible  # until the device has answered
            answers.append(self.device.measure(piece.rows)[piece.counts])
            if not self._closing:  # by another thread, which knows better
                self._stands = PositionBounds.at(piece.rows[-1])
        return np.concatenate(answers)

    def _announce(self, possible: PositionBounds, closed: bool = False) -> None:
        """Leave word, before the device is moved, where it may stand from now on."""
        known = self._announced
        if closed or known is None or not known.holds(possible):
            self.tell(MayStand(PLACE, possible.low.tolist(), possible.high.tolist(), closed, boot()))
            self._announced = None if closed else possible
        if self._closing and not possible.holds(PositionBounds.at(self._rest)):
            # Another thread is closing it; what was just said must not be the last word.
            self._announce(possible.around(self._rest))
            raise DeviceDisconnected(f"{self._name} was closed by its owner while rows were to be measured")

    def _is_at(self, point: Float64Array) -> bool:
        return self._stands.is_exact and np.array_equal(self._stands.low, point)

    @property
    def _name(self) -> str:
        return f"SlewLimited({type(self.device).__name__})"


def _by_channel(name: str, values: float | Sequence[float], channels: int) -> Float64Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (channels,)) or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be one finite number, or one for each of {channels} channels, not {values!r}"
        )
    return np.broadcast_to(array, (channels,)).copy()


def _text(values: Float64Array) -> str:
    return str(PositionBounds.at(values))
