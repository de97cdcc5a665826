"""Find the recorded rows that answer a stimulus: the same one's, or the nearest one's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.journal import Journal

_KEY_BYTES = 16
Keys = NDArray[np.bytes_]
Numbers = NDArray[np.int64]


class Recordings:
    """Every recording of every stimulus, and how often each stimulus was asked for.

    The k-th request for a stimulus is answered by its k-th recording, in the recorded order and whatever it was
    measured for; later requests by its last. On a device with tunables a stimulus is another one under another
    tuning. So a run that takes the recorded path gets what it got then, and a stimulus that was measured once is
    always answered alike.

    Parameters
    ----------
    journal
        Read through once, record by record; only keys stay in memory.
    settings
        Fingerprint of the device and its settings; rows measured under others are left out.
    """

    def __init__(self, journal: Journal, settings: str) -> None:
        keys, numbers = [_keys(np.empty((0, 1)), None)], [np.empty(0, dtype=np.int64)]
        for record in journal.records():
            if record.device == settings:
                keys.append(_keys(record.stimuli, record.tuning))
                numbers.append(np.arange(record.first_row, record.first_row + len(record.stimuli)))
        unsorted = np.concatenate(keys)
        order = np.argsort(unsorted, kind="stable")  # so that recordings of one stimulus stay in order
        self._keys: Keys = unsorted[order]
        self._numbers: Numbers = np.concatenate(numbers)[order]
        self._asked = np.zeros(len(order), dtype=np.int32)  # at the first recording of each stimulus

    def __len__(self) -> int:
        return len(self._numbers)

    def recorded(self, stimuli: Float64Array, tuning: Float64Array | None = None) -> NDArray[np.bool_]:
        """Which stimuli, shape (rows, n_inputs), were recorded at all under a tuning, shape (n_tunables,)."""
        first, behind = self._places(_keys(stimuli, tuning))
        return np.asarray(behind > first)

    def next_numbers(self, stimuli: Float64Array, tuning: Float64Array | None = None) -> Numbers:
        """The number of the recording that answers each stimulus; all of them must be recorded."""
        first, behind = self._places(_keys(stimuli, tuning))
        times = self._asked[first] + _earlier_in_call(first)
        np.add.at(self._asked, first, 1)
        return np.asarray(self._numbers[np.minimum(first + times, behind - 1)])

    def continue_from(self, rows: int) -> None:
        """Take the first ``rows`` recorded rows as asked for already."""
        self._asked[:] = 0
        first = np.searchsorted(self._keys, self._keys, side="left")
        np.add.at(self._asked, first[self._numbers < rows], 1)

    def _places(self, keys: Keys) -> tuple[Numbers, Numbers]:
        return np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")


def _keys(stimuli: Float64Array, tuning: Float64Array | None) -> Keys:
    """128 bits of a cryptographic hash a row and its tuning: no two share them. -0.0 counts as 0.0."""
    rows = np.ascontiguousarray(stimuli, dtype="<f8") + 0.0
    if tuning is not None:
        rows = np.hstack([rows, np.broadcast_to(tuning, (len(rows), len(tuning)))])
    digests = b"".join(blake2b(row, digest_size=_KEY_BYTES).digest() for row in rows)
    return np.frombuffer(digests, dtype=f"S{_KEY_BYTES}")


def _earlier_in_call(groups: Numbers) -> Numbers:
    """How often each entry's group occurs before it."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    counted = np.empty(len(groups), dtype=np.int64)
    counted[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered, side="left")
    return counted


@dataclass(frozen=True, eq=False)
class NearestRow:
    """A recorded row and its distance.

    Attributes
    ----------
    number
        Of the recording, the first one if the stimulus was measured several times.
    distance
        Root mean square over the channels of the difference, as a share of each channel's range: 0 to 1.
    stimulus
        What was sent then, shape (n_inputs,).
    """

    number: int
    distance: float
    stimulus: Float64Array


def nearest_rows(
    journal: Journal, settings: str, spec: DeviceSpec, stimuli: Float64Array, tuning: Float64Array | None = None
) -> list[NearestRow]:
    """The nearest recorded row to each stimulus, shape (rows, n_inputs); reads the journal record by record.

    Parameters
    ----------
    settings
        Fingerprint of the device and its settings; the journal must hold a row that was measured under them.
    spec
        Its channels' ranges are the measure of distance.
    tuning
        Rows under another one are passed over; ``None`` on a device without tunables. None may be left.
    """
    found: list[NearestRow | None] = [None] * len(stimuli)
    for record in journal.records():
        if record.device != settings or not _is_under(record.tuning, tuning):
            continue
        for place, stimulus in enumerate(stimuli):
            distances = _distances(record.stimuli, stimulus, spec)
            row = int(np.argmin(distances))
            best = found[place]
            if best is None or distances[row] < best.distance:
                found[place] = NearestRow(record.first_row + row, float(distances[row]), record.stimuli[row])
    return [each for each in found if each is not None]


def _is_under(recorded: Float64Array | None, tuning: Float64Array | None) -> bool:
    if recorded is None or tuning is None:
        return recorded is tuning
    return np.array_equal(recorded, tuning)


def _distances(recorded: Float64Array, stimulus: Float64Array, spec: DeviceSpec) -> Float64Array:
    # A range may be as wide as float64 itself: halves, so that no difference overflows.
    shares = (recorded / 2 - stimulus / 2) / (spec.high / 2 - spec.low / 2)
    return np.asarray(np.sqrt(np.mean(shares**2, axis=1)))
