"""What every driver's ``open``, ``close`` and ``identify`` pass through, whoever wrote and whoever calls them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hwloop.device.hold import changing_itself, closed, hold_of, opened, refuse_fork

if TYPE_CHECKING:
    from hwloop.device.base import Device

Method = Callable[..., Any]


def opening(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """An ``open`` after which the same unit must answer as before; see :mod:`hwloop.device.hold`."""

    @functools.wraps(method)
    def open(self: Device, *arguments: Any, **options: Any) -> None:
        opened(self, lambda: method(self, *arguments, **options))

    return open


def closing(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """A ``close`` that closes nothing of another owner's or another process's."""

    @functools.wraps(method)
    def close(self: Device, *arguments: Any, **options: Any) -> None:
        closed(self, lambda: method(self, *arguments, **options))

    return close


def asking(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """An ``identify`` that asks while nobody else is asking or measuring."""

    @functools.wraps(method)
    def identify(self: Device, *arguments: Any, **options: Any) -> str:
        hold = hold_of(self)
        refuse_fork(hold.process, type(self).__name__)
        with hold.lock, changing_itself(self):
            return method(self, *arguments, **options)

    return identify


GUARDS: dict[str, Callable[[Method], Method]] = {"open": opening, "close": closing, "identify": asking}


def guard(kind: type[Device], guarded_bases: type[Device]) -> None:
    """Put the guards around what a class defines of its own, or takes from a base that is no device."""
    for name, guarded in GUARDS.items():
        home = next(base for base in kind.__mro__ if name in base.__dict__)
        method = home.__dict__[name]
        if inspect.isfunction(method) and (home is kind or not issubclass(home, guarded_bases)):
            setattr(kind, name, guarded(method))
