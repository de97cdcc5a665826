"""Verification: what is whole is called whole, and damage is named with its place."""

import hashlib
import json
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from hwloop.errors import ConfigError
from hwloop.journal import DiskJournal, Record
from hwloop.journal.chunk import ChunkFile, Located
from hwloop.journal.lock import WriterLock
from hwloop.runs import summary_of, verify_run
from hwloop.runs.checkpoints import checksum

CHUNK = "journal/seed-0-device-0/000000.rows"
INDEX = "journal/seed-0-device-0/index.sqlite"


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "night")


def contents(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def records(run):
    with ChunkFile((run / CHUNK).parent, 0) as file:
        return [found for found in file.scan() if isinstance(found, Located)]


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def append_rows(journal, rows):
    values = np.full((rows, 2), 0.5)
    journal.append(Record("train", "0123456789abcdef", journal.rows, 1.7e9, 0.1, values, values[:, [0, 0, 1]]))


def test_a_whole_run_says_what_was_measured_when_and_by_which_device(run):
    found = verify_run(run)
    assert found.is_whole
    assert not found.notices
    (journal,) = found.journals
    assert (journal.seed, journal.device_number, journal.rows, journal.records) == (0, 0, 20, 5)
    assert journal.notes == {"device": 1}
    train, evaluate = journal.measured
    assert (train.identity, train.purpose, train.rows, train.calls) == ("rig no. 7", "train", 10, 2)
    assert (train.first_seconds, train.last_seconds) == (1_700_000_000.0, 1_700_000_002.0)
    assert train.device_seconds == pytest.approx(1.0)
    assert evaluate.purpose == "evaluate"
    assert journal.index.is_consistent
    assert [(c.name, c.tensors) for c in found.checkpoints] == [("final.safetensors", 2)]


def test_nothing_is_changed(run):
    before = contents(run)
    verify_run(run)
    assert contents(run) == before


def test_what_a_killed_writer_left_is_read_and_left_as_it_is(run, tmp_path):
    """A copy taken while the journal is open has the write-ahead log that a killed process leaves."""
    journal = DiskJournal((run / CHUNK).parent)
    append_rows(journal, 3)
    killed = tmp_path / "killed"
    shutil.copytree(run, killed)
    journal.close()
    assert (killed / (INDEX + "-wal")).stat().st_size
    before = contents(killed)
    found = verify_run(killed)
    assert contents(killed) == before
    assert found.is_whole
    assert found.journals[0].rows == 23
    assert found.journals[0].index.behind == 1
    assert "1 records behind" in found.notices[0]


def test_a_flipped_byte_is_named_with_its_record_and_the_rows_that_are_lost(run):
    second = records(run)[2]
    flip(run / CHUNK, second.offset + second.length - 1)
    found = verify_run(run)
    (damage,) = found.journals[0].damage
    assert (damage.chunk, damage.offset, damage.bytes) == ("000000.rows", second.offset, second.length)
    assert "checksum" in damage.reason
    assert damage.was_whole
    assert found.journals[0].missing_rows == [(5, 9)]
    assert found.journals[0].rows == 15
    assert any(f"byte {second.offset}" in problem for problem in found.problems)
    assert any("rows 5 to 9 are missing" in problem for problem in found.problems)


@pytest.mark.parametrize("cut", [1, 10, 40, 100])
def test_a_torn_tail_that_the_index_knew_is_a_loss(run, cut):
    last = records(run)[-1]
    with (run / CHUNK).open("r+b") as file:
        file.truncate(last.offset + last.length - cut)
    (damage,) = verify_run(run).journals[0].damage
    assert damage.is_torn
    assert damage.was_whole
    assert damage.bytes == last.length - cut


def test_a_torn_tail_that_was_never_recorded_is_told_from_a_loss(run):
    with (run / CHUNK).open("ab") as file:
        file.write((run / CHUNK).read_bytes()[:60])
    found = verify_run(run)
    assert found.journals[0].damage[0].is_torn
    assert not found.journals[0].damage[0].was_whole
    assert "resume" in found.problems[0]
    assert found.journals[0].rows == 20


def test_a_record_in_flight_is_no_damage_while_the_journal_is_written(run):
    owner = WriterLock((run / CHUNK).parent)
    with (run / CHUNK).open("ab") as file:
        file.write((run / CHUNK).read_bytes()[:60])
    found = verify_run(run)
    owner.release()
    assert found.is_whole
    assert found.journals[0].is_being_written
    assert found.journals[0].bytes_in_flight == 60
    assert not verify_run(run).is_whole


def test_a_run_is_whole_at_every_moment_of_its_writing(run):
    journal = DiskJournal((run / CHUNK).parent)
    stop = threading.Event()

    def write():
        while not stop.wait(0.001):  # a pause, or the journal outgrows the checks
            append_rows(journal, 5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        rows = []
        for _ in range(100):
            found = verify_run(run)
            assert found.is_whole, found.problems
            rows.append(found.journals[0].rows)
    finally:
        stop.set()
        writer.join()
        journal.close()
    assert rows == sorted(rows)
    assert verify_run(run).is_whole


def test_records_cut_off_cleanly_are_missed_by_the_index(run):
    last = records(run)[-1]
    with (run / CHUNK).open("r+b") as file:
        file.truncate(last.offset)
    found = verify_run(run)
    index = found.journals[0].index
    assert (index.extra, index.extra_rows, index.first_extra) == (1, 5, (0, last.offset))
    assert not found.is_whole


def test_a_gap_in_the_index_is_found(run):
    with sqlite3.connect(run / INDEX) as db:
        db.execute("DELETE FROM records WHERE number = 2")
    db.close()
    index = verify_run(run).journals[0].index
    assert (index.missing, index.extra, index.behind) == (1, 0, 0)


def test_an_index_that_is_a_view_is_refused_and_not_run(run):
    (run / INDEX).unlink()
    endless = "WITH RECURSIVE n(chunk) AS (SELECT 1 UNION ALL SELECT chunk + 1 FROM n) SELECT chunk FROM n"
    with sqlite3.connect(run / INDEX) as db:
        db.execute(f"CREATE VIEW records AS {endless}")
    db.close()
    assert "no table of records" in verify_run(run).journals[0].index.problem


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.toml", b"name = ", "no TOML"),
        ("environment.json", b"[]", "no JSON object"),
        ("environment.json", b"[" * 100_000, "no JSON"),
        ("state.json", b"\xff", "no text"),
        ("state.json", b'{"state": ["running"]}', "usable entry"),
        ("metrics.jsonl", b'{"time": 1}\n{"time"', "line 2 is no JSON"),
        ("checkpoints/final.safetensors", b"\xff" * 100, "no safetensors"),
        ("checkpoints/final.json", b"{", "final.json is no JSON"),
        (INDEX, b"SQLite format 3\0" + b"\xff" * 4096, "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(run, name, content, reason):
    (run / name).write_bytes(content)
    (problem,) = [problem for problem in verify_run(run).problems if reason in problem]
    assert Path(name).name in problem


@pytest.mark.parametrize("name", ["run.toml", "environment.json", "state.json", "metrics.jsonl", INDEX])
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    assert [
        problem for problem in verify_run(run).problems if "is missing" in problem and Path(name).name in problem
    ]


def test_a_missing_chunk_is_named_with_its_rows(run, monkeypatch):
    monkeypatch.setattr("hwloop.journal.disk.CHUNK_BYTES", 500)
    journal = DiskJournal((run / CHUNK).parent)
    for _ in range(4):
        append_rows(journal, 5)
    journal.close()
    (run / CHUNK).with_name("000001.rows").unlink()
    found = verify_run(run)
    assert any("000001.rows: the chunk's file is missing" in problem for problem in found.problems)
    assert found.journals[0].missing_rows


@pytest.mark.parametrize("which", ["final.safetensors", "final.json"])
def test_a_flipped_bit_of_a_sealed_checkpoint_is_found(run, reseal, which):
    path = run / "checkpoints" / "final.safetensors"
    path.with_suffix(".json").write_text('{"format": 2, "seed": 1}')
    reseal(path)
    assert not verify_run(run).problems
    damaged = run / "checkpoints" / which
    content = bytearray(damaged.read_bytes())
    content[content.index(b"1") if which == "final.json" else -1] ^= 2
    damaged.write_bytes(bytes(content))
    [problem] = verify_run(run).problems
    assert problem.startswith("checkpoints/final.safetensors final.json")


@pytest.mark.parametrize("which", ["seed-0.json", "seed-0.safetensors"])
def test_damaged_finished_work_is_named(run, which):
    arrays = b"arrays"
    described = {"scores": {"linear": 0.5}, "arrays_sha256": hashlib.sha256(arrays).hexdigest()}
    folder = run / "finished"
    folder.mkdir(exist_ok=True)
    (folder / "seed-0.json").write_text(json.dumps(described | {"checksum": checksum(described)}))
    (folder / "seed-0.safetensors").write_bytes(arrays)
    assert not verify_run(run).problems
    damaged = folder / which
    damaged.write_bytes(damaged.read_bytes().replace(b"0.5", b"0.6").replace(b"arrays", b"arrayz"))
    [problem] = verify_run(run).problems
    assert problem.startswith(f"finished/{'seed-0.json' if which.endswith('json') else which} ")


def test_a_checkpoint_without_its_json_is_called_unfinished(run):
    (run / "checkpoints" / "final.json").unlink()
    found = verify_run(run)
    assert found.is_whole
    assert "not finished" in found.notices[0]


def test_what_is_no_run_folder_is_the_users_mistake(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="hwloop runs"):
            verify_run(folder)


@given(data=st.data())
@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_in_any_file_crash_it(make_run, tmp_path, data):
    whole, mutated = tmp_path / "whole", tmp_path / "mutated"
    if not whole.exists():
        make_run(whole)
    shutil.rmtree(mutated, ignore_errors=True)
    shutil.copytree(whole, mutated)
    files = sorted(path for path in mutated.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    old = path.read_bytes()
    start = data.draw(st.integers(0, len(old)))
    end = data.draw(st.integers(start, len(old)))
    path.write_bytes(old[:start] + data.draw(st.binary(max_size=200)) + old[end:])
    found = verify_run(mutated)
    assert summary_of(mutated).name == "mutated"
    if path.suffix == ".rows" and path.read_bytes() != old:
        assert not found.is_whole
