"""What every driver's ``open``, ``close`` and ``identify`` pass through, whoever wrote and whoever calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hwloop.device.hold import closed, hold_of, opened, refuse_fork

if TYPE_CHECKING:
    from hwloop.device.base import Device


def opening(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """An ``open`` after which the same unit must answer as before; see :mod:`hwloop.device.hold`."""

    @functools.wraps(method)
    def open(self: Device) -> None:
        opened(self, lambda: method(self))

    return open


def closing(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """A ``close`` that closes nothing of another owner's or another process's."""

    @functools.wraps(method)
    def close(self: Device) -> None:
        closed(self, lambda: method(self))

    return close


def asking(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """An ``identify`` that asks while nobody else is asking or measuring."""

    @functools.wraps(method)
    def identify(self: Device) -> str:
        hold = hold_of(self)
        refuse_fork(hold.process, type(self).__name__)
        with hold.lock:
            return method(self)

    return identify


GUARDS: dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]] = {
    "open": opening,
    "close": closing,
    "identify": asking,
}


def guard(kind: type[Device]) -> None:
    """Put the guards around what a class defines of its own."""
    for name, guarded in GUARDS.items():
        method = kind.__dict__.get(name)
        if callable(method):
            setattr(kind, name, guarded(method))
