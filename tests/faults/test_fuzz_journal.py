"""The journal's parsers against random and hostile bytes: only their own error, no hang, never a wrong value."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from hwloop import ConfigError, JournalError, Replay
from hwloop.device import DeviceSpec
from hwloop.journal import DiskJournal, Note, ReadOnlyJournal, Record, frame
from hwloop.journal.chunk import chunk_path
from hwloop.journal.lock import WriterLock, writer_of
from hwloop.runs.files import UnreadableError
from hwloop.runs.index_check import index_entries, index_summary
from hwloop.runs.summary import rows_recorded

FAST, SLOW = 40, pytest.mark.slow
DEVICE = {"settings": "s", "identity": "rig", "spec": DeviceSpec(3, 2).as_dict()}


def counts(slow):
    """A few inputs in every run of the tests, many in the slow ones."""
    return pytest.mark.parametrize("count", [FAST, pytest.param(slow, marks=SLOW)])


def record(number):
    rng = np.random.default_rng(number)
    rows = (rng.random((2, 3)), rng.random((2, 2)), "stage 1")
    tuned = {"tuning": rng.random(4), "writes": number, "write_seconds": 0.1} if number % 2 else {}
    return Record("train", "s", 2 * number, 1e9 + number, 0.5, *rows, **tuned)


@pytest.fixture
def folder(tmp_path):
    """A journal of a note and five records."""
    journal = DiskJournal(tmp_path / "journal")
    journal.note(Note("device", DEVICE))
    for number in range(5):
        journal.append(record(number))
    journal.close()
    return tmp_path / "journal"


@counts(30_000)
def test_chunks(folder, fuzz, count):
    path = chunk_path(folder, 0)

    def read(data):
        path.write_bytes(data)
        journal = ReadOnlyJournal(folder)
        for found in journal.records():
            assert_recorded(found)
        list(journal.notes())
        journal.close()

    valid = path.read_bytes()
    outcomes = fuzz(read, [valid], count, 1, JournalError)
    assert outcomes["read"] == outcomes.total()  # damage is reported and skipped, it stops nobody


def assert_recorded(found):
    """A record that is read is one that was written, to the last bit."""
    expected = record(found.first_row // 2)
    np.testing.assert_array_equal(found.stimuli, expected.stimuli)
    np.testing.assert_array_equal(found.responses, expected.responses)
    assert (found.tuning is None, found.writes) == (expected.tuning is None, expected.writes)
    if found.tuning is not None:
        np.testing.assert_array_equal(found.tuning, expected.tuning)


def forged(header, body):
    """A record whose checksums are right, whatever it says."""
    prefix = struct.pack("<8sIQII", frame.MARKER, len(header), len(body), zlib.crc32(header), zlib.crc32(body))
    return prefix + struct.pack("<I", zlib.crc32(prefix)) + header + body


def headers():
    arrays = [
        {"name": "stimuli", "shape": [2, 3], "dtype": "<f8"},
        {"name": "responses", "shape": [2, 2], "dtype": "<f8"},
    ]
    rows = {
        "purpose": "train",
        "step": "stage 1",
        "device": "s",
        "first_row": 0,
        "rows": 2,
        "duration_seconds": 0.5,
    }
    tuned = {
        "writes": 1,
        "write_seconds": 0.1,
        "arrays": [*arrays, {**arrays[0], "name": "tuning", "shape": [1, 3]}],
    }
    return [
        json.dumps({"kind": "rows", "started_seconds": 1.0, **rows, "arrays": arrays}).encode(),
        json.dumps({"kind": "rows", "started_seconds": 1.0, **rows, **tuned}).encode(),
        json.dumps({"kind": "device", "started_seconds": 1.0, "details": DEVICE, "arrays": []}).encode(),
    ]


@counts(20_000)
def test_forged_headers(tmp_path, fuzz, count):
    """Checksums keep accidents out, not malice: what the header says is checked too."""
    body = np.arange(10.0).tobytes()
    path = chunk_path(tmp_path, 0)

    def read(data):
        path.write_bytes(forged(headers()[-1], b"") + forged(data, body) + forged(data, b""))
        journal = ReadOnlyJournal(tmp_path)
        for found in journal.records():
            assert found.stimuli.shape[0] == found.responses.shape[0] >= 1
        list(journal.notes())
        if journal.rows < 1 << 53:
            journal.readable(np.arange(10))
        journal.close()
        Replay(tmp_path).measure([[0.0, 0.5, 1.0]])

    fuzz(read, headers(), count, 2, (JournalError, ValueError))


@pytest.mark.parametrize("rows", [10**12, 2**53, 2**63, 10**30])
def test_a_header_that_claims_a_trillion_rows_allocates_nothing(tmp_path, rows):
    header = json.loads(headers()[0])
    header["rows"] = rows
    for described in header["arrays"]:
        described["shape"][0] = rows
    lying = forged(json.dumps(header).encode(), bytes(80))
    big = struct.pack("<8sIQII", frame.MARKER, 2**22, 2**30, 0, 0)
    lengths = big + struct.pack("<I", zlib.crc32(big))
    chunk_path(tmp_path, 0).write_bytes(lying + lengths + bytes(100))
    tracemalloc.start()
    journal = ReadOnlyJournal(tmp_path)
    assert journal.rows == 0
    assert journal.damage
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()


@pytest.mark.parametrize("first", [10**12, 2**53])
def test_a_record_far_behind_the_others_is_not_believed(tmp_path, first):
    header = json.loads(headers()[0]) | {"first_row": first}
    chunk_path(tmp_path, 0).write_bytes(forged(json.dumps(header).encode(), np.arange(10.0).tobytes()))
    assert ReadOnlyJournal(tmp_path).rows == 0


@counts(2_000)
def test_the_index(folder, fuzz, count):
    """Whatever has become of the index, the journal opens, goes on and loses nothing."""
    path = folder / "index.sqlite"
    valid = path.read_bytes()
    chunk = chunk_path(folder, 0).read_bytes()

    def read(data):
        for old in folder.glob("*index.sqlite*"):
            old.unlink()
        chunk_path(folder, 0).write_bytes(chunk)
        path.write_bytes(data)
        for look in (index_entries, index_summary):
            with contextlib.suppress(UnreadableError):
                look(folder)
        assert rows_recorded(folder) >= 0
        with contextlib.closing(DiskJournal(folder, sync_seconds=3600)) as journal:
            journal.append(record(5))
            assert [found.first_row for found in journal.records()] == [0, 2, 4, 6, 8, 10]

    fuzz(read, [valid], count, 3, ())


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i AS number FROM n"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t BEFORE INSERT ON records BEGIN DELETE FROM records; END",
        f"DROP TABLE records; CREATE VIEW records AS {ENDLESS}",
        "DROP TABLE records; CREATE TABLE records (number TEXT PRIMARY KEY, kind TEXT)",
        "DROP INDEX records_by_kind",
        "INSERT INTO records (number, chunk, start, length, kind, started_seconds) "
        "VALUES (9223372036854775806, 0, 0, 0, 'rows', 0)",
    ],
)
def test_a_forged_index_is_made_again(folder, sql):
    with contextlib.closing(sqlite3.connect(folder / "index.sqlite")) as db:
        db.executescript(sql)
    with contextlib.suppress(UnreadableError):
        index_summary(folder)
    with contextlib.closing(DiskJournal(folder)) as journal:
        journal.append(record(5))
        assert [found.first_row for found in journal.records()] == [0, 2, 4, 6, 8, 10]
    assert index_summary(folder)[0] == 12


@counts(5_000)
def test_the_lock(tmp_path, fuzz, count):
    held = WriterLock(tmp_path)
    valid = (tmp_path / "lock").read_bytes()

    def read(data):
        (tmp_path / "lock").write_bytes(data)
        assert writer_of(tmp_path)

    outcomes = fuzz(read, [valid], count, 4, ())
    assert outcomes["read"] == outcomes.total()
    held.release()


@counts(3_000)
def test_the_note_that_a_replay_reads_its_device_from(tmp_path, fuzz, count):
    path = chunk_path(tmp_path, 0)

    def read(data):
        path.write_bytes(forged(data, b""))
        assert Replay(tmp_path).spec.n_inputs >= 1

    fuzz(read, headers()[2:], count, 5, (JournalError, ConfigError))
