"""How a row becomes sound, how loud it may get, and how sound becomes a reading."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.sound_card.signals import faded, rise
from hwloop.errors import BadReading, LimitError

ROUNDING = 1e-6  # a sample travels as float32


@dataclass(frozen=True)
class LevelLimit:
    """How loud it may get: peak, and root mean square over ``window_seconds``.

    Both are fractions of the card's full scale, to 1.
    """

    peak: float
    rms: float
    window_seconds: float = 0.1

    def __post_init__(self) -> None:
        for name in ("peak", "rms"):
            if real_number(name, getattr(self, name), 0.0, 1.0) == 0.0:
                raise ValueError(f"{name} must be above 0")

    @property
    def sample(self) -> float:
        """What every sample of a waveform may reach, so that neither limit is exceeded whatever the others are."""
        return min(self.peak, self.rms)

    def tone(self, n_tones: int) -> float:
        """What the amplitude of each of ``n_tones`` tones may reach, so that neither limit is exceeded.

        All in phase they add up to ``n_tones`` amplitudes; the mean square is half the sum of their squares.
        """
        return float(min(self.peak / n_tones, self.rms * np.sqrt(2.0 / n_tones)))

    def check(self, signal: Float64Array, sample_rate: int) -> None:
        """Refuse a signal that is too loud anywhere.

        Raises
        ------
        LimitError
            Nothing was played.
        """
        peak = float(np.abs(signal).max(initial=0.0))
        if not peak <= self.peak + ROUNDING:
            raise LimitError(
                f"the sound would reach a peak of {peak:.3g}, above {self.peak:g}; nothing was played"
            )
        width = min(len(signal), max(1, round(self.window_seconds * sample_rate)))
        energy = np.concatenate([[0.0], np.cumsum(np.square(signal))])
        loudest = float(np.sqrt(max(0.0, (energy[width:] - energy[:-width]).max(initial=0.0)) / max(1, width)))
        if not loudest <= self.rms + ROUNDING:
            raise LimitError(
                f"the sound would reach an RMS of {loudest:.3g}, above {self.rms:g}; nothing was played"
            )


@dataclass(frozen=True)
class Timing:
    """Samples a second, and the lengths, in samples, of a ramp and of what precedes the reading."""

    sample_rate: int
    ramp_samples: int
    settling_samples: int
    band_hz: tuple[float, float]


class Coding(ABC):
    """A row is a segment of ``segment_samples`` that begins and ends in silence."""

    n_inputs: int
    n_outputs: int
    segment_samples: int
    limit: float  # of every value of a row, either side of zero
    input_unit: str
    output_unit: str

    @abstractmethod
    def encode(self, rows: Float64Array) -> Float64Array:
        """Segments, shape (rows, segment_samples), for stimuli of shape (rows, n_inputs)."""

    @abstractmethod
    def decode(self, segments: Float64Array, noise_power: float = 0.0) -> Float64Array:
        """Readings, shape (rows, n_outputs), from recorded segments, aligned with the played ones.

        ``noise_power`` is the mean square of what is heard in silence.

        Raises
        ------
        BadReading
            The sound is damaged.
        """

    @abstractmethod
    def describe(self) -> str:
        """The coding and its settings."""


class ToneCoding(Coding):
    """Each input is the signed amplitude of a tone, each output the amplitude of a line of the spectrum.

    All tones lie on bins of the Fourier transform over ``window_samples``, and sound from before the window until
    after it: so a line does not leak into another, and a latency that is a few samples off does not matter.
    The lines are the tones, then their mixing products of second order (f_i + f_j and f_i - f_j, i >= j), then
    of third (2 f_i - f_j, 2 f_i + f_j), each on a bin of its own, up to ``n_outputs``. Phases are Schroeder's
    (IEEE Trans. Inf. Theory 16, 85, 1970), for a low crest factor.

    A row lasts ``periods`` windows, whose mean is read. They must agree: what differs between them may have
    ``agreement`` of the row's energy beside ten times what noise explains. So a hole in the sound, which a busy
    computer makes and reports to nobody, is noticed. One period leaves that out.
    """

    input_unit = output_unit = "of full scale"

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        timing: Timing,
        level: LevelLimit,
        *,
        window_samples: int = 4096,
        periods: int = 2,
        agreement: float = 0.003,
    ) -> None:
        self.n_inputs, self.n_outputs = n_inputs, n_outputs
        self.window_samples = whole_number("window_samples", window_samples, low=16, high=1 << 20)
        self.periods = whole_number("periods", periods, low=1, high=1000)
        self.agreement = real_number("agreement", agreement, 0.0, 1.0)
        self.timing = timing
        self.limit = level.tone(n_inputs)
        self.tones = tone_bins(n_inputs, self.window_samples, timing)
        self.lines = line_bins(self.tones, n_outputs, self.window_samples)
        self.start = timing.ramp_samples + timing.settling_samples
        margin = timing.ramp_samples  # the tones sound on after the window, should the latency be a little shorter
        self.segment_samples = self.start + self.periods * self.window_samples + margin + timing.ramp_samples
        number = np.arange(n_inputs)
        phases = -np.pi * number * (number - 1) / n_inputs
        time = np.arange(self.segment_samples) - self.start
        self._waves = np.cos(2 * np.pi * np.outer(self.tones, time) / self.window_samples + phases[:, None])

    def encode(self, rows: Float64Array) -> Float64Array:
        """A sum of tones with ramps at both ends."""
        return faded(rows @ self._waves, self.timing.ramp_samples)

    def decode(self, segments: Float64Array, noise_power: float = 0.0) -> Float64Array:
        """Amplitudes of the lines: a full-scale sine reads 1."""
        sounding = segments[:, self.start : self.start + self.periods * self.window_samples]
        windows = sounding.reshape(len(segments), self.periods, self.window_samples)
        mean = windows.mean(axis=1)
        self._check_agreement(windows, mean, noise_power)
        spectrum = np.fft.rfft(mean, axis=1)[:, self.lines]
        return np.asarray(np.abs(spectrum) * 2.0 / self.window_samples)

    def describe(self) -> str:
        hertz = self.tones * self.timing.sample_rate / self.window_samples
        return f"tones {hertz[0]:.1f} to {hertz[-1]:.1f} Hz, {self.periods} windows of {self.window_samples}"

    def _check_agreement(self, windows: Float64Array, mean: Float64Array, noise_power: float) -> None:
        energy = np.square(windows).sum(axis=(1, 2))
        differing = np.square(windows - mean[:, None]).sum(axis=(1, 2))
        explained = 10.0 * noise_power * (self.periods - 1) * self.window_samples
        bad = np.flatnonzero(differing > self.agreement * energy + explained)
        if len(bad):
            share = differing[bad[0]] / energy[bad[0]]
            raise BadReading(
                f"row {bad[0]}: its {self.periods} periods differ in {share:.2%} of their energy, so the sound "
                "had a hole; measure again, with fewer rows a sound. A medium that does not repeat itself needs "
                "a larger agreement"
            )


class WaveformCoding(Coding):
    """A row is a waveform of ``n_inputs`` values, the reading one of ``n_outputs`` values from its start on.

    A value lasts ``samples_per_value`` samples, joined by straight lines, which overshoot nothing; a reading is
    the mean over as many. A sound card passes no constant: the mean of a row is lost in most.
    """

    input_unit = output_unit = "of full scale"

    def __init__(
        self, n_inputs: int, n_outputs: int, timing: Timing, level: LevelLimit, *, samples_per_value: int = 8
    ) -> None:
        self.n_inputs, self.n_outputs = n_inputs, n_outputs
        self.samples_per_value = whole_number("samples_per_value", samples_per_value, low=1, high=1 << 16)
        self.timing = timing
        self.limit = level.sample
        self.start = timing.settling_samples + timing.ramp_samples
        sounding = n_inputs * self.samples_per_value + timing.ramp_samples
        self.segment_samples = self.start + max(sounding, n_outputs * self.samples_per_value)

    def encode(self, rows: Float64Array) -> Float64Array:
        """Silence, a ramp to the first value, the values, a ramp from the last."""
        width, ramp = self.samples_per_value, rise(self.timing.ramp_samples)
        samples = np.arange(self.n_inputs * width)
        centres = (np.arange(self.n_inputs) + 0.5) * width - 0.5
        segments = np.zeros((len(rows), self.segment_samples))
        end = self.start + len(samples)
        for segment, row in zip(segments, rows, strict=True):
            segment[self.start : end] = np.interp(samples, centres, row)
            segment[self.start - len(ramp) : self.start] = ramp * segment[self.start]
            segment[end : end + len(ramp)] = ramp[::-1] * segment[end - 1]
        return segments

    def decode(self, segments: Float64Array, noise_power: float = 0.0) -> Float64Array:
        heard = segments[:, self.start : self.start + self.n_outputs * self.samples_per_value]
        return np.asarray(heard.reshape(len(segments), self.n_outputs, self.samples_per_value).mean(axis=2))

    def describe(self) -> str:
        return f"waveform, {self.timing.sample_rate / self.samples_per_value:g} values/s"


CODINGS: dict[str, type[ToneCoding] | type[WaveformCoding]] = {"tones": ToneCoding, "waveform": WaveformCoding}


def tone_bins(n_tones: int, window_samples: int, timing: Timing) -> NDArray[np.int64]:
    """Bins of ``n_tones`` tones spread over the band, each on its own.

    Raises
    ------
    ValueError
        The band has no room for them.
    """
    bin_hz = timing.sample_rate / window_samples
    first, last = int(np.ceil(timing.band_hz[0] / bin_hz)), int(np.floor(timing.band_hz[1] / bin_hz))
    first, last = max(first, 1), min(last, window_samples // 2 - 1)
    if last - first + 1 < n_tones:
        raise ValueError(
            f"{n_tones} tones do not fit into the band of {timing.band_hz[0]:g} to {timing.band_hz[1]:g} Hz with "
            f"bins of {bin_hz:.3g} Hz; widen the band or take a longer window_samples"
        )
    return np.rint(np.linspace(first, last, n_tones)).astype(np.int64)


def line_bins(tones: NDArray[np.int64], n_lines: int, window_samples: int) -> NDArray[np.int64]:
    """The tones, then their mixing products, the lower orders first, without repeats.

    Raises
    ------
    ValueError
        There are not so many.
    """
    upper, lower = np.tril_indices(len(tones))
    second = np.stack([tones[upper] + tones[lower], tones[upper] - tones[lower]], axis=1).ravel()
    one, other = (index.ravel() for index in np.indices((len(tones), len(tones))))
    third = np.abs(np.stack([2 * tones[one] - tones[other], 2 * tones[one] + tones[other]], axis=1)).ravel()
    found = dict.fromkeys(int(line) for line in np.concatenate([tones, second, third]))
    lines = [line for line in found if 0 < line < window_samples // 2]
    if len(lines) < n_lines:
        raise ValueError(
            f"{len(tones)} tones have {len(lines)} lines up to third order below half the sample rate, not "
            f"{n_lines}; take fewer outputs, or a longer window_samples"
        )
    return np.array(lines[:n_lines], dtype=np.int64)
