"""One worker process, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import IO, Any

import numpy as np

from hwloop.deadline import Deadline
from hwloop.device.hold import refuse_fork
from hwloop.devices.worker import served
from hwloop.devices.worker.process_end import WorkerLog, how_it_ended, raised_by_target
from hwloop.devices.worker.served import FrameError, SharedFile, decode_frame, encode_frame, received
from hwloop.devices.worker.target import Target
from hwloop.devices.worker.watchdog import TERM_SECONDS, Watchdog
from hwloop.errors import ConfigError, DeviceCrashed, DeviceDisconnected, DeviceError, DeviceTimeout

Arrays = Mapping[str, Any]
Header = dict[str, Any]
OWNER_SECONDS = 0.45  # for the safe state when the owner closes a worker that is still measuring
END_SECONDS = 10.0  # for a driver's close(), when nothing presses
UNUSABLE = ("ImportError", "AttributeError", "TypeError", "ValueError", "SyntaxError")


class WorkerProcess:
    """Starts a worker, asks it questions one at a time, and leaves nothing behind.

    After a crash or a hang every further question fails: start another one. If this object is lost, or the
    program ends, so does the process.

    Parameters
    ----------
    target
        What is served.

    Raises
    ------
    ConfigError
        The target cannot be imported or refuses its settings.
    DeviceError
        The process does not start, or speaks another version.

    Attributes
    ----------
    versions
        What the worker says of itself: ``protocol``, ``python``, ``numpy`` and ``pid``.
    log
        Takes what it prints; ``log.path`` is the file.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.versions: Header = {}
        self._lock = threading.Lock()  # held while a question is being answered
        self._doubtful = False  # a question was left without its answer
        self._owner = os.getpid()
        self._start()
        try:
            self._greet()
        except BaseException:
            self.kill()
            raise

    # -- questions -------------------------------------------------------------------------------------

    def call(
        self,
        op: str,
        header: Mapping[str, Any] | None = None,
        arrays: Arrays | None = None,
        *,
        deadline_seconds: float | None = None,
    ) -> tuple[Header, dict[str, np.ndarray[Any, Any]]]:
        """Call the served object's method ``op``.

        Parameters
        ----------
        header
            ``arguments``, a dictionary that JSON can write, ``optional`` (no such method: nothing is done),
            ``trial``.
        arrays
            Further arguments by name.
        deadline_seconds
            Of this answer; by default the target's.

        Returns
        -------
        The reply's header, whose ``value`` is what the method returned, and the arrays if it returned arrays:
        those of a dictionary by name, a single one as ``outputs``.

        Raises
        ------
        DeviceCrashed
            The process died; the message names the signal.
        DeviceTimeout
            It did not answer by the deadline, and was killed.
        DeviceError, or one of its kinds
            The object raised an exception; the message has the worker's traceback.
        """
        refuse_fork(self._owner, str(self))
        seconds = self.target.deadline_seconds if deadline_seconds is None else deadline_seconds
        if not self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            raise DeviceTimeout(f"{self} is still busy with another question; ask one at a time")
        try:
            reply, answers = self._exchange({**(header or {}), "op": op}, arrays or {}, seconds)
        except FrameError as error:
            raise DeviceError(f"{self} cannot be asked to {op}: {error}") from error
        finally:
            self._lock.release()
        if reply["op"] == "error":
            raise raised_by_target(f"{self} failed at {op}", reply)
        return reply, answers

    def _exchange(self, header: Header, arrays: Arrays, seconds: float) -> tuple[Header, dict[str, Any]]:
        if self._doubtful:
            raise DeviceDisconnected(f"{self} was interrupted in a question; open the device again")
        if not self.alive:
            raise self._lost(header["op"], seconds)
        frame = encode_frame(header, arrays, self._memory)
        self._doubtful = True
        self._watchdog.arm(Deadline.after(seconds))
        try:
            self._connection.send_bytes(frame)
            answer = decode_frame(received(self._connection), self._memory)
        except (EOFError, OSError) as error:
            raise self._lost(header["op"], seconds) from error
        except FrameError as error:
            self._watchdog.end()
            raise DeviceCrashed(f"{self} answered {header['op']} with what is no frame ({error})") from error
        finally:
            self._watchdog.disarm()
        self._doubtful = False
        return answer

    def _lost(self, op: str, seconds: float) -> DeviceError:
        """The error for a connection that broke."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0 if self._watchdog.expired else 1.0)
        if self._watchdog.expired:
            return DeviceTimeout(
                f"{self} did not answer {op} within {seconds:g} s and is killed; is the hardware on, and is "
                f"deadline_seconds long enough? {self.log.last_words()}"
            )
        self._watchdog.end()
        ended = how_it_ended(self._process.returncode)
        return DeviceCrashed(f"{self} {ended} when it was asked to {op}; {self.log.last_words()}")

    # -- life ------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process runs and is not being ended; to a forked copy of its owner it is none of its own."""
        if self._owner != os.getpid():
            return False
        return not self._watchdog.ending and self._process.poll() is None

    @property
    def interrupted(self) -> bool:
        """Whether a question was left without its answer, by Ctrl-C for one: nothing can be asked any more."""
        return self._doubtful and not self._lock.locked()

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        return self._process.pid

    def close(self) -> None:
        """Let the object close itself and end the process; safe to call twice, from any thread.

        If a question is under way, or was interrupted, the worker closes the object on another thread, and is gone
        after half a second.

        Raises
        ------
        DeviceError
            The object could not be closed.
        """
        if self._owner != os.getpid():
            return
        if self._doubtful or not self.alive:
            self.kill(OWNER_SECONDS)
            return
        try:
            self.call("close", {"optional": True}, deadline_seconds=END_SECONDS)
        finally:
            self.kill()

    def kill(self, term_seconds: float = TERM_SECONDS) -> None:
        """End the process and all that it started; on SIGTERM the worker closes its object first."""
        if self._owner != os.getpid():
            return
        self._watchdog.end(term_seconds)
        if self._lock.acquire(timeout=1.0):  # whoever was waiting for an answer is awake, and soon gone
            try:
                self._finalizer()
            finally:
                self._lock.release()

    def __str__(self) -> str:
        return f"the worker of {self.target.name} (process {self.pid})"

    def _start(self) -> None:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._opened_log())
            stack.callback(self.log.discard)
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            lifeline, kept = os.pipe()  # ends when this process does, however that comes about
            stack.callback(os.close, kept)
            memory = stack.enter_context(nameless_file())
            try:
                self._process = self._started((theirs.fileno(), lifeline, memory.fileno()), output)
            finally:
                os.close(lifeline)
            theirs.close()
            output.close()
            self._connection = stack.enter_context(Connection(os.dup(ours.fileno())))
            self._memory = SharedFile(memory.fileno())
            self._watchdog = Watchdog(self._process, ours)
            stack.callback(self._watchdog.end)
            self._finalizer = weakref.finalize(self, _release, os.getpid(), stack.pop_all())

    def _opened_log(self) -> IO[bytes]:
        try:
            self.log = WorkerLog(self.target.log)
            return self.log.opened()
        except OSError as error:
            raise ConfigError(f"the log of {self.target.name} cannot be written: {error}") from error

    def _started(self, handed_over: tuple[int, ...], output: IO[bytes]) -> subprocess.Popen[bytes]:
        self._key = secrets.token_bytes(32)
        try:
            return subprocess.Popen(
                [self.target.python, served.__file__, *map(str, handed_over)],
                env={**self.target.process_environment(), served.KEY: self._key.hex()},
                pass_fds=handed_over,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        except OSError as error:
            raise ConfigError(f"the interpreter {self.target.python} cannot be started ({error})") from error

    def _greet(self) -> None:
        """Both prove that they know the key, versions are compared, and the object is built."""
        self._watchdog.arm(Deadline.after(self.target.start_seconds))
        try:
            deliver_challenge(self._connection, self._key)
            answer_challenge(self._connection, self._key)
        except (EOFError, OSError, AuthenticationError) as error:
            raise self._lost("start", self.target.start_seconds) from error
        finally:
            self._watchdog.disarm()
        self.versions = self._asked("hello")["value"]
        if self.versions["protocol"] != served.PROTOCOL:
            raise DeviceError(
                f"{self} speaks version {self.versions['protocol']} of the protocol, not {served.PROTOCOL}"
            )
        try:
            self._asked("build", self.target.arguments(), self.target.arrays)
        except FrameError as error:
            raise ConfigError(f"the settings of {self.target.name} cannot be sent: {error}") from error

    def _asked(self, op: str, arguments: Header | None = None, arrays: Arrays | None = None) -> Header:
        header = {"op": op, "arguments": arguments or {}}
        reply, _ = self._exchange(header, arrays or {}, self.target.start_seconds)
        if reply["op"] == "error":
            error = raised_by_target(f"{self} cannot be built", reply)
            if any(kind in UNUSABLE for kind in reply["kinds"]):
                raise ConfigError(f"{error}\nCheck target, settings and python")
            raise error
        return reply


def nameless_file() -> IO[bytes]:
    """A file in memory where there is such a folder; it has no name from the beginning."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryFile(prefix="hwloop-", dir=folder)


def _release(owner: int, resources: contextlib.ExitStack) -> None:
    if os.getpid() == owner:  # a forked copy leaves the worker to whom it belongs
        resources.close()
