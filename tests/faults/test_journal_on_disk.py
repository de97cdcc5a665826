"""The journal on disk against torn tails, flipped bytes, full disks and second writers."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from hwloop.errors import JournalError
from hwloop.journal import DiskJournal, Note, ReadOnlyJournal, Record, disk
from hwloop.journal.chunk import chunk_path

RECORDS = 12


def record(number: int) -> Record:
    rng = np.random.default_rng(number)
    return Record("train", "rig", 3 * number, 1e9 + number, 0.5, rng.random((3, 4)), rng.random((3, 2)), "stage 1")


def write(folder, records=range(RECORDS)) -> None:
    journal = DiskJournal(folder)
    for number in records:
        journal.append(record(number))
    journal.close()


def assert_same(found: Record, number: int) -> None:
    expected = record(number)
    assert (found.purpose, found.device, found.first_row, found.step) == ("train", "rig", 3 * number, "stage 1")
    np.testing.assert_array_equal(found.stimuli, expected.stimuli)
    np.testing.assert_array_equal(found.responses, expected.responses)


@pytest.mark.parametrize("opened", [DiskJournal, ReadOnlyJournal])
def test_what_was_written_is_read_back_to_the_last_bit(tmp_path, opened):
    write(tmp_path)
    journal = opened(tmp_path)
    assert journal.rows == 3 * RECORDS
    for number, found in enumerate(journal.records()):
        assert_same(found, number)
    stimuli, responses = journal.read_rows(np.array([35, 0, 4, 4]))
    np.testing.assert_array_equal(stimuli[1], record(0).stimuli[0])
    np.testing.assert_array_equal(responses[2], record(1).responses[1])
    assert journal.duration_seconds(0, 6) == pytest.approx(1.0)
    journal.close()


@pytest.mark.parametrize("seed", range(40))
def test_a_torn_tail_is_cut_off_and_the_journal_goes_on(tmp_path, seed):
    write(tmp_path)
    path = chunk_path(tmp_path, 0)
    size = path.stat().st_size
    whole = size // RECORDS
    os.truncate(path, size - 1 - int(np.random.default_rng(seed).integers(3 * whole)))
    journal = DiskJournal(tmp_path)
    kept = journal.rows // 3
    assert RECORDS - 5 <= kept < RECORDS
    for number in range(kept, RECORDS):
        journal.append(record(number))
    for number, found in enumerate(journal.records()):
        assert_same(found, number)
    assert number == RECORDS - 1
    journal.close()


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_byte_is_reported_and_costs_one_record_alone(tmp_path, seed):
    write(tmp_path)
    path = chunk_path(tmp_path, 0)
    data = bytearray(path.read_bytes())
    place = int(np.random.default_rng(seed).integers(len(data)))
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    journal = ReadOnlyJournal(tmp_path)
    (damage,) = journal.damage
    assert damage.offset <= place < damage.offset + damage.length
    found = list(journal.records())
    assert len(found) == RECORDS - 1
    for each in found:
        assert_same(each, each.first_row // 3)


def test_a_full_disk_is_one_clear_error_and_everything_before_it_is_safe(tmp_path, monkeypatch):
    journal = DiskJournal(tmp_path)
    journal.append(record(0))
    really_write = os.writev

    def half_then_full(file, buffers):
        really_write(file, [bytes(buffers[0])[:20]])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk.os, "writev", half_then_full)
    with pytest.raises(JournalError, match=r"No space left.*every record before it is safe"):
        journal.append(record(1))
    monkeypatch.undo()
    journal.append(record(1))
    journal.close()
    assert [found.first_row for found in ReadOnlyJournal(tmp_path).records()] == [0, 3]


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\x00" + bytes(100)])
def test_a_lost_or_damaged_index_is_made_again(tmp_path, content):
    write(tmp_path)
    index = tmp_path / "index.sqlite"
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    journal = DiskJournal(tmp_path)
    assert journal.rows == 3 * RECORDS
    journal.append(record(RECORDS))
    journal.close()


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path):
    journal = DiskJournal(tmp_path)
    with pytest.raises(JournalError, match=f"process {os.getpid()} "):
        DiskJournal(tmp_path)
    journal.close()
    DiskJournal(tmp_path).close()


def test_notes_stand_between_the_records(tmp_path):
    journal = DiskJournal(tmp_path)
    journal.note(Note("fault", {"error": "time-out"}, 5.0))
    journal.append(record(0))
    journal.close()
    (note,) = ReadOnlyJournal(tmp_path).notes()
    assert (note.kind, note.details, note.seconds) == ("fault", {"error": "time-out"}, 5.0)


def test_a_record_out_of_sequence_is_refused(tmp_path):
    journal = DiskJournal(tmp_path)
    with pytest.raises(JournalError, match="holds 0 rows"):
        journal.append(record(1))
    journal.close()
