"""What a session measures, recalls, records and refuses, row by row."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.events import RowsMeasured
from hwloop.journal import InMemoryJournal
from hwloop.session import PURPOSES, Freshness, Session

N_INPUTS = 2


class Counting(hwloop.Device):
    """Answers with the stimulus's sum and the number of rows measured before: no two answers are the same."""

    def __init__(self, max_rows: int | None = None, fails_at_row: int | None = None) -> None:
        self.spec = hwloop.DeviceSpec(N_INPUTS, 2, -10.0, 10.0, max_rows=max_rows)
        self.stops_at = fails_at_row
        self.seen: list[tuple[float, ...]] = []

    def _measure(self, inputs):
        if self.stops_at is not None and len(self.seen) + len(inputs) > self.stops_at:
            raise TimeoutError("no trigger")
        first = len(self.seen)
        self.seen += [tuple(row) for row in inputs]
        return np.column_stack([inputs.sum(axis=1), np.arange(first, first + len(inputs))])


def stimuli(*first_values: float) -> np.ndarray:
    return np.array([[value, 1.0] for value in first_values]).reshape(-1, N_INPUTS)


# -- budget --------------------------------------------------------------------------------------------


def test_the_budget_can_be_used_to_its_last_row_and_no_further():
    device = Counting()
    session = Session(device, budget=3)
    session.measure(stimuli(1, 2, 3))
    with pytest.raises(hwloop.BudgetExceeded, match=r"1 rows .* 3 rows leaves 0"):
        session.measure(stimuli(4))
    assert len(device.seen) == session.ledger.total == 3
    assert session.rows_left == 0


def test_what_is_remembered_stays_free_when_the_budget_is_spent():
    session = Session(Counting(), budget=2)
    first = session.measure(stimuli(1, 2))
    np.testing.assert_array_equal(session.measure(stimuli(2, 1)), first[::-1])


def test_a_refused_batch_keeps_what_was_measured_before_in_ledger_memory_and_journal():
    journal = InMemoryJournal()
    session = Session(Counting(), budget=3, journal=journal)
    session.measure(stimuli(1, 2))
    with pytest.raises(hwloop.BudgetExceeded):
        session.measure(stimuli(3, 4))
    assert (session.ledger["train"], len(session.memory)) == (2, 2)
    assert sum(len(record.stimuli) for record in journal.records()) == 2


@given(
    budget=st.integers(0, 30),
    max_rows=st.one_of(st.none(), st.integers(1, 7)),
    calls=st.lists(
        st.tuples(st.lists(st.integers(-5, 5), max_size=8), st.sampled_from(PURPOSES), st.booleans()), max_size=8
    ),
)
def test_no_sequence_of_calls_ever_exceeds_the_budget_and_the_ledger_counts_what_the_device_saw(
    budget, max_rows, calls
):
    device, journal = Counting(max_rows), InMemoryJournal()
    session = Session(device, budget=budget, journal=journal)
    with session:
        for values, purpose, fresh in calls:
            try:
                responses = session.measure(stimuli(*values), purpose, fresh=fresh)
            except hwloop.BudgetExceeded:
                continue
            np.testing.assert_array_equal(responses[:, 0], np.array(values, dtype=float) + 1)
    assert len(device.seen) == session.ledger.total == sum(len(r.stimuli) for r in journal.records()) <= budget


@pytest.mark.parametrize("budget", [-1, 1.5, True, float("nan"), float("inf"), "100"])
def test_a_budget_that_is_no_number_of_rows_is_refused(budget):
    with pytest.raises(hwloop.ConfigError, match="whole number of rows"):
        Session(Counting(), budget=budget)


def test_a_plan_beyond_the_budget_is_refused_with_the_rows_and_time_that_it_needs():
    device = Counting()
    device.spec = hwloop.DeviceSpec(N_INPUTS, 2, row_seconds=0.2)
    session = Session(device, budget=1000)
    session.require(1000)
    with pytest.raises(hwloop.BudgetExceeded, match=r"12,300 rows, about 41 min.*at least 12,300"):
        session.require(12_300)
    assert device.seen == []


# -- purposes, memory ----------------------------------------------------------------------------------


def test_rows_count_for_their_purpose():
    session = Session(Counting())
    for number, purpose in enumerate(PURPOSES):
        session.measure(stimuli(*range(10 * number % 7, 10 * number % 7 + number + 1)), purpose, fresh=True)
    assert session.ledger.rows == {purpose: number + 1 for number, purpose in enumerate(PURPOSES)}


def test_an_unknown_purpose_is_refused_before_the_device_is_touched():
    device = Counting()
    with pytest.raises(hwloop.ConfigError, match="did you mean 'train'"):
        Session(device).measure(stimuli(1), "trian")
    assert device.seen == []


def test_a_row_is_measured_once_whatever_it_is_asked_for():
    device = Counting()
    session = Session(device)
    first = session.measure(stimuli(1, 2), "train")
    again = session.measure(stimuli(2, 3, 1), "evaluate")
    np.testing.assert_array_equal(again[[2, 0]], first)
    assert len(device.seen) == 3
    assert (session.ledger["train"], session.ledger["evaluate"], session.ledger.recalled["evaluate"]) == (2, 1, 2)


def test_duplicates_within_a_call_are_measured_once_and_keep_their_places():
    device = Counting()
    session = Session(device)
    responses = session.measure(stimuli(5, 1, 5, 5, 1))
    assert device.seen == [(5.0, 1.0), (1.0, 1.0)]
    np.testing.assert_array_equal(responses[:, 1], [0, 1, 0, 0, 1])
    assert session.ledger.recalled["train"] == 3


def test_minus_zero_is_the_same_stimulus_as_zero():
    device = Counting()
    Session(device).measure(stimuli(0.0, -0.0))
    assert len(device.seen) == 1


@pytest.mark.parametrize("purpose", ["calibrate", "reference", "repeat"])
def test_purposes_that_ask_for_now_always_measure_every_row(purpose):
    device = Counting()
    session = Session(device)
    session.measure(stimuli(1))
    responses = session.measure(stimuli(1, 1), purpose)
    np.testing.assert_array_equal(responses[:, 1], [1, 2])
    assert session.ledger[purpose] == 2
    assert session.ledger.recalled[purpose] == 0


def test_fresh_measures_what_is_remembered_and_the_newest_answer_is_remembered():
    session = Session(Counting())
    session.measure(stimuli(1))
    assert session.measure(stimuli(1), fresh=True)[0, 1] == 1
    assert session.measure(stimuli(1))[0, 1] == 1


def test_freshness_by_rows_lets_a_memory_age_while_other_rows_are_measured():
    session = Session(Counting(), freshness=Freshness(rows=2))
    session.measure(stimuli(1))
    session.measure(stimuli(2, 3))
    assert session.measure(stimuli(1))[0, 1] == 0  # two rows old: still fresh
    session.measure(stimuli(4))
    assert session.measure(stimuli(1))[0, 1] == 4  # three rows old: measured again


def test_a_caller_may_alter_responses_without_altering_the_memory():
    session = Session(Counting())
    session.measure(stimuli(1))[:] = 99.0
    assert session.measure(stimuli(1))[0, 0] == 2.0


def test_a_batch_without_rows_costs_nothing():
    session = Session(Counting(), budget=0)
    assert session.measure(stimuli()).shape == (0, 2)


@pytest.mark.parametrize("bad", [[[np.nan, 0.0]], [[11.0, 0.0]], [[1.0]], [1.0, 2.0], "x"])
def test_a_bad_stimulus_is_refused_and_nothing_is_counted_or_measured(bad):
    device = Counting()
    session = Session(device)
    with pytest.raises(ValueError, match="Counting"):
        session.measure(bad)
    assert (device.seen, session.ledger.total, session.identity) == ([], 0, "")


# -- blocks, journal, events ---------------------------------------------------------------------------


def test_the_journal_holds_a_block_before_its_rows_are_available():
    kept: list[int] = []
    submitted = threading.Event()

    class Checking(InMemoryJournal):
        def append(self, record):
            assert submitted.wait(20)
            kept.append(measurement.rows_ready)
            super().append(record)

    session = Session(Counting(max_rows=2), journal=(journal := Checking()))
    with session:
        measurement = session.submit(stimuli(1, 2, 3, 4, 5))
        submitted.set()
        measurement.result()
    assert kept == [0, 2, 4]
    assert [record.first_row for record in journal.records()] == [0, 2, 4]


def test_a_record_says_what_was_measured_for_what_and_by_whom():
    journal = InMemoryJournal()
    session = Session(Counting(), journal=journal)
    responses = session.measure(stimuli(1, 2), "calibrate")
    (record,) = journal.records()
    (note,) = journal.notes()
    assert (note.kind, note.details["identity"]) == ("device", "Counting")
    assert (record.purpose, record.device) == ("calibrate", note.details["settings"])
    np.testing.assert_array_equal(record.stimuli, stimuli(1, 2))
    np.testing.assert_array_equal(record.responses, responses)
    assert record.duration_seconds >= 0
    assert record.started_seconds > 1.5e9


def test_listeners_hear_of_every_row_measured_and_recalled():
    events: list[RowsMeasured] = []
    session = Session(Counting(max_rows=2), listeners=[events.append])
    session.measure(stimuli(1, 2, 3))
    session.measure(stimuli(3, 4), "evaluate")
    assert events == [
        RowsMeasured("train", 2),
        RowsMeasured("train", 1),
        RowsMeasured("evaluate", 0, recalled=1),
        RowsMeasured("evaluate", 1),
    ]


@pytest.mark.parametrize(
    ("max_rows", "row_seconds", "expected"), [(None, 0.1, 2), (None, 1.0, 1), (1, 0.1, 1), (None, 0.0, 5)]
)
def test_a_slow_device_is_asked_in_short_blocks(max_rows, row_seconds, expected):
    journal, device = InMemoryJournal(), Counting()
    device.spec = hwloop.DeviceSpec(N_INPUTS, 2, -10, 10, max_rows=max_rows, row_seconds=row_seconds)
    Session(device, journal=journal).measure(stimuli(*range(5)))
    assert max(len(record.stimuli) for record in journal.records()) == expected


# -- failures ------------------------------------------------------------------------------------------


def test_a_device_that_fails_in_the_middle_leaves_the_blocks_before_it_recorded_and_remembered():
    device, journal = Counting(max_rows=2, fails_at_row=5), InMemoryJournal()
    session = Session(device, journal=journal)
    with pytest.raises(hwloop.DeviceTimeout, match="no trigger"):
        session.measure(stimuli(1, 2, 3, 4, 5, 6))
    assert session.ledger.total == len(session.memory) == 4
    assert sum(len(record.stimuli) for record in journal.records()) == 4
    device.stops_at = None  # somebody has mended it
    session.measure(stimuli(1, 2, 3, 4, 5, 6))
    assert len(device.seen) == 6  # only the missing two were measured


def test_rows_that_the_journal_failed_to_keep_count_against_the_budget_and_are_not_used():
    class Full(InMemoryJournal):
        def append(self, record):
            raise hwloop.JournalError("disk full")

    device = Counting()
    session = Session(device, budget=3, journal=Full())
    for _, expected in zip(itertools.count(), [hwloop.JournalError, hwloop.BudgetExceeded], strict=False):
        with pytest.raises(expected):
            session.measure(stimuli(1, 2))
    assert len(device.seen) == session.ledger.total == 2
    assert len(session.memory) == 0
