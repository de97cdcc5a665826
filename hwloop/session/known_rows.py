"""Finds rows that need not be measured: what this session has measured, and what earlier runs have."""

from __future__ import annotations

import mmap
import time
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.journal import Journal

CLOCK = time.CLOCK_BOOTTIME  # seconds since this computer was started, those in which it slept too; never set back


def fresh(started: Float64Array, now: float, limit_seconds: float) -> NDArray[np.bool_]:
    """Tell which rows are no older than a limit, by the wall clock at their recording.

    A row after which the clock was set back has no known age, and is not fresh; corrections by less than a tenth
    of the limit are passed over.

    Parameters
    ----------
    started
        Unix times at which the rows were measured, shape (rows,).
    now
        The present Unix time.
    """
    earliest_after = np.minimum.accumulate(np.append(started, now)[::-1])[::-1][1:]
    return np.asarray((earliest_after >= started - limit_seconds / 10) & (now - started <= limit_seconds))


class RowAges:
    """Ages of the rows of a journal.

    Rows that this process measured are timed by a clock that is never set back; of those that it found recorded
    there are only the times that the wall clock showed.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._first_rows, self._moments = array("q"), array("d")
        self._recorded: tuple[NDArray[np.int64], Float64Array] | None = None  # rows, and the wall clock's times

    def note(self, first_row: int, moment: float) -> None:
        """Rows from ``first_row`` on were begun to be measured at a moment of ``CLOCK``."""
        self._first_rows.append(first_row)
        self._moments.append(moment)

    def fresh(self, numbers: NDArray[np.int64], limit_seconds: float) -> NDArray[np.bool_]:
        """Which rows are known to be no older than a limit."""
        places = np.searchsorted(np.array(self._first_rows, dtype=np.int64), numbers, side="right") - 1
        own = places >= 0
        found = np.empty(len(numbers), dtype=bool)
        found[own] = time.clock_gettime(CLOCK) - np.array(self._moments)[places[own]] <= limit_seconds
        if not own.all():
            found[~own] = self._fresh_of_recorded(numbers[~own], limit_seconds)
        return found

    def _fresh_of_recorded(self, numbers: NDArray[np.int64], limit_seconds: float) -> NDArray[np.bool_]:
        if self._recorded is None or numbers.max() > self._recorded[0][-1]:
            rows = np.arange(self._journal.rows)
            rows = rows[self._journal.readable(rows)]
            self._recorded = rows, self._journal.started_seconds(rows)
        rows, started = self._recorded
        return fresh(started, time.time(), limit_seconds)[np.searchsorted(rows, numbers)]

    def __getstate__(self) -> dict[str, Any]:
        """A copy may be used on another computer, where this one's moments mean nothing."""
        return {"_journal": self._journal, "_first_rows": array("q"), "_moments": array("d"), "_recorded": None}


Keys = NDArray[np.uint64]
Slots = NDArray[np.int64]

UNKNOWN = -1
_EMPTY = np.uint64(0)  # no row has this key
_MIX = 0x9E3779B97F4A7C15
_FIRST_SLOTS = 1024
_MOST_FILLED = 0.7
_ROOMY = 0.5


def row_keys(stimuli: Float64Array) -> Keys:
    """Hash rows to 64-bit keys: equal rows have equal keys (-0.0 counts as 0.0), so compare rows that share one.

    A weighted sum of the row's words modulo 2**64 (multilinear hashing): exact, so that a row's key is the same
    in every batch.
    """
    words = (np.ascontiguousarray(stimuli) + 0.0).view(np.uint64)
    # Round numbers have nothing but zeros in their low bits, and a product carries upwards only: so the bytes
    # are turned round, which brings exponent and leading digits down.
    words.byteswap(inplace=True)
    sums = words @ _factors(words.shape[1])
    sums ^= sums >> np.uint64(32)
    sums *= np.uint64(_MIX)
    sums[sums == _EMPTY] = 1
    return np.asarray(sums, dtype=np.uint64)


def keys_under(keys: Keys, tuning: Float64Array | None) -> Keys:
    """The keys of rows that are measured under a tuning, shape (n_tunables,); ``None`` leaves them as they are."""
    if tuning is None:
        return keys
    found = keys ^ row_keys(tuning[None])
    found[found == _EMPTY] = 1
    return found


def _factors(channels: int) -> Keys:
    """One odd, irregular number a channel (splitmix64's finaliser: Steele, Lea and Flood, OOPSLA 2014)."""
    z = np.arange(1, channels + 1, dtype=np.uint64) * np.uint64(_MIX)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))) | np.uint64(1))


class RowIndex:
    """Row numbers by key: a hash table with open addressing and double hashing, 12 bytes a slot.

    Between 35 and 70 % of the slots are filled, which makes 17 to 34 bytes a row; adding and finding take the
    same time at every size. A whole batch takes each step together; the few keys whose slot another key holds
    go on to their next.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return int(np.count_nonzero(self._keys))

    @property
    def nbytes(self) -> int:
        """Memory of the table in bytes."""
        return self._keys.nbytes + self._numbers.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._allocate(_FIRST_SLOTS)
        self._filled_at_most = 0

    def add(self, keys: Keys, numbers: NDArray[np.int64]) -> None:
        """Enter rows; a later number takes the place of an earlier one under the same key."""
        self._filled_at_most += len(keys)
        if self._filled_at_most > _MOST_FILLED * len(self._keys):
            self._filled_at_most = len(self) + len(keys)  # some replaced others, which was not counted
            self._grow()
        self._enter(keys, numbers)

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """The newest row number under each key, or ``UNKNOWN``."""
        found = np.full(len(keys), UNKNOWN, dtype=np.int64)
        places, (slots, steps) = np.arange(len(keys)), self._path(keys)
        while len(places):
            held = self._keys.take(slots)
            hit = (held == keys).nonzero()[0]
            if len(hit):
                found[places.take(hit)] = self._numbers.take(slots.take(hit))
            on = ((held != keys) & (held != _EMPTY)).nonzero()[0]
            places, keys, slots, steps = places.take(on), keys.take(on), slots.take(on), steps.take(on)
            slots = self._next(slots, steps)
        return found

    def _enter(self, keys: Keys, numbers: NDArray[np.int64] | NDArray[np.uint32]) -> None:
        slots, steps = self._path(keys)
        while len(keys):
            free = (self._keys.take(slots) == _EMPTY).nonzero()[0]
            self._keys[slots.take(free)] = keys.take(free)  # where several meet, the last stays, the others go on
            held = self._keys.take(slots)
            settled = (held == keys).nonzero()[0]
            self._numbers[slots.take(settled)] = numbers.take(settled)  # under one key, again the last one stays
            on = (held != keys).nonzero()[0]
            keys, numbers, slots, steps = keys.take(on), numbers.take(on), slots.take(on), steps.take(on)
            slots = self._next(slots, steps)

    def _path(self, keys: Keys) -> tuple[Slots, Slots]:
        """Each key's first slot, and the odd step that leads it through all others: from its high and low bits."""
        slots = (keys >> np.uint64(64 - self._bits)).view(np.int64)
        return slots, (keys & np.uint64(len(self._keys) - 1) | np.uint64(1)).view(np.int64)

    def _next(self, slots: Slots, steps: Slots) -> Slots:
        return np.asarray((slots + steps) & (len(self._keys) - 1))

    def _allocate(self, slots: int) -> None:
        """Take a power of two of empty slots."""
        self._bits = slots.bit_length() - 1
        # Straight from the system, which gets an outgrown table back at once; a heap would keep holes.
        self._keys = np.frombuffer(mmap.mmap(-1, 8 * slots), dtype=np.uint64)
        # Beyond 2**32 rows a number wraps; the row found then is not the one sought, and is measured again.
        self._numbers = np.frombuffer(mmap.mmap(-1, 4 * slots), dtype=np.uint32)

    def _grow(self) -> None:
        """Move to a larger table, unless so many rows replaced others that this one is still roomy."""
        slots = len(self._keys)
        while self._filled_at_most > _ROOMY * slots:
            slots *= 2
        if slots == len(self._keys):
            return
        keys, numbers = self._keys, self._numbers
        self._allocate(slots)
        step = 1 << 14  # in parts that fit into a processor's cache
        for start in range(0, len(keys), step):
            part = slice(start, start + step)
            held = keys[part].nonzero()[0]
            self._enter(keys[part].take(held), numbers[part].take(held))


@dataclass(frozen=True)
class Freshness:
    """How long a measured row may stand for the device: in seconds, and in rows measured since."""

    seconds: float = float("inf")
    rows: float = float("inf")

    def __post_init__(self) -> None:
        if not (self.seconds >= 0 and self.rows >= 0):
            raise ValueError("Freshness.seconds and Freshness.rows must not be negative")


class RowMemory:
    """Finds in a journal what a stimulus was answered, as long as that is fresh.

    Parameters
    ----------
    journal
        Holds the rows; a row that it can no longer read is not remembered.
    freshness
        Beyond this age a row is measured again: memory must not freeze a drifting device. So is one whose age is
        not known, for the clock was set back since.
    """

    def __init__(self, journal: Journal, freshness: Freshness | None = None) -> None:
        self.journal = journal
        self.freshness = freshness or Freshness()
        self._index = RowIndex()
        self._ages = RowAges(journal)

    def __len__(self) -> int:
        return len(self._index)

    def recall(
        self, stimuli: Float64Array, keys: Keys, tuning: Float64Array | None = None
    ) -> tuple[NDArray[np.bool_], Float64Array | None]:
        """Which rows are known, and the responses to those, in order; ``None`` if none is.

        Parameters
        ----------
        stimuli
            Shape (rows, n_inputs).
        keys
            Their :func:`hwloop.session.known_rows.row_keys`, :func:`keys_under` the tuning.
        tuning
            Under which they are asked for, shape (n_tunables,); ``None`` on a device without tunables.
        """
        numbers = self._index.find(keys)
        known = numbers != UNKNOWN
        if not known.any():
            return known, None
        known &= self.journal.readable(numbers)
        if np.isfinite(self.freshness.rows):
            known &= self.journal.rows - 1 - numbers <= self.freshness.rows
        if np.isfinite(self.freshness.seconds) and known.any():
            known[known] = self._ages.fresh(numbers[known], self.freshness.seconds)
        if tuning is not None and known.any():
            known[known] = self.journal.measured_under(numbers[known], tuning)
        if not known.any():
            return known, None
        recorded, responses = self.journal.read_rows(numbers[known])
        same = (recorded == stimuli[known]).all(axis=1)  # two rows may share a key, though hardly ever do
        known[known] = same
        return known, responses[same]

    def remember(self, keys: Keys, first_row: int, moment: float | None = None) -> None:
        """Take note of rows that the journal holds from ``first_row`` on.

        ``moment`` is when this process began to measure them, by ``CLOCK``;
        ``None`` if another one did.
        """
        if moment is not None:
            self._ages.note(first_row, moment)
        self._index.add(keys, np.arange(first_row, first_row + len(keys)))

    def forget(self) -> None:
        """Forget everything measured so far, after a change of settings or a measured drift."""
        self._index.clear()


@dataclass(frozen=True)
class Recalled:
    """Responses that were there already: ``rows`` are positions in the batch, in rising order."""

    rows: NDArray[np.int64]
    responses: Float64Array


class KnownRows:
    """Looks for a row in this session's memory first, then in earlier runs.

    Attributes
    ----------
    memory
        Of this session.
    earlier
        Rows of earlier runs on the device that is open; ``None`` before they were looked up, or without any.
    """

    def __init__(self, memory: RowMemory) -> None:
        self.memory = memory
        self.earlier: RowMemory | None = None

    def recall(
        self, stimuli: Float64Array, keys: Keys, tuning: Float64Array | None = None
    ) -> tuple[Recalled, Recalled]:
        """What this session has measured under a tuning, and what only earlier runs have."""
        unknown = np.arange(len(stimuli))
        own = _recalled(self.memory, stimuli, keys, unknown, tuning)
        if self.earlier is None or len(own.rows) == len(stimuli):
            return own, Recalled(unknown[:0], own.responses[:0])
        unknown = np.setdiff1d(unknown, own.rows, assume_unique=True)
        return own, _recalled(self.earlier, stimuli[unknown], keys[unknown], unknown, tuning)

    def forget(self) -> None:
        """Nothing that was measured so far stands for the device any more."""
        self.memory.forget()
        if self.earlier is not None:
            self.earlier.forget()


def _recalled(
    memory: RowMemory, stimuli: Float64Array, keys: Keys, rows: NDArray[np.int64], tuning: Float64Array | None
) -> Recalled:
    known, responses = memory.recall(stimuli, keys, tuning)
    if responses is None:
        return Recalled(rows[:0], np.empty((0, 0)))
    return Recalled(rows[known], responses)
