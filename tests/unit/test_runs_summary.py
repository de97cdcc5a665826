"""The table of runs: states are read, not guessed, and no folder breaks it."""

import json
import os

import pytest

from hwloop.errors import ConfigError
from hwloop.journal import DiskJournal
from hwloop.journal.lock import WriterLock
from hwloop.runs import list_runs, summary_of


@pytest.mark.parametrize("state", ["finished", "interrupted", "failed"])
def test_a_state_is_shown_as_it_was_written(make_run, tmp_path, state):
    assert summary_of(make_run(tmp_path / "night", state)).state == state


def test_running_is_believed_only_while_somebody_writes(make_run, tmp_path):
    folder = make_run(tmp_path / "night", "running")
    assert summary_of(folder).state == "interrupted"
    owner = WriterLock(folder)
    assert summary_of(folder).state == "running"
    owner.release()
    assert summary_of(folder).state == "interrupted"


def test_a_line_tells_rows_accuracy_and_device(make_run, tmp_path):
    run = summary_of(make_run(tmp_path / "night", seeds=2))
    assert (run.name, run.experiment, run.device) == ("night", "by-hand", "rig")
    assert run.rows == 40
    assert run.test_accuracy == 0.9
    assert run.started_seconds == 1_700_000_000.0
    assert run.is_final


def test_an_unfinished_run_shows_the_mean_of_its_finished_seeds(make_run, tmp_path):
    run = summary_of(make_run(tmp_path / "night", "failed", seeds=2))
    assert run.test_accuracy == pytest.approx(0.8)
    assert run.seeds_finished == 2
    assert not run.is_final


def test_rows_that_the_index_does_not_know_yet_are_counted(make_run, tmp_path):
    folder = make_run(tmp_path / "night")
    for index in folder.glob("journal/*/index.sqlite*"):
        index.write_bytes(b"nothing of SQLite's")
    assert summary_of(folder).rows == 20


def test_broken_folders_are_listed_behind_the_others(make_run, tmp_path):
    make_run(tmp_path / "z-good")
    (make_run(tmp_path / "b-bad") / "state.json").write_text('{"state": "asleep", "since_seconds": 0}')
    (tmp_path / "figures").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("a file is no run")
    found = {run.name: run for run in list_runs(tmp_path)}
    assert list(found)[-1] == "figures"
    assert set(found) == {"z-good", "b-bad", "figures"}
    assert "asleep" in found["b-bad"].detail
    assert found["b-bad"].rows == 20
    assert [found[name].state for name in ("z-good", "b-bad", "figures")] == ["finished", "broken", "broken"]


def test_a_pipe_in_place_of_a_file_is_not_waited_for(make_run, tmp_path):
    folder = make_run(tmp_path / "night")
    for name in ("state.json", "metrics.jsonl", "journal/seed-0-device-0/000000.rows"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    assert summary_of(folder).state == "broken"


def test_a_runs_own_folder_is_a_table_of_one(make_run, tmp_path):
    assert [run.name for run in list_runs(make_run(tmp_path / "night"))] == ["night"]


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list_runs() == []
    with pytest.raises(ConfigError, match="holds your runs"):
        list_runs(tmp_path / "nowhere")


def test_looking_changes_nothing_while_the_journal_is_written(make_run, tmp_path):
    folder = make_run(tmp_path / "night", "running")
    journal = DiskJournal(folder / "journal" / "seed-0-device-0")
    before = sorted(path.name for path in folder.rglob("*"))
    assert summary_of(folder).rows == 20
    assert sorted(path.name for path in folder.rglob("*")) == before
    journal.close()


def test_a_line_is_plain_json(make_run, tmp_path):
    assert json.loads(json.dumps(summary_of(make_run(tmp_path / "night")).as_dict()))["state"] == "finished"
