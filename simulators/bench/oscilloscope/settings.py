"""Settings of the oscilloscope: header, type, unit, limits and default of each."""

from __future__ import annotations

from hwloop.simulators.bench.scpi.command import BenchSetting, settings_of
from hwloop.simulators.bench.scpi.values import Boolean, Integer, Keyword, Number, Text

CHANNELS = 2
DIVISIONS_ACROSS, DIVISIONS_DOWN = 10, 8


def engineering(value: float) -> str:
    """As the instrument prints real numbers: mantissa and an exponent that is a multiple of three or not."""
    return f"{value:+.6E}"


def _real(unit: str = "", low: float = float("-inf"), high: float = float("inf")) -> Number:
    return Number(unit, low, high, form=engineering)


_ANALOG = ("CHANnel1", "CHANnel2", "CHANnel=CHAN1")

# Acquisition

ACQUIRE_TYPE = BenchSetting(
    "ACQuire:TYPE", Keyword("NORMal", "AVERage", "HRESolution", "PEAK"), "NORM", "How samples become points."
)
ACQUIRE_COUNT = BenchSetting("ACQuire:COUNt", Integer("", 2, 65536), 8.0, "Records that an average is made of.")
ACQUIRE_MODE = BenchSetting(
    "ACQuire:MODE", Keyword("RTIMe", "SEGMented", "ETIMe=RTIM"), "RTIM", "Acquisition mode."
)
ACQUIRE_COMPLETE = BenchSetting(
    "ACQuire:COMPlete", Integer("PCT", 100, 100), 100.0, "When an acquisition is complete."
)
SEGMENTS = BenchSetting("ACQuire:SEGMented:COUNt", Integer("", 2, 50), 2.0, "Segments of the memory.")

# Channels

COUPLING = BenchSetting("CHANnel<1:2>:COUPling", Keyword("AC", "DC"), "DC", "Input coupling.")
BANDWIDTH_LIMIT = BenchSetting("CHANnel<1:2>:BWLimit", Boolean(), False, "25 MHz low-pass filter.")
CHANNEL_DISPLAY = BenchSetting("CHANnel<1:2>:DISPlay", Boolean(), True, "Whether the channel is shown.")
IMPEDANCE = BenchSetting("CHANnel<1:2>:IMPedance", Keyword("ONEMeg"), "ONEM", "Input impedance.")
INVERT = BenchSetting("CHANnel<1:2>:INVert", Boolean(), False, "Whether the input is inverted.")
LABEL = BenchSetting("CHANnel<1:2>:LABel", Text(max_characters=10), "", "Label.", via="label")
PROBE = BenchSetting(
    "CHANnel<1:2>:PROBe", _real("", 0.1, 10000), 10.0, "Attenuation of the probe.", write="set_probe"
)
PROBE_SKEW = BenchSetting("CHANnel<1:2>:PROBe:SKEW", _real("S", -100e-9, 100e-9), 0.0, "Delay of the probe.")
PROBE_TYPE = BenchSetting("CHANnel<1:2>:PROBe:STYPe", Keyword("SINGle", "DIFFerential"), "SING", "Kind of probe.")
RANGE = BenchSetting(
    "CHANnel<1:2>:RANGe", _real("V"), 40.0, "Volts from bottom to top of the screen.", limits="range_limits"
)
SCALE = BenchSetting("CHANnel<1:2>:SCALe", _real("V"), 5.0, "Volts a division.", via="scale")
OFFSET = BenchSetting(
    "CHANnel<1:2>:OFFSet", _real("V"), 0.0, "Voltage at the centre of the screen.", write="set_offset"
)
UNITS = BenchSetting("CHANnel<1:2>:UNITs", Keyword("VOLT", "AMPere"), "VOLT", "Unit of the input.")
VERNIER = BenchSetting("CHANnel<1:2>:VERNier", Boolean(), False, "Fine adjustment.")
EXTERNAL_RANGE = BenchSetting("EXTernal:RANGe", _real("V", 1.6, 80e3), 8.0, "Range of the external trigger input.")
EXTERNAL_PROBE = BenchSetting("EXTernal:PROBe", _real("", 0.1, 10000), 1.0, "Attenuation at the external input.")
EXTERNAL_UNITS = BenchSetting("EXTernal:UNITs", Keyword("VOLT", "AMPere"), "VOLT", "Unit of the external input.")
EXTERNAL_LIMIT = BenchSetting("EXTernal:BWLimit", Boolean(), False, "Low-pass filter of the external input.")

# Time base

TIME_MODE = BenchSetting("TIMebase:MODE", Keyword("MAIN", "WINDow", "XY", "ROLL"), "MAIN", "Time base.")
TIME_POSITION = BenchSetting("TIMebase:POSition", _real("S", -500, 500), 0.0, "From trigger to reference.")
TIME_RANGE = BenchSetting("TIMebase[:MAIN]:RANGe", _real("S", 20e-9, 500), 1e-3, "Seconds across the screen.")
TIME_SCALE = BenchSetting(
    "TIMebase[:MAIN]:SCALe", _real("S", 2e-9, 50), 1e-4, "Seconds a division.", via="time_scale"
)
TIME_REFERENCE = BenchSetting(
    "TIMebase:REFerence", Keyword("LEFT", "CENTer", "RIGHt"), "CENT", "Where on the screen the reference lies."
)
TIME_VERNIER = BenchSetting("TIMebase:VERNier", Boolean(), False, "Fine adjustment.")
WINDOW_RANGE = BenchSetting(
    "TIMebase:WINDow:RANGe", _real("S", 20e-9, 500), 5e-4, "Seconds across the zoomed window."
)
WINDOW_POSITION = BenchSetting(
    "TIMebase:WINDow:POSition", _real("S", -500, 500), 0.0, "Position of the zoomed window."
)

# Trigger

TRIGGER_MODE = BenchSetting("TRIGger:MODE", Keyword("EDGE", "GLITch", "PATTern", "TV"), "EDGE", "Kind of trigger.")
SWEEP = BenchSetting(
    "TRIGger:SWEep", Keyword("AUTO", "NORMal"), "AUTO", "Whether it triggers by itself after a while."
)
HOLDOFF = BenchSetting("TRIGger:HOLDoff", _real("S", 60e-9, 10), 60e-9, "Least time between triggers.")
NOISE_REJECT = BenchSetting("TRIGger:NREJect", Boolean(), False, "Noise reject.")
HF_REJECT = BenchSetting("TRIGger:HFReject", Boolean(), False, "High-frequency reject.")
TRIGGER_SOURCE = BenchSetting(
    "TRIGger[:EDGE]:SOURce", Keyword(*_ANALOG, "EXTernal", "LINE", "WGEN"), "CHAN1", "What triggers."
)
TRIGGER_LEVEL = BenchSetting(
    "TRIGger[:EDGE]:LEVel", _real("V"), 0.0, "Level of the edge, of the source that is set.", via="trigger_level"
)
TRIGGER_SLOPE = BenchSetting(
    "TRIGger[:EDGE]:SLOPe", Keyword("NEGative", "POSitive", "EITHer", "ALTernate"), "POS", "Direction of the edge."
)
TRIGGER_COUPLING = BenchSetting(
    "TRIGger[:EDGE]:COUPling", Keyword("AC", "DC", "LFReject"), "DC", "Trigger coupling."
)
TRIGGER_REJECT = BenchSetting(
    "TRIGger[:EDGE]:REJect", Keyword("OFF", "LFReject", "HFReject"), "OFF", "Trigger reject."
)

# Waveforms

BYTE_ORDER = BenchSetting("WAVeform:BYTeorder", Keyword("LSBFirst", "MSBFirst"), "MSBF", "Byte order of words.")
FORMAT = BenchSetting("WAVeform:FORMat", Keyword("WORD", "BYTE", "ASCii"), "BYTE", "Form of the data.")
POINTS = BenchSetting(
    "WAVeform:POINts",
    Integer("", 100, 1_000_000),
    62_500.0,
    "Points to transfer.",
    limits="points_limits",
    read="points",
)
POINTS_MODE = BenchSetting("WAVeform:POINts:MODE", Keyword("NORMal", "MAXimum", "RAW"), "NORM", "Which record.")
WAVEFORM_SOURCE = BenchSetting(
    "WAVeform:SOURce",
    Keyword(*_ANALOG, "FUNCtion", "MATH=FUNC", "FFT", "WMEMory1", "WMEMory2", "SBUS1", "EXTernal"),
    "CHAN1",
    "Which input to transfer.",
)
UNSIGNED = BenchSetting("WAVeform:UNSigned", Boolean(), True, "Whether codes are unsigned.")
VIEW = BenchSetting("WAVeform:VIEW", Keyword("MAIN"), "MAIN", "Which view.")

# Measurements, display, system

MEASURE_SOURCE = BenchSetting(
    "MEASure:SOURce", Keyword(*_ANALOG, "FUNCtion", "FFT", "EXTernal"), "CHAN1", "What is measured."
)
MEASURE_WINDOW = BenchSetting("MEASure:WINDow", Keyword("MAIN", "ZOOM", "AUTO"), "AUTO", "Where it is measured.")
DISPLAY_LABELS = BenchSetting("DISPlay:LABel", Boolean(), False, "Whether labels are shown.")
DISPLAY_PERSISTENCE = BenchSetting(
    "DISPlay:PERSistence", Keyword("MINimum", "INFinite"), "MIN", "How long traces persist."
)
DISPLAY_VECTORS = BenchSetting("DISPlay:VECTors", Boolean(), True, "Whether points are joined.")
DISPLAY_NOTE = BenchSetting("DISPlay:ANNotation:TEXT", Text(max_characters=254), "", "Note on the screen.")
DISPLAY_NOTED = BenchSetting("DISPlay:ANNotation", Boolean(), False, "Whether the note is shown.")
LOCK = BenchSetting("SYSTem:LOCK", Boolean(), False, "Front panel lock.")
MESSAGE = BenchSetting("SYSTem:DSP", Text(max_characters=254), "", "Message on the screen.", set_only=True)
OPERATION_ENABLE = BenchSetting("OPEE", Integer("", 0, 65535), 0.0, "Enabled operation events.")
TIMEOUT_AUTOSCALE = BenchSetting(
    "AUToscale:CHANnels", Keyword("ALL", "DISPlayed=DISP"), "DISP", "What autoscale looks at."
)

# Built-in generator, wired to nothing

WGEN_FUNCTION = BenchSetting(
    "WGEN:FUNCtion",
    Keyword("SINusoid", "SQUare", "RAMP", "PULSe", "NOISe", "DC"),
    "SIN",
    "Function of the built-in generator.",
)
WGEN_FREQUENCY = BenchSetting("WGEN:FREQuency", _real("HZ", 0.1, 20e6), 1e3, "Its frequency.")
WGEN_PERIOD = BenchSetting("WGEN:PERiod", _real("S", 50e-9, 10), 1e-3, "Its period.", via="wgen_period")
WGEN_AMPLITUDE = BenchSetting("WGEN:VOLTage", _real("V", 2e-3, 12.0), 0.5, "Its amplitude, peak to peak.")
WGEN_OFFSET = BenchSetting("WGEN:VOLTage:OFFSet", _real("V", -6, 6), 0.0, "Its offset.")
WGEN_HIGH = BenchSetting("WGEN:VOLTage:HIGH", _real("V", -6, 6), 0.25, "Its upper voltage.", via="wgen_high")
WGEN_LOW = BenchSetting("WGEN:VOLTage:LOW", _real("V", -6, 6), -0.25, "Its lower voltage.", via="wgen_low")
WGEN_OUTPUT = BenchSetting("WGEN:OUTPut", Boolean(), False, "Whether its output is on.")
WGEN_LOAD = BenchSetting("WGEN:OUTPut:LOAD", Keyword("ONEMeg", "FIFTy"), "ONEM", "Load that its voltages assume.")
WGEN_POLARITY = BenchSetting("WGEN:OUTPut:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Its polarity.")
WGEN_DUTY = BenchSetting("WGEN:FUNCtion:SQUare:DCYCle", _real("PCT", 20, 80), 50.0, "Duty cycle of its squares.")
WGEN_SYMMETRY = BenchSetting("WGEN:FUNCtion:RAMP:SYMMetry", _real("PCT", 0, 100), 100.0, "Symmetry of its ramps.")
WGEN_WIDTH = BenchSetting("WGEN:FUNCtion:PULSe:WIDTh", _real("S", 20e-9, 10), 1e-4, "Width of its pulses.")

SETTINGS = settings_of(globals())
