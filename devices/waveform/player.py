"""Plays bursts and records the answers: while one burst plays, the next is loaded and the last one decoded."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.devices.waveform.decoding import Decoder, ScopeRecord
from hwloop.devices.waveform.instruments import Generator, Oscilloscope, RecordPlan
from hwloop.devices.waveform.synthesis import BurstSynthesis
from hwloop.errors import ConfigError

BURSTS_IN_MEMORY = 2  # one plays while the next is loaded
MARKER_POINTS = 12


@dataclass
class BurstPlayer:
    """Both instruments, and what is sent to one and read from the other.

    Parameters
    ----------
    generator, oscilloscope
        Open.
    synthesis, decoder
        Of the waveform and of the record.
    points_per_slot
        Points of an output slot, at least.
    low_volts, high_volts
        Range of the output line.
    high_resolution
        Whether the oscilloscope averages neighbouring samples to gain bits.
    averages
        How often each burst plays.
    wait_seconds
        For a record, beyond the time that the burst takes.

    Attributes
    ----------
    latency_seconds
        As measured with the last burst; nan before.
    """

    generator: Generator
    oscilloscope: Oscilloscope
    synthesis: BurstSynthesis
    decoder: Decoder
    points_per_slot: int
    low_volts: float
    high_volts: float
    high_resolution: bool
    averages: int
    wait_seconds: float
    latency_seconds: float = float("nan")
    _free_at: float = 0.0

    def rest_first(self, rows_per_burst: int) -> None:
        """Wait as long as the duty asks for after the longest burst, before the first one of this process.

        Nobody knows whether another process, which was killed, began one just now.
        """
        duty = self.synthesis.limits.duty
        if duty < 1 and not self._free_at:
            longest = self.synthesis.points(rows_per_burst) / self.synthesis.rate_hertz
            self._free_at = time.monotonic() + longest / duty

    def rows_per_burst(self, at_most: int | None = None) -> int:
        """As many as both memories take, or somewhat fewer where that fills the oscilloscope's record better.

        Raises
        ------
        ConfigError
            Not even one.
        """
        points = self.oscilloscope.memory_points
        most = self._rows_within(points, at_most)
        if most == 0:
            raise ConfigError(
                f"one row takes {self.synthesis.points(1)} points of the generator, which holds "
                f"{self.generator.memory_points} for {BURSTS_IN_MEMORY} bursts, and {self.record_plan(1).points} "
                f"of the oscilloscope, which holds {points}; lower points_per_input_slot or "
                "points_per_output_slot, or make input slots and output slots take about as long in all"
            )
        sizes = [size for size in self.oscilloscope.record_sizes if size <= points]
        return max((self._rows_within(size, most) for size in sizes), key=lambda rows: self._worth(rows, most))

    def _worth(self, rows: int, most: int) -> float:
        """Rows a recorded point; bursts of less than half the rows cost more round trips than they save points."""
        if 2 * rows < most or rows == 0:
            return 0.0
        return rows / self.oscilloscope.points_for(self.record_plan(rows).points)

    def _rows_within(self, record_points: int, at_most: int | None) -> int:
        """The most rows of a burst whose record has no more points than that."""
        room = self.generator.memory_points // BURSTS_IN_MEMORY
        low, high = 0, at_most or room  # low rows fit, more than high do not
        while low < high:
            rows = (low + high + 1) // 2
            record = self.oscilloscope.points_for(self.record_plan(rows).points)
            fits = self.synthesis.points(rows) <= room and record <= record_points
            low, high = (rows, high) if fits else (low, rows - 1)
        return low

    def record_plan(self, rows: int) -> RecordPlan:
        """What to record for so many rows: from one marker before the trigger to the last response."""
        timing = self.decoder.timing
        lead = timing.marker_seconds
        duration = lead + self.decoder.max_latency_seconds + timing.response_seconds(rows)
        rate = max(self.points_per_slot / timing.output_slot_seconds, MARKER_POINTS / timing.marker_seconds)
        points = int(np.ceil(duration * rate)) + 1
        return RecordPlan(-lead, duration, points, self.low_volts, self.high_volts, self.high_resolution)

    def play(self, volts: Float64Array, rows_per_burst: int) -> Float64Array:
        """Responses in volts, shape (rows, n_outputs), to rows of volts, shape (rows, n_inputs)."""
        bursts = [volts[start : start + rows_per_burst] for start in range(0, len(volts), rows_per_burst)]
        responses = [np.zeros((len(burst), self.decoder.timing.n_outputs)) for burst in bursts]
        undecoded: list[tuple[Float64Array, ScopeRecord]] = []
        wave = self.synthesis.waveform(bursts[0])
        name = self._loaded(wave)
        for number, burst in enumerate(bursts):
            self.oscilloscope.configure(self.record_plan(len(burst)))
            self.generator.select(name)
            cycle_seconds = self.synthesis.limits.seconds_until_next(wave, self.synthesis.rate_hertz)
            following = bursts[number + 1 : number + 2]
            for repeat in range(self.averages):
                self._start(cycle_seconds)
                # While the burst plays there is time for everything that does not need its answer; what may
                # have to wait for the generator comes last.
                self._decode(undecoded)
                if repeat == 0 and following:
                    wave = self.synthesis.waveform(following[0])
                    name = self.generator.load(wave) if self.generator.has_room(len(wave)) else ""
                record = self.oscilloscope.fetch(self._longest_seconds(len(burst)))
                undecoded.append((responses[number], record))
            if not name:
                name = self._loaded(wave)
        self._decode(undecoded)
        return np.concatenate(responses) / self.averages

    def _loaded(self, wave: NDArray[np.int16]) -> str:
        if not self.generator.has_room(len(wave)):
            self.generator.forget_waveforms()
        return self.generator.load(wave)

    def _start(self, cycle_seconds: float) -> None:
        """Arm, wait until the duty limit lets the next burst begin, trigger."""
        self.oscilloscope.arm()
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        self._free_at = time.monotonic() + cycle_seconds  # also if it begins, and an error is all that we hear
        self.generator.start()
        if self.synthesis.limits.duty < 1:
            self.generator.check_errors()  # answered after the trigger: from here on the burst has begun
            self._free_at = time.monotonic() + cycle_seconds

    def _longest_seconds(self, rows: int) -> float:
        return self.record_plan(rows).duration_seconds + self.wait_seconds

    def _decode(self, undecoded: list[tuple[Float64Array, ScopeRecord]]) -> None:
        """Add what was recorded to the responses that it belongs to."""
        while undecoded:
            responses, record = undecoded.pop()
            decoded = self.decoder.decode(record, len(responses))
            responses += decoded.volts
            self.latency_seconds = decoded.latency_seconds - self.synthesis.lead_seconds
