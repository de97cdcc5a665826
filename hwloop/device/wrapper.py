"""A device that holds a device: averaging, quantisation, drift, retries and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwloop.device.base import Device
from hwloop.device.handling import declared
from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.events import Listener


class DeviceWrapper(Device):
    """Base of all wrappers: passes everything on to ``device``.

    A wrapper calls ``self.device.measure``, never ``_measure``: so the limits of the device inside are
    checked on what really reaches it, whatever the wrapper does to a stimulus.

    A wrapper says in ``handling`` what becomes of rows on their way to the device inside. One that does not can
    only stand outside of those that promise something of these rows, such as
    :class:`hwloop.devices.slew_limited.SlewLimited`.
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The spec of the device inside; a wrapper that changes it overrides this."""
        return self.device.spec

    @property
    def reproducible(self) -> bool:  # type: ignore[override]
        """As the device inside."""
        return self.device.reproducible

    def open(self) -> None:
        """Open the device inside."""
        self.device.open()

    def close(self) -> None:
        """Close the device inside."""
        self.device.close()

    def versions(self) -> dict[str, str]:
        """Those of the device inside."""
        return self.device.versions()

    def continue_from(self, rows: int) -> None:
        """Passed on; a wrapper that changes the number of rows overrides this."""
        self.device.continue_from(rows)

    def position(self) -> Float64Array | None:
        """That of the device inside, where the wrapper leaves stimuli as they are."""
        handling = declared(self)
        return None if handling is None or handling.changes_stimuli else self.device.position()

    @property
    def listener(self) -> Listener | None:
        """The listener of the device inside."""
        return self.device.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self.device.listener = listener

    def identify(self) -> str:
        """The wrapper's name around the identity of the device inside."""
        return f"{type(self).__name__}({self.device.identify()})"

    def unit(self) -> str:
        """The wrapper's class; what it does is among its settings, and the device inside says who it is."""
        return type(self).__name__

    def _who(self, identity: str) -> str:
        """What a wrapper adds to the identity of the device inside where it has an identity of its own."""
        for base in type(self).__mro__:
            if "unit" in base.__dict__ or base.__dict__.get("identity_states_settings"):
                return self.unit()
            if "identify" in base.__dict__:
                inner, mine = self.device.identify(), identity or self.identify()
                return mine.replace(inner, "…") if inner else mine
        raise AssertionError("DeviceWrapper has both")

    @property
    def devices_inside(self) -> Sequence[Device]:
        """The device inside."""
        return (self.device,)

    def described_settings(self) -> dict[str, Any]:
        """The wrapper's own settings; the device inside describes itself."""
        return {name: value for name, value in super().described_settings().items() if name != "device"}

    def _all_settings(self) -> dict[str, Any]:
        return {name: value for name, value in super()._all_settings().items() if not name.endswith(".device")}
