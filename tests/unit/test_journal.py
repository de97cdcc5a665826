"""The seam to whatever keeps measurements."""

from __future__ import annotations

import numpy as np
import pytest

import hwloop
from hwloop.errors import JournalError
from hwloop.journal import DiskJournal, InMemoryJournal, Journal, Record


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


@pytest.mark.parametrize("on_disk", [True, False])
def test_two_sessions_that_write_one_journal_are_refused(tmp_path, on_disk):
    journal = DiskJournal(tmp_path) if on_disk else InMemoryJournal()
    devices = [hwloop.open_device("relu-layer", n_inputs=2, n_outputs=2) for _ in range(2)]
    first, second = (hwloop.Session(device, journal=journal) for device in devices)
    with first, second:
        first.measure(np.zeros((3, 2)), "repeat")
        with pytest.raises(JournalError, match=r"holds 3 rows, so .* row 0; let one session write one journal"):
            second.measure(np.ones((1, 2)))
        first.measure(np.ones((2, 2)), "repeat")
    assert journal.rows == 5
    journal.close()
