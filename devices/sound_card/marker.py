"""A chirp that is found again in a recording: where it is heard tells the latency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.devices.sound_card.envelope import faded
from hwloop.errors import BadReading

DISTINCT = 8.0  # times the RMS of the correlation elsewhere; noise alone reaches 5 in a second of sound


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
