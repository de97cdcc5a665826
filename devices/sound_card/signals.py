"""Signals: ramps so that nothing clicks, a marker that is found again, and values between two samples."""

from __future__ import annotations

import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import BadReading

DISTINCT = 8.0  # times the RMS of the correlation elsewhere; noise alone reaches 5 in a second of sound
HALF_WIDTH = 24  # samples on each side that have a say
KAISER_BETA = 9.0  # the error of a tone up to 0.8 of half the sample rate is below 1e-4
PHASES = 512  # of a sample, between which weights are interpolated: to 1e-6
BLOCK_SAMPLES = 1 << 14  # computed together, to bound the memory


def rise(samples: int) -> Float64Array:
    """A raised cosine from 0 to 1, shape (samples,), both ends left out."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.arange(1, samples + 1) / (samples + 1)))


def faded(signal: Float64Array, ramp_samples: int) -> Float64Array:
    """``signal``, shape (..., samples), with ramps at both ends of its last axis."""
    envelope = np.ones(signal.shape[-1])
    envelope[:ramp_samples] = rise(ramp_samples)
    envelope[len(envelope) - ramp_samples :] *= rise(ramp_samples)[::-1]
    return np.asarray(signal * envelope)


class Marker:
    """A chirp over ``band_hz``, ``samples`` long, with a peak of ``level``.

    Its matched filter is flattened over the band (a regularised inverse of the chirp's spectrum), so that it
    answers with a narrow peak, also where loudspeaker and room have lines of their own.
    """

    def __init__(self, sample_rate: int, band_hz: tuple[float, float], samples: int, level: float) -> None:
        seconds = np.arange(samples) / sample_rate
        low, high = band_hz
        sweep = (high - low) / (samples / sample_rate)
        chirp = np.sin(2 * np.pi * (low * seconds + 0.5 * sweep * seconds**2))
        self.signal = level * faded(chirp, samples // 8)

    def __len__(self) -> int:
        return len(self.signal)

    def delay(self, recording: Float64Array) -> int:
        """Samples from the start of ``recording`` to the chirp in it.

        Raises
        ------
        BadReading
            Nothing in it is clearly the chirp.
        """
        places = len(recording) - len(self) + 1
        spectrum, size = self._matched(recording)
        answer = np.abs(np.fft.irfft(spectrum, size)[:places])
        peak = int(answer.argmax())
        elsewhere = np.delete(answer, np.s_[max(0, peak - len(self) // 8) : peak + len(self) // 8])
        background = float(np.sqrt(np.mean(elsewhere**2))) if len(elsewhere) else 0.0
        if not answer[peak] > DISTINCT * background or answer[peak] < 1e-4:
            raise BadReading(
                f"the marker is not heard in {len(recording)} samples (its peak stands {answer[peak]:.3g} against "
                f"{background:.3g}); check loudspeaker, microphone and their volume"
            )
        return peak

    def fine_delay(self, recording: Float64Array, near: int) -> float:
        """The delay to a fraction of a sample, from the whole one that :meth:`delay` found.

        The matched filter's answer is a sum of cosines, so it is known between the samples too: its largest value
        within a sample of ``near``.
        """
        spectrum, size = self._matched(recording)
        spectrum[1:-1] *= 2.0  # the negative frequencies
        turn = 2.0 * np.pi * np.arange(len(spectrum)) / size
        centre, width = float(near), 1.0
        for _ in range(3):
            places = centre + width * np.linspace(-1.0, 1.0, 21)
            answer = np.abs([np.sum((spectrum * np.exp(1j * turn * place)).real) for place in places])
            centre, width = float(places[answer.argmax()]), width / 10.0
        return centre

    def _matched(self, recording: Float64Array) -> tuple[NDArray[np.complex128], int]:
        """The spectrum of the filter's answer, and over how many samples."""
        size = 1 << (len(recording) + len(self)).bit_length()
        chirp = np.fft.rfft(self.signal, size)
        power = np.abs(chirp) ** 2
        flattened = np.conj(chirp) / (power + 0.01 * power.max())
        return np.fft.rfft(recording, size) * flattened, size


def sampled_at(signal: Float64Array, positions: Float64Array) -> Float64Array:
    """A signal at fractional positions, by a windowed sinc (Kaiser); silence lies before and after it.

    Parameters
    ----------
    signal
        Shape (samples,).
    positions
        In samples from its first, shape (n,).

    Returns
    -------
    ndarray of shape (n,).
    """
    windows = sliding_window_view(np.pad(signal, HALF_WIDTH + 1), 2 * HALF_WIDTH + 1)
    found = np.empty(len(positions))
    for start in range(0, len(positions), BLOCK_SAMPLES):
        block = slice(start, start + BLOCK_SAMPLES)
        whole = np.floor(positions[block]).astype(np.int64)
        phase, between = np.divmod((positions[block] - whole) * PHASES, 1.0)
        lower = _weights()[phase.astype(np.int64)]
        upper = _weights()[phase.astype(np.int64) + 1]
        weights = lower + between[:, np.newaxis] * (upper - lower)
        around = windows[np.clip(whole + 1, 0, len(windows) - 1)]
        found[block] = np.einsum("ij,ij->i", weights, around)
    return found


@functools.cache
def _weights() -> Float64Array:
    """The weights of the samples around a position, shape (phases + 1, samples)."""
    offset = np.linspace(0.0, 1.0, PHASES + 1)[:, np.newaxis]
    distance = np.arange(-HALF_WIDTH, HALF_WIDTH + 1) - offset
    inside = np.sqrt(np.maximum(0.0, 1.0 - np.square(distance / (HALF_WIDTH + 1))))
    return np.asarray(np.sinc(distance) * np.i0(KAISER_BETA * inside) / np.i0(KAISER_BETA))
