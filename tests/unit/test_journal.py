"""The seam to whatever keeps measurements."""

from __future__ import annotations

import numpy as np
import pytest

from hwloop.journal import InMemoryJournal, Journal, Record


def record(first_row: int) -> Record:
    return Record("train", "rig", first_row, 0.0, 0.0, np.zeros((1, 2)), np.ones((1, 3)))


def test_records_come_back_in_the_order_in_which_they_were_measured():
    journal = InMemoryJournal()
    for first_row in range(3):
        journal.append(record(first_row))
    assert [kept.first_row for kept in journal.records()] == [0, 1, 2]


def test_reading_while_measuring_sees_what_was_there_at_the_start():
    journal = InMemoryJournal()
    journal.append(record(0))
    reading = journal.records()
    journal.append(record(1))
    assert [kept.first_row for kept in reading] == [0]


def test_a_journal_can_be_closed_twice():
    journal = InMemoryJournal()
    journal.close()
    journal.close()


def test_a_journal_that_keeps_nothing_cannot_be_made():
    with pytest.raises(TypeError, match="append"):
        Journal()
