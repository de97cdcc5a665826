"""Finding measured data: where it is looked for, and what is said when it is not there or not right."""

import hashlib

import numpy as np
import pytest

from hwloop.errors import DatasetError
from hwloop.experiments import data_files
from hwloop.experiments.data_files import DataFile, find

CONTENT = b"one,two\n1,2\n"
FILE = DataFile(
    name="lab/table.csv",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    contents="two numbers",
    source="https://example.org/table (MIT)",
)


def stored(folder, content=CONTENT):
    path = folder / FILE.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No variable set, and a current folder without data."""
    monkeypatch.delenv(data_files.VARIABLE, raising=False)
    here = tmp_path / "project" / "runs"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)


def test_the_variable_names_the_folder(tmp_path, monkeypatch):
    path = stored(tmp_path / "lab data")
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path / "lab data"))
    assert find(FILE) == path


def test_a_folder_that_is_passed_wins_over_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path / "wrong"))
    path = stored(tmp_path / "right")
    assert find(FILE, tmp_path / "right") == path


def test_data_beside_the_project_is_found_from_inside_of_it(tmp_path):
    path = stored(tmp_path / "shared" / "data")
    assert find(FILE) == path


def test_a_folder_that_was_named_is_the_only_one_looked_in(tmp_path, monkeypatch):
    stored(tmp_path / "shared" / "data")
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path / "mistyped"))
    with pytest.raises(DatasetError, match="mistyped"):
        find(FILE)


def test_absent_data_say_where_to_get_them():
    with pytest.raises(DatasetError) as caught:
        find(FILE)
    for part in (FILE.name, FILE.contents, FILE.source, "set HWLOOP_DATA=FOLDER"):
        assert part in str(caught.value)


@pytest.mark.parametrize("content", [b"", CONTENT + b"\n"])
def test_a_damaged_file_is_refused(tmp_path, content):
    stored(tmp_path / "data", content)
    with pytest.raises(DatasetError, match="SHA-256"):
        find(FILE, tmp_path / "data")


def test_a_file_that_changes_after_it_was_verified_is_read_anew(tmp_path):
    path = stored(tmp_path / "data")
    find(FILE, tmp_path / "data")
    path.write_bytes(CONTENT * 2)
    with pytest.raises(DatasetError, match="SHA-256"):
        find(FILE, tmp_path / "data")


def test_arrays_are_read_without_pickle(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, harmless=np.arange(3), harmful=np.array([{}], dtype=object))
    file = DataFile("arrays.npz", hashlib.sha256(path.read_bytes()).hexdigest(), "arrays", "here")
    with pytest.raises(ValueError, match="allow_pickle"):
        data_files.read_arrays(file, tmp_path)
