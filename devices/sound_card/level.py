"""How loud it may get: limits that no row can exceed, and the check of what is really played."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.errors import LimitError

ROUNDING = 1e-6  # a sample travels as float32


@dataclass(frozen=True)
class LevelLimit:
    """Peak, and root mean square over ``window_seconds``, both as fractions of the card's full scale, to 1."""

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
