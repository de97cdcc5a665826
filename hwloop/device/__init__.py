"""The seam between hwloop and the physics: :class:`Device` and what it promises. Needs numpy alone."""

from hwloop.device.base import Device
from hwloop.device.description import DeviceDescription
from hwloop.device.hold import handed_on
from hwloop.device.spec import DeviceSpec, RowHandling
from hwloop.device.tunables import Tunable
from hwloop.device.wrapper import DeviceWrapper

__all__ = ["Device", "DeviceDescription", "DeviceSpec", "DeviceWrapper", "RowHandling", "Tunable", "handed_on"]
