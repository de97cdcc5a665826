"""Ctrl-C, SIGTERM and a lost terminal: the first stops a run after the rows in flight, the second at once.

Python runs its signal handlers on the main thread, between two steps of it. A first signal can wait for that; a
second cannot: the main thread may be in a long computation, or waiting for a device that does not answer. So a
thread of its own reads which signals came from the wake-up file, into which the interpreter writes them at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from hwloop.deadline import Deadline
from hwloop.shutdown import OPEN_DEVICES

INTERRUPTED = 130  # the exit code, as the shell gives it for a program that Ctrl-C ended
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAFE_STATE_SECONDS = 0.6  # for the devices to reach it, after the second signal
EXIT_SECONDS = 0.8  # for everything, after the second signal
# A terminal that is lost is told twice, by the kernel and by the shell; that is no second Ctrl-C.
ONE_HANGUP_SECONDS = 1.0


_process_ends_with_command = False


def end_process_with_command() -> None:
    """Ignore these signals from the end of the command on: its last line and its exit code are final.

    The interpreter takes a moment to end, and a signal then would end it in its own way. For the process of the
    command alone: whoever calls commands from a program gets the signals back.
    """
    global _process_ends_with_command
    _process_ends_with_command = True


class StopSignals:
    """While it is entered, the first signal raises ``KeyboardInterrupt`` and the second ends the process.

    A signal that is ignored already (``nohup``) stays so. Entered on another thread than the main it does nothing.

    Parameters
    ----------
    give_up
        Called when the second signal came and the main thread did not end in time: the last chance to say what
        is kept.
    """

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._installed: dict[signal.Signals, Any] = {}
        self._raised = False
        self._aborting = threading.Event()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._terminals = [number for number in (1, 2) if _is_terminal(number)]
        self._awake, self._asleep = socket.socketpair()
        self._asleep.setblocking(False)
        self._former_wakeup = signal.set_wakeup_fd(self._asleep.fileno(), warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="hwloop-signals", daemon=True)
        self._watcher.start()
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._installed[number] = signal.signal(number, self._raise_once)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._installed:
            return
        self._ended.set()
        if self._aborting.is_set():
            self._watcher.join(EXIT_SECONDS)  # it ends the process as soon as the devices are safe
        for number, handler in self._installed.items():
            signal.signal(number, signal.SIG_IGN if _process_ends_with_command else handler)
        signal.set_wakeup_fd(self._former_wakeup)
        self._asleep.close()  # the watcher reads the end, and is gone
        self._watcher.join(EXIT_SECONDS)
        self._awake.close()
        if self._raised:
            # The interpreter notes an interrupt that passed through an exec() of text, as some imports have it,
            # and would end itself by SIGINT instead of with our exit code. The next exec() clears the note.
            exec("")

    def _raise_once(self, number: int, frame: FrameType | None) -> None:
        """On the main thread; what it does meanwhile (saving, closing) is never interrupted a second time."""
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        last: float | None = None
        while received := self._awake.recv(64):
            for number in received:
                if number not in self._installed:
                    continue
                now = time.monotonic()
                hangup = number == signal.SIGHUP
                if hangup:
                    self._let_go_of_terminal()
                if last is None and len(OPEN_DEVICES):
                    _say("hwloop: stopping after the rows in flight; Ctrl-C again stops at once")
                elif last is not None and not (hangup and now - last < ONE_HANGUP_SECONDS):
                    self._stop_at_once(now)
                last = now

    def _stop_at_once(self, now: float) -> None:
        """Bring the devices to their safe state and end the process, however the main thread is occupied."""
        self._aborting.set()
        ends = Deadline(now + EXIT_SECONDS)
        problems = OPEN_DEVICES.abort(Deadline(now + SAFE_STATE_SECONDS))
        for problem in problems:
            _say(f"hwloop: {problem}; check by hand that the device is in its safe state")
        if not self._ended.wait(ends.remaining_seconds):
            self._give_up()
        _flush()
        os._exit(INTERRUPTED)

    def _let_go_of_terminal(self) -> None:
        """A terminal that is gone fails every write, and would turn a clean stop into an error."""
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for number in self._terminals:
                os.dup2(nowhere, number)
            os.close(nowhere)


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False


def _say(line: str) -> None:
    """Write a line to standard error past whatever holds its buffer."""
    before = "\n" if _is_terminal(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{before}{line}\n".encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
