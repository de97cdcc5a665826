"""A device that holds a device: averaging, quantisation, drift, retries and the like."""

from __future__ import annotations

from hwloop.device.base import Device
from hwloop.device.spec import DeviceSpec


class DeviceWrapper(Device):
    """Base of all wrappers: passes everything on to ``device``.

    A wrapper calls ``self.device.measure``, never ``_measure``: so the limits of the device inside are
    checked on what really reaches it, whatever the wrapper does to a stimulus.
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """The spec of the device inside; a wrapper that changes it overrides this."""
        return self.device.spec

    def open(self) -> None:
        """Open the device inside."""
        self.device.open()

    def close(self) -> None:
        """Close the device inside."""
        self.device.close()

    def identify(self) -> str:
        """The wrapper's name around the identity of the device inside."""
        return f"{type(self).__name__}({self.device.identify()})"
