"""Why a worker failed or ended: what its object raised, its exit code, and the last lines that it printed."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from hwloop.devices.hosted import class_named
from hwloop.errors import (
    BadReading,
    DeviceChanged,
    DeviceDisconnected,
    DeviceTimeout,
    HwloopError,
    LimitError,
    StimulusError,
)

TAIL_LINES = 8
TAIL_BYTES = 4000


class WorkerLog:
    """The file that takes a worker's standard output and standard error.

    Parameters
    ----------
    path
        The user's own file, appended to; ``None`` for a temporary one, which is removed if nobody was told of it.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._removable = path is None
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="hwloop-worker-", suffix=".log")
            os.close(descriptor)
            path = Path(name)
        self.path = path

    def opened(self) -> IO[bytes]:
        """For the process that prints."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return open(self.path, "ab")

    def last_words(self) -> str:
        """Where it is, and its last lines, for a message."""
        self._removable = False
        try:
            with open(self.path, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        except OSError as error:
            return f"its log {self.path} cannot be read ({error.strerror})"
        if not any(line.strip() for line in lines):
            return f"it printed nothing to its log, {self.path}"
        return "\n".join([f"the end of its log, {self.path}:", *lines])

    def discard(self) -> None:
        """Remove it, unless it is the user's or a message has named it."""
        if self._removable:
            with contextlib.suppress(OSError):
                self.path.unlink()


KINDS: dict[str, type[HwloopError]] = {
    "LimitError": LimitError,
    "StimulusError": StimulusError,
    "BadReading": BadReading,
    "DeviceChanged": DeviceChanged,
    "DeviceTimeout": DeviceTimeout,
    "TimeoutError": DeviceTimeout,
    "DeviceDisconnected": DeviceDisconnected,
    "ConnectionError": DeviceDisconnected,
    "EOFError": DeviceDisconnected,
}


def raised_by_target(what: str, reply: Mapping[str, Any]) -> HwloopError:
    """The error for an exception that the served object raised; the worker lives on.

    Parameters
    ----------
    what
        Who failed at what, such as ``"the worker of lab.py:Rig failed at measure"``.
    reply
        The worker's: the exception's classes, its message and its traceback.
    """
    kinds, message, traceback = (reply.get(key) for key in ("kinds", "message", "traceback"))
    names = [str(kind) for kind in kinds] if isinstance(kinds, list) else []
    error = class_named(names, KINDS)
    first = names[0] if names else "an error"
    text = f"{what} ({first}: {message})" if message else f"{what} ({first})"
    return error(f"{text}; in the worker:\n{str(traceback or '').rstrip()}")


def how_it_ended(returncode: int) -> str:
    """An exit code in words."""
    number = -returncode if returncode < 0 else returncode - 128
    try:
        return f"died of {signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"ended with exit code {returncode}"
