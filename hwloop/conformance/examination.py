"""A device under examination, and a promise that is checked on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self, TypeVar

import numpy as np

from hwloop.conformance.guard import CodeLine, Guard, Hung, InterruptInjector, Interruption, chain, within
from hwloop.conformance.report import Finding, Undecided
from hwloop.conformance.survey import ROWS, Repeats, ResponseSurvey, take_survey
from hwloop.deadline import Deadline
from hwloop.device import Device, DeviceSpec
from hwloop.device.hold import hold_of, working_for
from hwloop.device.spec import Float64Array
from hwloop.errors import BudgetExceeded, DeviceDisconnected, DeviceError
from hwloop.journal import InMemoryJournal, Journal
from hwloop.session import Session
from hwloop.session.measurement import rows_a_call

Result = TypeVar("Result")
JournalOf = Callable[[str], Journal]
MOST_INCIDENTS = 5  # then the device is left alone
ATTEMPTS = 3
SAFE_STATE_SECONDS = 2.0


def in_memory(name: str) -> Journal:
    """A journal for a check whose rows nobody wants to keep."""
    return InMemoryJournal()


def _interrupted() -> None:
    raise Interruption


class Unanswered(DeviceError):
    """The device does not answer any more; the check that asked cannot be made."""


class FirstIdentity:
    """Answers ``identify`` with what the device said first; that it changes is for one promise to find.

    Else a session, which refuses another device than before, would end every other check.
    """

    def __init__(self, device: Device) -> None:
        self._device, self.ask = device, device.identify
        self._first: list[str] = []
        setattr(device, "identify", self)  # noqa: B010

    def __call__(self) -> str:
        """Ask the device once."""
        if not self._first:
            self._first.append(self.ask())
        return self._first[0]

    def remove(self) -> None:
        """Leave the device as it was."""
        vars(self._device).pop("identify", None)


class Examination:
    """Measures for the checks, through a session with purpose ``calibrate``.

    Parameters
    ----------
    make_device
        Makes the device, and a second object for the same hardware where a check needs two.
    rows
        Budget over all checks.
    seed
        Draws stimuli and the lots that decide their order.
    timeout_seconds
        After which a call of the device counts as hung, above ten times what its spec states.
    is_safe
        Tells from outside whether the closed hardware is in its safe state; ``None`` if nothing can.
    journal_of
        Gives the journal of the device, ``"check"``, and of a second object, ``"second-object"``.

    Attributes
    ----------
    identity
        Asks the device who it is.
    calls_mix_rows
        Whether the rows of a call were seen to depend on each other: then no row in a call stands for itself.
    incidents
        Failed calls, in words; each was measured again on a fresh connection.
    open_failure, close_failures
        Why the device could not be opened again, and closed, in words.
    """

    def __init__(
        self,
        make_device: Callable[[], Device],
        rows: int,
        seed: int,
        timeout_seconds: float,
        is_safe: Callable[[Device], bool | None] | None = None,
        journal_of: JournalOf = in_memory,
    ) -> None:
        self.make_device = make_device
        self.budget = rows
        self.seed = seed
        self.timeout_seconds = timeout_seconds
        self.is_safe = is_safe
        self.device = make_device()
        self.identity = FirstIdentity(self.device)
        self.spec: DeviceSpec = self.device.spec
        devices = chain(self.device)
        packages = frozenset(type(device).__module__.partition(".")[0] for device in devices)
        self.injector = InterruptInjector(packages)
        # Only the outermost call is watched by lines; it reaches down through the wrappers.
        self.guards = [
            Guard(device, self.injector if device is self.device else InterruptInjector(frozenset()))
            for device in devices
        ]
        self.journal_of = journal_of
        self.session = Session(self.device, journal=journal_of("check"), budget=rows)
        self.repeats = Repeats()
        self.calls_mix_rows = False
        self.incidents: list[str] = []
        self.open_failure = ""
        self.close_failures: list[str] = []
        self.hung = False
        self.rows_elsewhere = 0

    @property
    def guard(self) -> Guard:
        """Of the outermost device."""
        return self.guards[0]

    @property
    def rows(self) -> int:
        """Rows measured so far, with those that were interrupted and those of a second device."""
        return self.session.ledger.total + self.rows_elsewhere

    @property
    def rows_a_call(self) -> int:
        """Rows that the session puts into one call of this device."""
        return rows_a_call(self.spec)

    @cached_property
    def survey(self) -> ResponseSurvey:
        """Measured when it is first asked for; raises what measuring raises."""
        self.require(ROWS)
        return take_survey(self.spec, self.rng("survey"), self.measure_singly)

    def rng(self, check: str) -> np.random.Generator:
        """A generator for one check, whatever other checks run."""
        return np.random.default_rng([self.seed, *check.encode()])

    def require(self, rows: int) -> None:
        """Refuse a check that needs more rows than are left.

        Raises
        ------
        BudgetExceeded
        """
        left = self.budget - self.rows
        if rows > left:
            raise BudgetExceeded(f"this takes {rows} rows, and {max(0, left)} of {self.budget} are left")

    # -- the device's calls, each with an end --------------------------------------------------------

    def open(self) -> None:
        """Open the device on the session's thread; safe to call when it is open.

        Raises
        ------
        DeviceError
            The device cannot be opened.
        Unanswered
            It could not be opened before: it is not tried again.
        """
        if self.open_failure:
            raise Unanswered(self.open_failure)
        try:
            self.bounded("open()", self.session.open)
        except Unanswered:
            raise
        except DeviceError as error:
            self.open_failure = str(error)
            raise

    def close(self, session: Session | None = None) -> None:
        """Close the device, or that of another session; a failure is noted in ``close_failures``."""
        try:
            self.bounded("close()", (session or self.session).close)
        except Unanswered:
            raise
        except DeviceError as error:
            self.close_failures.append(str(error))

    def reopen(self) -> None:
        """Close and open."""
        self.close()
        self.open()

    def bounded(self, what: str, function: Callable[[], Result], rows: int = 0) -> Result:
        """Call something of the device that may hang, on a thread of its own, as whoever has the device open.

        Raises
        ------
        Unanswered
            Something of it hung before: it cannot be used any more.
        Hung
        """
        if self.hung:
            raise Unanswered("the device hangs, and was left alone")
        seconds = self.timeout_seconds + 10.0 * rows * (self.spec.row_seconds or 0.0)
        holder = hold_of(self.device).holder

        def as_holder() -> Result:
            with working_for(holder):
                return function()

        try:
            return within(seconds, f"{what} of {type(self.device).__name__}", as_holder)
        except Hung:
            self.hung = True
            raise

    def measure(self, stimuli: Float64Array) -> Float64Array:
        """Responses to rows that go to the driver in one call where the session allows it: :meth:`answered`."""
        responses = self.answered(stimuli)
        alone = self.spec.resets(stimuli)  # the others of a stream answer to the rows before, too
        self.repeats.enter(stimuli[alone], responses[alone])
        return responses

    def answered(self, stimuli: Float64Array) -> Float64Array:
        """The same, of rows that are no repeats of those under another tuning.

        Raises
        ------
        Unanswered
            The device failed again on a fresh connection, or has failed too often.
        DeviceError
            It could not be opened.
        """
        for attempt in range(ATTEMPTS):
            if len(self.incidents) >= MOST_INCIDENTS:
                break
            self.open()
            try:
                return self._called(stimuli)
            except DeviceError as error:
                if isinstance(error, Unanswered):
                    raise
                self.incidents.append(f"{type(error).__name__}: {error}")
                if attempt + 1 < ATTEMPTS and not self.hung:
                    self.close()
                continue
        raise Unanswered(f"the device fails: {self.incidents[-1]}")

    def tune(self, tuning: Float64Array) -> None:
        """Write a tuning, which the rows behind it are measured under.

        Raises
        ------
        StimulusError, LimitError
            It is refused.
        DeviceError
        """
        self.open()
        self.bounded("tune()", lambda: self.device.tune(tuning))
        self.session.tune(tuning)

    def _called(self, stimuli: Float64Array) -> Float64Array:
        return self.bounded("measure()", lambda: self.session.measure(stimuli, "calibrate"), rows=len(stimuli))

    def measure_singly(self, stimuli: Float64Array) -> Float64Array:
        """Responses to rows that go to the driver in a call each."""
        return np.concatenate([self.measure(row[None]) for row in stimuli])

    def attempted(self, stimulus: Float64Array) -> Float64Array | None:
        """The response to one row, shape (n_outputs,), or ``None`` where the call fails, which is no incident.

        The device stays open as after a failed call of a session; it is closed if it says that it is disconnected.

        Raises
        ------
        Hung
        DeviceError
            It could not be opened.
        """
        self.open()
        self.rows_elsewhere += 1
        try:
            responses = self._called(stimulus)
        except DeviceError as error:
            if isinstance(error, Unanswered | Hung):
                raise
            if isinstance(error, DeviceDisconnected):
                self.close()
            return None
        self.rows_elsewhere -= 1  # the session has counted it
        return np.asarray(responses[0])

    def driver_lines(self, stimulus: Float64Array) -> list[CodeLine]:
        """Lines of the driver that run when one row, shape (1, n_inputs), is measured, each once, in order."""
        self.open()
        self.injector.watch()
        try:
            self.measure(stimulus)
        finally:
            self.injector.disarm()
        return list(self.injector.lines)

    def interrupt(self, stimulus: Float64Array, line: CodeLine, action: Callable[[], None] = _interrupted) -> None:
        """Measure one row, shape (1, n_inputs), and act before a line of the driver, by default as Ctrl-C does.

        What comes of the call is ignored: the session may refuse it or fail.
        """
        self.injector.act_at(line, action)
        self.rows_elsewhere += 1
        try:
            self.open()
            self._called(stimulus)
        except Interruption:
            return
        except DeviceError as error:
            if isinstance(error, Hung):
                raise
            return
        finally:
            self.injector.disarm()
        self.rows_elsewhere -= 1  # the session has counted it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.hung:
                self.session.abort(Deadline.after(SAFE_STATE_SECONDS))  # from another thread: its own hangs
            else:
                self.close()
        except DeviceError as second:
            if error is not None:
                error.add_note(str(second))
        finally:
            self.identity.remove()
            for guard in self.guards:
                guard.remove()


@dataclass(frozen=True)
class Promise:
    """What a driver promises, as something that can be checked; made by :func:`promise`.

    Attributes
    ----------
    name
        How it is asked for: a short word.
    question
        What is checked, in a few words.
    check
        Measures, and judges. It may raise any :class:`hwloop.HwloopError`; then the promise could not be judged.
    rows
        Rows that the check takes beyond the survey.
    applies_to
        Whether a device with this spec makes the promise at all; one that does not is not checked for it.
    """

    name: str
    question: str
    check: Callable[[Examination], Finding | Undecided]
    rows: Callable[[Examination], int]
    applies_to: Callable[[DeviceSpec], bool]

    def require_rows(self, examination: Examination) -> None:
        """Refuse the check where the rows that are left do not cover it.

        Raises
        ------
        BudgetExceeded
        """
        examination.require(self.rows(examination))


def promise(
    name: str,
    question: str,
    rows: int | Callable[[Examination], int] = 0,
    applies_to: Callable[[DeviceSpec], bool] = lambda spec: True,
) -> Callable[[Callable[[Examination], Finding | Undecided]], Promise]:
    """Make a promise of the function that checks it."""
    count = rows if callable(rows) else lambda examination: rows
    return lambda check: Promise(name, question, check, count, applies_to)
