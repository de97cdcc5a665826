"""Session: measures rows on one device for a trainer, and is the only way there."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hwloop.deadline import Deadline
from hwloop.device import Device, DeviceDescription
from hwloop.device.checks import checked_stimuli
from hwloop.device.hold import changing_itself, refuse_fork
from hwloop.device.spec import Float64Array
from hwloop.device.tuning import checked_tuning
from hwloop.errors import ConfigError, HwloopError, HwloopWarning, TuningError
from hwloop.events import DeviceDoubted, EarlierRowsFound, Event, Listener, ReferenceMeasured
from hwloop.journal import InMemoryJournal, Journal, Note
from hwloop.registry import nearest
from hwloop.session.account import PURPOSES, Budget, Forecast, Ledger, MeasuringPhase, Place
from hwloop.session.device_state import unvouched_rows
from hwloop.session.known_rows import Freshness, KnownRows, RowMemory, keys_under, row_keys
from hwloop.session.measurement import Measurement, Monitor, RowMeasurer
from hwloop.session.owner import DeviceOwner, User
from hwloop.session.recorder import Recorder, WeakSessionListener
from hwloop.session.same_device import (
    CurrentDevice,
    earlier_rows,
    joined,
    note_device,
    note_same_device,
    recorded_device,
)
from hwloop.shutdown import abort

if TYPE_CHECKING:
    from hwloop.reference import Fingerprint, Reference


class Session:
    """Measures for one device: counts, remembers and records every row, and holds the budget.

    One thread owns the device and nobody else calls it; drivers need no locks. A session itself may be used
    from several threads. Several sessions on one device object share its thread: their jobs take turns, and the
    last one to close closes the device. Whoever else calls the device meanwhile is refused.

    It is one device from the first row to the last: another identity or spec, after whatever reopening, is a
    :class:`hwloop.DeviceChanged`. A session that is open when the process forks is refused in the child.

    Parameters
    ----------
    device
        The device; ``with session:`` opens it and closes it to its safe state. A session that is left open
        closes it when nobody refers to the session any more, and at the latest when the interpreter exits.
    journal
        Keeps every answered call before anyone uses it.
    budget
        Rows that this session may measure, over all purposes; ``None`` for no limit.
    freshness
        Beyond this age a remembered row is measured again; by default it never ages.
    reference
        Stimuli that are measured again and again to see whether the device moves; ``None`` measures none.
    listeners
        Called with every :class:`hwloop.events.Event`, on the device's thread.
    earlier
        Journal of earlier runs, only read: what was measured there on this device, under the same settings, is
        not measured again.
    write_budget
        Writes of the device's tunables that this session may make, over all purposes; ``None`` for no limit.

    Attributes
    ----------
    identity
        What the device said of itself when it was opened; empty before.
    description
        What the device is, see :meth:`hwloop.Device.describe`; ``None`` before it was opened.
    ledger, memory
        What was measured: how much, and the responses.
    earlier
        Journal of earlier runs, as it was given.
    """

    def __init__(
        self,
        device: Device,
        *,
        journal: Journal | None = None,
        budget: int | None = None,
        freshness: Freshness | None = None,
        reference: Reference | None = None,
        listeners: Sequence[Listener] = (),
        earlier: Journal | None = None,
        write_budget: int | None = None,
    ) -> None:
        self.device = device
        self.journal = InMemoryJournal() if journal is None else journal
        self.reference = reference
        self.listeners = list(listeners)
        self.ledger = Ledger()
        self._budget = Budget(budget, self.ledger, write_budget)
        self._tuning: Float64Array | None = device.spec.tunable_rest if device.spec.tunables else None
        self._rows_counted_on = 0
        self.memory = RowMemory(self.journal, freshness)
        self.earlier = earlier
        self._known = KnownRows(self.memory)
        self._recorder = Recorder(device, self.journal, self.ledger)
        if reference is not None and device.spec.streams:
            raise ConfigError(
                f"the state of {type(device).__name__} goes on from row to row: reference stimuli would come "
                "between its rows; leave the reference out"
            )
        self._monitor = Monitor() if reference is None else self._reference_monitor(reference)
        self.description: DeviceDescription | None = None
        self._measurer = RowMeasurer(self._recorder, self._known, self._monitor, self._budget, self._emit)
        self._start_closed()

    def _reference_monitor(self, reference: Reference) -> Monitor:
        from hwloop.session.reference_monitor import ReferenceMonitor

        return ReferenceMonitor(reference, self._recorder, self._known.forget)

    def _start_closed(self) -> None:
        self._opening = threading.RLock()  # held while the device is opened or closed
        self._process = os.getpid()
        self._owner: DeviceOwner | None = None
        self._user = User(self._recorder, WeakSessionListener(self, self.journal))
        # Closes the device of a session that is lost.
        self._left_open: weakref.finalize[..., Session] | None = None
        self._users = 0
        self._kept_open = False
        self._measurer.start()

    @property
    def identity(self) -> str:
        """What the device said of itself when it was opened; empty before."""
        return self._recorder.unit.identity

    # -- opening and closing ---------------------------------------------------------------------------

    @property
    def _lock(self) -> threading.RLock:
        if self._process != os.getpid():
            if self._owner is not None or self._users:
                refuse_fork(self._process, f"the session on {type(self.device).__name__}")
            self._start_closed()  # a copy of one that was closed: a thread that is not here may hold its lock
        return self._opening

    def open(self) -> None:
        """Open the device on the thread that will own it, until :meth:`close`; safe to call when it is open.

        Raises
        ------
        DeviceError
        """
        with self._lock:
            self._opened()
            self._kept_open = True

    def _opened(self) -> DeviceOwner:
        if self._owner is None:
            owner = DeviceOwner.of(self.device, self._user)
            owner.opened_for(self._user, lambda identity: self._identified(identity, owner))
            self._measurer.stopping = False
            self._owner = owner
            # Not at exit: then OPEN_DEVICES waits until it is closed.
            self._left_open = weakref.finalize(self, owner.lost, self._user)
            self._left_open.atexit = False
        return self._owner

    def _identified(self, identity: str, owner: DeviceOwner) -> None:
        """Note in the journal which device answers, and look up what earlier runs measured on it."""
        device = CurrentDevice.of(self.device, identity)
        recorded = recorded_device(self._recorder, device)
        self._recorder.unit.opened(identity, device.description, owner)
        self._recorder.reopened()
        self._monitor.device = identity
        decided = None if recorded is None else recorded.earlier_fingerprints
        found = None
        if self.earlier is not None and self._known.earlier is None:
            found = earlier_rows(self.earlier, device, decided, self.memory.freshness)
            self._known.earlier = found.memory
        note_device(self._recorder, device, recorded, () if found is None else found.fingerprints)
        with changing_itself(self.device, self.device.devices_inside):
            self.device.stood(self.journal.positions())
        self.description = device.description
        if recorded is not None:
            doubts = recorded.doubts(device)
            for rows in unvouched_rows(self.journal):
                doubts.append(f"another unit was found behind rows {rows.start:,} to {rows.stop - 1:,}")
            self._doubt("resume", self.journal.rows, doubts)
        if found is not None:
            self._emit(EarlierRowsFound(len(found.memory), self.identity, found.different))
            self._doubt("reuse", len(found.memory), device.description.doubts())

    def _doubt(self, doing: str, rows: int, doubts: Sequence[str]) -> None:
        """Say why recorded rows may be another device's, if they may be."""
        if rows and doubts:
            self.device_event(DeviceDoubted(doing, self.identity, rows, joined(doubts)))
            warnings.warn(
                f"{doing}: {rows:,} recorded rows stand for {self.identity} from here on, but {joined(doubts)}. "
                "Make sure by hand that it is the same device",
                HwloopWarning,
                stacklevel=2,
            )

    def device_event(self, event: Event) -> None:
        """Record what the device tells of itself, such as a fault, and pass it on."""
        self.journal.note(Note("event", event.as_dict()))
        self._emit(event)

    @property
    def _is_parents(self) -> bool:
        """Whether it was open when this process was forked."""
        return self._process != os.getpid() and (self._owner is not None or self._users > 0)

    def close(self) -> None:
        """Stop after the block in flight and close the device to its safe state; safe to call twice.

        Where other sessions are open on it, the last one closes it. In a forked process nothing is closed: what is
        open is the parent's.

        Raises
        ------
        DeviceError
            Also where another unit answers by now than the one that is said to have measured the last rows.
        """
        self._close(confirmed=True)

    def _close(self, confirmed: bool) -> None:
        if self._is_parents:
            return
        with self._lock:
            self._kept_open = False
            if self._owner is not None:
                self._measurer.stopping = True
                try:
                    self._owner.leave(self._user, self._recorder.unit.confirm if confirmed else None)
                finally:
                    self._owner = None
                    if self._left_open is not None:
                        self._left_open.detach()

    def abort(self, deadline: Deadline) -> list[str]:
        """Close the device to its safe state now, from this thread, even while its driver blocks in a call.

        Rows in flight are lost; the journal is closed, and this session measures no more, nor does another on
        the same device. It returns by the deadline at the latest.

        Returns
        -------
        What went wrong, in words; empty if the device is in its safe state.
        """
        if self._is_parents:
            return []
        owner = self._owner  # without the lock: whoever closes the session holds it, and may be waiting
        return [] if owner is None else abort([owner], deadline)

    def __enter__(self) -> Self:
        with self._lock:
            self._opened()
            self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_parents:
            return
        with self._lock:
            self._users -= 1
            if self._users or self._kept_open:
                return
            try:
                self._close(confirmed=error is None)
            except HwloopError as second:
                if error is None:
                    raise
                error.add_note(str(second))  # the first failure explains more than the last

    # -- measuring -------------------------------------------------------------------------------------

    def measure(
        self, stimuli: Any, purpose: str = "train", fresh: bool = False, tuning: Any = None
    ) -> Float64Array:
        """Measure, or recall, the response to each stimulus.

        Parameters
        ----------
        stimuli
            Shape (rows, n_inputs), within the device's limits.
        purpose
            What the rows count for: ``train``, ``evaluate``, ``calibrate``, ``reference``, ``repeat`` or
            ``adapt``. The last four are always measured, never recalled.
        fresh
            Measure even what is remembered, as ``online`` schedules do on a drifting device.
        tuning
            What the device's tunables are set to for these rows, as :meth:`hwloop.Device.tune` takes it; it is
            written only if another one is set. ``None`` for what :meth:`tune` said last, at first the rest. Rows
            are remembered by stimulus and tuning.

        Returns
        -------
        ndarray of shape (rows, n_outputs), float64.

        Raises
        ------
        StimulusError, TuningError, LimitError
            Before anything is measured.
        BudgetExceeded
            Before the first row, or the first write, that the budget does not cover.
        DeviceError
            When the device fails; what it answered until then is recorded and remembered.
        """
        checked, under = self._checked(stimuli, purpose), self._tuning_for(tuning)
        with self, self._submitted(checked, under, purpose, fresh) as measurement:
            return measurement.taken()

    def submit(self, stimuli: Any, purpose: str = "train", fresh: bool = False, tuning: Any = None) -> Measurement:
        """Begin to measure and return at once; takes what :meth:`measure` takes.

        Jobs run in the order in which they were submitted, while the caller computes. As a context manager the
        measurement stops at the end of its ``with`` block, whatever ends it. Submit inside ``with session:``;
        otherwise the device stays open until :meth:`close`.
        """
        checked, under = self._checked(stimuli, purpose), self._tuning_for(tuning)
        with self._lock:
            if self._owner is None:
                self.open()
            return self._submitted(checked, under, purpose, fresh)

    def tune(self, values: Any) -> None:
        """Say what rows are measured under from now on that are submitted without a tuning of their own.

        Nothing is written before the first of them. ``values`` is what :meth:`hwloop.Device.tune` takes.

        Raises
        ------
        TuningError, LimitError
        """
        if values is None:
            raise TuningError("None is no tuning; to go to rest, say session.device.spec.tunable_rest")
        self._tuning = self._tuning_for(values)

    @property
    def tuning(self) -> Float64Array | None:
        """What :meth:`tune` said last, shape (n_tunables,), read-only; ``None`` on a device without tunables."""
        return self._tuning

    def _tuning_for(self, values: Any) -> Float64Array | None:
        if values is None:
            return self._tuning
        spec, name = self.device.spec, type(self.device).__name__
        if self._tuning is None:
            raise TuningError(f"{name} has no tunables, so it cannot be tuned; leave tuning=None")
        return checked_tuning(values, spec, self._tuning, name)

    def _checked(self, stimuli: Any, purpose: str) -> Float64Array:
        if purpose not in PURPOSES:
            raise ConfigError(f"unknown purpose {purpose!r}: {nearest(purpose, PURPOSES)}")
        return checked_stimuli(stimuli, self.device.spec, type(self.device).__name__)

    def _submitted(
        self, stimuli: Float64Array, tuning: Float64Array | None, purpose: str, fresh: bool
    ) -> Measurement:
        with self._lock:
            owner = self._opened()
            measurement = Measurement(len(stimuli), self.device.spec.n_outputs)
            owner.submit(self._user, self._measurer.measure, stimuli, tuning, purpose, fresh, measurement)
            return measurement

    def _emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def forget(self) -> None:
        """Measure every row anew from here on: the device is known to have moved."""
        with self, self._lock:
            self._opened().call(self._user, self._known.forget)

    # -- going on from a checkpoint --------------------------------------------------------------------

    def place(self) -> Place:
        """Where the session stands after the jobs that were submitted; for :meth:`skip_to`.

        Raises
        ------
        DeviceChanged
            Another unit answers by now than the one that is said to have measured these rows.
        """
        self.confirm()
        with self._lock:
            return self._owner.call(self._user, self._measurer.place) if self._owner else self._measurer.place()

    def confirm(self) -> None:
        """Ask the device who it is, where it is open and has measured since it last said so.

        Raises
        ------
        DeviceChanged
            Another unit answers by now than the one that is said to have measured these rows.
        """
        with self._lock:
            if self._owner is not None:
                self._owner.call(self._user, self._recorder.unit.confirm)

    def skip_to(self, place: Place) -> None:
        """Go past the rows that the journal holds up to a place, as if they had been asked for again.

        For a fit that goes on from a checkpoint: the rest takes the same path to the last bit, for ledger, memory
        and reference stimuli stand where they stood. Nothing is measured.

        Raises
        ------
        JournalError
            The journal does not hold these rows, or other ones.
        """
        with self, self._lock:
            self._opened().call(self._user, lambda: self._measurer.skip_to(place))

    # -- keeping what a fit measures -------------------------------------------------------------------

    def record_also_in(self, disk: Journal) -> None:
        """Write everything into another journal too, from here on.

        A session that has measured nothing yet first answers what that journal holds, in the recorded order, as if
        it had been made with it. Only a session whose own journal is in memory can do so.

        Raises
        ------
        ConfigError
            This session has a journal on disk already.
        JournalError
            The other journal was recorded on another device.
        """
        own = self.journal
        if not isinstance(own, InMemoryJournal):
            raise ConfigError(f"the session of {self.identity or self.device} keeps a journal on disk already")
        with self._lock:
            if not own.rows:
                own.take_over(disk)
                own.mirror = disk
                self._recorder.replay_journal()
                # Whoever answers is compared with whom the journal names.
                self._recorder.settings = self._recorder.described_as = ""
                if self._owner is not None:
                    owner = self._owner
                    owner.call(self._user, lambda: self._identified(self.identity, owner))
            else:
                note_same_device(own, disk)
                own.mirror = disk

    def remember_recorded(self) -> None:
        """Remember the journal's rows that were not asked for, so that they are found in any order."""
        left = self._recorder.end_replay()
        for record in self.journal.records():
            behind = left.start - record.first_row  # rows of it that were asked for
            if behind < len(record.stimuli):
                stimuli = record.stimuli[max(behind, 0) :]
                keys = keys_under(row_keys(stimuli), record.tuning)
                self.memory.remember(keys, record.first_row + max(behind, 0))

    # -- watching the device ---------------------------------------------------------------------------

    def measure_reference(self) -> None:
        """Measure the reference stimuli now, unless nothing else was measured since the last time.

        Without a reference nothing is measured.

        Raises
        ------
        DeviceDrifted
            The device has moved beyond the limit, and ``on_drift`` is ``"pause"``.
        BudgetExceeded, DeviceError
            As :meth:`measure`.
        """
        if self.reference is None:
            return
        with self:
            with self._lock:
                measured = self._opened().begin(self._user, self._measurer.measure_reference)
            measured.result()

    @property
    def drift_curve(self) -> tuple[ReferenceMeasured, ...]:
        """Every measurement of the reference stimuli so far."""
        return tuple(self._monitor.curve)

    def fingerprint(self) -> Fingerprint | None:
        """How the device answered the reference stimuli when they were last measured; ``None`` before."""
        return self._monitor.fingerprint()

    # -- cost ------------------------------------------------------------------------------------------

    @property
    def budget(self) -> int | None:
        """Rows that may be measured over all purposes; ``None`` for no limit."""
        return self._budget.rows

    @property
    def rows_left(self) -> int | None:
        """Rows that the budget still covers; ``None`` without a budget."""
        return self._budget.left

    @property
    def write_budget(self) -> int | None:
        """Writes of tunables that may be made over all purposes; ``None`` for no limit."""
        return self._budget.writes

    @property
    def writes_left(self) -> int | None:
        """Writes that the budget still covers; ``None`` without a budget of writes."""
        return self._budget.writes_left

    def forecast(self, rows: int, writes: int = 0) -> Forecast:
        """What rows and writes of tunables will cost, by the device's spec or by what was measured so far."""
        pace = self.device.spec.row_seconds
        if pace is None:
            pace = self.ledger.row_seconds
        seconds = None if pace is None else rows * pace
        if writes and seconds is not None:
            settling = max((each.settling_seconds for each in self.device.spec.tunables), default=0.0)
            seconds += writes * (self.ledger.seconds_a_write or settling)
        return Forecast(rows, seconds, writes)

    def require(self, rows: int, writes: int = 0) -> None:
        """Refuse a plan that needs more rows, or writes, than the budget leaves, before any of them is measured.

        The reference rows that the plan brings with it count.

        Raises
        ------
        BudgetExceeded
        """
        new_rows = max(0, rows - self._rows_counted_on)
        self._budget.require(self.forecast(self._measurer.with_reference(new_rows), writes))

    @contextmanager
    def counting_on_memory(self, rows: int) -> Iterator[None]:
        """Plans inside are known to ask for ``rows`` rows that were measured before: they need no budget.

        A row that memory does not hold after all still needs it when it is about to be measured.
        """
        self._rows_counted_on = rows
        try:
            yield
        finally:
            self._rows_counted_on = 0

    @contextmanager
    def measuring_phase(self) -> Iterator[None]:
        """Account the duty cycle from the first to the last row that is measured inside."""
        if self._measurer.phase is not None:
            yield
            return
        self._measurer.phase = phase = MeasuringPhase()
        try:
            yield
        finally:
            self._measurer.phase = None
            self.ledger.count_phase(phase.busy_seconds, phase.wall_seconds)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name}: {value}" for name, value in self._shown().items() if value)
        return f"<Session on {self.device!r}; {rows}>"

    def _repr_html_(self) -> str:
        from hwloop.html_report.summary import summary  # only where somebody looks

        facts = {"on": repr(self.device), "who answers": self.identity, **self._shown()}
        return summary("Session", facts)

    def _shown(self) -> dict[str, str]:
        """What a person wants to know of it, without asking the device."""
        counts = ", ".join(f"{rows:,} {purpose}" for purpose, rows in self.ledger.rows.items() if rows)
        recalled = sum(self.ledger.recalled.values()) + sum(self.ledger.reused.values())
        return {
            "rows measured": f"{self.ledger.total:,}" + (f" ({counts})" if counts else ""),
            "rows recalled": f"{recalled:,}" if recalled else "",
            "budget": "" if self.budget is None else f"{self.budget:,} rows, {self.rows_left:,} left",
            "device": "open" if self._owner is not None else "closed",
        }

    def __getstate__(self) -> dict[str, Any]:
        """A session is copied closed: lock and thread stay behind."""
        left_behind = ("_opening", "_process", "_owner", "_user", "_left_open", "_users", "_kept_open")
        return {k: v for k, v in self.__dict__.items() if k not in left_behind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_closed()
