"""Settings of the generator: header, type, unit, limits and default of each."""

from __future__ import annotations

from typing import Any, Protocol, cast

from hwloop.simulators.bench.scpi.command import BenchSetting, HasSettings, settings_of
from hwloop.simulators.bench.scpi.values import (
    Boolean,
    Integer,
    Keyword,
    Number,
    Parameter,
    Text,
    number_and_suffix,
    suffix_factor,
)

UNITS = ("VPP", "VRMS", "DBM")


class HasAmplitudes(Protocol):
    """An instrument that converts amplitudes."""

    def to_vpp(self, channel: int, value: float, unit: str) -> float:
        """An amplitude as peak-to-peak volts."""

    def from_vpp(self, channel: int, vpp: float) -> float:
        """Peak-to-peak volts in the unit that is set."""


class Amplitude(BenchSetting):
    """An amplitude: without a suffix in the unit that is set, with one in the suffix's."""

    def parse(self, instrument: HasSettings, suffix: int, token: bytes) -> Any:
        """The amplitude in the unit that is set."""
        if token[:1].isalpha():
            return self.parameter.parse(token)
        value, unit = number_and_suffix(token)
        if not unit:
            return value
        named = next((name for name in UNITS if unit.endswith(name)), "VPP")
        converts = cast(HasAmplitudes, instrument)
        return converts.from_vpp(suffix, converts.to_vpp(suffix, value * suffix_factor(unit, named), named))


CHANNELS = 2
SOURCE = "[SOURce<1:2>:]"
MAX_FREQUENCY_HZ = 30e6
MAX_RAMP_HZ = 200e3
MAX_SAMPLE_RATE = 250e6
MAX_UNFILTERED_SAMPLE_RATE = 62.5e6


def _source(header: str, parameter: Parameter, default: Any, doc: str, **options: Any) -> BenchSetting:
    """A setting of a channel's waveform."""
    return BenchSetting(f"{SOURCE}{header}", parameter, default, doc, **options)


def _played(header: str, parameter: Parameter, default: Any, doc: str, **options: Any) -> BenchSetting:
    """A setting of a channel's waveform that changes what is played now."""
    return _source(header, parameter, default, doc, changed="update", **options)


# Output function

FUNCTION = _source(
    "FUNCtion",
    Keyword("SINusoid", "SQUare", "TRIangle", "RAMP", "PULSe", "PRBS", "NOISe", "ARBitrary", "DC"),
    "SIN",
    "Output function.",
    write="set_function",
)
FREQUENCY = _source(
    "FREQuency[:CW|:FIXed]", Number("HZ"), 1e3, "Frequency of the output function.", via="frequency"
)
FREQUENCY_MODE = _source(
    "FREQuency:MODE", Keyword("CW", "LIST", "SWEep", "FIXed"), "CW", "What sets the frequency."
)
PHASE = _source("PHASe[:ADJust]", Number("DEG"), 0.0, "Phase offset.", limits="angle_limits", via="phase")
SQUARE_DUTY = _played("FUNCtion:SQUare:DCYCle", Number("PCT", 0.01, 99.99), 50.0, "Duty cycle of squares.")
SQUARE_PERIOD = _source("FUNCtion:SQUare:PERiod", Number("S"), 1e-3, "Period of squares.", via="period")
RAMP_SYMMETRY = _played("FUNCtion:RAMP:SYMMetry", Number("PCT", 0, 100), 100.0, "Rising part of ramps.")
PULSE_PERIOD = _source("FUNCtion:PULSe:PERiod", Number("S"), 1e-3, "Period of pulses.", via="period")
PULSE_HOLD = _source(
    "FUNCtion:PULSe:HOLD", Keyword("WIDTh", "DCYCle"), "WIDT", "What a change of the period keeps."
)
PULSE_WIDTH = _played("FUNCtion:PULSe:WIDTh", Number("S"), 1e-4, "Width of pulses.", limits="pulse_width_limits")
PULSE_DUTY = _source(
    "FUNCtion:PULSe:DCYCle", Number("PCT", 0, 100), 10.0, "Duty cycle of pulses.", via="pulse_duty"
)
PULSE_LEADING = _played(
    "FUNCtion:PULSe:TRANsition[:LEADing]", Number("S", 8.4e-9, 1e-6), 1e-8, "Leading edge of pulses."
)
PULSE_TRAILING = _played(
    "FUNCtion:PULSe:TRANsition:TRAiling", Number("S", 8.4e-9, 1e-6), 1e-8, "Trailing edge of pulses."
)
PULSE_EDGES = _source(
    "FUNCtion:PULSe:TRANsition:BOTH",
    Number("S", 8.4e-9, 1e-6),
    1e-8,
    "Both edges of pulses.",
    write="set_pulse_edges",
    set_only=True,
)
NOISE_BANDWIDTH = _played(
    "FUNCtion:NOISe[:BANDwidth|:BWIDth]", Number("HZ", 1e-3, MAX_FREQUENCY_HZ), 100e3, "Bandwidth of noise."
)
PRBS_RATE = _played("FUNCtion:PRBS:BRATe", Number("HZ", 1e-3, 50e6), 1e3, "Bit rate of PRBS.")
PRBS_DATA = _played(
    "FUNCtion:PRBS:DATA", Keyword(*(f"PN{length}" for length in range(3, 33))), "PN7", "Sequence of PRBS."
)

# Arbitrary waveforms

ARB_RATE = _played(
    "FUNCtion:ARBitrary:SRATe",
    Number("SA/S"),
    40e3,
    "Samples a second of arbitrary waveforms.",
    limits="sample_rate_limits",
)
ARB_FILTER = _source(
    "FUNCtion:ARBitrary:FILTer",
    Keyword("NORMal", "STEP", "OFF"),
    "NORM",
    "Filter behind the DAC.",
    changed="filter_changed",
)
ARB_ADVANCE = _source(
    "FUNCtion:ARBitrary:ADVance", Keyword("TRIGger", "SRATe"), "SRAT", "What advances the samples."
)
ARB_FREQUENCY = _source(
    "FUNCtion:ARBitrary:FREQuency",
    Number("HZ"),
    100.0,
    "Cycles a second of the arbitrary waveform.",
    via="arb_frequency",
)
ARB_PERIOD = _source(
    "FUNCtion:ARBitrary:PERiod",
    Number("S"),
    0.01,
    "Seconds of a cycle of the arbitrary waveform.",
    via="arb_period",
)
BYTE_ORDER = BenchSetting(
    "FORMat:BORDer", Keyword("NORMal", "SWAPped"), "NORM", "Most significant byte of blocks first, or last."
)

# Levels

AMPLITUDE = Amplitude(
    f"{SOURCE}VOLTage[:LEVel][:IMMediate][:AMPLitude]",
    Number("VPP"),
    0.1,
    "Amplitude, in the unit of VOLTage:UNIT.",
    via="amplitude",
)
OFFSET = _source("VOLTage[:LEVel][:IMMediate]:OFFSet", Number("V"), 0.0, "Offset voltage.", via="offset")
HIGH = _source("VOLTage[:LEVel][:IMMediate]:HIGH", Number("V"), 0.05, "Upper voltage.", via="high")
LOW = _source("VOLTage[:LEVel][:IMMediate]:LOW", Number("V"), -0.05, "Lower voltage.", via="low")
UNIT = _source("VOLTage:UNIT", Keyword("VPP", "VRMS", "DBM"), "VPP", "Unit of the amplitude.")
LIMIT_STATE = _source("VOLTage:LIMit:STATe", Boolean(), False, "Whether output limits are enforced.")
LIMIT_HIGH = _source("VOLTage:LIMit:HIGH", Number("V"), 10.0, "Upper output limit.", via="limit_high")
LIMIT_LOW = _source("VOLTage:LIMit:LOW", Number("V"), -10.0, "Lower output limit.", via="limit_low")
RANGE_AUTO = _source(
    "VOLTage:RANGe:AUTO", Keyword("OFF=0", "ON=1", "ONCE=0", "0", "1"), "1", "Amplitude autorange."
)

# Outputs

OUTPUT = BenchSetting(
    "OUTPut<1:2>[:STATe]", Boolean(), False, "Whether the output is connected.", changed="update"
)
LOAD = BenchSetting(
    "OUTPut<1:2>:LOAD",
    Number("OHM", 1, 10e3, infinite=True),
    50.0,
    "Load that displayed voltages assume.",
    changed="update",
)
POLARITY = BenchSetting(
    "OUTPut<1:2>:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Polarity of the output.", changed="update"
)
OUTPUT_MODE = BenchSetting("OUTPut<1:2>:MODE", Keyword("NORMal", "GATed"), "NORM", "Gating of the output.")
SYNC = BenchSetting("OUTPut:SYNC[:STATe]", Boolean(), True, "Whether the sync connector is driven.")
SYNC_SOURCE = BenchSetting("OUTPut:SYNC:SOURce", Keyword("CH1", "CH2"), "CH1", "Channel that drives sync.")
SYNC_MODE = BenchSetting(
    "OUTPut<1:2>:SYNC:MODE", Keyword("NORMal", "CARRier", "MARKer"), "NORM", "What sync follows."
)
SYNC_POLARITY = BenchSetting(
    "OUTPut<1:2>:SYNC:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Polarity of sync."
)
TRIGGER_OUT = BenchSetting(
    "OUTPut:TRIGger[:STATe]", Boolean(), False, "Whether the trigger connector is an output."
)
TRIGGER_OUT_SLOPE = BenchSetting(
    "OUTPut:TRIGger:SLOPe", Keyword("POSitive", "NEGative"), "POS", "Edge of the trigger output."
)
TRIGGER_OUT_SOURCE = BenchSetting(
    "OUTPut:TRIGger:SOURce", Keyword("CH1", "CH2"), "CH1", "Channel of the trigger output."
)

# Bursts and trigger

BURST = _played("BURSt:STATe", Boolean(), False, "Burst mode.")
BURST_MODE = _played("BURSt:MODE", Keyword("TRIGgered", "GATed"), "TRIG", "Counted or gated bursts.")
BURST_CYCLES = _source(
    "BURSt:NCYCles", Number("", 1, 1e8, infinite=True), 1.0, "Cycles of a burst.", write="set_burst_cycles"
)
BURST_PERIOD = _played("BURSt:INTernal:PERiod", Number("S", 1e-6, 8000), 0.01, "Period of untriggered bursts.")
BURST_PHASE = _source(
    "BURSt:PHASe", Number("DEG"), 0.0, "Start of a burst.", limits="angle_limits", via="burst_phase"
)
BURST_GATE_POLARITY = _source(
    "BURSt:GATE:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Polarity of the gate."
)
ANGLE_UNIT = BenchSetting("UNIT:ANGLe", Keyword("DEGree", "RADian", "DEFault=DEG"), "DEG", "Unit of angles.")
TRIGGER_SOURCE = BenchSetting(
    "TRIGger<1:2>:SOURce",
    Keyword("IMMediate", "EXTernal", "TIMer", "BUS"),
    "IMM",
    "What triggers.",
    changed="update",
)
TRIGGER_SLOPE = BenchSetting(
    "TRIGger<1:2>:SLOPe", Keyword("POSitive", "NEGative"), "POS", "Edge of the external trigger."
)
TRIGGER_DELAY = BenchSetting(
    "TRIGger<1:2>:DELay", Number("S", 0, 1000), 0.0, "From trigger to output.", changed="update"
)
TRIGGER_COUNT = BenchSetting("TRIGger<1:2>:COUNt", Integer("", 1, 1e6), 1.0, "Triggers accepted after INITiate.")
TRIGGER_TIMER = BenchSetting(
    "TRIGger<1:2>:TIMer", Number("S", 1e-6, 8000), 1.0, "Period of the trigger timer.", changed="update"
)
TRIGGER_LEVEL = BenchSetting("TRIGger<1:2>:LEVel", Number("V", 0.9, 3.8), 1.65, "Level of the external trigger.")
CONTINUOUS = BenchSetting(
    "INITiate<1:2>:CONTinuous", Boolean(), True, "Whether the trigger system re-arms itself."
)

# Sweep

SWEEP_START = _played("FREQuency:STARt", Number("HZ", 1e-6, MAX_FREQUENCY_HZ), 100.0, "Start of a sweep.")
SWEEP_STOP = _played("FREQuency:STOP", Number("HZ", 1e-6, MAX_FREQUENCY_HZ), 1e3, "End of a sweep.")
SWEEP_SECONDS = _played("SWEep:TIME", Number("S", 1e-3, 250e3), 1.0, "Length of a sweep.")
SWEEP_SPACING = _played("SWEep:SPACing", Keyword("LINear", "LOGarithmic"), "LIN", "Spacing of a sweep.")

# Front panel and system

DISPLAY = BenchSetting("DISPlay", Boolean(), True, "Whether the display is on.")
DISPLAY_TEXT = BenchSetting("DISPlay:TEXT", Text(max_characters=40), "", "Text on the display.")
BEEPER = BenchSetting("SYSTem:BEEPer:STATe", Boolean(), True, "Whether errors beep.")

SETTINGS = settings_of(globals())
