"""Instruments that speak SCPI, over PyVISA: a link that survives what links do, and tables of commands."""

from hwloop.devices.scpi.commands import control, measurement, setting
from hwloop.devices.scpi.instrument import ScpiInstrument
from hwloop.devices.scpi.line import Line
from hwloop.devices.scpi.link import ScpiLink

__all__ = ["Line", "ScpiInstrument", "ScpiLink", "control", "measurement", "setting"]
