"""Settings of the generator: header, type, unit, limits and default of each."""

from __future__ import annotations

from typing import Any, Protocol, cast

from hwloop.simulators.bench.scpi.command import Setting, settings_of
from hwloop.simulators.bench.scpi.instrument import Instrument
from hwloop.simulators.bench.scpi.values import (
    Boolean,
    Integer,
    Keyword,
    Number,
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


class Amplitude(Setting):
    """An amplitude: without a suffix in the unit that is set, with one in the suffix's."""

    def parse(self, instrument: Instrument, suffix: int, token: bytes) -> Any:
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

# Output function

FUNCTION = Setting(
    f"{SOURCE}FUNCtion",
    Keyword("SINusoid", "SQUare", "TRIangle", "RAMP", "PULSe", "PRBS", "NOISe", "ARBitrary", "DC"),
    "SIN",
    "Output function.",
    write="set_function",
)
FREQUENCY = Setting(
    f"{SOURCE}FREQuency[:CW|:FIXed]",
    Number("HZ"),
    1e3,
    "Frequency of the output function.",
    limits="frequency_limits",
    write="set_frequency",
    read="frequency",
)
FREQUENCY_MODE = Setting(
    f"{SOURCE}FREQuency:MODE", Keyword("CW", "LIST", "SWEep", "FIXed"), "CW", "What sets the frequency."
)
PHASE = Setting(
    f"{SOURCE}PHASe[:ADJust]",
    Number("DEG"),
    0.0,
    "Phase offset.",
    limits="angle_limits",
    read="phase",
    write="set_phase",
)
SQUARE_DUTY = Setting(
    f"{SOURCE}FUNCtion:SQUare:DCYCle", Number("PCT", 0.01, 99.99), 50.0, "Duty cycle of squares.", changed="update"
)
SQUARE_PERIOD = Setting(
    f"{SOURCE}FUNCtion:SQUare:PERiod",
    Number("S"),
    1e-3,
    "Period of squares.",
    limits="period_limits",
    read="period",
    write="set_period",
)
RAMP_SYMMETRY = Setting(
    f"{SOURCE}FUNCtion:RAMP:SYMMetry", Number("PCT", 0, 100), 100.0, "Rising part of ramps.", changed="update"
)
PULSE_PERIOD = Setting(
    f"{SOURCE}FUNCtion:PULSe:PERiod",
    Number("S"),
    1e-3,
    "Period of pulses.",
    limits="period_limits",
    read="period",
    write="set_period",
)
PULSE_HOLD = Setting(
    f"{SOURCE}FUNCtion:PULSe:HOLD", Keyword("WIDTh", "DCYCle"), "WIDT", "What a change of the period keeps."
)
PULSE_WIDTH = Setting(
    f"{SOURCE}FUNCtion:PULSe:WIDTh",
    Number("S"),
    1e-4,
    "Width of pulses.",
    limits="pulse_width_limits",
    changed="update",
)
PULSE_DUTY = Setting(
    f"{SOURCE}FUNCtion:PULSe:DCYCle",
    Number("PCT", 0, 100),
    10.0,
    "Duty cycle of pulses.",
    read="pulse_duty",
    write="set_pulse_duty",
)
PULSE_LEADING = Setting(
    f"{SOURCE}FUNCtion:PULSe:TRANsition[:LEADing]",
    Number("S", 8.4e-9, 1e-6),
    1e-8,
    "Leading edge of pulses.",
    changed="update",
)
PULSE_TRAILING = Setting(
    f"{SOURCE}FUNCtion:PULSe:TRANsition:TRAiling",
    Number("S", 8.4e-9, 1e-6),
    1e-8,
    "Trailing edge of pulses.",
    changed="update",
)
PULSE_EDGES = Setting(
    f"{SOURCE}FUNCtion:PULSe:TRANsition:BOTH",
    Number("S", 8.4e-9, 1e-6),
    1e-8,
    "Both edges of pulses.",
    write="set_pulse_edges",
    set_only=True,
)
NOISE_BANDWIDTH = Setting(
    f"{SOURCE}FUNCtion:NOISe[:BANDwidth|:BWIDth]",
    Number("HZ", 1e-3, MAX_FREQUENCY_HZ),
    100e3,
    "Bandwidth of noise.",
    changed="update",
)
PRBS_RATE = Setting(
    f"{SOURCE}FUNCtion:PRBS:BRATe", Number("HZ", 1e-3, 50e6), 1e3, "Bit rate of PRBS.", changed="update"
)
PRBS_DATA = Setting(
    f"{SOURCE}FUNCtion:PRBS:DATA",
    Keyword(*(f"PN{length}" for length in range(3, 33))),
    "PN7",
    "Sequence of PRBS.",
    changed="update",
)

# Arbitrary waveforms

ARB_RATE = Setting(
    f"{SOURCE}FUNCtion:ARBitrary:SRATe",
    Number("SA/S"),
    40e3,
    "Samples a second of arbitrary waveforms.",
    limits="sample_rate_limits",
    changed="update",
)
ARB_FILTER = Setting(
    f"{SOURCE}FUNCtion:ARBitrary:FILTer",
    Keyword("NORMal", "STEP", "OFF"),
    "NORM",
    "Filter behind the DAC.",
    changed="filter_changed",
)
ARB_ADVANCE = Setting(
    f"{SOURCE}FUNCtion:ARBitrary:ADVance", Keyword("TRIGger", "SRATe"), "SRAT", "What advances the samples."
)
ARB_FREQUENCY = Setting(
    f"{SOURCE}FUNCtion:ARBitrary:FREQuency",
    Number("HZ"),
    100.0,
    "Cycles a second of the arbitrary waveform.",
    limits="arb_frequency_limits",
    read="arb_frequency",
    write="set_arb_frequency",
)
ARB_PERIOD = Setting(
    f"{SOURCE}FUNCtion:ARBitrary:PERiod",
    Number("S"),
    0.01,
    "Seconds of a cycle of the arbitrary waveform.",
    limits="arb_period_limits",
    read="arb_period",
    write="set_arb_period",
)
BYTE_ORDER = Setting(
    "FORMat:BORDer", Keyword("NORMal", "SWAPped"), "NORM", "Most significant byte of blocks first, or last."
)

# Levels

AMPLITUDE = Amplitude(
    f"{SOURCE}VOLTage[:LEVel][:IMMediate][:AMPLitude]",
    Number("VPP"),
    0.1,
    "Amplitude, in the unit of VOLTage:UNIT.",
    limits="amplitude_limits",
    read="amplitude",
    write="set_amplitude",
)
OFFSET = Setting(
    f"{SOURCE}VOLTage[:LEVel][:IMMediate]:OFFSet",
    Number("V"),
    0.0,
    "Offset voltage.",
    limits="offset_limits",
    read="offset_volts",
    write="set_offset",
)
HIGH = Setting(
    f"{SOURCE}VOLTage[:LEVel][:IMMediate]:HIGH",
    Number("V"),
    0.05,
    "Upper voltage.",
    limits="high_limits",
    read="high_volts",
    write="set_high",
)
LOW = Setting(
    f"{SOURCE}VOLTage[:LEVel][:IMMediate]:LOW",
    Number("V"),
    -0.05,
    "Lower voltage.",
    limits="low_limits",
    read="low_volts",
    write="set_low",
)
UNIT = Setting(f"{SOURCE}VOLTage:UNIT", Keyword("VPP", "VRMS", "DBM"), "VPP", "Unit of the amplitude.")
LIMIT_STATE = Setting(f"{SOURCE}VOLTage:LIMit:STATe", Boolean(), False, "Whether output limits are enforced.")
LIMIT_HIGH = Setting(
    f"{SOURCE}VOLTage:LIMit:HIGH",
    Number("V"),
    10.0,
    "Upper output limit.",
    limits="limit_high_limits",
    read="limit_high",
    write="set_limit_high",
)
LIMIT_LOW = Setting(
    f"{SOURCE}VOLTage:LIMit:LOW",
    Number("V"),
    -10.0,
    "Lower output limit.",
    limits="limit_low_limits",
    read="limit_low",
    write="set_limit_low",
)
RANGE_AUTO = Setting(
    f"{SOURCE}VOLTage:RANGe:AUTO", Keyword("OFF=0", "ON=1", "ONCE=0", "0", "1"), "1", "Amplitude autorange."
)

# Outputs

OUTPUT = Setting("OUTPut<1:2>[:STATe]", Boolean(), False, "Whether the output is connected.", changed="update")
LOAD = Setting(
    "OUTPut<1:2>:LOAD",
    Number("OHM", 1, 10e3, infinite=True),
    50.0,
    "Load that displayed voltages assume.",
    changed="update",
)
POLARITY = Setting(
    "OUTPut<1:2>:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Polarity of the output.", changed="update"
)
OUTPUT_MODE = Setting("OUTPut<1:2>:MODE", Keyword("NORMal", "GATed"), "NORM", "Gating of the output.")
SYNC = Setting("OUTPut:SYNC[:STATe]", Boolean(), True, "Whether the sync connector is driven.")
SYNC_SOURCE = Setting("OUTPut:SYNC:SOURce", Keyword("CH1", "CH2"), "CH1", "Channel that drives sync.")
SYNC_MODE = Setting("OUTPut<1:2>:SYNC:MODE", Keyword("NORMal", "CARRier", "MARKer"), "NORM", "What sync follows.")
SYNC_POLARITY = Setting("OUTPut<1:2>:SYNC:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Polarity of sync.")
TRIGGER_OUT = Setting("OUTPut:TRIGger[:STATe]", Boolean(), False, "Whether the trigger connector is an output.")
TRIGGER_OUT_SLOPE = Setting(
    "OUTPut:TRIGger:SLOPe", Keyword("POSitive", "NEGative"), "POS", "Edge of the trigger output."
)
TRIGGER_OUT_SOURCE = Setting(
    "OUTPut:TRIGger:SOURce", Keyword("CH1", "CH2"), "CH1", "Channel of the trigger output."
)

# Bursts and trigger

BURST = Setting(f"{SOURCE}BURSt:STATe", Boolean(), False, "Burst mode.", changed="update")
BURST_MODE = Setting(
    f"{SOURCE}BURSt:MODE", Keyword("TRIGgered", "GATed"), "TRIG", "Counted or gated bursts.", changed="update"
)
BURST_CYCLES = Setting(
    f"{SOURCE}BURSt:NCYCles",
    Number("", 1, 1e8, infinite=True),
    1.0,
    "Cycles of a burst.",
    write="set_burst_cycles",
)
BURST_PERIOD = Setting(
    f"{SOURCE}BURSt:INTernal:PERiod",
    Number("S", 1e-6, 8000),
    0.01,
    "Period of untriggered bursts.",
    changed="update",
)
BURST_PHASE = Setting(
    f"{SOURCE}BURSt:PHASe",
    Number("DEG"),
    0.0,
    "Start of a burst.",
    limits="angle_limits",
    read="burst_phase",
    write="set_burst_phase",
)
BURST_GATE_POLARITY = Setting(
    f"{SOURCE}BURSt:GATE:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Polarity of the gate."
)
ANGLE_UNIT = Setting("UNIT:ANGLe", Keyword("DEGree", "RADian", "DEFault=DEG"), "DEG", "Unit of angles.")
TRIGGER_SOURCE = Setting(
    "TRIGger<1:2>:SOURce",
    Keyword("IMMediate", "EXTernal", "TIMer", "BUS"),
    "IMM",
    "What triggers.",
    changed="update",
)
TRIGGER_SLOPE = Setting(
    "TRIGger<1:2>:SLOPe", Keyword("POSitive", "NEGative"), "POS", "Edge of the external trigger."
)
TRIGGER_DELAY = Setting(
    "TRIGger<1:2>:DELay", Number("S", 0, 1000), 0.0, "From trigger to output.", changed="update"
)
TRIGGER_COUNT = Setting("TRIGger<1:2>:COUNt", Integer("", 1, 1e6), 1.0, "Triggers accepted after INITiate.")
TRIGGER_TIMER = Setting(
    "TRIGger<1:2>:TIMer", Number("S", 1e-6, 8000), 1.0, "Period of the trigger timer.", changed="update"
)
TRIGGER_LEVEL = Setting("TRIGger<1:2>:LEVel", Number("V", 0.9, 3.8), 1.65, "Level of the external trigger.")
CONTINUOUS = Setting("INITiate<1:2>:CONTinuous", Boolean(), True, "Whether the trigger system re-arms itself.")

# Sweep

SWEEP_START = Setting(
    f"{SOURCE}FREQuency:STARt", Number("HZ", 1e-6, MAX_FREQUENCY_HZ), 100.0, "Start of a sweep.", changed="update"
)
SWEEP_STOP = Setting(
    f"{SOURCE}FREQuency:STOP", Number("HZ", 1e-6, MAX_FREQUENCY_HZ), 1e3, "End of a sweep.", changed="update"
)
SWEEP_SECONDS = Setting(
    f"{SOURCE}SWEep:TIME", Number("S", 1e-3, 250e3), 1.0, "Length of a sweep.", changed="update"
)
SWEEP_SPACING = Setting(
    f"{SOURCE}SWEep:SPACing", Keyword("LINear", "LOGarithmic"), "LIN", "Spacing of a sweep.", changed="update"
)

# Front panel and system

DISPLAY = Setting("DISPlay", Boolean(), True, "Whether the display is on.")
DISPLAY_TEXT = Setting("DISPlay:TEXT", Text(max_characters=40), "", "Text on the display.")
BEEPER = Setting("SYSTem:BEEPer:STATe", Boolean(), True, "Whether errors beep.")

SETTINGS = settings_of(globals())
