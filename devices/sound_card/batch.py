"""Many rows as one sound: a marker, the rows, a marker; and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.devices.sound_card.coding import Coding
from hwloop.devices.sound_card.signals import Marker, sampled_at
from hwloop.errors import BadReading

TOLERANCE_SAMPLES = 0.5  # between the delays of the two markers of one batch
STRETCH_ERROR = 1e-6  # by so much the ratio of two clocks may be known wrongly, or move between two sounds
NEGLIGIBLE_SAMPLES = 0.02  # of stretch at the end of a batch: the two clocks are one
LEARNING = 0.2  # share of a new ratio of the clocks in the one that is expected next
CLIPPED = 0.999  # of full scale


@dataclass(frozen=True)
class Heard:
    """How a sound was heard.

    Attributes
    ----------
    latency
        Samples from playing to hearing.
    stretch
        Of the recording against the sound: 20e-6 where the microphone's clock runs 20 ppm faster than the
        loudspeaker's. 0 where one clock drives both.
    """

    latency: int
    stretch: float


@dataclass(frozen=True)
class Batch:
    """Lays rows between two markers, each with ``gap_samples`` of silence on both sides."""

    coding: Coding
    marker: Marker
    gap_samples: int

    @property
    def first_row(self) -> int:
        """Where the first row begins, in samples."""
        return 2 * self.gap_samples + len(self.marker)

    def samples(self, rows: int) -> int:
        """Length of the sound of so many rows."""
        return 2 * self.first_row + rows * self.coding.segment_samples

    def sound(self, stimuli: Float64Array) -> Float64Array:
        """The sound of stimuli of shape (rows, n_inputs)."""
        silence = np.zeros(self.gap_samples)
        marked = np.concatenate([silence, self.marker.signal, silence])
        return np.concatenate([marked, self.coding.encode(stimuli).ravel(), marked])

    def readings(self, recording: Float64Array, rows: int, heard: Heard) -> tuple[Float64Array, Heard]:
        """Readings of shape (rows, n_outputs), and how this batch was heard.

        Parameters
        ----------
        recording
            What was heard from the moment on at which the sound began, its latency and a gap longer than it.
        heard
            How the last sound was heard: the markers are expected within a gap of its latency, and as far apart
            as its clocks say.

        Raises
        ------
        BadReading
            A marker is not heard, the two are not as far apart as they were played, or the microphone clips.
        """
        last = self.first_row + rows * self.coding.segment_samples
        first, second = (self._found(recording, start, heard.latency) for start in (0, last))
        stretch = (second[1] - first[1]) / last
        lost = (stretch - heard.stretch) * last
        if abs(lost) > TOLERANCE_SAMPLES + STRETCH_ERROR * last:
            raise BadReading(
                f"{abs(lost):.1f} samples were lost or doubled between the markers before and after {rows} rows; "
                "the computer was too busy, or the card is: take fewer rows a stream"
            )
        self._require_unclipped(recording, first[0], rows)
        sounding = self._aligned(recording, first, rows, stretch)
        silence = recording[first[0] + self.gap_samples // 2 : first[0] + self.gap_samples]
        noise_power = float(np.mean(np.square(silence)))
        readings = self.coding.decode(sounding, noise_power)
        return readings, Heard(first[0], heard.stretch + LEARNING * (stretch - heard.stretch))

    def _aligned(
        self, recording: Float64Array, latency: tuple[int, float], rows: int, stretch: float
    ) -> Float64Array:
        """The segments of the rows on the clock that played them, shape (rows, segment_samples)."""
        samples = rows * self.coding.segment_samples
        begin = self.first_row + latency[0]
        if abs(stretch) * (self.first_row + samples) < NEGLIGIBLE_SAMPLES:
            sounding = recording[begin : begin + samples]
        else:
            played = self.first_row + np.arange(samples, dtype=np.float64)
            middle = self.gap_samples + len(self.marker) / 2  # of the marker: there its delay holds
            sounding = sampled_at(recording, latency[1] + played + (played - middle) * stretch)
        return sounding.reshape(rows, self.coding.segment_samples)

    def _require_unclipped(self, recording: Float64Array, latency: int, rows: int) -> None:
        begin = self.first_row + latency
        loud = np.flatnonzero(np.abs(recording[begin : begin + rows * self.coding.segment_samples]) >= CLIPPED)
        if len(loud):
            row = int(loud[0]) // self.coding.segment_samples
            raise BadReading(
                f"row {row}: the microphone reaches full scale ({len(loud)} samples of {rows} rows): it clips, "
                "and its readings are wrong; turn down its gain or the loudspeaker"
            )

    def _found(self, recording: Float64Array, start: int, latency: int) -> tuple[int, float]:
        """Where a marker is heard, less where it was played: in whole samples, and to a fraction of one."""
        begin = start + latency
        around = recording[begin : begin + 2 * self.gap_samples + len(self.marker)]
        whole = self.marker.delay(around)
        offset = latency - self.gap_samples
        return whole + offset, self.marker.fine_delay(around, whole) + offset
