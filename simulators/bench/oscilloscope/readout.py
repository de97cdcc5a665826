"""What is read of a record: measurements by name, and the waveform with its preamble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.oscilloscope import settings
from hwloop.simulators.bench.oscilloscope.acquisition import FASTEST_SAMPLE_RATE, WORD_STEPS, Acquisition
from hwloop.simulators.bench.oscilloscope.panel import Panel
from hwloop.simulators.bench.scpi.command import CommandCall, command
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import INFINITY, Keyword, block

MEASURED_POINTS = 10_000
HYSTERESIS = 0.1
Measurement = Callable[[Float64Array, Float64Array], float]


def levels(volts: Float64Array) -> tuple[float, float]:
    """Base and top: the medians below and above the middle where most points lie near them, else the extremes."""
    low, high = float(volts.min()), float(volts.max())
    middle, near = 0.5 * (low + high), 0.1 * (high - low)

    def settled(half: Float64Array, extreme: float) -> float:
        if not half.size:
            return extreme
        median = float(np.median(half))
        return median if np.mean(np.abs(half - median) <= near) > 0.5 else extreme

    return settled(volts[volts < middle], low), settled(volts[volts >= middle], high)


def crossings(times: Float64Array, volts: Float64Array, level: float, rising: bool) -> Float64Array:
    """Times at which the voltage crosses a level in one direction; noise near it counts once."""
    if not rising:
        return crossings(times, -volts, -level, rising=True)
    margin = HYSTERESIS * float(np.ptp(volts))
    state = np.where(volts >= level + margin, 1, np.where(volts <= level - margin, -1, 0))
    known = np.flatnonzero(state)
    turns = np.flatnonzero(np.diff(state[known]) > 0)
    found = []
    for before, after in zip(known[turns], known[turns + 1], strict=True):
        inside = before + int(np.argmax(volts[before : after + 1] >= level))
        rise = volts[inside] - volts[inside - 1]
        part = (level - volts[inside - 1]) / rise if rise else 1.0
        found.append(times[inside - 1] + part * (times[inside] - times[inside - 1]))
    return np.array(found)


def period(times: Float64Array, volts: Float64Array) -> float:
    """Seconds between rising crossings of the middle, averaged."""
    found = crossings(times, volts, sum(levels(volts)) / 2, rising=True)
    return float(np.diff(found).mean()) if len(found) > 1 else INFINITY


def frequency(times: Float64Array, volts: Float64Array) -> float:
    """One over the period."""
    seconds = period(times, volts)
    return 1.0 / seconds if seconds < INFINITY else INFINITY


def width(rising: bool) -> Measurement:
    """Seconds from a crossing in one direction to the next in the other."""

    def measure(times: Float64Array, volts: Float64Array) -> float:
        middle = sum(levels(volts)) / 2
        starts, stops = (crossings(times, volts, middle, direction) for direction in (rising, not rising))
        later = [stops[stops > start] for start in starts]
        return float(later[0][0] - starts[0]) if later and later[0].size else INFINITY

    return measure


def duty(times: Float64Array, volts: Float64Array) -> float:
    """Percent of the period above the middle."""
    seconds, high = period(times, volts), width(rising=True)(times, volts)
    return 100.0 * high / seconds if max(seconds, high) < INFINITY else INFINITY


def edge(rising: bool) -> Measurement:
    """Seconds from 10 % to 90 % of an edge, or back."""

    def measure(times: Float64Array, volts: Float64Array) -> float:
        base, top = levels(volts)
        first, last = (0.1, 0.9) if rising else (0.9, 0.1)
        starts, stops = (crossings(times, volts, base + part * (top - base), rising) for part in (first, last))
        if not starts.size or not stops.size or not (stops > starts[0]).any():
            return INFINITY
        return float(stops[stops > starts[0]][0] - starts[0])

    return measure


MEASUREMENTS: dict[str, Measurement] = {
    "VPP": lambda times, volts: float(np.ptp(volts)),
    "VMAX": lambda times, volts: float(volts.max()),
    "VMIN": lambda times, volts: float(volts.min()),
    "VAVerage": lambda times, volts: float(volts.mean()),
    "VRMS": lambda times, volts: float(np.sqrt(np.mean(volts**2))),
    "VAMPlitude": lambda times, volts: levels(volts)[1] - levels(volts)[0],
    "VBASe": lambda times, volts: levels(volts)[0],
    "VTOP": lambda times, volts: levels(volts)[1],
    "FREQuency": frequency,
    "PERiod": period,
    "DUTYcycle": duty,
    "PWIDth": width(rising=True),
    "NWIDth": width(rising=False),
    "RISetime": edge(rising=True),
    "FALLtime": edge(rising=False),
}
_ANY = Keyword(
    "CHANnel1", "CHANnel2", "EXTernal", "FUNCtion", "FFT", "DISPlay", "CYCLe", "AC", "DC", "MAIN", "ZOOM", "AUTO"
)


class RecordMeasurements(Panel):
    """The part of the oscilloscope that measures."""

    def record(self) -> Acquisition:
        """The latest record."""
        raise NotImplementedError

    def measure(self, measurement: Measurement, call: CommandCall) -> str:
        """Measure the input that is named, or the one that is set; 9.9E+37 where it cannot be measured."""
        named = [value for value in call.arguments if value in ("CHAN1", "CHAN2", "EXT", "FUNC", "FFT")]
        source = named[-1] if named else self.get(settings.MEASURE_SOURCE)
        if source not in ("CHAN1", "CHAN2"):
            raise ScpiError(-241, "no such waveform")
        record = self.record()
        if "AC" in call.arguments:
            volts = record.measured_volts(source, MEASURED_POINTS)
            return settings.engineering(measurement(record.times(MEASURED_POINTS), volts - volts.mean()))
        return settings.engineering(
            measurement(record.times(MEASURED_POINTS), record.measured_volts(source, MEASURED_POINTS))
        )

    @command(*(f"MEASure:{name}" for name in MEASUREMENTS), parameters=(_ANY,), required=0, repeat=True)
    def show_measurement(self, call: CommandCall) -> None:
        """Show a measurement on the screen."""

    @command("MEASure:CLEar")
    def clear_measurements(self, call: CommandCall) -> None:
        """Show no measurements."""


def _measures(name: str, measurement: Measurement) -> Callable[[RecordMeasurements, CommandCall], str]:
    def query(self: RecordMeasurements, call: CommandCall) -> str:
        return self.measure(measurement, call)

    query.__name__ = f"measure_{name.lower()}"
    query.__doc__ = (measurement.__doc__ or f"Measure {name}.").partition("\n")[0]
    return query


for _name, _measurement in MEASUREMENTS.items():
    _query = _measures(_name, _measurement)
    _marked = command(f"MEASure:{_name}?", parameters=(_ANY,), required=0, repeat=True)(_query)
    setattr(RecordMeasurements, _query.__name__, _marked)


FORMAT_CODES = {"BYTE": 0, "WORD": 1, "ASC": 4}
TYPE_CODES = {"NORM": 0, "PEAK": 1, "AVER": 2, "HRES": 3}
LENGTH_DIGITS = 8
MEMORY_POINTS = 1_000_000


class Transfer(RecordMeasurements):
    """The part of the oscilloscope that hands waveforms over."""

    def source(self) -> str:
        """The input that is transferred.

        Raises
        ------
        ScpiError
            -241: functions, spectra and reference waveforms are not there.
        """
        source: str = self.get(settings.WAVEFORM_SOURCE)
        if source not in ("CHAN1", "CHAN2", "EXT"):
            raise ScpiError(-241, "no such waveform")
        return source

    @command("WAVeform:DATA?")
    def data(self, call: CommandCall) -> bytes:
        """The points as a block, in the form that is set."""
        source, points, form = self.source(), int(self.points()), self.get(settings.FORMAT)
        record = self.record()
        if form == "ASC":
            text = ",".join(f"{volts:+.5E}" for volts in record.measured_volts(source, points))
            return block(text.encode(), LENGTH_DIGITS)
        codes = record.codes(source, points)
        if form == "BYTE":
            codes = codes >> 8
        if not self.get(settings.UNSIGNED):
            codes = codes - (128 if form == "BYTE" else 128 * WORD_STEPS)
        sign = "u" if self.get(settings.UNSIGNED) else "i"
        order = "<" if self.get(settings.BYTE_ORDER) == "LSBF" else ">"
        kind = np.dtype(f"{sign}1" if form == "BYTE" else f"{order}{sign}2")
        return block(codes.astype(kind).tobytes(), LENGTH_DIGITS)

    @command("WAVeform:PREamble?")
    def preamble(self, call: CommandCall) -> str:
        """Ten numbers: form, type, points, count, x increment, origin, reference, y the same."""
        source, points, record = self.source(), int(self.points()), self.record()
        count = len(record.triggers) if record.kind == "AVER" else 1
        x_increment = record.range_seconds / points
        y_increment, y_origin, y_reference = self._vertical(record, source)
        return (
            f"{FORMAT_CODES[self.get(settings.FORMAT)]:+d},{TYPE_CODES[record.kind]:+d},{points:+d},{count:+d},"
            f"{x_increment:+.8E},{record.first_seconds:+.8E},+0,"
            f"{y_increment:+.8E},{y_origin:+.8E},{y_reference:+d}"
        )

    def _vertical(self, record: Acquisition, source: str) -> tuple[float, float, int]:
        """Volts a code, volts of the reference code, and that code."""
        setting = record.inputs[source]
        word = self.get(settings.FORMAT) == "WORD"
        reference = 0 if not self.get(settings.UNSIGNED) else 128 * (WORD_STEPS if word else 1)
        return setting.volts_a_code / (WORD_STEPS if word else 1), setting.offset_volts, reference

    @command("WAVeform:XINCrement?")
    def x_increment(self, call: CommandCall) -> str:
        """Seconds between points."""
        return settings.engineering(self.record().range_seconds / self.points())

    @command("WAVeform:XORigin?")
    def x_origin(self, call: CommandCall) -> str:
        """Time of the first point relative to the trigger."""
        return settings.engineering(self.record().first_seconds)

    @command("WAVeform:XREFerence?")
    def x_reference(self, call: CommandCall) -> str:
        """Number of the point at the origin."""
        return "+0"

    @command("WAVeform:YINCrement?")
    def y_increment(self, call: CommandCall) -> str:
        """Volts a code."""
        return settings.engineering(self._vertical(self.record(), self.source())[0])

    @command("WAVeform:YORigin?")
    def y_origin(self, call: CommandCall) -> str:
        """Volts of the reference code."""
        return settings.engineering(self._vertical(self.record(), self.source())[1])

    @command("WAVeform:YREFerence?")
    def y_reference(self, call: CommandCall) -> str:
        """The reference code."""
        return f"{self._vertical(self.record(), self.source())[2]:+d}"

    @command("WAVeform:COUNt?")
    def count(self, call: CommandCall) -> str:
        """Records that the waveform is an average of."""
        return f"{len(self.record().triggers):+d}"

    @command("WAVeform:TYPE?")
    def type(self, call: CommandCall) -> str:
        """How the record was acquired."""
        return self.record().kind

    @command("ACQuire:POINts?")
    def acquired_points(self, call: CommandCall) -> str:
        """Points that the hardware acquires."""
        length = float(self.get(settings.TIME_RANGE))
        return f"{int(min(MEMORY_POINTS, max(100.0, length * FASTEST_SAMPLE_RATE))):+d}"

    @command("ACQuire:SRATe?")
    def sample_rate(self, call: CommandCall) -> str:
        """Samples a second of the hardware."""
        length = float(self.get(settings.TIME_RANGE))
        return settings.engineering(min(FASTEST_SAMPLE_RATE, MEMORY_POINTS / length))
