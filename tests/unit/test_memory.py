"""The memory of measured rows: identity of stimuli, age, size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwloop.session import Freshness, RowMemory, memory

finite = st.floats(allow_nan=False, allow_infinity=False)


def key(*values: float) -> bytes:
    return RowMemory.keys(np.array([values], dtype=float))[0]


@given(arrays(np.float64, (2, 3), elements=finite))
def test_two_stimuli_share_a_key_exactly_if_they_are_equal(rows):
    first, second = RowMemory.keys(rows)
    assert (first == second) == bool((rows[0] == rows[1]).all())


def test_a_key_does_not_depend_on_memory_layout():
    rows = np.arange(12.0).reshape(3, 4)
    assert RowMemory.keys(np.asfortranarray(rows)) == RowMemory.keys(rows)


def test_the_next_float_is_another_stimulus():
    assert key(1.0) != key(np.nextafter(1.0, 2.0))


def test_a_response_ages_by_the_clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    rows = RowMemory(Freshness(seconds=60))
    rows.remember(key(1.0), np.ones(2), rows_measured=1)
    now[0] = 160.0
    assert rows.recall(key(1.0), 1) is not None
    now[0] = 160.1
    assert rows.recall(key(1.0), 1) is None


def test_a_response_ages_by_rows():
    rows = RowMemory(Freshness(rows=10))
    rows.remember(key(1.0), np.ones(2), rows_measured=5)
    assert rows.recall(key(1.0), 15) is not None
    assert rows.recall(key(1.0), 16) is None


def test_the_oldest_rows_are_forgotten_beyond_the_capacity():
    rows = RowMemory(capacity_bytes=3 * 16)
    for value in (1.0, 2.0, 3.0, 1.0, 4.0):  # 1 is remembered anew and becomes younger than 2
        rows.remember(key(value), np.full(2, value), 0)
    assert len(rows) == 3
    assert rows.recall(key(2.0), 0) is None
    assert all(rows.recall(key(value), 0) is not None for value in (1.0, 3.0, 4.0))


def test_forgetting_leaves_nothing():
    rows = RowMemory()
    rows.remember(key(1.0), np.ones(2), 0)
    rows.forget()
    assert len(rows) == 0
    assert rows.recall(key(1.0), 0) is None


@pytest.mark.parametrize("limit", [{"seconds": -1}, {"rows": -1}, {"seconds": float("nan")}])
def test_a_negative_freshness_is_refused(limit):
    with pytest.raises(ValueError, match="Freshness"):
        Freshness(**limit)
