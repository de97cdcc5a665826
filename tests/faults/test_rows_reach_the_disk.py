"""A row that anybody uses is synced, or will be soon, whatever the program does; a disk that fails says so."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.errors import JournalError
from hwloop.journal import DiskJournal, ReadOnlyJournal, Record
from hwloop.journal.chunk import chunk_path

pytestmark = pytest.mark.exhaustive

PATIENCE_SECONDS = 20.0  # of a busy machine; what is waited for takes milliseconds


class Counting(hwloop.Device):
    """No answer comes twice: whoever finds one has found its row."""

    def __init__(self):
        self.spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)
        self.rows = 0

    def _measure(self, inputs):
        numbers = self.rows + np.arange(len(inputs))
        self.rows += len(inputs)
        return inputs + numbers[:, None]


def record(number):
    return Record("train", "rig", number, 1e9, 0.5, np.full((1, 2), float(number)), np.full((1, 2), number + 0.5))


class Synced:
    """Notes what reaches the disk: for each file how long it was when it was synced; folders in order."""

    def __init__(self, monkeypatch):
        self.bytes: dict[str, int] = {}
        self.folders: list[str] = []
        self.writes: list[int] = []
        really_write, fdatasync, fsync = os.writev, os.fdatasync, os.fsync
        monkeypatch.setattr(
            os, "writev", lambda file, parts: (self.writes.append(file), really_write(file, parts))[1]
        )
        monkeypatch.setattr(os, "fdatasync", lambda file: (self.note(file), fdatasync(file))[1])
        monkeypatch.setattr(os, "fsync", lambda file: (self.note(file), fsync(file))[1])

    def note(self, file):
        path = os.readlink(f"/proc/self/fd/{file}")
        if os.path.isdir(path):
            self.folders.append(path)
        else:
            self.bytes[path] = os.fstat(file).st_size

    def wait_for(self, path):
        """Until the whole file is synced; whether it is."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.bytes.get(str(path)) != path.stat().st_size:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True


@pytest.fixture
def synced(monkeypatch):
    return Synced(monkeypatch)


def test_rows_are_synced_while_nothing_more_is_written(tmp_path, synced):
    journal = DiskJournal(tmp_path / "journal", sync_seconds=0.1)
    for number in range(3):
        journal.append(record(number))
        assert synced.wait_for(chunk_path(journal.folder, 0))
    journal.close()


def test_the_end_of_a_job_is_synced_however_far_the_next_sync_is(tmp_path, synced):
    journal = DiskJournal(tmp_path / "journal", sync_seconds=1e6)
    with hwloop.Session(Counting(), journal=journal) as session:
        for _ in range(3):
            session.measure(np.random.default_rng(0).random((300, 2)), "repeat")
            assert synced.wait_for(chunk_path(journal.folder, 0))
    journal.close()


def test_the_name_of_everything_new_is_synced_before_the_first_row(tmp_path, synced):
    folder = tmp_path / "runs" / "night" / "journal"
    journal = DiskJournal(folder)
    assert not synced.writes
    assert {str(path) for path in (tmp_path, tmp_path / "runs", tmp_path / "runs" / "night", folder)} <= set(
        synced.folders
    )
    journal.close()


def test_a_new_chunk_has_its_name_on_the_disk_before_its_first_row(tmp_path, synced, monkeypatch):
    monkeypatch.setattr("hwloop.journal.disk.CHUNK_BYTES", 500)
    journal = DiskJournal(tmp_path, sync_seconds=1e6)
    while not chunk_path(tmp_path, 2).exists():
        before = len(synced.folders)
        journal.append(record(journal.rows))
    assert len(synced.folders) > before
    for number in (0, 1):  # what is written no more is synced
        assert synced.bytes[str(chunk_path(tmp_path, number))] == chunk_path(tmp_path, number).stat().st_size
    journal.close()


def test_no_row_is_acknowledged_while_a_slow_disk_holds_older_ones(tmp_path, monkeypatch):
    journal = DiskJournal(tmp_path, sync_seconds=0.05)
    disk_works, really_sync = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (disk_works.wait(PATIENCE_SECONDS), really_sync(file))[1])
    acknowledged = []

    def measure():
        for number in range(100):
            journal.append(record(number))
            acknowledged.append(number)
            time.sleep(0.001)

    writing = threading.Thread(target=measure)
    writing.start()
    time.sleep(0.3)
    held_back = len(acknowledged)
    time.sleep(0.2)
    assert len(acknowledged) <= held_back + 1 < 100
    disk_works.set()
    writing.join()
    assert len(acknowledged) == 100
    journal.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_after_a_sync_that_failed_no_row_is_acknowledged(tmp_path, monkeypatch, error):
    """The kernel may have dropped what it could not write: a second sync that succeeds proves nothing."""
    journal = DiskJournal(tmp_path, sync_seconds=0.05)
    journal.append(record(0))
    journal.sync()
    really_sync, failed = os.fdatasync, threading.Event()

    def fails_once(file):
        if failed.is_set():
            return really_sync(file)
        failed.set()
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fdatasync", fails_once)
    journal.append(record(1))
    assert failed.wait(PATIENCE_SECONDS)
    with pytest.raises(JournalError, match=os.strerror(error)):
        journal.sync()
    for _ in range(3):
        with pytest.raises(JournalError, match=os.strerror(error)):
            journal.append(record(journal.rows))
    journal.close()  # whoever wrote has been told
    reopened = DiskJournal(tmp_path)
    assert reopened.rows == 2
    reopened.append(record(2))
    reopened.close()


def test_a_failure_that_nobody_has_seen_yet_is_told_when_the_journal_is_closed(tmp_path, monkeypatch):
    journal = DiskJournal(tmp_path, sync_seconds=1e6)
    journal.append(record(0))

    def fails(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.close()
    monkeypatch.undo()
    DiskJournal(tmp_path).close()  # the lock is free


def test_a_sync_thread_that_dies_ends_the_recording(tmp_path, monkeypatch):
    journal = DiskJournal(tmp_path, sync_seconds=0.02)
    died = threading.Event()

    def dies(file):
        died.set()
        raise SystemExit

    monkeypatch.setattr(os, "fdatasync", dies)
    journal.append(record(0))
    assert died.wait(PATIENCE_SECONDS)
    with pytest.raises(JournalError, match="cannot be synced"):
        journal.sync()
    with pytest.raises(JournalError, match="cannot be synced"):
        journal.append(record(journal.rows))
    journal.close()


def test_a_journal_that_nobody_refers_to_is_synced_and_its_thread_ends(tmp_path, synced):
    journal = DiskJournal(tmp_path, sync_seconds=1e6)
    journal.append(record(0))
    (thread,) = [each for each in threading.enumerate() if each.name == "hwloop-sync"]
    del journal
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert synced.wait_for(chunk_path(tmp_path, 0))


# -- the index ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure", [JournalError("full"), MemoryError(), sqlite3.OperationalError("full"), OSError()]
)
@pytest.mark.parametrize("where", ["add", "commit"])
def test_an_index_that_fails_harms_no_record_and_is_made_up_for(tmp_path, monkeypatch, failure, where):
    journal = DiskJournal(tmp_path)
    session = hwloop.Session(Counting(), journal=journal)
    rng = np.random.default_rng(0)
    with session:
        first = session.measure(rng.random((3, 2)), "repeat")
        fail_once(monkeypatch, journal, where, failure)
        stimuli = rng.random((3, 2))
        second = session.measure(stimuli)
        journal.sync()
        np.testing.assert_array_equal(session.measure(stimuli), second)
        third = session.measure(rng.random((4, 2)))
    journal.close()
    assert_holds(tmp_path, [first, second, third])
    reopened = DiskJournal(tmp_path)
    assert reopened._index.end_of_last()[0] == reopened._catalogue.records
    reopened.close()


def fail_once(monkeypatch, journal, where, failure):
    if where == "add":
        waiting = journal._index.waiting

        class Fails(list):
            def append(self, entry):
                journal._index.waiting = waiting
                raise failure

        journal._index.waiting = Fails(waiting)
        return
    really_try = type(journal._index)._tried

    class Broken:
        def executemany(self, *arguments):
            raise failure

        def rollback(self):
            raise failure

    def fails(index, *arguments):
        monkeypatch.setattr(type(index), "_tried", really_try)
        whole, index._db = index._db, Broken()
        try:
            return really_try(index, *arguments)
        finally:
            index._db = whole

    monkeypatch.setattr(type(journal._index), "_tried", fails)


def test_an_interrupt_between_record_and_index_leaves_a_whole_append(tmp_path, monkeypatch):
    journal = DiskJournal(tmp_path)
    journal.append(record(0))
    fail_once(monkeypatch, journal, "add", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        journal.append(record(1))
    assert journal.rows == 2
    journal.append(record(2))
    journal.close()
    assert_holds(tmp_path, [record(number).responses for number in range(3)])


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_within_an_append_leaves_none_of_it(tmp_path, monkeypatch, failure, when):
    journal = DiskJournal(tmp_path)
    journal.append(record(0))
    really_enter = journal._catalogue.enter

    def interrupted(located):
        monkeypatch.undo()
        if when == "after":
            really_enter(located)
        else:
            journal._catalogue._first_rows.append(1)
        raise failure

    monkeypatch.setattr(journal._catalogue, "enter", interrupted)
    with pytest.raises(type(failure)):
        journal.append(record(1))
    assert journal.rows == 1
    for number in (1, 2):
        journal.append(record(number))
    np.testing.assert_array_equal(journal.read_rows(np.arange(3))[1][:, 0], [0.5, 1.5, 2.5])
    journal.close()
    assert_holds(tmp_path, [record(number).responses for number in range(3)])


def test_a_journal_opens_and_writes_where_no_index_can_be_written(tmp_path, monkeypatch):
    really_connect = sqlite3.connect

    def full(*arguments, **options):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    journal = DiskJournal(tmp_path)
    journal.append(record(0))
    journal.close()
    monkeypatch.setattr(sqlite3, "connect", really_connect)
    reopened = DiskJournal(tmp_path)
    assert (reopened.rows, reopened._index.end_of_last()[0]) == (1, 1)
    reopened.close()


def test_an_index_of_records_that_were_replaced_after_a_loss_of_power_is_made_again(tmp_path):
    journal = DiskJournal(tmp_path)
    for number in range(4):
        journal.append(record(number))
    journal.close()
    index = (tmp_path / "index.sqlite").read_bytes()
    os.truncate(chunk_path(tmp_path, 0), 10)
    journal = DiskJournal(tmp_path)
    for number in range(4):
        stimuli = np.full((1, 2), 1 / 3)  # stored as float64: every record is longer than it was
        journal.append(Record("train", "rig", number, 1e9, 0.5, stimuli, stimuli))
    journal.close()
    (tmp_path / "index.sqlite").write_bytes(index)
    journal = DiskJournal(tmp_path)
    assert journal._index.end_of_last()[2] == chunk_path(tmp_path, 0).stat().st_size
    journal.close()


# -- a disk that fails at any moment -----------------------------------------------------------------------


class FailingDisk:
    """From some moment on one call fails, or a few; a write may come half-way."""

    def __init__(self, monkeypatch, rng):
        self.left = int(rng.integers(1, 60))
        self.fails = int(rng.choice([1, 1, 2, 5]))
        self.error = int(rng.choice([errno.ENOSPC, errno.EIO]))
        self.half = bool(rng.random() < 0.5)
        self.armed = False
        kinds = rng.choice(["writes", "syncs", "all", "ftruncate too"])
        names = {"writes": ["writev", "write"], "syncs": ["fdatasync", "fsync"]}.get(
            kinds, ["writev", "write", "fdatasync", "fsync"]
        )
        names += ["ftruncate"] if kinds == "ftruncate too" else []
        for name in names:
            monkeypatch.setattr(os, name, self.failing(getattr(os, name), name))

    def failing(self, really, name):
        def call(file, *arguments):
            if self.armed and os.readlink(f"/proc/self/fd/{file}").startswith(self.where):
                self.left -= 1
                if -self.fails < self.left <= 0:
                    if name == "writev" and self.half:
                        os.pwrite(file, bytes(arguments[0][0])[:30], 0)  # the file is opened for appending
                    raise OSError(self.error, os.strerror(self.error))
            return really(file, *arguments)

        return call


@pytest.mark.parametrize("seed", each_row(range(300), *range(8), daily=range(25)))
def test_no_acknowledged_row_is_lost_where_the_disk_fails_and_the_session_goes_on(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    disk = FailingDisk(monkeypatch, rng)
    disk.where = str(tmp_path)
    monkeypatch.setattr("hwloop.journal.disk.CHUNK_BYTES", 3000)
    journal = DiskJournal(tmp_path / "journal", sync_seconds=float(rng.choice([0.0, 0.001, 1.0])))
    acknowledged, refused = [], 0
    with hwloop.Session(Counting(), journal=journal) as session:
        disk.armed = True
        for _ in range(50):
            try:
                acknowledged.append(session.measure(rng.random((int(rng.integers(1, 4)), 2)), "repeat"))
            except JournalError:
                refused += 1
            if acknowledged:
                numbers = np.arange(journal.rows)
                assert journal.readable(numbers).all()
    try:
        journal.close()
    except JournalError:
        refused += 1
    monkeypatch.undo()
    assert_holds(tmp_path / "journal", acknowledged)
    reopened = DiskJournal(tmp_path / "journal")
    assert reopened.rows >= sum(map(len, acknowledged))
    reopened.append(record(reopened.rows))
    reopened.close()
    assert not ReadOnlyJournal(tmp_path / "journal").damage


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full_loses_nothing_that_was_acknowledged(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=400k tmpfs {disk} 2>/dev/null"):
        pytest.skip("a disk cannot be mounted here")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(100_000))
        journal, acknowledged, refused = DiskJournal(disk / "journal"), [], 0
        rng = np.random.default_rng(0)
        with hwloop.Session(Counting(), journal=journal) as session:
            for _ in range(900):
                try:
                    acknowledged.append(session.measure(rng.random((2, 2)), "repeat"))
                except JournalError:
                    refused += 1
                    if refused == 20:
                        filler.unlink()
        journal.close()
        assert refused >= 20
        assert len(acknowledged) > 500
        assert_holds(disk / "journal", acknowledged)
    finally:
        os.system(f"umount {disk}")


def assert_holds(folder: Path, answers):
    """Every answer that somebody was given stands in the journal, in the order in which it was given."""
    journal = ReadOnlyJournal(folder)
    numbers = np.arange(journal.rows)
    assert journal.readable(numbers).all()
    recorded = journal.read_rows(numbers)[1] if len(numbers) else np.zeros((0, 2))
    expected = np.concatenate(answers) if answers else np.zeros((0, 2))
    held = {row.tobytes() for row in recorded}
    assert all(row.tobytes() in held for row in expected)
    journal.close()
