"""Settings of the oscilloscope: header, type, unit, limits and default of each."""

from __future__ import annotations

from hwloop.simulators.bench.scpi.command import Setting, settings_of
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

ACQUIRE_TYPE = Setting(
    "ACQuire:TYPE", Keyword("NORMal", "AVERage", "HRESolution", "PEAK"), "NORM", "How samples become points."
)
ACQUIRE_COUNT = Setting("ACQuire:COUNt", Integer("", 2, 65536), 8.0, "Records that an average is made of.")
ACQUIRE_MODE = Setting("ACQuire:MODE", Keyword("RTIMe", "SEGMented", "ETIMe=RTIM"), "RTIM", "Acquisition mode.")
ACQUIRE_COMPLETE = Setting("ACQuire:COMPlete", Integer("PCT", 100, 100), 100.0, "When an acquisition is complete.")
SEGMENTS = Setting("ACQuire:SEGMented:COUNt", Integer("", 2, 50), 2.0, "Segments of the memory.")

# Channels

COUPLING = Setting("CHANnel<1:2>:COUPling", Keyword("AC", "DC"), "DC", "Input coupling.")
BANDWIDTH_LIMIT = Setting("CHANnel<1:2>:BWLimit", Boolean(), False, "25 MHz low-pass filter.")
CHANNEL_DISPLAY = Setting("CHANnel<1:2>:DISPlay", Boolean(), True, "Whether the channel is shown.")
IMPEDANCE = Setting("CHANnel<1:2>:IMPedance", Keyword("ONEMeg"), "ONEM", "Input impedance.")
INVERT = Setting("CHANnel<1:2>:INVert", Boolean(), False, "Whether the input is inverted.")
LABEL = Setting("CHANnel<1:2>:LABel", Text(max_characters=10), "", "Label.", write="set_label", read="label")
PROBE = Setting("CHANnel<1:2>:PROBe", _real("", 0.1, 10000), 10.0, "Attenuation of the probe.", write="set_probe")
PROBE_SKEW = Setting("CHANnel<1:2>:PROBe:SKEW", _real("S", -100e-9, 100e-9), 0.0, "Delay of the probe.")
PROBE_TYPE = Setting("CHANnel<1:2>:PROBe:STYPe", Keyword("SINGle", "DIFFerential"), "SING", "Kind of probe.")
RANGE = Setting(
    "CHANnel<1:2>:RANGe", _real("V"), 40.0, "Volts from bottom to top of the screen.", limits="range_limits"
)
SCALE = Setting(
    "CHANnel<1:2>:SCALe",
    _real("V"),
    5.0,
    "Volts a division.",
    limits="scale_limits",
    read="scale",
    write="set_scale",
)
OFFSET = Setting(
    "CHANnel<1:2>:OFFSet", _real("V"), 0.0, "Voltage at the centre of the screen.", write="set_offset"
)
UNITS = Setting("CHANnel<1:2>:UNITs", Keyword("VOLT", "AMPere"), "VOLT", "Unit of the input.")
VERNIER = Setting("CHANnel<1:2>:VERNier", Boolean(), False, "Fine adjustment.")
EXTERNAL_RANGE = Setting("EXTernal:RANGe", _real("V", 1.6, 80e3), 8.0, "Range of the external trigger input.")
EXTERNAL_PROBE = Setting("EXTernal:PROBe", _real("", 0.1, 10000), 1.0, "Attenuation at the external input.")
EXTERNAL_UNITS = Setting("EXTernal:UNITs", Keyword("VOLT", "AMPere"), "VOLT", "Unit of the external input.")
EXTERNAL_LIMIT = Setting("EXTernal:BWLimit", Boolean(), False, "Low-pass filter of the external input.")

# Time base

TIME_MODE = Setting("TIMebase:MODE", Keyword("MAIN", "WINDow", "XY", "ROLL"), "MAIN", "Time base.")
TIME_POSITION = Setting("TIMebase:POSition", _real("S", -500, 500), 0.0, "From trigger to reference.")
TIME_RANGE = Setting("TIMebase[:MAIN]:RANGe", _real("S", 20e-9, 500), 1e-3, "Seconds across the screen.")
TIME_SCALE = Setting(
    "TIMebase[:MAIN]:SCALe",
    _real("S", 2e-9, 50),
    1e-4,
    "Seconds a division.",
    read="time_scale",
    write="set_time_scale",
)
TIME_REFERENCE = Setting(
    "TIMebase:REFerence", Keyword("LEFT", "CENTer", "RIGHt"), "CENT", "Where on the screen the reference lies."
)
TIME_VERNIER = Setting("TIMebase:VERNier", Boolean(), False, "Fine adjustment.")
WINDOW_RANGE = Setting("TIMebase:WINDow:RANGe", _real("S", 20e-9, 500), 5e-4, "Seconds across the zoomed window.")
WINDOW_POSITION = Setting("TIMebase:WINDow:POSition", _real("S", -500, 500), 0.0, "Position of the zoomed window.")

# Trigger

TRIGGER_MODE = Setting("TRIGger:MODE", Keyword("EDGE", "GLITch", "PATTern", "TV"), "EDGE", "Kind of trigger.")
SWEEP = Setting("TRIGger:SWEep", Keyword("AUTO", "NORMal"), "AUTO", "Whether it triggers by itself after a while.")
HOLDOFF = Setting("TRIGger:HOLDoff", _real("S", 60e-9, 10), 60e-9, "Least time between triggers.")
NOISE_REJECT = Setting("TRIGger:NREJect", Boolean(), False, "Noise reject.")
HF_REJECT = Setting("TRIGger:HFReject", Boolean(), False, "High-frequency reject.")
TRIGGER_SOURCE = Setting(
    "TRIGger[:EDGE]:SOURce",
    Keyword(*_ANALOG, "EXTernal", "LINE", "WGEN"),
    "CHAN1",
    "What triggers.",
)
TRIGGER_LEVEL = Setting(
    "TRIGger[:EDGE]:LEVel",
    _real("V"),
    0.0,
    "Level of the edge, of the source that is set.",
    limits="trigger_level_limits",
    read="trigger_level",
    write="set_trigger_level",
)
TRIGGER_SLOPE = Setting(
    "TRIGger[:EDGE]:SLOPe", Keyword("NEGative", "POSitive", "EITHer", "ALTernate"), "POS", "Direction of the edge."
)
TRIGGER_COUPLING = Setting("TRIGger[:EDGE]:COUPling", Keyword("AC", "DC", "LFReject"), "DC", "Trigger coupling.")
TRIGGER_REJECT = Setting("TRIGger[:EDGE]:REJect", Keyword("OFF", "LFReject", "HFReject"), "OFF", "Trigger reject.")

# Waveforms

BYTE_ORDER = Setting("WAVeform:BYTeorder", Keyword("LSBFirst", "MSBFirst"), "MSBF", "Byte order of words.")
FORMAT = Setting("WAVeform:FORMat", Keyword("WORD", "BYTE", "ASCii"), "BYTE", "Form of the data.")
POINTS = Setting(
    "WAVeform:POINts",
    Integer("", 100, 1_000_000),
    62_500.0,
    "Points to transfer.",
    limits="points_limits",
    read="points",
)
POINTS_MODE = Setting("WAVeform:POINts:MODE", Keyword("NORMal", "MAXimum", "RAW"), "NORM", "Which record.")
WAVEFORM_SOURCE = Setting(
    "WAVeform:SOURce",
    Keyword(*_ANALOG, "FUNCtion", "MATH=FUNC", "FFT", "WMEMory1", "WMEMory2", "SBUS1", "EXTernal"),
    "CHAN1",
    "Which input to transfer.",
)
UNSIGNED = Setting("WAVeform:UNSigned", Boolean(), True, "Whether codes are unsigned.")
VIEW = Setting("WAVeform:VIEW", Keyword("MAIN"), "MAIN", "Which view.")

# Measurements, display, system

MEASURE_SOURCE = Setting(
    "MEASure:SOURce", Keyword(*_ANALOG, "FUNCtion", "FFT", "EXTernal"), "CHAN1", "What is measured."
)
MEASURE_WINDOW = Setting("MEASure:WINDow", Keyword("MAIN", "ZOOM", "AUTO"), "AUTO", "Where it is measured.")
DISPLAY_LABELS = Setting("DISPlay:LABel", Boolean(), False, "Whether labels are shown.")
DISPLAY_PERSISTENCE = Setting(
    "DISPlay:PERSistence", Keyword("MINimum", "INFinite"), "MIN", "How long traces persist."
)
DISPLAY_VECTORS = Setting("DISPlay:VECTors", Boolean(), True, "Whether points are joined.")
DISPLAY_NOTE = Setting("DISPlay:ANNotation:TEXT", Text(max_characters=254), "", "Note on the screen.")
DISPLAY_NOTED = Setting("DISPlay:ANNotation", Boolean(), False, "Whether the note is shown.")
LOCK = Setting("SYSTem:LOCK", Boolean(), False, "Front panel lock.")
MESSAGE = Setting("SYSTem:DSP", Text(max_characters=254), "", "Message on the screen.", set_only=True)
OPERATION_ENABLE = Setting("OPEE", Integer("", 0, 65535), 0.0, "Enabled operation events.")
TIMEOUT_AUTOSCALE = Setting(
    "AUToscale:CHANnels", Keyword("ALL", "DISPlayed=DISP"), "DISP", "What autoscale looks at."
)

# Built-in generator, wired to nothing

WGEN_FUNCTION = Setting(
    "WGEN:FUNCtion",
    Keyword("SINusoid", "SQUare", "RAMP", "PULSe", "NOISe", "DC"),
    "SIN",
    "Function of the built-in generator.",
)
WGEN_FREQUENCY = Setting("WGEN:FREQuency", _real("HZ", 0.1, 20e6), 1e3, "Its frequency.")
WGEN_PERIOD = Setting(
    "WGEN:PERiod", _real("S", 50e-9, 10), 1e-3, "Its period.", read="wgen_period", write="set_wgen_period"
)
WGEN_AMPLITUDE = Setting("WGEN:VOLTage", _real("V", 2e-3, 12.0), 0.5, "Its amplitude, peak to peak.")
WGEN_OFFSET = Setting("WGEN:VOLTage:OFFSet", _real("V", -6, 6), 0.0, "Its offset.")
WGEN_HIGH = Setting(
    "WGEN:VOLTage:HIGH", _real("V", -6, 6), 0.25, "Its upper voltage.", read="wgen_high", write="set_wgen_high"
)
WGEN_LOW = Setting(
    "WGEN:VOLTage:LOW", _real("V", -6, 6), -0.25, "Its lower voltage.", read="wgen_low", write="set_wgen_low"
)
WGEN_OUTPUT = Setting("WGEN:OUTPut", Boolean(), False, "Whether its output is on.")
WGEN_LOAD = Setting("WGEN:OUTPut:LOAD", Keyword("ONEMeg", "FIFTy"), "ONEM", "Load that its voltages assume.")
WGEN_POLARITY = Setting("WGEN:OUTPut:POLarity", Keyword("NORMal", "INVerted"), "NORM", "Its polarity.")
WGEN_DUTY = Setting("WGEN:FUNCtion:SQUare:DCYCle", _real("PCT", 20, 80), 50.0, "Duty cycle of its squares.")
WGEN_SYMMETRY = Setting("WGEN:FUNCtion:RAMP:SYMMetry", _real("PCT", 0, 100), 100.0, "Symmetry of its ramps.")
WGEN_WIDTH = Setting("WGEN:FUNCtion:PULSe:WIDTh", _real("S", 20e-9, 10), 1e-4, "Width of its pulses.")

SETTINGS = settings_of(globals())
