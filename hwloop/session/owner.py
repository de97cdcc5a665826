"""Runs the one thread that owns a device."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from hwloop.device import Device
from hwloop.device.hold import Holder, hold_of, working_for
from hwloop.errors import DeviceError, HwloopError
from hwloop.events import Event, Listener, MayStand
from hwloop.jobs import Job, fulfil, run_jobs
from hwloop.session.recorder import Recorder
from hwloop.shutdown import OPEN_DEVICES, Abort

T = TypeVar("T")
LAST_WORD_SECONDS = 0.25


@dataclass(frozen=True, eq=False)
class User:
    """A session, as the owner of its device knows it.

    Attributes
    ----------
    recorder
        Measures; told when no answer counts any more.
    listener
        Takes what the device tells while it works for this session.
    """

    recorder: Recorder
    listener: Listener


class DeviceOwner(Holder):
    """Opens a device, runs jobs on it in the order in which they come, and closes it: all on one thread.

    Every session on one device object shares its owner: their jobs take turns, and the last one to leave closes
    the device. Nobody else may call it meanwhile (:mod:`hwloop.device.hold`).

    The thread is a daemon: a driver that never returns cannot keep the process from ending. Until the device is
    closed it stands in :data:`hwloop.shutdown.OPEN_DEVICES`, which closes it when the interpreter exits.

    Parameters
    ----------
    device
        The device.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(f"a session on {type(device).__name__}")
        self.device = device
        self._users: list[User] = []
        self._turn = threading.Condition()
        self._at_work_for: User | None = None
        self._last: User | None = None
        self._to_users = _ToUsers(self)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._opened: Future[str] = Future()
        self._closed: Future[None] = Future()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="hwloop-device", daemon=True)

    @classmethod
    def of(cls, device: Device, user: User) -> DeviceOwner:
        """Join a session to the owner of a device; the first session has the device opened.

        Raises
        ------
        DeviceError
            It is in other hands: inside of a device that another session has, or in the process that this one was
            forked from. Or it is shared, and one of the sessions goes on from a recorded journal.
        """
        while True:
            with _JOINING:
                holder = hold_of(device).holder
                if isinstance(holder, cls) and threading.current_thread() is holder._thread:
                    raise DeviceError("a session cannot be opened on its device's thread, by a listener for one")
                if isinstance(holder, cls) and holder.device is device and holder.process == os.getpid():
                    if holder._joined_by(user):
                        return holder
                else:
                    owner = cls(device)
                    hold_of(device).take(device, owner)
                    owner._users.append(user)
                    OPEN_DEVICES.add(owner)
                    owner._jobs.put(owner._open_and_tell)
                    holder = None
            if holder is None:
                try:
                    owner._thread.start()  # it waits for the thread, so not while others wait for the lock
                except BaseException as error:
                    owner._ended(error)
                    raise
                return owner
            holder._closed.exception()  # until it is closed; then it is opened anew

    def _joined_by(self, user: User) -> bool:
        self._users.append(user)
        if self._closing:
            self._users.remove(user)
            return False
        if len(self._users) > 1 and any(each.recorder.goes_on for each in self._users):
            self._users.remove(user)
            raise DeviceError(
                f"{type(self.device).__name__} is in use by another session, and a run that goes on from its "
                "journal needs the device to itself: close the other session first"
            )
        return True

    def opened_for(self, user: User, step: Callable[[str], None]) -> None:
        """Wait until the device is open, and take a first step with what it says of itself.

        One that cannot be opened is brought to its safe state; if the step fails, its user leaves.

        Raises
        ------
        DeviceError
        """
        try:
            identity = self._opened.result()
            self.call(user, lambda: step(identity))
        except BaseException as error:
            try:
                self.leave(user)
            except DeviceError as second:
                error.add_note(str(second))
            raise

    def submit(self, user: User, job: Callable[..., None], *arguments: Any) -> None:
        """Run a job after those that were submitted before it; it must not raise."""
        self._jobs.put(lambda: self._work(user, lambda: job(*arguments)))

    def begin(self, user: User, step: Callable[[], T]) -> Future[T]:
        """Run a step after the jobs that were submitted before it, and return at once."""
        future: Future[T] = Future()
        self._jobs.put(lambda: self._work(user, lambda: fulfil(future, step)))
        return future

    def call(self, user: User, step: Callable[[], T]) -> T:
        """Run a step, and wait for its result; at once where this is the device's thread, as in a listener."""
        if threading.current_thread() is self._thread:
            return step()
        return self.begin(user, step).result()

    def leave(self, user: User, last_step: Callable[[], None] | None = None) -> None:
        """End the job of this user that is under way; the last one to leave closes the device, and waits for that.

        ``last_step`` is taken before, if the device is not being closed already; what it raises comes at the end.

        Raises
        ------
        DeviceError
        """
        taken: Future[None] | None = None
        if last_step is not None and threading.current_thread() is not self._thread and not self._closing:
            taken = self.begin(user, last_step)
            wait([taken, self._closed], return_when=FIRST_COMPLETED)  # an abort ends the waiting too
        self._leave(user)
        if taken is not None and taken.done():
            taken.result()

    def _leave(self, user: User) -> None:
        self.leave_later(user)
        if threading.current_thread() is self._thread:
            raise DeviceError("a session cannot be closed on its device's own thread, by a listener for one")
        if self._closing:
            self._closed.result()
        with self._turn:
            self._turn.wait_for(lambda: self._at_work_for is not user)

    def leave_later(self, user: User) -> None:
        """The same, and do not wait for it."""
        if self.process != os.getpid():
            return  # forked: the thread and the device are the parent's
        with _JOINING:
            if user in self._users:
                self._users.remove(user)
                self._last = user
            if not self._users:
                self.close_later()

    def lost(self, user: User) -> None:
        """A session was collected, on whatever thread, with whatever locks held: it leaves when its turn comes."""
        if self.process == os.getpid():
            self._jobs.put(lambda: self.leave_later(user))

    def close(self) -> None:
        """Close the device after the jobs that were submitted, whoever shares it; safe to call twice.

        Raises
        ------
        DeviceError
        """
        self.close_later()
        self._closed.result()

    def close_later(self) -> None:
        """The same, and do not wait for it."""
        with _JOINING:
            if not self._closing:
                self._closing = True
                self._jobs.put(self._close_and_tell)
                self._jobs.put(None)

    def begin_abort(self) -> Abort:
        """Close the device from other threads, although its own may still be measuring.

        What it answers from now on is not recorded, and the journals are closed. When its own thread comes back,
        that closes the device once more: the call in flight may have opened it again.
        """
        # Who has left may still have a call in flight: leaving waits for it.
        users = [*self._users, self._last, self._at_work_for]
        recorders = list({id(user): user.recorder for user in users if user is not None}.values())
        for recorder in recorders:
            recorder.halt()
        self.close_later()
        at_rest = threading.Event()

        def close_device() -> None:
            try:
                self._close_for_me()
            finally:
                at_rest.set()

        def close_journals() -> None:
            at_rest.wait(LAST_WORD_SECONDS)  # the device may leave word of where it stands
            for recorder in recorders:
                recorder.journal.close()

        steps = (close_device, close_journals)
        return Abort(type(self.device).__name__, steps, self._thread, self._abort_ended)

    # -- on the device's thread ------------------------------------------------------------------------

    def _run(self) -> None:
        with working_for(self):
            run_jobs(self._jobs)

    def _work(self, user: User, step: Callable[[], None]) -> None:
        with self._turn:
            self._at_work_for = user
        try:
            step()
        finally:
            with self._turn:
                self._at_work_for = None
                self._turn.notify_all()

    def heard(self, event: Event) -> None:
        """Pass on what the device tells to the session it works for; to all, where hardware may stand."""
        present = list(self._users) or [user for user in (self._last,) if user is not None]
        if not isinstance(event, MayStand):
            present = [self._at_work_for] if self._at_work_for is not None else present[:1]
        for user in present:
            user.listener(event)

    def _open_and_tell(self) -> None:
        fulfil(self._opened, self._open_device)

    def _close_and_tell(self) -> None:
        outcome: Future[None] = Future()
        fulfil(outcome, self._close_device)
        self._ended(outcome.exception())

    def _abort_ended(self, problem: str) -> None:
        """End the waiting for the device to be closed."""
        self._ended(DeviceError(f"{problem}; check by hand that it is in its safe state") if problem else None)

    def _ended(self, failure: BaseException | None) -> None:
        OPEN_DEVICES.discard(self)
        self.let_go()
        self._to_users.owner = None
        with contextlib.suppress(InvalidStateError):  # an abort was quicker, or its own thread
            if failure is None:
                self._closed.set_result(None)
            else:
                self._closed.set_exception(failure)

    def _open_device(self) -> str:
        name = type(self.device).__name__
        try:
            self.device.listener = self._to_users
            self.device.open()
            identity = hold_of(self.device).identity or self.device.identify()
        except HwloopError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{name} could not be opened ({type(error).__name__}: {error}); check power, cable and address"
            ) from error
        return _as_text(name, identity)

    def _close_for_me(self) -> None:
        """From another thread: what another owner has by now is left alone."""
        with working_for(self):
            self._close_device()

    def _close_device(self) -> None:
        name = type(self.device).__name__
        try:
            self.device.close()
        except HwloopError:
            raise
        except Exception as error:
            raise DeviceError(
                f"{name} could not be closed ({type(error).__name__}: {error}) and may not be in its safe state; "
                "check it by hand"
            ) from error


class _ToUsers:
    """Listener of a device that forwards to its owner; it keeps nothing alive once the device is closed."""

    def __init__(self, owner: DeviceOwner | None) -> None:
        self.owner = owner

    def __call__(self, event: Event) -> None:
        owner = self.owner
        if owner is not None:
            owner.heard(event)

    def __reduce__(self) -> tuple[Any, ...]:
        return _ToUsers, (None,)


_JOINING = threading.RLock()  # held for moments, by sessions that come and go


def _renew_lock() -> None:
    """In a forked process: a thread that is not here may have held it."""
    global _JOINING
    _JOINING = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def _as_text(name: str, identity: Any) -> str:
    """What a device says of itself, if it is text that a file can hold.

    Raises
    ------
    DeviceError
    """
    if not isinstance(identity, str):
        raise DeviceError(
            f"{name}.identify() gave {type(identity).__name__} ({str(identity)[:60]!r}), not text; decode "
            "what the instrument answers in the driver, such as reply.decode('latin-1').strip()"
        )
    if any("\ud800" <= character <= "\udfff" for character in identity):
        raise DeviceError(
            f"{name}.identify() gave {identity[:60]!r}, which no file can hold; decode what the instrument "
            "answers as 'latin-1', not with 'surrogateescape'"
        )
    return identity
