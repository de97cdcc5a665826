"""Signals and devices of ophyd-async in, signals and detectors out."""

from __future__ import annotations

import asyncio
import atexit
import functools
import re
import threading
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from hwloop.device.settings import real_number
from hwloop.devices.adapters.channels import ChannelDevice, Gettable, Settable, limits_within
from hwloop.devices.adapters.sent_values import Multiples
from hwloop.errors import DeviceError, DeviceTimeout

T = TypeVar("T")


class EventLoop:
    """Runs coroutines in ``loop``, which turns in another thread, for code that has no event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @classmethod
    def of_bluesky(cls) -> EventLoop | None:
        """The loop of the process's RunEngine; ``None`` where there is none."""
        try:
            from bluesky.run_engine import get_bluesky_event_loop
        except ImportError:
            return None
        loop = get_bluesky_event_loop()
        return cls(loop) if loop is not None and loop.is_running() else None

    @staticmethod
    @functools.cache
    def of_hwloop() -> EventLoop:
        """A loop in a thread of its own: one a process, for a signal that is connected in a loop stays in it."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="hwloop-event-loop", daemon=True)
        thread.start()

        def stop() -> None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        atexit.register(stop)
        return EventLoop(loop)

    def run(self, work: Coroutine[Any, Any, T], timeout_seconds: float) -> T:
        """The result of ``work``; it is cancelled when the time is over, or when the wait is interrupted.

        Raises
        ------
        TimeoutError
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_seconds)
        except BaseException:
            future.cancel()
            raise


class OphydAsyncDevice(ChannelDevice):
    """ophyd-async signals, motors and detectors as the channels of a device.

    A row: all settables are set at once and waited for, then, after settling, all gettables are triggered (where
    they can be) and read at once. A gettable with several readings gives them in the order of their names, numbers
    in them as numbers. The work is done in the loop of the process's RunEngine, so make that first, or, where
    there is none, in one of our own. What can be staged is staged by ``open``, and unstaged by ``close`` after
    going to rest.

    Units and limits are asked from the signals, which connects them; so the device answers when it is built.

    Parameters
    ----------
    settables
        What has ``set`` (``SignalRW``, ``SignalW``, a motor), or ``(settable, low, high)``. Without limits, the
        control limits that it describes hold (EPICS: DRVL and DRVH); else they must be given.
    gettables
        What has ``read`` (``SignalR``, a detector), or ``(gettable, size)``; its size is what it describes.
    settling_seconds, row_seconds
        See :class:`ChannelDevice`.
    timeout_seconds
        For connecting, and for setting or reading one row.
    mock
        Connect in ophyd-async's mock mode, for tests.

    Raises
    ------
    ValueError
        Limits are missing, or wider than the signal's own.
    DeviceError
        It does not connect.
    """

    harmless_settings: ClassVar = {"timeout_seconds": "how long a row is waited for"}

    def __init__(
        self,
        settables: Sequence[Any],
        gettables: Sequence[Any],
        *,
        settling_seconds: float = 0.0,
        row_seconds: float | None = None,
        timeout_seconds: float = 10.0,
        mock: bool = False,
    ) -> None:
        self.timeout_seconds = real_number("timeout_seconds", timeout_seconds, low=0.001)
        self._loop = EventLoop.of_bluesky() or EventLoop.of_hwloop()
        self._inputs = [Settable.split(item)[0] for item in settables]
        self._outputs = [Gettable.split(item)[0] for item in gettables]
        self._staged: list[Any] = []
        self._run(self._connect(mock))
        keys = self._run(self._describe())
        self._keys = keys[len(self._inputs) :]
        super().__init__(
            [self._settable(item, described) for item, described in zip(settables, keys, strict=False)],
            [self._gettable(item, described) for item, described in zip(gettables, self._keys, strict=True)],
            settling_seconds=settling_seconds,
            row_seconds=row_seconds,
            on_open=lambda: self._run(self._stage()),
            on_close=lambda: self._run(self._unstage()),
        )

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(work, self.timeout_seconds)
        except TimeoutError as error:
            raise DeviceTimeout(
                f"{self._names} did not answer within {self.timeout_seconds:g} s; check that it is connected"
            ) from error
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise DeviceError(f"{self._names} failed ({what}); check the connection") from error

    # -- what the signals say about themselves -----------------------------------------------------------

    @property
    def _parts(self) -> list[Any]:
        return list(dict.fromkeys([*self._inputs, *self._outputs]))

    @property
    def _names(self) -> str:
        return ", ".join(_name(part) for part in self._parts)

    async def _connect(self, mock: bool) -> None:
        for number, part in enumerate(self._parts):
            if not part.name:
                part.set_name(f"channel_{number}")
        await asyncio.gather(*(part.connect(mock=mock, timeout=self.timeout_seconds) for part in self._parts))

    async def _describe(self) -> list[dict[str, Any]]:
        """Data keys of each part in the order of their names: ophyd-async merges them as they come."""
        described = [
            await part.describe() if hasattr(part, "describe") else {} for part in (*self._inputs, *self._outputs)
        ]
        return [{name: keys[name] for name in sorted(keys, key=_natural)} for keys in described]

    def _settable(self, item: Any, described: dict[str, Any]) -> Settable:
        settable, given = Settable.split(item)
        key: dict[str, Any] = described.get(settable.name) or next(iter(described.values()), {})
        low, high = limits_within(_name(settable), given, _control_limits(key))
        return Settable(
            _name(settable),
            partial(self._set, settable),
            low,
            high,
            key.get("units") or "",
            get=partial(self._now, settable) if _can_be_read(settable) else None,
            levels=Multiples(1, whole=True) if key.get("dtype") == "integer" else None,
        )

    def _gettable(self, item: Any, described: dict[str, Any]) -> Gettable:
        gettable, size = Gettable.split(item)
        units = dict.fromkeys(key.get("units") or "" for key in described.values())
        size = size or sum(_size(key) for key in described.values())
        return Gettable(_name(gettable), partial(self._get, gettable, described), ", ".join(units), size)

    # -- a row -------------------------------------------------------------------------------------------

    def _set(self, settable: Any, value: float) -> None:
        self._run(_set_all([(settable, value)]))

    def _get(self, gettable: Any, described: dict[str, Any]) -> list[float]:
        return self._run(_reading(gettable, described))

    def _now(self, settable: Any) -> Any:
        return self._run(_reading_of(settable))

    def _write(self, values: Sequence[float]) -> None:
        given = [settable.as_set(value) for settable, value in zip(self.settables, values, strict=True)]
        self._run(_set_all(list(zip(self._inputs, given, strict=True))))

    def _read(self) -> Sequence[Any]:
        async def read() -> Sequence[Any]:
            return await asyncio.gather(*map(_reading, self._outputs, self._keys))

        return self._run(read())

    async def _stage(self) -> None:
        for part in self._parts:
            if hasattr(part, "stage"):
                self._staged.append(part)
                await part.stage()

    async def _unstage(self) -> None:
        while self._staged:
            await self._staged.pop().unstage()


async def _set_all(values: Sequence[tuple[Any, float]]) -> None:
    await asyncio.gather(*(settable.set(value) for settable, value in values))


def _can_be_read(settable: Any) -> bool:
    return hasattr(settable, "locate") or hasattr(settable, "get_value")


async def _reading_of(settable: Any) -> Any:
    """Where it stands: a motor's position, a signal's value."""
    if hasattr(settable, "locate"):
        return (await settable.locate())["readback"]
    return await settable.get_value()


async def _reading(gettable: Any, described: dict[str, Any]) -> list[float]:
    """All numbers that it reads, in the order in which it describes them."""
    if hasattr(gettable, "trigger"):
        await gettable.trigger()
    reading = await gettable.read()
    numbers: list[float] = []
    for key in described:
        value = reading[key]["value"]
        numbers.extend(value.ravel() if hasattr(value, "ravel") else [value])
    return numbers


def _control_limits(key: dict[str, Any]) -> tuple[float, float] | None:
    control = (key.get("limits") or {}).get("control") or {}
    low, high = control.get("low"), control.get("high")
    return None if low is None or high is None else (float(low), float(high))


def _size(key: dict[str, Any]) -> int:
    size = 1
    for length in key.get("shape") or ():
        size *= int(length or 1)
    return size


def _natural(name: str) -> list[tuple[int, str]]:
    """A key to sort by: ``adc-10`` comes after ``adc-9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _name(part: Any) -> str:
    return str(part.name or type(part).__name__)
