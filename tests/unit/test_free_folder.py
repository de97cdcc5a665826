"""Where a run writes when nobody says so: a folder of its own, however many begin in the same second."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hwloop.errors import ConfigError
from hwloop.experiment.run_folder import free_folder, run_in_free_folder


def test_runs_that_begin_in_one_second_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20300101-000000")
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: free_folder("x", None), range(40)))
    assert len(set(folders)) == 40
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("begun", [True, False])
def test_a_folder_in_which_nothing_was_begun_is_removed(tmp_path, monkeypatch, begun):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for out in (None, "mine"):
        with suppress(ConfigError), run_in_free_folder("x", out) as folder:
            if begun:
                (folder / "state.json").write_text("{}")
            raise ConfigError("refused")
        assert folder.is_dir() == (begun or out is not None)


def test_a_place_where_no_folder_can_be_made_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("")
    with pytest.raises(ConfigError, match="runs is no folder"):
        free_folder("x", None)
