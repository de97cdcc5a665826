"""The oscilloscope's front panel: its set-up as text, autoscale, its screen as a picture, its clock."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hwloop.simulators.bench.oscilloscope import settings
from hwloop.simulators.bench.oscilloscope.acquisition import Inputs
from hwloop.simulators.bench.scpi.command import BenchCommand, BenchSetting, CommandCall, answers, command
from hwloop.simulators.bench.scpi.messages import short_form
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import Block, Keyword, Raw, block
from hwloop.simulators.bench.signals import Voltage

SCREEN_WIDTH, SCREEN_HEIGHT = 800, 480
_AUTOSCALE_SECONDS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

CHANNEL_SETUP = (
    ("RANG", settings.RANGE),
    ("OFFS", settings.OFFSET),
    ("COUP", settings.COUPLING),
    ("IMP", settings.IMPEDANCE),
    ("DISP", settings.CHANNEL_DISPLAY),
    ("BWL", settings.BANDWIDTH_LIMIT),
    ("INV", settings.INVERT),
    ("LAB", settings.LABEL),
    ("UNIT", settings.UNITS),
    ("PROB", settings.PROBE),
    ("PROB:SKEW", settings.PROBE_SKEW),
    ("STYP", settings.PROBE_TYPE),
)
TIME_SETUP = (
    ("MODE", settings.TIME_MODE),
    ("REF", settings.TIME_REFERENCE),
    ("MAIN:RANG", settings.TIME_RANGE),
    ("POS", settings.TIME_POSITION),
)
ACQUIRE_SETUP = (
    ("MODE", settings.ACQUIRE_MODE),
    ("TYPE", settings.ACQUIRE_TYPE),
    ("COMP", settings.ACQUIRE_COMPLETE),
    ("COUNT", settings.ACQUIRE_COUNT),
    ("SEGM:COUN", settings.SEGMENTS),
)
TRIGGER_SETUP = (
    ("MODE", settings.TRIGGER_MODE),
    ("SWE", settings.SWEEP),
    ("NREJ", settings.NOISE_REJECT),
    ("HFR", settings.HF_REJECT),
    ("HOLD", settings.HOLDOFF),
    ("EDGE:SOUR", settings.TRIGGER_SOURCE),
    ("EDGE:LEV", settings.TRIGGER_LEVEL),
    ("EDGE:SLOP", settings.TRIGGER_SLOPE),
    ("EDGE:REJ", settings.TRIGGER_REJECT),
    ("EDGE:COUP", settings.TRIGGER_COUPLING),
)
WAVEFORM_SETUP = (
    ("UNS", settings.UNSIGNED),
    ("VIEW", settings.VIEW),
    ("BYT", settings.BYTE_ORDER),
    ("FORM", settings.FORMAT),
    ("POIN", settings.POINTS),
    ("POIN:MODE", settings.POINTS_MODE),
    ("SOUR", settings.WAVEFORM_SOURCE),
)


Setup = tuple[tuple[str, BenchSetting], ...]


def _setup(pattern: str, header: str, setup: Setup, what: str) -> BenchCommand:
    """A query for all settings of a subsystem at once."""

    def describe(scope: Any, call: CommandCall) -> str:
        parts = [f"{name} {entry.parameter.print(entry.value(scope, call.suffix))}" for name, entry in setup]
        return f":{header.format(call.suffix)}:{';'.join(parts)}"

    return answers(pattern, f"All settings of {what}.", describe)


class Panel(Inputs):
    """The part of the oscilloscope that a person would see."""

    COMMANDS: ClassVar[tuple[BenchCommand, ...]] = (
        _setup("CHANnel<1:2>?", "CHAN{}", CHANNEL_SETUP, "a channel"),
        _setup("TIMebase?", "TIM", TIME_SETUP, "the time base"),
        _setup("ACQuire?", "ACQ", ACQUIRE_SETUP, "the acquisition"),
        _setup("TRIGger?", "TRIG", TRIGGER_SETUP, "the trigger"),
        _setup("WAVeform?", "WAV", WAVEFORM_SETUP, "the transfer"),
        answers("SYSTem:DATE?", "Date of the computer.", lambda scope, _: time.strftime("%Y,%m,%d")),
        answers("SYSTem:TIME?", "Time of the computer.", lambda scope, _: time.strftime("%H,%M,%S")),
        answers("SERial?", "Serial number.", lambda scope, _: scope.IDENTITY.split(",")[2]),
        answers("MODel?", "Model.", lambda scope, _: scope.IDENTITY.split(",")[1]),
    )

    # The whole set-up

    @command("SYSTem:SETup?", "*LRN?")
    def learn(self, call: CommandCall) -> bytes:
        """The whole set-up as a block, which ``SYSTem:SETup`` takes."""
        parts = []
        for setting in self.SETTINGS:
            if setting.set_only or setting.query_only or not self._plain(setting):
                continue
            suffixes = (1, 2) if "<1:2>" in setting.pattern else (1,)
            for suffix in suffixes:
                value = setting.parameter.print(setting.value(self, suffix))
                parts.append(f"{_header(setting, suffix)} {value}")
        return block(";".join(parts).encode("latin-1"), 8)

    @command("SYSTem:SETup", parameters=(Block(),))
    def set_up(self, call: CommandCall) -> None:
        """Take a set-up that was read before."""
        if not call.arguments[0].startswith(b":"):
            raise ScpiError(-161)
        self.reset()
        self.execute(call.session, call.arguments[0])

    @staticmethod
    def _plain(setting: BenchSetting) -> bool:
        """Whether a setting is not another one in other words."""
        return not setting.read or setting in (settings.TRIGGER_LEVEL, settings.POINTS)

    @command("SYSTem:PRESet")
    def preset(self, call: CommandCall) -> None:
        """Default set-up."""
        self.reset()

    # Autoscale

    def autoscale_inputs(self, lines: Mapping[str, Voltage], now: float) -> None:
        """Scale and centre every channel, and show a few periods of the first that moves."""
        self.put(settings.TRIGGER_SOURCE, "CHAN1")
        for channel in (2, 1):
            line = lines.get(f"CHAN{channel}")
            if line is None:
                continue
            for seconds in _AUTOSCALE_SECONDS:
                volts = line.at(now + np.linspace(0.0, seconds, 4001))
                middle = 0.5 * float(volts.max() + volts.min())
                turns = np.count_nonzero((volts[:-1] < middle) & (volts[1:] >= middle))
                if np.ptp(volts) > 0.01 and turns >= 2:
                    self._show(channel, volts * self.number(settings.PROBE, channel), seconds)
                    break

    def _show(self, channel: int, volts: np.ndarray[tuple[int], np.dtype[np.float64]], seconds: float) -> None:
        low, high = self.range_limits(channel)
        middle = 0.5 * float(volts.max() + volts.min())
        self.put(settings.RANGE, min(high, max(low, 2.0 * float(np.ptp(volts)))), channel)
        self.put(settings.OFFSET, middle, channel)
        self.put(settings.TIME_RANGE, seconds)
        self.put(settings.TIME_POSITION, 0.0)
        self.put(settings.TRIGGER_SOURCE, f"CHAN{channel}")
        self.set_trigger_level(1, middle)

    # Screen and system

    @command(
        "DISPlay:DATA?", parameters=(Keyword("BMP", "BMP8bit", "PNG"), Keyword("COLor", "GRAYscale")), required=0
    )
    def picture(self, call: CommandCall) -> bytes:
        """The screen as a picture; only its graticule is drawn."""
        form = call.arguments[0] if call.arguments else "PNG"
        screen = graticule()
        return block(png(screen) if form == "PNG" else bitmap(screen), 8)

    @command("DISPlay:CLEar", "CDISplay")
    def clear_screen(self, call: CommandCall) -> None:
        """Clear the screen."""

    @command("VIEW", "BLANk", parameters=(Raw(),), required=0)
    def show_source(self, call: CommandCall) -> None:
        """Show or hide a source; channels have ``CHANnel:DISPlay`` too."""

    @command("WGEN:RST")
    def reset_wgen(self, call: CommandCall) -> None:
        """Default settings of the built-in generator."""
        for setting in self.SETTINGS:
            if setting.pattern.startswith("WGEN") and not setting.read:
                self.put(setting, setting.default)


def _header(setting: BenchSetting, suffix: int) -> str:
    """The short header of a setting, without what may be left out."""
    pattern = setting.pattern.partition("|")[0]
    while "[" in pattern:
        head, _, rest = pattern.partition("[")
        pattern = head + rest.partition("]")[2]
    return ":" + ":".join(short_form(part) for part in pattern.replace("<1:2>", f"{suffix}").split(":"))


def graticule() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An empty screen in grey, shape (height, width)."""
    screen = np.zeros((SCREEN_HEIGHT, SCREEN_WIDTH), np.uint8)
    screen[:: SCREEN_HEIGHT // settings.DIVISIONS_DOWN] = 96
    screen[:, :: SCREEN_WIDTH // settings.DIVISIONS_ACROSS] = 96
    return screen


def png(grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """A grey picture in the format PNG."""
    height, width = grey.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), grey], axis=1)  # filter type 0 in front of each
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bitmap(grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """A grey picture in the format BMP, 8 bits a pixel."""
    height, width = grey.shape
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    offset = 54 + len(palette)
    pixels = grey[::-1].tobytes()
    file_header = struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset)
    picture_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, len(pixels), 2835, 2835, 256, 256)
    return file_header + picture_header + palette + pixels
