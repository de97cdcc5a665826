"""Makes sure that it is one device that answers a session, from its first row to its last."""

from __future__ import annotations

import time
import weakref
from typing import Any

from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.device.hold import Holder, hold_of
from hwloop.errors import DeviceChanged

# An identity that takes longer may have come over a cable, where asking costs time and may disturb.
FROM_MEMORY_SECONDS = 1e-4
DOUBTFUL_SECONDS = 1e-2
SHOWN_DIFFERENCES = 3


class OneUnit:
    """Remembers who answered when a session was opened first, and refuses everybody else.

    Every reopening inside the device is watched by :mod:`hwloop.device.hold`. This watches what that cannot see:
    the session's own reopening, a spec that changes, and an identity that changes with no call failing.

    Attributes
    ----------
    identity
        What the device said of itself when it was opened first; empty before.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._name = type(device).__name__
        self._description: DeviceDescription | None = None
        self._spec: DeviceSpec | None = None
        self._units: list[tuple[weakref.ref[Device], str]] = []
        self._asking_seconds = float("inf")
        self.identity = ""

    def opened(self, identity: str, description: DeviceDescription, holder: Holder) -> None:
        """Compare who was opened with who was opened before; called on the thread that owns the device.

        Raises
        ------
        DeviceChanged
        """
        if self._description is None:
            self.identity, self._description, self._spec = identity, description, description.spec
        different = description.differences(self._description)
        if different:
            raise self._changed("; ".join(different[:SHOWN_DIFFERENCES]))
        self._compare(identity)
        found = [
            (hold.device, hold.identity) for hold in holder.holds if hold.identity is not None and hold.device()
        ]
        for unit, who in self._units:
            now = next((other for device, other in found if device() is unit()), who)
            if now != who:
                raise self._changed(f"{type(unit()).__name__}, inside of it, says {now!r} of itself, not {who!r}")
        self._units = found
        self._asking_seconds = self._quickest(hold_of(self._device).asking_seconds)

    def _quickest(self, seconds: float) -> float:
        """How long the device takes to say who it is; asked again where other programs may have held it up."""
        for _ in range(4):
            if not FROM_MEMORY_SECONDS < seconds < DOUBTFUL_SECONDS:
                break
            began = time.perf_counter()
            self._compare(self._device.identify())
            seconds = min(seconds, time.perf_counter() - began)
        return seconds

    def __getstate__(self) -> dict[str, Any]:
        """A copy knows the device; the objects inside of it are copied too, or not, and looked at anew."""
        return {**self.__dict__, "_units": []}

    def check_spec(self) -> None:
        """Refuse a spec that is another than when the device was opened; raises as :meth:`opened`."""
        different = [] if self._spec is None else self._device.spec.differences(self._spec)
        if different:
            raise self._changed("; ".join(different))

    def check_answer(self) -> None:
        """Refuse an answer of another device before it is recorded; raises as :meth:`opened`."""
        self.check_spec()
        if self._asking_seconds <= FROM_MEMORY_SECONDS:
            self._compare(self._device.identify())

    def _compare(self, found: str) -> None:
        if found != self.identity:
            raise self._changed(f"it says {found!r} of itself, not {self.identity!r}")

    def _changed(self, difference: str) -> DeviceChanged:
        return DeviceChanged(
            f"{self._name} is another device than this session was opened on: {difference}. Nothing that it "
            "measured since is recorded. Connect the first one again, or make a new session for this one"
        )
