"""What the generator puts on its wires: waveforms as they are set, and bursts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.simulators.bench.generator import settings, waveforms
from hwloop.simulators.bench.generator.arb import ArbCommands
from hwloop.simulators.bench.generator.levels import SOURCE_OHMS
from hwloop.simulators.bench.generator.waveforms import ArbMemory
from hwloop.simulators.bench.scpi.instrument import BenchClock
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import INFINITY
from hwloop.simulators.bench.signals import Constant, Function, OutputLog, Voltage


@dataclass(frozen=True)
class Burst:
    """A waveform that a channel has begun to play, and the sync edge that went with it.

    Parameters
    ----------
    channel
        Of the generator.
    start
        Bench time of the first point.
    seconds
        Its length; of an endless one, that of a cycle.
    signal
        Volts on the wire.
    synced
        Whether the sync connector rose at ``start``.
    """

    channel: int
    start: float
    seconds: float
    signal: Voltage
    synced: bool


class Outputs(ArbCommands):
    """The part of the generator that drives its connectors.

    Parameters
    ----------
    clock
        Time of the bench.
    log
        Writes down what is on the wires.
    load_ohms
        What is really connected to the outputs; infinite by default.
    dac_bits
        Resolution of the converter, 16 in the 33500B, 14 in older models.
    seed
        Of the function NOISe.
    """

    def __init__(
        self,
        clock: BenchClock,
        log: OutputLog | None = None,
        load_ohms: float = math.inf,
        dac_bits: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(clock)
        self.log = OutputLog() if log is None else log
        self.on_burst: Callable[[Burst], None] = lambda burst: None
        self.load_ohms = load_ohms
        self.dac_bits = dac_bits
        self.seed = seed
        self.memory = {channel: ArbMemory() for channel in (1, 2)}
        self.reset()

    def reset(self) -> None:
        """Sine of 1 kHz, outputs off; waveforms in memory are lost."""
        super().reset()
        self._burst: dict[int, Burst | None] = {1: None, 2: None}
        self._busy_until = 0.0
        for memory in self.memory.values():
            memory.clear()

    def output(self, channel: int) -> Voltage:
        """The voltage of a channel's connector over bench time, as things stand."""
        if not self.get(settings.OUTPUT, channel):
            return Constant(0.0)
        burst = self._burst[channel]
        if burst is not None:
            return burst.signal
        if self.is_gated_by_trigger(channel):
            return Constant(self._idle_volts(channel))
        if not self.get(settings.BURST, channel):
            return self._waveform(channel, 0.0, math.inf)
        repeated, every = self._waveform(channel, 0.0, self._burst_cycles(channel)), self._every_seconds(channel)
        return Function(lambda times: repeated.at(np.mod(times, every)))

    def is_gated_by_trigger(self, channel: int) -> bool:
        """Whether the channel rests until it is triggered, or its gate opens: nothing is connected to that."""
        waits = self.get(settings.TRIGGER_SOURCE, channel) in ("BUS", "EXT")
        return bool(self.get(settings.BURST, channel)) and (
            waits or self.get(settings.BURST_MODE, channel) == "GAT"
        )

    def next_burst(self, now: float, channel: int) -> Burst | None:
        """The cycle or burst that a channel which triggers itself begins next; ``None`` if it waits."""
        with self.lock:
            if self._burst[channel] is not None or self.is_gated_by_trigger(channel):
                return None
            cycle, every = self._cycle_seconds(channel), self._every_seconds(channel)
            cycles = self._burst_cycles(channel) if self.get(settings.BURST, channel) else math.inf
            start = math.ceil(now / every) * every
            length = cycle * cycles if math.isfinite(cycles) else cycle
            return Burst(channel, start, length, self._connected(channel, start, cycles), self._synced(channel))

    def update(self, channel: int) -> None:
        """The settings have changed: a burst that was playing ends, and the log sees what the output does now."""
        self._burst[channel] = None
        if self.get(settings.OUTPUT, channel):
            self.log.note(channel, self.output(channel), self.clock.now(), self._every_seconds(channel))

    def busy_until(self) -> float:
        return self._busy_until

    def _connected(self, channel: int, start: float, cycles: float) -> Voltage:
        if not self.get(settings.OUTPUT, channel):
            return Constant(0.0)
        return self._waveform(channel, start, cycles)

    def _wire_volts(self, channel: int) -> tuple[float, float]:
        """Half the peak-to-peak volts, and the offset, at what is really connected."""
        divider = 1.0 if math.isinf(self.load_ohms) else self.load_ohms / (self.load_ohms + SOURCE_OHMS)
        sign = -1.0 if self.get(settings.POLARITY, channel) == "INV" else 1.0
        half = 0.5 * self.source_vpp(channel) * divider * sign
        return half, self.source_offset(channel) * divider

    def _idle_volts(self, channel: int) -> float:
        """Between bursts the output stays at the level of the burst's first point."""
        half, offset = self._wire_volts(channel)
        function = self.get(settings.FUNCTION, channel)
        if function == "ARB":
            return offset + half * float(self.memory[channel].values[0])
        if function in ("DC", "NOIS"):
            return offset
        phase = self.number(settings.BURST_PHASE, channel) / 360.0
        return offset + half * float(self._shape(channel)(np.array([phase]))[0])

    def _waveform(self, channel: int, start: float, cycles: float) -> Voltage:
        half, offset = self._wire_volts(channel)
        function = self.get(settings.FUNCTION, channel)
        if function == "DC":
            return Constant(offset)
        if function == "ARB":
            playback = waveforms.ArbPlayback(
                self.memory[channel].values,
                half,
                offset,
                self.number(settings.ARB_RATE, channel),
                self.get(settings.ARB_FILTER, channel),
                self.dac_bits,
            )
            return playback.signal(start, cycles)
        in_burst = math.isfinite(cycles)
        degrees = self.number(settings.BURST_PHASE if in_burst else settings.PHASE, channel)
        shape, count = self._shape(channel), self._cycle_counter(channel)

        def volts(times: Float64Array) -> Float64Array:
            return offset + half * shape(count(times) + degrees / 360.0)

        seconds = self._cycle_seconds(channel) * cycles
        return Function(volts, start, seconds, self._idle_volts(channel) if in_burst else offset)

    def _cycle_counter(self, channel: int) -> waveforms.Shape:
        """Seconds to cycles."""
        function = self.get(settings.FUNCTION, channel)
        if function == "NOIS":
            return lambda times: times * (2.0 * self.number(settings.NOISE_BANDWIDTH, channel))
        if function == "PRBS":
            return lambda times: times * self.number(settings.PRBS_RATE, channel)
        if self.get(settings.FREQUENCY_MODE, channel) == "SWE":
            return waveforms.sweep(
                self.number(settings.SWEEP_START, channel),
                self.number(settings.SWEEP_STOP, channel),
                self.number(settings.SWEEP_SECONDS, channel),
                self.get(settings.SWEEP_SPACING, channel) == "LOG",
            )
        hertz = self.number(settings.FREQUENCY, channel)
        return lambda times: times * hertz

    def _shape(self, channel: int) -> waveforms.Shape:
        """Cycles to values from -1 to 1."""
        function = self.get(settings.FUNCTION, channel)
        if function == "SQU":
            return waveforms.square(self.number(settings.SQUARE_DUTY, channel) / 100)
        if function in ("RAMP", "TRI"):
            rising = 50.0 if function == "TRI" else self.number(settings.RAMP_SYMMETRY, channel)
            return waveforms.ramp(rising / 100)
        if function == "PULS":
            hertz = self.number(settings.FREQUENCY, channel)
            width, rise, fall = (
                self.number(setting, channel) * hertz
                for setting in (settings.PULSE_WIDTH, settings.PULSE_LEADING, settings.PULSE_TRAILING)
            )
            return waveforms.pulse(width, rise, fall)
        if function == "NOIS":
            return waveforms.held_noise(self.seed + channel)
        if function == "PRBS":
            bits = waveforms.pseudorandom_bits(int(self.get(settings.PRBS_DATA, channel)[2:]))
            return lambda cycles: bits[np.mod(np.floor(cycles), len(bits)).astype(np.intp)]
        return waveforms.sine

    def _cycle_seconds(self, channel: int) -> float:
        if self.get(settings.FUNCTION, channel) == "ARB":
            return self.arb_period(channel)
        if self.get(settings.FREQUENCY_MODE, channel) == "SWE":
            return self.number(settings.SWEEP_SECONDS, channel)
        return self.period(channel)

    def _every_seconds(self, channel: int) -> float:
        """After how long a channel that triggers itself begins anew."""
        if not self.get(settings.BURST, channel):
            return self._cycle_seconds(channel)
        timer = self.get(settings.TRIGGER_SOURCE, channel) == "TIM"
        return self.number(settings.TRIGGER_TIMER if timer else settings.BURST_PERIOD, channel)

    def _burst_cycles(self, channel: int) -> float:
        cycles = self.number(settings.BURST_CYCLES, channel)
        return math.inf if cycles >= INFINITY else cycles

    def _synced(self, channel: int) -> bool:
        return bool(self.get(settings.SYNC)) and self.get(settings.SYNC_SOURCE) == f"CH{channel}"

    # Bursts

    def play(self, channel: int) -> None:
        """Begin a burst now."""
        now = self.clock.now()
        if now < self._busy_until:
            raise ScpiError(-211)
        start = now + self.number(settings.TRIGGER_DELAY, channel)
        cycles = self._burst_cycles(channel)
        signal = self._connected(channel, start, cycles)
        cycle = self._cycle_seconds(channel)
        seconds = cycle * cycles if math.isfinite(cycles) else cycle
        burst = Burst(channel, start, seconds, signal, self._synced(channel))
        self._burst[channel] = burst
        self._busy_until = self.clock.done_at(start, seconds) if math.isfinite(cycles) else 0.0
        if self.get(settings.OUTPUT, channel):
            self.log.note(channel, signal, start, seconds)
        self.on_burst(burst)

    def end_bursts(self) -> None:
        """The outputs go back to their idle level."""
        self._busy_until = 0.0
        for channel in (1, 2):
            self.update(channel)
