"""A loudspeaker and a microphone as a device; between them is the physics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.sound_card.batch import Batch, Heard
from hwloop.devices.sound_card.coding import CODINGS, Coding, LevelLimit, Timing
from hwloop.devices.sound_card.signals import Marker
from hwloop.devices.sound_card.stream import DuplexStream, SoundDeviceStream
from hwloop.errors import BadReading, DeviceDisconnected, DeviceError

MARKER_SECONDS = 0.04
TYPICAL_LATENCY_SECONDS = 0.25  # for forecasts, before it is measured
MARKER_PEAK = 0.7  # of what a sample may reach
CLOCK_SECONDS = 1.0  # between the two markers that tell the ratio of the clocks when the card is opened
MOST_STRETCH = 1e-3  # quartz errs by a tenth of it


class SoundCard(Device):
    """Rows out of a loudspeaker, readings from a microphone: tones and their mixing lines, or waveforms.

    Many rows are one sound, between two markers that are looked for in the recording: they tell the latency of
    this batch, and that no sample was lost in it. The limits in ``spec`` are such that no row can exceed the
    peak or the RMS limit; what is played is checked once more as a whole. There are ramps at both ends of every
    row, silence between calls, and silence after ``close``, also on an exception or Ctrl-C in ``with device:``.

    Parameters
    ----------
    n_inputs, n_outputs
        Tones and lines, or values of a waveform.
    coding
        ``"tones"``, ``"waveform"``, or a table with settings: ``{"name": "tones", "window_samples": 8192}``,
        ``{"name": "waveform", "samples_per_value": 4}``. See :mod:`hwloop.devices.sound_card.coding`.
    peak, rms
        Limits of the level as fractions of the card's full scale. What that is in pascals is up to the volume.
    sample_rate
        Samples a second that the card takes.
    band_hz
        Lowest and highest frequency of tones and markers.
    settling_seconds
        From the start of a row to the window that is read, and between a waveform and the one before: longer
        than the room reverberates.
    ramp_seconds
        Of each row's ramps.
    gap_seconds
        Silence on both sides of a marker, and how far the latency may move between batches.
    max_rows
        Rows of one sound.
    max_latency_seconds
        The longest that is looked for when the card is opened.
    input_device, output_device, buffering, block_samples
        See :class:`hwloop.devices.sound_card.stream.SoundDeviceStream`.
    stream
        Another way to play and record, for tests and for cards that PortAudio does not know.

    Raises
    ------
    ValueError
        A setting that is not allowed.
    """

    harmless_settings: ClassVar = {
        "max_latency_seconds": "how far the marker is looked for; it is found or not",
        "buffering": "how far ahead samples are handed over; the marker tells where they were played",
        "block_samples": "how many samples are handed over at once; the marker tells where they were played",
    }

    def __init__(
        self,
        n_inputs: int = 16,
        n_outputs: int = 64,
        *,
        coding: str | Mapping[str, Any] = "tones",
        peak: float = 0.5,
        rms: float = 0.25,
        sample_rate: int = 48_000,
        band_hz: tuple[float, float] = (500.0, 8000.0),
        settling_seconds: float = 0.05,
        ramp_seconds: float = 0.005,
        gap_seconds: float = 0.05,
        max_rows: int = 32,
        max_latency_seconds: float = 1.0,
        input_device: str | int | None = None,
        output_device: str | int | None = None,
        buffering: str | float = 0.2,
        block_samples: int = 1024,
        stream: DuplexStream | None = None,
    ) -> None:
        n_inputs = whole_number("n_inputs", n_inputs, low=1)
        n_outputs = whole_number("n_outputs", n_outputs, low=1)
        rate = whole_number("sample_rate", sample_rate, low=1000)
        self.sample_rate = rate
        self.level = LevelLimit(peak, rms)
        band = _band(band_hz, rate)
        ramp = max(1, round(real_number("ramp_seconds", ramp_seconds, 0.001, 1.0) * rate))
        settling = round(real_number("settling_seconds", settling_seconds, 0.0, 10.0) * rate)
        gap = max(1, round(real_number("gap_seconds", gap_seconds, 0.001, 10.0) * rate))
        self.coding = _coding(coding, n_inputs, n_outputs, Timing(rate, ramp, settling, band), self.level)
        marker = Marker(rate, band, round(MARKER_SECONDS * rate), MARKER_PEAK * self.level.sample)
        self.batch = Batch(self.coding, marker, gap)
        self.max_latency_seconds = real_number("max_latency_seconds", max_latency_seconds, 0.001, 10.0)
        block = whole_number("block_samples", block_samples, low=0)
        self.stream = stream or SoundDeviceStream(rate, input_device, output_device, buffering, block, ramp)
        self.settings = f"settling {settling / rate:g} s, ramp {ramp / rate:g} s, peak {peak:g}, RMS {rms:g}"
        self._heard: Heard | None = None
        rows = whole_number("max_rows", max_rows, low=1)
        self.spec = DeviceSpec(
            n_inputs,
            n_outputs,
            input_low=-self.coding.limit,
            input_high=self.coding.limit,
            input_unit=self.coding.input_unit,
            output_unit=self.coding.output_unit,
            max_rows=rows,
            row_seconds=(self.batch.samples(rows) + gap) / rows / rate + TYPICAL_LATENCY_SECONDS / rows,
        )

    @property
    def latency_seconds(self) -> float:
        """From playing to hearing, as the last marker told; raises DeviceDisconnected while closed."""
        return self._last_heard().latency / self.sample_rate

    @property
    def clock_ratio(self) -> float:
        """Of the microphone's clock to the loudspeaker's, as the markers told; 1 where one clock drives both.

        Raises DeviceDisconnected while closed.
        """
        return 1.0 + self._last_heard().stretch

    def _last_heard(self) -> Heard:
        if self._heard is None:
            raise DeviceDisconnected("the sound card is closed; open it first")
        return self._heard

    def open(self) -> None:
        """Start the stream, and find the latency and the ratio of the clocks by two markers.

        Raises
        ------
        DeviceError
            There is no such card, the loudspeaker is not heard, or the two run at different sample rates.
        """
        if self._heard is not None:
            return
        self.stream.open()
        try:
            self._heard = self._first_heard()
        except BaseException:
            self.stream.close()
            raise

    def close(self) -> None:
        self._heard = None
        self.stream.close()

    def identify(self) -> str:
        """The card, the coding, and what a response depends on."""
        return f"{self.stream.identify()}, {self.sample_rate} Hz, {self.coding.describe()}, {self.settings}"

    def unit(self) -> str:
        """The card; all else is among the settings."""
        return self.stream.identify()

    def _measure(self, inputs: Float64Array) -> Float64Array:
        rows, heard = len(inputs), self._last_heard()
        tail = np.zeros(heard.latency + self.batch.gap_samples)
        recording = self._played(np.concatenate([self.batch.sound(inputs), tail]))
        readings, self._heard = self.batch.readings(recording, rows, heard)
        return readings

    def _played(self, sound: Float64Array) -> Float64Array:
        self.level.check(sound, self.sample_rate)
        return self.stream.play_and_record(sound, 2.0 + 2.0 * len(sound) / self.sample_rate)

    def _first_heard(self) -> Heard:
        marker = self.batch.marker
        silence = np.zeros(round(max(self.max_latency_seconds, CLOCK_SECONDS) * self.sample_rate))
        recording = self._played(np.concatenate([marker.signal, silence, marker.signal, silence]))
        apart = len(marker) + len(silence)
        parts = recording[:apart], recording[apart:]
        try:
            whole = [marker.delay(part) for part in parts]
        except BadReading as error:
            raise DeviceError(f"the loudspeaker is not heard by the microphone: {error}") from error
        fine = [marker.fine_delay(part, near) for part, near in zip(parts, whole, strict=True)]
        stretch = (fine[1] - fine[0]) / apart
        if abs(stretch) > MOST_STRETCH:
            raise DeviceError(
                f"microphone and loudspeaker do not run at one sample rate: two markers {apart} samples apart are "
                f"heard {fine[1] - fine[0]:+.1f} samples off. Set both to {self.sample_rate} Hz, or the computer "
                "was too busy: open again"
            )
        return Heard(whole[0], stretch)


def _band(band_hz: tuple[float, float], sample_rate: int) -> tuple[float, float]:
    low, high = (real_number("band_hz", edge, 1.0, sample_rate / 2) for edge in band_hz)
    if not low < high:
        raise ValueError(f"band_hz must be the lowest and the highest frequency, not {band_hz}")
    return low, high


def _coding(
    coding: str | Mapping[str, Any], n_inputs: int, n_outputs: int, timing: Timing, level: LevelLimit
) -> Coding:
    table = {"name": coding} if isinstance(coding, str) else dict(coding)
    name = one_of("coding", table.pop("name", None), CODINGS)
    try:
        return CODINGS[name](n_inputs, n_outputs, timing, level, **table)
    except TypeError as error:
        raise ValueError(f"coding {name!r} refuses its settings: {error}") from error
