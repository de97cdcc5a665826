"""How an InfiniiVision oscilloscope says what its codes mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.devices.scpi.replies import NUMBERS
from hwloop.devices.waveform.decoding import ScopeRecord
from hwloop.errors import BadReading

BYTE_FORMAT, WORD_FORMAT = 0, 1
CODES: dict[int, tuple[np.dtype[Any], int, int]] = {
    BYTE_FORMAT: (np.dtype("u1"), 1, 255),
    WORD_FORMAT: (np.dtype("<u2"), 0x0100, 0xFF00),
}


@dataclass(frozen=True)
class Preamble:
    """The ten fields of ``WAVeform:PREamble?``.

    ``seconds = (index - x_reference) * x_increment + x_origin`` and
    ``volts = (code - y_reference) * y_increment + y_origin``.
    """

    format: int
    kind: int
    points: int
    count: int
    x_increment: float
    x_origin: float
    x_reference: int
    y_increment: float
    y_origin: float
    y_reference: int

    @classmethod
    def parse(cls, reply: str) -> Self:
        """From the text of the reply.

        Raises
        ------
        BadReading
            It has not ten numbers, or they make no sense.
        """
        values = NUMBERS.read(reply.encode(), ":WAVeform:PREamble?", "oscilloscope")
        whole = (0, 1, 2, 3, 6, 9)
        if len(values) != 10 or any(values[i] != int(values[i]) for i in whole):
            raise BadReading(f"oscilloscope: {reply!r} is no preamble; measure again")
        form, kind, points, count, dx, x0, x_reference, dy, y0, y_reference = values
        if int(form) not in CODES or points < 1 or dx <= 0 or dy <= 0:
            raise BadReading(f"oscilloscope: the preamble {reply!r} makes no sense; measure again")
        head = (int(form), int(kind), int(points), int(count))
        return cls(*head, dx, x0, int(x_reference), dy, y0, int(y_reference))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a code."""
        return CODES[self.format][0]

    def record(self, codes: NDArray[Any]) -> ScopeRecord:
        """The record that these codes make."""
        _, lowest, highest = CODES[self.format]
        start = self.x_origin - self.x_reference * self.x_increment
        zero = self.y_reference - self.y_origin / self.y_increment
        return ScopeRecord(codes, self.x_increment, start, self.y_increment, zero, lowest, highest)
