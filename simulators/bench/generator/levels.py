"""Voltages, frequencies and sample rates of the generator, and how they limit each other.

Voltages are kept as volts of the source; what is shown depends on the load assumed: a source of E volts behind
50 ohm shows E * load / (load + 50) at its load, E where the load is infinite.
"""

from __future__ import annotations

import math

from hwloop.simulators.bench.generator import settings
from hwloop.simulators.bench.generator.waveforms import ArbMemory
from hwloop.simulators.bench.scpi.common_commands import CommonCommands
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import INFINITY

SOURCE_OHMS = 50.0
MAX_SOURCE_VOLTS = 10.0  # either way, offset included
MIN_SOURCE_VPP, MAX_SOURCE_VPP = 0.002, 20.0
RMS_PER_VPP = {"SIN": 0.5 / math.sqrt(2), "SQU": 0.5, "TRI": 0.5 / math.sqrt(3), "RAMP": 0.5 / math.sqrt(3)}
DEFAULT_RMS_PER_VPP = 0.5
DBM_REFERENCE_WATTS = 1e-3


class GeneratorLevels(CommonCommands):
    """The part of the generator that sets voltages."""

    def reset(self) -> None:
        """100 mVpp and no offset into 50 ohm."""
        super().reset()
        self._source_vpp = dict.fromkeys((1, 2), 0.2)
        self._source_offset = dict.fromkeys((1, 2), 0.0)

    def update(self, channel: int) -> None:
        """Play the channel's waveform as it is set now."""
        raise NotImplementedError

    def shown(self, channel: int) -> float:
        """Volts shown for a volt of the source."""
        load = self.number(settings.LOAD, channel)
        return 1.0 if load >= INFINITY else load / (load + SOURCE_OHMS)

    def source_vpp(self, channel: int) -> float:
        """Peak-to-peak volts of the source; of DC none."""
        return 0.0 if self.get(settings.FUNCTION, channel) == "DC" else self._source_vpp[channel]

    def source_offset(self, channel: int) -> float:
        """Offset of the source in volts."""
        return self._source_offset[channel]

    # Units of the amplitude

    def _per_vpp(self, channel: int) -> float:
        return RMS_PER_VPP.get(self.get(settings.FUNCTION, channel), DEFAULT_RMS_PER_VPP)

    def to_vpp(self, channel: int, value: float, unit: str) -> float:
        """An amplitude in VPP, VRMS or DBM as peak-to-peak volts."""
        if unit == "VPP":
            return value
        if unit == "DBM":
            load = self.number(settings.LOAD, channel)
            if load >= INFINITY:
                raise ScpiError(-221, "dBm needs a finite output load")
            value = math.sqrt(DBM_REFERENCE_WATTS * 10 ** (value / 10) * load)
        return value / self._per_vpp(channel)

    def from_vpp(self, channel: int, vpp: float) -> float:
        """Peak-to-peak volts in the unit that is set."""
        unit = self.get(settings.UNIT, channel)
        if unit == "VPP":
            return vpp
        rms = vpp * self._per_vpp(channel)
        if unit == "VRMS":
            return rms
        load = self.number(settings.LOAD, channel)
        return 10 * math.log10(max(rms, 1e-12) ** 2 / min(load, INFINITY) / DBM_REFERENCE_WATTS)

    # What the settings read and write

    def amplitude(self, channel: int) -> float:
        """Amplitude in the unit that is set."""
        return self.from_vpp(channel, self._source_vpp[channel] * self.shown(channel))

    def set_amplitude(self, channel: int, value: float) -> None:
        """Set the amplitude, in the unit that is set."""
        vpp = self.to_vpp(channel, value, self.get(settings.UNIT, channel))
        self._source_vpp[channel] = vpp / self.shown(channel)
        self.update(channel)

    def amplitude_limits(self, channel: int) -> tuple[float, float]:
        """What the converter, the offset and the voltage limits leave."""
        low, high = self._bounds(channel)
        offset = self._source_offset[channel]
        room = 2 * min(high - offset, offset - low)
        highest = max(MIN_SOURCE_VPP, min(MAX_SOURCE_VPP, room))
        return (
            self.from_vpp(channel, MIN_SOURCE_VPP * self.shown(channel)),
            self.from_vpp(channel, highest * self.shown(channel)),
        )

    def offset(self, channel: int) -> float:
        """Offset in volts at the load."""
        return self._source_offset[channel] * self.shown(channel)

    def set_offset(self, channel: int, volts: float) -> None:
        """Set the offset."""
        self._source_offset[channel] = volts / self.shown(channel)
        self.update(channel)

    def offset_limits(self, channel: int) -> tuple[float, float]:
        """What the amplitude and the voltage limits leave."""
        low, high = self._bounds(channel)
        half = 0.5 * self.source_vpp(channel)
        shown = self.shown(channel)
        return min(0.0, low + half) * shown, max(0.0, high - half) * shown

    def high(self, channel: int) -> float:
        """Upper voltage at the load."""
        return (self._source_offset[channel] + 0.5 * self._source_vpp[channel]) * self.shown(channel)

    def low(self, channel: int) -> float:
        """Lower voltage at the load."""
        return (self._source_offset[channel] - 0.5 * self._source_vpp[channel]) * self.shown(channel)

    def set_high(self, channel: int, volts: float) -> None:
        """Set the upper voltage, keeping the lower one below it."""
        self._set_ends(channel, min(self.low(channel), volts - self._least_vpp(channel)), volts)

    def set_low(self, channel: int, volts: float) -> None:
        """Set the lower voltage, keeping the upper one above it."""
        self._set_ends(channel, volts, max(self.high(channel), volts + self._least_vpp(channel)))

    def high_limits(self, channel: int) -> tuple[float, float]:
        """Limits of the upper voltage."""
        low, high = self._bounds(channel)
        return low * self.shown(channel) + self._least_vpp(channel), high * self.shown(channel)

    def low_limits(self, channel: int) -> tuple[float, float]:
        """Limits of the lower voltage."""
        low, high = self._bounds(channel)
        return low * self.shown(channel), high * self.shown(channel) - self._least_vpp(channel)

    def limit_high(self, channel: int) -> float:
        """Upper output limit at the load."""
        return self.number(settings.LIMIT_HIGH, channel) * self.shown(channel)

    def set_limit_high(self, channel: int, volts: float) -> None:
        """Set the upper output limit."""
        self.put(settings.LIMIT_HIGH, volts / self.shown(channel), channel)

    def limit_low(self, channel: int) -> float:
        """Lower output limit at the load."""
        return self.number(settings.LIMIT_LOW, channel) * self.shown(channel)

    def set_limit_low(self, channel: int, volts: float) -> None:
        """Set the lower output limit."""
        self.put(settings.LIMIT_LOW, volts / self.shown(channel), channel)

    def limit_high_limits(self, channel: int) -> tuple[float, float]:
        """The upper output limit lies above what is played now."""
        return self.high(channel), MAX_SOURCE_VOLTS * self.shown(channel)

    def limit_low_limits(self, channel: int) -> tuple[float, float]:
        """The lower output limit lies below what is played now."""
        return -MAX_SOURCE_VOLTS * self.shown(channel), self.low(channel)

    def _least_vpp(self, channel: int) -> float:
        return MIN_SOURCE_VPP * self.shown(channel)

    def _set_ends(self, channel: int, low: float, high: float) -> None:
        shown = self.shown(channel)
        self._source_vpp[channel] = (high - low) / shown
        self._source_offset[channel] = 0.5 * (high + low) / shown
        self.update(channel)

    def _bounds(self, channel: int) -> tuple[float, float]:
        """Lowest and highest volts of the source."""
        if not self.get(settings.LIMIT_STATE, channel):
            return -MAX_SOURCE_VOLTS, MAX_SOURCE_VOLTS
        return (
            max(-MAX_SOURCE_VOLTS, self.number(settings.LIMIT_LOW, channel)),
            min(MAX_SOURCE_VOLTS, self.number(settings.LIMIT_HIGH, channel)),
        )


MIN_FREQUENCY_HZ = 1e-6
MIN_PULSE_SECONDS = 16e-9
MIN_SAMPLE_RATE = 1e-6


class GeneratorTiming(GeneratorLevels):
    """The part of the generator that sets frequencies."""

    memory: dict[int, ArbMemory]

    def frequency_limits(self, channel: int) -> tuple[float, float]:
        """Ramps are limited to 200 kHz, all else to 30 MHz; arbitrary waveforms by their sample rate."""
        function = self.get(settings.FUNCTION, channel)
        if function == "ARB":
            return self.arb_frequency_limits(channel)
        slow = function in ("RAMP", "TRI")
        return MIN_FREQUENCY_HZ, settings.MAX_RAMP_HZ if slow else settings.MAX_FREQUENCY_HZ

    def frequency(self, channel: int) -> float:
        """Frequency; of an arbitrary waveform, its cycles a second."""
        if self.get(settings.FUNCTION, channel) == "ARB":
            return self.arb_frequency(channel)
        return self.number(settings.FREQUENCY, channel)

    def set_frequency(self, channel: int, hertz: float) -> None:
        """Set it; of pulses, keep width or duty cycle as ``PULSe:HOLD`` says."""
        if self.get(settings.FUNCTION, channel) == "ARB":
            self.set_arb_frequency(channel, hertz)
            return
        duty = self.pulse_duty(channel)
        self.put(settings.FREQUENCY, hertz, channel)
        if self.get(settings.PULSE_HOLD, channel) == "DCYC":
            self.put(settings.PULSE_WIDTH, duty / 100 / hertz, channel)
        widest = self.pulse_width_limits(channel)[1]
        self.put(settings.PULSE_WIDTH, min(self.get(settings.PULSE_WIDTH, channel), widest), channel)
        self.update(channel)

    def period_limits(self, channel: int) -> tuple[float, float]:
        """The other way round."""
        low, high = self.frequency_limits(channel)
        return 1.0 / high, 1.0 / low

    def period(self, channel: int) -> float:
        """Seconds of a cycle."""
        return 1.0 / self.number(settings.FREQUENCY, channel)

    def set_period(self, channel: int, seconds: float) -> None:
        """Set the frequency by its period."""
        self.set_frequency(channel, 1.0 / seconds)

    # Angles, kept in degrees

    def _unit_degrees(self) -> float:
        return math.degrees(1.0) if self.get(settings.ANGLE_UNIT) == "RAD" else 1.0

    def angle_limits(self, channel: int) -> tuple[float, float]:
        """A turn either way."""
        return -360.0 / self._unit_degrees(), 360.0 / self._unit_degrees()

    def phase(self, channel: int) -> float:
        """Phase in the unit of angles."""
        return self.number(settings.PHASE, channel) / self._unit_degrees()

    def set_phase(self, channel: int, angle: float) -> None:
        """Set the phase."""
        self.put(settings.PHASE, angle * self._unit_degrees(), channel)
        self.update(channel)

    def burst_phase(self, channel: int) -> float:
        """Start of a burst in the unit of angles."""
        return self.number(settings.BURST_PHASE, channel) / self._unit_degrees()

    def set_burst_phase(self, channel: int, angle: float) -> None:
        """Set the start of a burst."""
        self.put(settings.BURST_PHASE, angle * self._unit_degrees(), channel)
        self.update(channel)

    # Pulses

    def pulse_width_limits(self, channel: int) -> tuple[float, float]:
        """A pulse leaves room for its edges and for as long a gap."""
        return MIN_PULSE_SECONDS, max(MIN_PULSE_SECONDS, self.period(channel) - MIN_PULSE_SECONDS)

    def pulse_duty(self, channel: int) -> float:
        """Width in percent of the period."""
        return 100.0 * self.number(settings.PULSE_WIDTH, channel) / self.period(channel)

    def set_pulse_duty(self, channel: int, percent: float) -> None:
        """Set the width by the duty cycle."""
        low, high = self.pulse_width_limits(channel)
        self.put(settings.PULSE_WIDTH, min(high, max(low, percent / 100 * self.period(channel))), channel)
        self.update(channel)

    def set_pulse_edges(self, channel: int, seconds: float) -> None:
        """Set both edges."""
        self.put(settings.PULSE_LEADING, seconds, channel)
        self.put(settings.PULSE_TRAILING, seconds, channel)
        self.update(channel)

    # Arbitrary waveforms

    def sample_rate_limits(self, channel: int) -> tuple[float, float]:
        """Without its filter the converter is a quarter as fast."""
        unfiltered = self.get(settings.ARB_FILTER, channel) == "OFF"
        return MIN_SAMPLE_RATE, settings.MAX_UNFILTERED_SAMPLE_RATE if unfiltered else settings.MAX_SAMPLE_RATE

    def filter_changed(self, channel: int) -> None:
        """Without the filter a faster rate is reduced, and reported."""
        fastest = self.sample_rate_limits(channel)[1]
        too_fast = self.get(settings.ARB_RATE, channel) > fastest
        if too_fast:
            self.put(settings.ARB_RATE, fastest, channel)
        self.update(channel)
        if too_fast:
            raise ScpiError(-221, "sample rate reduced for filter OFF")

    def arb_frequency(self, channel: int) -> float:
        """Cycles a second of the selected waveform."""
        return self.number(settings.ARB_RATE, channel) / len(self.memory[channel].values)

    def set_arb_frequency(self, channel: int, hertz: float) -> None:
        """Set the sample rate by the frequency."""
        self.put(settings.ARB_RATE, hertz * len(self.memory[channel].values), channel)
        self.update(channel)

    def arb_frequency_limits(self, channel: int) -> tuple[float, float]:
        """Follow from the sample rate's limits."""
        low, high = self.sample_rate_limits(channel)
        points = len(self.memory[channel].values)
        return low / points, high / points

    def arb_period(self, channel: int) -> float:
        """Seconds of a cycle of the selected waveform."""
        return 1.0 / self.arb_frequency(channel)

    def set_arb_period(self, channel: int, seconds: float) -> None:
        """Set the sample rate by the period."""
        self.set_arb_frequency(channel, 1.0 / seconds)

    def arb_period_limits(self, channel: int) -> tuple[float, float]:
        """Follow from the sample rate's limits."""
        low, high = self.arb_frequency_limits(channel)
        return 1.0 / high, 1.0 / low

    def set_burst_cycles(self, channel: int, cycles: float) -> None:
        """Set them; with an immediate trigger bursts that do not fit into their period make it longer."""
        whole = cycles if cycles >= INFINITY else float(round(cycles))
        self.put(settings.BURST_CYCLES, whole, channel)
        needed = 0.0 if whole >= INFINITY else whole / self.frequency(channel) + 1e-6
        if needed > self.get(settings.BURST_PERIOD, channel):
            self.put(settings.BURST_PERIOD, min(needed, 8000.0), channel)
        self.update(channel)
