"""The memory of measured rows: identity of stimuli, age, size."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwloop.device import Device, DeviceSpec
from hwloop.journal import InMemoryJournal, Record
from hwloop.session import Freshness, RowMemory, Session
from hwloop.session.known_rows import UNKNOWN, RowIndex, fresh, row_keys

finite = st.floats(allow_nan=False, allow_infinity=False)


class Echo(Device):
    spec = DeviceSpec(n_inputs=1, n_outputs=1)

    def _measure(self, inputs):
        return inputs


class Remembering:
    """A memory of one-channel rows that answer twice their stimulus."""

    def __init__(self, freshness: Freshness | None = None, capacity_bytes: int = 1 << 20) -> None:
        self.journal = InMemoryJournal(capacity_bytes)
        self.memory = RowMemory(self.journal, freshness)

    def measure(self, *values: float, started_seconds: float | None = None) -> None:
        for value in values:
            rows, first = np.array([[value]]), self.journal.rows
            started = time.time() if started_seconds is None else started_seconds
            self.journal.append(Record("train", "rig", first, started, 0.0, rows, 2 * rows))
            self.memory.remember(row_keys(rows), first)

    def knows(self, value: float) -> bool:
        rows = np.array([[value]])
        known, responses = self.memory.recall(rows, row_keys(rows))
        if known[0]:
            np.testing.assert_array_equal(responses, 2 * rows)
        return bool(known[0])


@given(arrays(np.float64, (2, 3), elements=finite))
def test_equal_stimuli_share_a_key_and_others_hardly_ever_do(rows):
    first, second = row_keys(rows)
    assert (first == second) == bool((rows[0] == rows[1]).all())


def test_a_key_does_not_depend_on_memory_layout():
    rows = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(row_keys(np.asfortranarray(rows)), row_keys(rows))


def test_keys_of_quantised_rows_do_not_collide():
    # Converters give round numbers, whose low bits are all zero.
    rows = np.random.default_rng(0).integers(0, 1024, (200_000, 6)) / 1024
    rows = np.unique(rows, axis=0)
    assert len(np.unique(row_keys(rows))) == len(rows)


def test_rows_under_one_key_are_told_apart():
    remembering = Remembering()
    remembering.measure(1.0)
    known, responses = remembering.memory.recall(np.array([[3.0]]), row_keys(np.array([[1.0]])))
    assert not known.any()
    assert responses is None or len(responses) == 0


def test_the_next_float_is_another_stimulus():
    remembering = Remembering()
    remembering.measure(1.0)
    assert remembering.knows(1.0)
    assert not remembering.knows(np.nextafter(1.0, 2.0))


def test_a_response_ages_by_the_clock():
    remembering = Remembering(Freshness(seconds=60))
    remembering.measure(1.0, started_seconds=time.time() - 59)
    remembering.measure(2.0, started_seconds=time.time() - 61)
    assert remembering.knows(1.0)
    assert not remembering.knows(2.0)


def test_a_clock_that_is_set_back_makes_no_row_younger(monkeypatch):
    """Rows that the session measured age by a clock that is never set back; of others the age is not known."""
    session = Session(Echo(), freshness=Freshness(seconds=60))
    wall, boot = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    stimulus = np.array([[0.5]])
    with session:
        session.measure(stimulus)
        for elapsed, wall_now, rows in ((50, wall - 3600, 1), (61, wall - 3600 + 11, 2), (70, wall + 1e6, 2)):
            monkeypatch.setattr(time, "time", lambda wall_now=wall_now: wall_now)
            monkeypatch.setattr(time, "clock_gettime", lambda clock, elapsed=elapsed: boot + elapsed)
            session.measure(stimulus)
            assert session.ledger.total == rows, elapsed


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ([-90, -30], [False, True]),
        ([5, -30], [False, True]),  # the clock was set back between them: the first is older than it says
        ([-20, -3600, -10], [False, False, True]),
        ([-30, -31], [True, True]),  # a correction
        ([3600], [False]),  # measured in what is now the future
        ([], []),
    ],
)
def test_recorded_rows_are_fresh_where_their_age_is_known(started, expected):
    assert fresh(1e9 + np.array(started, dtype=float), 1e9, 60.0).tolist() == expected
    assert fresh(1e9 + np.array(started, dtype=float), 1e9, np.inf).all()


def test_a_response_ages_by_rows():
    remembering = Remembering(Freshness(rows=10))
    remembering.measure(1.0, *range(100, 110))
    assert remembering.knows(1.0)
    remembering.measure(200.0)
    assert not remembering.knows(1.0)


def test_the_oldest_rows_are_forgotten_beyond_the_capacity():
    remembering = Remembering(capacity_bytes=3 * 16)
    remembering.measure(1.0, 2.0, 3.0, 1.0, 4.0)  # 1 is measured anew and becomes younger than 2
    assert not remembering.knows(2.0)
    assert all(remembering.knows(value) for value in (1.0, 3.0, 4.0))


def test_forgetting_leaves_nothing_and_goes_on():
    remembering = Remembering()
    remembering.measure(1.0)
    remembering.memory.forget()
    assert not remembering.knows(1.0)
    remembering.measure(1.0)
    assert remembering.knows(1.0)


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=20), max_size=20))
def test_the_index_finds_the_newest_row_of_each_key(batches):
    index, newest, number = RowIndex(), {}, 0
    for batch in batches:
        index.add(np.array(batch, dtype=np.uint64), np.arange(number, number + len(batch)))
        for key in batch:
            newest[key] = number
            number += 1
    found = index.find(np.arange(1, 60, dtype=np.uint64))
    assert found.tolist() == [newest.get(key, UNKNOWN) for key in range(1, 60)]


@pytest.mark.parametrize("limit", [{"seconds": -1}, {"rows": -1}, {"seconds": float("nan")}])
def test_a_negative_freshness_is_refused(limit):
    with pytest.raises(ValueError, match="Freshness"):
        Freshness(**limit)


@pytest.mark.parametrize("repeats", [1, 4])
def test_the_index_takes_less_than_36_bytes_a_row(repeats):
    rows, index = 100_000, RowIndex()
    rng = np.random.default_rng(0)
    keys = rng.integers(1, 2**63, rows).astype(np.uint64)
    for repeat in range(repeats):  # a row that is measured again takes no more room
        for start in range(0, rows, 1000):
            index.add(keys[start : start + 1000], repeat * rows + np.arange(start, start + 1000))
    assert len(index) == rows
    assert index.find(keys).tolist() == list(range((repeats - 1) * rows, repeats * rows))
    assert index.nbytes <= 36 * rows
