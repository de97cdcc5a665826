"""Commands of the generator that keep arbitrary waveforms and messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.generator import settings
from hwloop.simulators.bench.generator.levels import GeneratorTiming
from hwloop.simulators.bench.generator.waveforms import from_codes
from hwloop.simulators.bench.scpi.command import BenchCommand, CommandCall, answers, command
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import Block, Keyword, Raw, Text, kind_of

_NAME = Text(max_characters=60, unquoted=True)
_SOURCE = "[SOURce<1:2>:]"


def _crest_factor(values: Float64Array) -> str:
    rms = float(np.sqrt(np.mean(values**2)))
    return f"{float(np.max(np.abs(values))) / rms if rms else 0.0:+.15E}"


def _attribute(name: str, doc: str, form: Callable[[Float64Array], str]) -> BenchCommand:
    """A figure of a waveform, of the selected one where none is named."""
    return answers(f"{_SOURCE}{name}?", doc, lambda it, call: form(it.attributed(call)), parameters=(_NAME,))


class ArbCommands(GeneratorTiming):
    """The part of the generator that keeps waveforms and messages."""

    COMMANDS: ClassVar[tuple[BenchCommand, ...]] = (
        answers(
            f"{_SOURCE}DATA:ARBitrary2:FORMat?", "Order of the values of a pair.", lambda it, _: it.pair_format
        ),
        answers(
            f"{_SOURCE}DATA:VOLatile:CATalog?",
            "Names of the waveforms in memory.",
            lambda it, call: ",".join(f'"{name}"' for name in it.memory[call.suffix].names()),
        ),
        answers(
            f"{_SOURCE}DATA:VOLatile:FREE?",
            "Points that still fit into memory.",
            lambda it, call: f"{it.memory[call.suffix].free_points():+d}",
        ),
        answers(
            f"{_SOURCE}FUNCtion:ARBitrary?",
            "Name of the waveform that the function ARB plays.",
            lambda it, call: f'"{it.memory[call.suffix].selected}"',
        ),
        _attribute("FUNCtion:ARBitrary:POINts", "Points of the selected waveform.", lambda v: f"{len(v):+d}"),
        _attribute("DATA:ATTRibute:POINts", "Points of a waveform.", lambda v: f"{len(v):+d}"),
        _attribute("DATA:ATTRibute:AVERage", "Mean of a waveform.", lambda v: f"{v.mean():+.15E}"),
        _attribute("DATA:ATTRibute:PTPeak", "Peak-to-peak value of a waveform.", lambda v: f"{np.ptp(v):+.15E}"),
        _attribute("DATA:ATTRibute:CFACtor", "Peak over root mean square of a waveform.", _crest_factor),
    )

    pair_format: str

    @command(f"{_SOURCE}DATA:ARBitrary", f"{_SOURCE}DATA:ARBitrary1", parameters=(_NAME, Raw()), repeat=True)
    def upload(self, call: CommandCall) -> None:
        """Keep a waveform of values from -1 to 1: single-precision block, or numbers with commas."""
        name, *tokens = call.arguments
        self.memory[call.suffix].add(name, self._numbers(tokens, "f4"))

    @command(
        f"{_SOURCE}DATA:ARBitrary:DAC", f"{_SOURCE}DATA:ARBitrary1:DAC", parameters=(_NAME, Raw()), repeat=True
    )
    def upload_codes(self, call: CommandCall) -> None:
        """Keep a waveform of DAC codes from -32767 to 32767: block of 16-bit integers, or numbers."""
        name, *tokens = call.arguments
        self.memory[call.suffix].add(name, from_codes(self._numbers(tokens, "i2")))

    @command(f"{_SOURCE}DATA:ARBitrary2", parameters=(_NAME, Raw()), repeat=True)
    def upload_pair(self, call: CommandCall) -> None:
        """Keep a waveform for each channel, their values alternating or one after the other."""
        name, *tokens = call.arguments
        self._add_pair(name, self._numbers(tokens, "f4"))

    @command(f"{_SOURCE}DATA:ARBitrary2:DAC", parameters=(_NAME, Raw()), repeat=True)
    def upload_code_pair(self, call: CommandCall) -> None:
        """Keep a waveform of DAC codes for each channel."""
        name, *tokens = call.arguments
        self._add_pair(name, from_codes(self._numbers(tokens, "i2")))

    @command(f"{_SOURCE}DATA:ARBitrary2:FORMat", parameters=(Keyword("ABAB", "AABB"),))
    def set_pair_format(self, call: CommandCall) -> None:
        """Order of the values of a pair."""
        self.pair_format = call.arguments[0]

    @command(f"{_SOURCE}DATA:VOLatile:CLEar")
    def clear_memory(self, call: CommandCall) -> None:
        """Forget every uploaded waveform; the built-in one becomes the selected one."""
        self.memory[call.suffix].clear()
        self.update(call.suffix)

    @command(f"{_SOURCE}FUNCtion:ARBitrary", parameters=(_NAME,))
    def select(self, call: CommandCall) -> None:
        """Choose the waveform that the function ARB plays."""
        self.memory[call.suffix].select(call.arguments[0])
        self.update(call.suffix)

    @command(f"{_SOURCE}FUNCtion:ARBitrary:PTPeak", parameters=(Raw(),))
    def set_peak_to_peak(self, call: CommandCall) -> None:
        """Set the amplitude of the arbitrary waveform."""
        settings.AMPLITUDE.execute(self, call)

    @command(f"{_SOURCE}FUNCtion:ARBitrary:PTPeak?", parameters=(Raw(),), required=0)
    def arb_peak_to_peak(self, call: CommandCall) -> str:
        """Amplitude of the arbitrary waveform."""
        return settings.AMPLITUDE.query(self, call)

    # Front panel

    @command("DISPlay:TEXT:CLEar")
    def clear_display(self, call: CommandCall) -> None:
        """Remove the text from the display."""
        self.put(settings.DISPLAY_TEXT, "")

    @command("SYSTem:BEEPer[:IMMediate]")
    def beep(self, call: CommandCall) -> None:
        """Beep."""

    @command("SYSTem:LOCal", "SYSTem:REMote", "SYSTem:RWLock")
    def lock_panel(self, call: CommandCall) -> None:
        """Lock or unlock the front panel; there is none."""

    def reset(self) -> None:
        super().reset()
        self.pair_format = "ABAB"

    def attributed(self, call: CommandCall) -> Float64Array:
        """The waveform that is named, else the selected one."""
        memory = self.memory[call.suffix]
        if not call.arguments:
            return memory.values
        return memory.named(call.arguments[0])

    def _add_pair(self, name: str, values: Float64Array) -> None:
        if len(values) % 2:
            raise ScpiError(800)
        pair = values.reshape(-1, 2).T if self.pair_format == "ABAB" else values.reshape(2, -1)
        for memory, half in zip(self.memory.values(), pair, strict=True):
            memory.add(name, np.ascontiguousarray(half))

    def _numbers(self, tokens: list[bytes], binary: str) -> Float64Array:
        """Values of a block, in the byte order that is set, or of numbers with commas."""
        if len(tokens) == 1 and kind_of(tokens[0]) == "block":
            data = Block().parse(tokens[0])
            order = "<" if self.get(settings.BYTE_ORDER) == "SWAP" else ">"
            kind = np.dtype(order + binary)
            if len(data) % kind.itemsize:
                raise ScpiError(-161)
            return np.frombuffer(data, kind).astype(np.float64)
        try:
            return np.array(tokens, dtype=np.float64)
        except ValueError:
            raise ScpiError(-128 if all(token[:1].isdigit() for token in tokens) else -148) from None
