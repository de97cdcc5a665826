"""Keysight 33500B and 33600A function generators (and their Agilent forebears).

Source: *Keysight 33500B/33600A Series Operating and Service Guide*, part "SCPI Programming Reference": subsystems
DATA, FUNCtion, VOLTage, OUTPut, BURSt, TRIGger and FORMat.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.checks import SCPI_OVERFLOW
from hwloop.devices.scpi import ScpiInstrument, ScpiLink, control
from hwloop.devices.scpi.replies import BOOLEAN, NUMBER_PATTERN, Form
from hwloop.devices.waveform.limits import WaveformLimits
from hwloop.errors import DeviceError

MEMORY_POINTS = 1_000_000  # a channel, without the memory option
SHORTEST_POINTS = 8
HIGH_IMPEDANCE = "INF"


def _load(text: str) -> str:
    """A high impedance is answered as SCPI's infinity."""
    if text.upper() == HIGH_IMPEDANCE or (NUMBER_PATTERN.fullmatch(text) and float(text) >= SCPI_OVERFLOW):
        return HIGH_IMPEDANCE
    return text


LOAD = Form("impedance", _load)


class Keysight33500(ScpiInstrument):
    """One channel as a :class:`hwloop.devices.waveform.instruments.Generator`.

    A waveform plays once a ``*TRG`` (burst of one cycle, bus trigger), step by step (no filter), into a high
    impedance. Between bursts the output rests at the first point of the waveform.

    Parameters
    ----------
    link
        To the instrument.
    channel
        1 or 2.
    memory_points
        What all loaded waveforms together may take.

    Attributes
    ----------
    loaded_points
        What the waveforms that were loaded take of the volatile memory.
    """

    models = r"33[56]\d\d[AB].*"

    byte_order = control("FORMat:BORDer", "the byte order of blocks", choices=("NORM", "SWAP"))
    load_impedance = control("OUTPut{channel}:LOAD", "the impedance that amplitudes refer to", form=LOAD)
    function = control("SOURce{channel}:FUNCtion", "the kind of waveform", choices=("ARB",))
    filter = control(
        "SOURce{channel}:FUNCtion:ARBitrary:FILTer",
        "the filter of arbitrary waveforms",
        choices=("OFF", "STEP", "NORM"),
    )
    sample_rate = control(
        "SOURce{channel}:FUNCtion:ARBitrary:SRATe", "points a second", unit="1/s", low=1e-6, high=62.5e6
    )
    amplitude = control("SOURce{channel}:VOLTage", "the full scale, peak to peak", unit="V", low=2e-3, high=20)
    offset = control("SOURce{channel}:VOLTage:OFFSet", "the offset", unit="V", low=-10, high=10)
    limit_high = control("SOURce{channel}:VOLTage:LIMit:HIGH", "the upper limit", unit="V", low=-10, high=10)
    limit_low = control("SOURce{channel}:VOLTage:LIMit:LOW", "the lower limit", unit="V", low=-10, high=10)
    limits_enabled = control("SOURce{channel}:VOLTage:LIMit:STATe", "whether limits hold", form=BOOLEAN)
    burst_mode = control("SOURce{channel}:BURSt:MODE", "the kind of burst", choices=("TRIG", "GAT"))
    burst_cycles = control("SOURce{channel}:BURSt:NCYCles", "waveforms a burst", low=1, high=1e8)
    burst_enabled = control("SOURce{channel}:BURSt:STATe", "whether a trigger plays a burst", form=BOOLEAN)
    trigger_source = control(
        "TRIGger{channel}:SOURce", "where triggers come from", choices=("IMM", "EXT", "TIM", "BUS")
    )
    sync_enabled = control("OUTPut:SYNC", "whether the sync connector marks bursts", form=BOOLEAN)

    full_scale_code = 32767

    def __init__(self, link: ScpiLink, channel: int = 1, memory_points: int = MEMORY_POINTS) -> None:
        super().__init__(link)
        self.channel = channel
        self.loaded_points = 0
        self.memory_points = memory_points
        self.safe_commands: tuple[str, ...] = (f"OUTPut{channel} OFF",)
        self._numbers = itertools.count()
        self._source = f"SOURce{channel}"

    def to_safe_state(self) -> None:
        self.link.execute(*self.safe_commands, f"{self._source}:DATA:VOLatile:CLEar")
        self.loaded_points = 0

    def close(self) -> None:
        try:
            if self.link.is_open:
                self.output_off()
        finally:
            super().close()

    def configure(self, rate_hertz: float, limits: WaveformLimits) -> None:
        """Full scale is the larger of the two voltages; the instrument's own limits guard it on both sides."""
        amplitude = limits.amplitude_volts
        self.link.execute(f"OUTPut{self.channel} OFF", f"{self._source}:VOLTage:LIMit:STATe OFF")
        self.set(
            byte_order="SWAP",
            load_impedance="INF",
            function="ARB",
            filter="OFF",
            sample_rate=rate_hertz,
            offset=0.0,
            amplitude=2 * amplitude,
            limit_high=amplitude,
            limit_low=-amplitude,
            limits_enabled=True,
            burst_mode="TRIG",
            burst_cycles=1.0,
            trigger_source="BUS",
            burst_enabled=True,
            sync_enabled=True,
        )

    def has_room(self, points: int) -> bool:
        """Whether so many points more fit."""
        return self.loaded_points + max(points, SHORTEST_POINTS) <= self.memory_points

    def forget_waveforms(self) -> None:
        """Output off, volatile memory empty."""
        self.to_safe_state()

    def load(self, codes: NDArray[Any]) -> str:
        """``DATA:ARBitrary:DAC``: 16-bit little-endian numbers; the last is repeated up to the shortest length."""
        if len(codes) < SHORTEST_POINTS:
            codes = np.pad(codes, (0, SHORTEST_POINTS - len(codes)), mode="edge")
        codes = codes.astype("<i2", copy=False)
        name = f"HWL{next(self._numbers)}"
        self.link.execute_block(f"{self._source}:DATA:ARBitrary:DAC {name},", codes)
        self.loaded_points += len(codes)
        return name

    def select(self, name: str) -> None:
        """Choose the waveform, then switch the output on if it is off."""
        self.link.execute(f"{self._source}:FUNCtion:ARBitrary {name}", f"OUTPut{self.channel} ON")

    def start(self) -> None:
        """``*TRG``."""
        self.link.write("*TRG")

    def check_errors(self) -> None:
        """``SYSTem:ERRor?``."""
        self.link.check_errors()

    def output_off(self) -> None:
        """At once; where the link fails on a fresh one, which begins with the safe state."""
        try:
            self.link.execute(*self.safe_commands)
        except DeviceError:
            self.link.clear()
