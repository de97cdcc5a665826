"""What the oscilloscope records: its inputs and time base, and the samples of one trigger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.oscilloscope import settings
from hwloop.simulators.bench.scpi.common_commands import CommonCommands
from hwloop.simulators.bench.signals import Constant, Voltage

LEAST_RANGE_VOLTS, GREATEST_RANGE_VOLTS = 8e-3, 40.0  # at an attenuation of 1
OFFSET_SCREENS = 5.0  # the offset reaches so many screens either way
SCREEN_BEFORE = {"LEFT": 0.1, "CENT": 0.5, "RIGH": 0.9}  # part of the screen before the time reference
POINTS_OF_SCREEN = (100, 250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 62_500)
POINTS_OF_MEMORY = (*POINTS_OF_SCREEN[:-1], 100_000, 200_000, 500_000, 1_000_000)


class Inputs(CommonCommands):
    """The part of the oscilloscope that scales."""

    stopped: bool

    # Channels

    def range_limits(self, channel: int) -> tuple[float, float]:
        """8 mV to 40 V at the connector."""
        probe = self.number(settings.PROBE, channel)
        return LEAST_RANGE_VOLTS * probe, GREATEST_RANGE_VOLTS * probe

    def scale_limits(self, channel: int) -> tuple[float, float]:
        """The same, a division."""
        low, high = self.range_limits(channel)
        return low / settings.DIVISIONS_DOWN, high / settings.DIVISIONS_DOWN

    def scale(self, channel: int) -> float:
        """Volts a division."""
        return self.number(settings.RANGE, channel) / settings.DIVISIONS_DOWN

    def set_scale(self, channel: int, volts: float) -> None:
        """Set the range by its eighth."""
        self.put(settings.RANGE, volts * settings.DIVISIONS_DOWN, channel)

    def set_offset(self, channel: int, volts: float) -> None:
        """Set the offset, to the nearest that the range allows."""
        most = OFFSET_SCREENS * self.number(settings.RANGE, channel)
        self.put(settings.OFFSET, min(most, max(-most, volts)), channel)

    def set_probe(self, channel: int, attenuation: float) -> None:
        """A change of the attenuation scales range and offset along."""
        factor = attenuation / self.number(settings.PROBE, channel)
        self.put(settings.PROBE, attenuation, channel)
        for setting in (settings.RANGE, settings.OFFSET):
            self.put(setting, self.number(setting, channel) * factor, channel)

    def label(self, channel: int) -> str:
        """The label; a channel that has none shows its number."""
        return self.get(settings.LABEL, channel) or str(channel)

    def set_label(self, channel: int, text: str) -> None:
        """Labels are in upper case."""
        self.put(settings.LABEL, text.upper(), channel)

    def input_settings(self) -> dict[str, InputSettings]:
        """How the inputs are set now."""
        inputs = {
            f"CHAN{channel}": InputSettings(
                self.number(settings.RANGE, channel),
                self.number(settings.OFFSET, channel),
                self.number(settings.PROBE, channel),
                self.get(settings.COUPLING, channel) == "AC",
                bool(self.get(settings.INVERT, channel)),
            )
            for channel in range(1, settings.CHANNELS + 1)
        }
        external = self.number(settings.EXTERNAL_RANGE)
        return inputs | {"EXT": InputSettings(external, 0.0, self.number(settings.EXTERNAL_PROBE))}

    # Time base

    def time_scale(self, suffix: int) -> float:
        """Seconds a division."""
        return self.number(settings.TIME_RANGE) / settings.DIVISIONS_ACROSS

    def set_time_scale(self, suffix: int, seconds: float) -> None:
        """Set the time range by its tenth."""
        self.put(settings.TIME_RANGE, seconds * settings.DIVISIONS_ACROSS)

    def window(self) -> tuple[float, float]:
        """First point relative to the trigger, and length of the record, in seconds."""
        length = self.number(settings.TIME_RANGE)
        before = SCREEN_BEFORE[self.get(settings.TIME_REFERENCE)]
        return self.number(settings.TIME_POSITION) - before * length, length

    # Trigger

    def _level_key(self) -> int:
        return {"CHAN1": 1, "CHAN2": 2, "EXT": 3}.get(self.get(settings.TRIGGER_SOURCE), 4)

    def trigger_level(self, suffix: int) -> float:
        """Level for the source that is set; each source has its own."""
        return self.number(settings.TRIGGER_LEVEL, self._level_key())

    def set_trigger_level(self, suffix: int, volts: float) -> None:
        """Set the level for the source that is set."""
        self.put(settings.TRIGGER_LEVEL, volts, self._level_key())

    def trigger_level_limits(self, suffix: int) -> tuple[float, float]:
        """Six divisions around the middle, or the range of the external input."""
        key = self._level_key()
        if key in (1, 2):
            reach, middle = 6 * self.scale(key), self.number(settings.OFFSET, key)
            return middle - reach, middle + reach
        reach = self.number(settings.EXTERNAL_RANGE)
        return -reach, reach

    # Points

    def points_limits(self, suffix: int) -> tuple[float, float]:
        """From 100 to the whole memory; what the chosen record does not hold is not transferred."""
        return float(POINTS_OF_SCREEN[0]), float(POINTS_OF_MEMORY[-1])

    def points(self, suffix: int = 1) -> float:
        """The largest number of points that the record allows and that is not above what was asked for."""
        asked = self.number(settings.POINTS)
        return float(max(n for n in self._allowed_points() if n <= max(asked, POINTS_OF_SCREEN[0])))

    def _allowed_points(self) -> tuple[int, ...]:
        whole_memory = self.stopped and self.get(settings.POINTS_MODE) in ("RAW", "MAX")
        return POINTS_OF_MEMORY if whole_memory else POINTS_OF_SCREEN

    # Built-in generator

    def wgen_period(self, suffix: int) -> float:
        """Period of the built-in generator."""
        return 1.0 / self.number(settings.WGEN_FREQUENCY)

    def set_wgen_period(self, suffix: int, seconds: float) -> None:
        """Set its frequency by the period."""
        self.put(settings.WGEN_FREQUENCY, 1.0 / seconds)

    def wgen_high(self, suffix: int) -> float:
        """Upper voltage of the built-in generator."""
        return self.number(settings.WGEN_OFFSET) + 0.5 * self.number(settings.WGEN_AMPLITUDE)

    def wgen_low(self, suffix: int) -> float:
        """Lower voltage of the built-in generator."""
        return self.number(settings.WGEN_OFFSET) - 0.5 * self.number(settings.WGEN_AMPLITUDE)

    def set_wgen_high(self, suffix: int, volts: float) -> None:
        """Set its amplitude and offset by the upper voltage."""
        self._set_wgen_ends(min(self.wgen_low(1), volts), volts)

    def set_wgen_low(self, suffix: int, volts: float) -> None:
        """Set its amplitude and offset by the lower voltage."""
        self._set_wgen_ends(volts, max(self.wgen_high(1), volts))

    def _set_wgen_ends(self, low: float, high: float) -> None:
        self.put(settings.WGEN_AMPLITUDE, high - low)
        self.put(settings.WGEN_OFFSET, 0.5 * (high + low))


CODES_ON_SCREEN = 199  # of 256: the converter reaches beyond the screen
FASTEST_SAMPLE_RATE = 2e9
WORD_STEPS = 256  # of a WORD, for one of a BYTE
HIGHEST_BITS = 12
_REST = Constant(0.0)


@dataclass(frozen=True)
class InputSettings:
    """How one input is set when a trigger comes.

    Parameters
    ----------
    range_volts, offset_volts
        Volts from bottom to top of the screen, and in its middle; at the probe's tip.
    probe
        Attenuation that is assumed; the wire has none.
    ac, inverted
        Coupling and inversion.
    """

    range_volts: float
    offset_volts: float
    probe: float
    ac: bool = False
    inverted: bool = False

    @property
    def volts_a_code(self) -> float:
        """Volts of one step of 8 bits."""
        return self.range_volts / CODES_ON_SCREEN


@dataclass(eq=False)
class Acquisition:
    """A record, sampled when somebody asks for it.

    Parameters
    ----------
    triggers
        Bench times of the triggers; several make an average.
    lines
        What lay on the inputs at each trigger, by ``CHAN1`` and so on.
    inputs
        Settings of the inputs.
    first_seconds, range_seconds
        The first point relative to the trigger, and the length of the record.
    kind
        ``NORM``, ``HRES``, ``AVER`` or ``PEAK``.
    noise_of_range
        Standard deviation of the noise of one sample, as a fraction of the screen's height.
    rng_seed
        Of the noise; the same points are the same at every transfer.
    """

    triggers: list[float]
    lines: list[Mapping[str, Voltage]]
    inputs: Mapping[str, InputSettings]
    first_seconds: float
    range_seconds: float
    kind: str
    noise_of_range: float
    rng_seed: tuple[int, ...]
    _codes: dict[tuple[str, int], NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def times(self, points: int) -> Float64Array:
        """Times of the points relative to the trigger."""
        return np.asarray(self.first_seconds + np.arange(points) * (self.range_seconds / points), np.float64)

    def oversampling(self, points: int) -> float:
        """Samples that the converter takes for a point."""
        return max(1.0, FASTEST_SAMPLE_RATE * self.range_seconds / points)

    def bits(self, points: int) -> int:
        """Resolution: 8, and up to 12 where samples are averaged: the mean of n codes has n times as many values.

        That it is worth them takes noise of about a code, which smears the codes; an input has it.
        """
        averaged = {"HRES": self.oversampling(points), "AVER": float(len(self.triggers))}.get(self.kind, 1.0)
        return min(HIGHEST_BITS, 8 + int(math.log2(averaged)))

    def volts(self, source: str, points: int) -> Float64Array:
        """Voltages at the probe's tip with noise, before the converter."""
        setting, times = self.inputs[source], self.times(points)
        step = self.range_seconds / points
        total = np.zeros(points)
        for trigger, lines in zip(self.triggers, self.lines, strict=True):
            line = lines.get(source, _REST)
            if self.kind == "HRES":
                total += line.mean(trigger + times - 0.5 * step, trigger + times + 0.5 * step)
            else:
                total += line.at(trigger + times)
        volts = total * (setting.probe / len(self.triggers))
        if setting.ac:
            volts -= volts.mean()
        if setting.inverted:
            volts = -volts
        return volts + self._noise(source, points)

    def _noise(self, source: str, points: int) -> Float64Array | float:
        sigma = self.noise_of_range * self.inputs[source].range_volts / math.sqrt(len(self.triggers))
        if self.kind == "HRES":
            sigma /= math.sqrt(self.oversampling(points))
        if sigma == 0:
            return 0.0
        rng = np.random.default_rng((*self.rng_seed, points, sum(source.encode())))
        return sigma * rng.standard_normal(points, dtype=np.float32).astype(np.float64)

    def codes(self, source: str, points: int) -> NDArray[np.int64]:
        """Codes of a WORD, 256 for each step of 8 bits: 0 is no sample, so the lowest is one step of 8 bits."""
        key = (source, points)
        if key not in self._codes:
            setting = self.inputs[source]
            grid = 2 ** (self.bits(points) - 8)
            steps = np.rint((self.volts(source, points) - setting.offset_volts) / setting.volts_a_code * grid)
            word = steps.astype(np.int64) * (WORD_STEPS // grid) + 128 * WORD_STEPS
            self._codes[key] = np.clip(word, WORD_STEPS, 256 * WORD_STEPS - WORD_STEPS // grid)
        return self._codes[key]

    def measured_volts(self, source: str, points: int) -> Float64Array:
        """Voltages as the converter gave them."""
        setting = self.inputs[source]
        steps = (self.codes(source, points) - 128 * WORD_STEPS) / WORD_STEPS
        return np.asarray(steps * setting.volts_a_code + setting.offset_volts)


def first_crossing(signal: Voltage, level: float, slope: str, start: float, stop: float) -> float | None:
    """When a signal first crosses a level between two times, ``POS`` upwards, ``NEG`` downwards, else either."""
    times = np.linspace(start, stop, 50_001)
    above = signal.at(times) >= level
    up, down = ~above[:-1] & above[1:], above[:-1] & ~above[1:]
    crossed = np.flatnonzero({"POS": up, "NEG": down}.get(slope, up | down))
    return float(times[crossed[0] + 1]) if crossed.size else None
