"""The main part of a calibration: stimuli in random order, with calls of reference stimuli between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.calibration.transfer_curve import LevelMeans
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, standard_deviation
from hwloop.probing.timing import TimedSession

Cells = NDArray[np.int64]  # what each row holds: a number, or one a channel


@dataclass(frozen=True, eq=False)
class MainCall:
    """Rows that are sent in one call, and whether they hold a reference stimulus."""

    cells: Cells
    is_reference: bool


def with_references(
    cells: Cells, references: Cells, call_sizes: Sequence[int], rng: np.random.Generator
) -> list[MainCall]:
    """Calls in the order of measuring: a reference call at equal distances, the rows of ``cells`` between.

    Every round of reference calls has all sizes in random order; what was the one reference in a round is the
    other in the next, so that both are spread over all the time.

    Parameters
    ----------
    cells
        First axis: rows.
    references
        The two references, along the first axis.
    call_sizes
        Rows of the reference calls, each size equally often.
    """
    sizes = np.unique(call_sizes)
    order = np.concatenate([rng.permutation(len(sizes)) for _ in range(len(call_sizes) // len(sizes))])
    turns = np.repeat(np.arange(len(order) // len(sizes)), len(sizes))
    calls = []
    for size, turn, segment in zip(order, turns, np.array_split(cells, len(order)), strict=True):
        reference = references[(size + turn) % 2]
        calls.append(MainCall(np.repeat(reference[np.newaxis], sizes[size], axis=0), is_reference=True))
        calls.append(MainCall(segment, is_reference=False))
    return [call for call in calls if len(call.cells)]


@dataclass(frozen=True, eq=False)
class MainRows:
    """The main part as it was measured.

    Attributes
    ----------
    cells
        What each row held, in the order of measuring; first axis: rows.
    responses
        Shape (rows, n_outputs).
    is_reference
        Shape (rows,).
    first_row
        Number of the first row since the device was opened.
    """

    cells: Cells
    responses: Float64Array
    is_reference: NDArray[np.bool_]
    first_row: int

    @property
    def time(self) -> Float64Array:
        """From -1 to 1 over the rows."""
        return np.linspace(-1.0, 1.0, len(self.responses))

    @property
    def per_row(self) -> float:
        """By how much :attr:`time` grows from row to row."""
        return 2.0 / (len(self.responses) - 1)

    @property
    def middle_row(self) -> float:
        """Number of the row in the middle, since the device was opened."""
        return self.first_row + (len(self.responses) - 1) / 2

    def repeatability(self, settling: int, unit: str) -> Estimate:
        """From neighbouring rows of one stimulus that had stood for ``settling`` rows, each row used once."""
        same = np.zeros(len(self.cells), dtype=np.int64)
        for row in range(1, len(same)):
            if np.array_equal(self.cells[row], self.cells[row - 1]):
                same[row] = same[row - 1] + 1
        second = np.flatnonzero((same > settling) & ((same - settling) % 2 == 1))
        if len(second) < 2:
            return Estimate.unknown(self.responses.shape[1:], unit)
        pairs = self.responses[second] - self.responses[second - 1]
        return standard_deviation(pairs / np.sqrt(2), len(pairs), unit)


def measure_calls(
    session: TimedSession, calls: Sequence[MainCall], stimuli: Callable[[Cells], Float64Array]
) -> MainRows:
    """Measure the calls in their order; reference calls are timed."""
    first_row = session.rows
    responses = [session.measure(stimuli(call.cells), timed=call.is_reference) for call in calls]
    marks = [np.full(len(call.cells), call.is_reference) for call in calls]
    cells = np.concatenate([call.cells for call in calls])
    return MainRows(cells, np.concatenate(responses), np.concatenate(marks), first_row)


@dataclass(frozen=True, eq=False)
class ReferenceCourse:
    """What the readings of the two reference stimuli moved by, memory of other rows taken off.

    Attributes
    ----------
    row
        Number of each row since the device was opened, shape (rows,).
    moved
        Shape (rows, n_outputs).
    which
        A number that is equal for rows of the same stimulus, shape (rows,).
    """

    row: NDArray[np.int64]
    moved: Float64Array
    which: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Figures of the main part, and what the plots need beyond them.

    Attributes
    ----------
    middle_row
        At which gains and offsets hold.
    swept
        Inputs that the curves are of, shape (curves,); ``None`` where curve i is of channel i.
    """

    figures: dict[str, Estimate]
    curves: list[LevelMeans]
    residuals: Float64Array
    references: ReferenceCourse
    middle_row: float
    swept: NDArray[np.int64] | None = None
