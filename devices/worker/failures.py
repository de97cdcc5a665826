"""What went wrong in a worker, in words and as one of hwloop's errors."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from hwloop.errors import (
    BadReading,
    DeviceChanged,
    DeviceDisconnected,
    DeviceError,
    DeviceTimeout,
    HwloopError,
    LimitError,
    StimulusError,
)

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
    error = next((KINDS[name] for name in names if name in KINDS), DeviceError)
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
