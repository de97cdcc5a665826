"""A virtual Keysight 33522B: two channels, 30 MHz, arbitrary waveforms of a million points, 16 bits.

After the published operating and service guide of the 33500 series. It has no modulation, no lists, no
sequences and no files: their headers are undefined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hwloop.simulators.bench.generator import settings
from hwloop.simulators.bench.generator.outputs import Outputs
from hwloop.simulators.bench.scpi.command import BenchSetting, CommandCall, command
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import Integer, Keyword, Raw

FUNCTIONS_OF_APPLY = Keyword("SINusoid", "SQUare", "TRIangle", "RAMP", "PULSe", "PRBS", "NOISe", "ARBitrary", "DC")
MEMORIES = 5


@dataclass(frozen=True)
class Saved:
    """Settings in one of the instrument's memories."""

    values: dict[tuple[BenchSetting, int], Any]
    source_vpp: dict[int, float]
    source_offset: dict[int, float]


class VirtualKeysight33500(Outputs):
    """The generator: triggers, functions and memories; what it is made of, see :class:`~.outputs.Outputs`."""

    IDENTITY: ClassVar[str] = "Agilent Technologies,33522B,MY00000001,3.05-1.19-2.00-52-00"
    SETTINGS = settings.SETTINGS
    CLIPS_OUT_OF_RANGE = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._saved: dict[int, Saved] = {}

    @command("*TRG")
    def trigger(self, call: CommandCall) -> None:
        """Trigger every channel whose trigger source is the bus."""
        waiting = [channel for channel in (1, 2) if self._waits_for("BUS", channel)]
        if not waiting:
            raise ScpiError(-211)
        for channel in waiting:
            self.play(channel)

    @command("TRIGger<1:2>[:IMMediate]")
    def trigger_channel(self, call: CommandCall) -> None:
        """Trigger a channel that waits, whatever its trigger source."""
        if not self._waits_for(self.get(settings.TRIGGER_SOURCE, call.suffix), call.suffix):
            raise ScpiError(-211)
        self.play(call.suffix)

    def _waits_for(self, source: str, channel: int) -> bool:
        """Whether a channel plays a counted burst when that source triggers."""
        counted = self.get(settings.BURST, channel) and self.get(settings.BURST_MODE, channel) == "TRIG"
        return bool(counted and self.get(settings.TRIGGER_SOURCE, channel) == source)

    @command("ABORt")
    def abort(self, call: CommandCall) -> None:
        """End every burst; the outputs go back to their idle level."""
        self.end_bursts()

    @command("INITiate<1:2>[:IMMediate]", "INITiate[:IMMediate]:ALL")
    def initiate(self, call: CommandCall) -> None:
        """Arm the trigger system; here it always is."""

    @command("[SOURce<1:2>:]PHASe:SYNChronize", "[SOURce<1:2>:]PHASe:REFerence")
    def synchronise_phases(self, call: CommandCall) -> None:
        """Restart both channels in phase; they share one clock here."""

    # Functions

    def set_function(self, channel: int, function: str) -> None:
        """Change the function; a frequency that it cannot play is reduced, and reported."""
        self.put(settings.FUNCTION, function, channel)
        reduced = False
        if function != "ARB":
            fastest = self.frequency_limits(channel)[1]
            reduced = self.number(settings.FREQUENCY, channel) > fastest
            self.put(settings.FREQUENCY, min(self.number(settings.FREQUENCY, channel), fastest), channel)
        self.update(channel)
        if reduced:
            raise ScpiError(-221, "frequency reduced for user function")

    def _apply(self, call: CommandCall, function: str) -> None:
        """Function, frequency (or sample rate), amplitude and offset at once; the output is switched on."""
        channel = call.suffix
        for setting, value in (
            (settings.BURST, False),
            (settings.FREQUENCY_MODE, "CW"),
            (settings.TRIGGER_SOURCE, "IMM"),
        ):
            self.put(setting, value, channel)
        first = settings.ARB_RATE if function == "ARB" else settings.FREQUENCY
        no_frequency = function in ("DC", "NOIS")
        problems = []
        steps: list[tuple[Any, bytes]] = [(settings.FUNCTION, function.encode())]
        steps += list(zip((first, settings.AMPLITUDE, settings.OFFSET), call.arguments, strict=False))
        for setting, token in steps:
            ignored = (setting is first and no_frequency) or (setting is settings.AMPLITUDE and function == "DC")
            if ignored or (setting is not settings.FUNCTION and token.upper() in (b"DEF", b"DEFAULT")):
                continue
            try:
                setting.execute(self, CommandCall(call.session, (channel,), (token,)))
            except ScpiError as error:
                if error.ends_message:
                    raise
                problems.append(error)
        self.put(settings.OUTPUT, True, channel)
        self.update(channel)
        for problem in problems:
            self.status.report(problem)

    @command("[SOURce<1:2>:]APPLy?")
    def applied(self, call: CommandCall) -> str:
        """Function, frequency, amplitude and offset."""
        channel = call.suffix
        function = self.get(settings.FUNCTION, channel)
        first = settings.ARB_RATE if function == "ARB" else settings.FREQUENCY
        numbers = (first.value(self, channel), self.amplitude(channel), self.offset(channel))
        return f'"{function} {",".join(f"{number:+.15E}" for number in numbers)}"'

    @command("*SAV", parameters=(Integer(),))
    def save(self, call: CommandCall) -> None:
        """Keep all settings in a memory from 0 to 4."""
        self._saved[_memory(call)] = Saved(dict(self._values), dict(self._source_vpp), dict(self._source_offset))

    @command("*RCL", parameters=(Integer(),))
    def recall(self, call: CommandCall) -> None:
        """Settings of a memory come back, outputs off."""
        saved = self._saved.get(_memory(call))
        if saved is None:
            raise ScpiError(-224)
        self._values = dict(saved.values)
        self._source_vpp, self._source_offset = dict(saved.source_vpp), dict(saved.source_offset)
        for channel in (1, 2):
            self.put(settings.OUTPUT, False, channel)
            self.update(channel)


def _memory(call: CommandCall) -> int:
    if not 0 <= call.arguments[0] < MEMORIES:
        raise ScpiError(-222)
    return int(call.arguments[0])


def _applies(function: str) -> Callable[[VirtualKeysight33500, CommandCall], None]:
    def apply(self: VirtualKeysight33500, call: CommandCall) -> None:
        self._apply(call, function)

    apply.__doc__ = f"Play {function}."
    return apply


for _mnemonic in FUNCTIONS_OF_APPLY.mnemonics:
    _short = FUNCTIONS_OF_APPLY.parse(_mnemonic.encode())
    _method = _applies(_short)
    _method.__name__ = f"apply_{_short.lower()}"
    _marked = command(f"[SOURce<1:2>:]APPLy:{_mnemonic}", parameters=(Raw(),) * 3, required=0)(_method)
    setattr(VirtualKeysight33500, _method.__name__, _marked)
