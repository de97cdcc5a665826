"""What is read of a record: measurements by name, and the waveform with its preamble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.oscilloscope import settings
from hwloop.simulators.bench.oscilloscope.acquisition import FASTEST_SAMPLE_RATE, WORD_STEPS, Acquisition
from hwloop.simulators.bench.oscilloscope.panel import Panel
from hwloop.simulators.bench.oscilloscope.settings import engineering
from hwloop.simulators.bench.scpi.command import BenchCommand, CommandCall, answers, command
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
            return engineering(measurement(record.times(MEASURED_POINTS), volts - volts.mean()))
        return engineering(
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


def _vertical(place: int, form: Callable[[float], str]) -> Callable[[Any, CommandCall], str]:
    """One of the three numbers that make volts of codes."""
    return lambda scope, _: form(scope.vertical(scope.record(), scope.source())[place])


class Transfer(RecordMeasurements):
    """The part of the oscilloscope that hands waveforms over."""

    COMMANDS: ClassVar[tuple[BenchCommand, ...]] = (
        answers(
            "WAVeform:XINCrement?",
            "Seconds between points.",
            lambda scope, _: engineering(scope.record().range_seconds / scope.points()),
        ),
        answers(
            "WAVeform:XORigin?",
            "Time of the first point relative to the trigger.",
            lambda scope, _: engineering(scope.record().first_seconds),
        ),
        answers("WAVeform:XREFerence?", "Number of the point at the origin.", lambda scope, _: "+0"),
        answers("WAVeform:YINCrement?", "Volts a code.", _vertical(0, engineering)),
        answers("WAVeform:YORigin?", "Volts of the reference code.", _vertical(1, engineering)),
        answers("WAVeform:YREFerence?", "The reference code.", _vertical(2, "{:+d}".format)),
        answers(
            "WAVeform:COUNt?",
            "Records that the waveform is an average of.",
            lambda scope, _: f"{len(scope.record().triggers):+d}",
        ),
        answers("WAVeform:TYPE?", "How the record was acquired.", lambda scope, _: scope.record().kind),
        answers(
            "ACQuire:POINts?",
            "Points that the hardware acquires.",
            lambda scope, _: (
                f"{int(min(MEMORY_POINTS, max(100.0, scope.range_seconds() * FASTEST_SAMPLE_RATE))):+d}"
            ),
        ),
        answers(
            "ACQuire:SRATe?",
            "Samples a second of the hardware.",
            lambda scope, _: engineering(min(FASTEST_SAMPLE_RATE, MEMORY_POINTS / scope.range_seconds())),
        ),
    )

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
        y_increment, y_origin, y_reference = self.vertical(record, source)
        return (
            f"{FORMAT_CODES[self.get(settings.FORMAT)]:+d},{TYPE_CODES[record.kind]:+d},{points:+d},{count:+d},"
            f"{x_increment:+.8E},{record.first_seconds:+.8E},+0,"
            f"{y_increment:+.8E},{y_origin:+.8E},{y_reference:+d}"
        )

    def range_seconds(self) -> float:
        """Seconds across the screen."""
        return self.number(settings.TIME_RANGE)

    def fastest_points(self) -> float:
        """Points across the screen at the fastest sample rate."""
        return self.range_seconds() * FASTEST_SAMPLE_RATE

    def vertical(self, record: Acquisition, source: str) -> tuple[float, float, int]:
        """Volts a code, volts of the reference code, and that code."""
        setting = record.inputs[source]
        word = self.get(settings.FORMAT) == "WORD"
        reference = 0 if not self.get(settings.UNSIGNED) else 128 * (WORD_STEPS if word else 1)
        return setting.volts_a_code / (WORD_STEPS if word else 1), setting.offset_volts, reference
