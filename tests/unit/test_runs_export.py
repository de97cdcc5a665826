"""Exported rows are the measured ones, with units, as other tools read them; warnings are errors here."""

import json
import sys

import numpy as np
import pytest

from hwloop.errors import ConfigError
from hwloop.journal import DiskJournal, Note, Record
from hwloop.runs import export_run

xarray = pytest.importorskip("xarray")
parquet = pytest.importorskip("pyarrow.parquet")

THIRD = 1 / 3


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "night", seeds=2)


def opened(path, group="seed-0-device-0"):
    with xarray.open_dataset(path, engine="h5netcdf", group=group) as found:
        return found.load()


@pytest.mark.parametrize("to", ["hdf5", "netcdf"])
def test_xarray_opens_every_row_with_units(run, to):
    found = opened(export_run(run, to).path, "seed-1-device-0")
    assert dict(found.sizes) == {"row": 20, "input": 2, "output": 3}
    assert np.array_equal(found.stimulus, np.repeat(1000 + np.arange(20)[:, None] + THIRD, 2, axis=1))
    assert np.array_equal(found.response, np.repeat(1000 + np.arange(20)[:, None] + THIRD, 3, axis=1))
    assert (found.stimulus.units, found.response.units) == ("V", "Pa")
    assert np.array_equal(found.row, np.arange(20))
    assert list(found.purpose.values[[0, 5]]) == ["train", "evaluate"]
    assert found.step.values[19] == "stage 3"
    assert found.time.values[5] == np.datetime64("2023-11-14T22:13:21")
    assert float(found.device_seconds.sum()) == pytest.approx(2.0)
    assert np.array_equal(found.input_high, [1.0, 2.0])
    assert (found.attrs["seed"], found.attrs["identity"]) == (1, "rig no. 7")
    assert json.loads(found.attrs["spec"])["output_unit"] == "Pa"


def test_the_file_says_what_run_it_was(run):
    with xarray.open_datatree(export_run(run, "hdf5").path, engine="h5netcdf") as tree:
        assert sorted(tree.children) == ["seed-0-device-0", "seed-1-device-0"]
        assert tree.attrs["title"] == "by-hand"
        assert tree.attrs["run_toml"] == 'name = "by-hand"\n'
        assert json.loads(tree.attrs["environment_json"])["hwloop"] == "0.1.0"
        assert tree.attrs["source"].startswith("hwloop ")


def test_parquet_holds_the_same_rows(run):
    table = parquet.read_table(export_run(run, "parquet").path)
    assert table.num_rows == 40
    last = table.slice(39).to_pylist()[0]
    assert (last["seed"], last["row"], last["purpose"], last["device"]) == (1, 19, "evaluate", "rig no. 7")
    assert last["stimulus"] == [1019 + THIRD] * 2
    assert last["response"] == [1019 + THIRD] * 3
    assert last["time"].timestamp() == 1_700_000_003.0
    assert table.schema.field("stimulus").metadata == {b"units": b"V"}
    assert [device["rows"] for device in json.loads(table.schema.metadata[b"devices"])] == [20, 20]


def test_float32_is_taken_only_where_it_loses_nothing(run):
    journal = DiskJournal(run / "journal" / "seed-2-device-0")
    journal.append(Record("train", "other", 0, 1.7e9, 0.1, np.full((4, 2), 0.5), np.full((4, 3), 0.25)))
    journal.close()
    path = export_run(run, "hdf5").path
    assert opened(path, "seed-0-device-0").response.dtype == np.float64
    assert opened(path, "seed-2-device-0").response.dtype == np.float32


def test_a_device_that_changed_within_a_run_gets_a_group_of_its_own(run):
    journal = DiskJournal(run / "journal" / "seed-0-device-0")
    spec = {"n_inputs": 2, "n_outputs": 4, "input_unit": "V", "output_unit": "counts since start"}
    journal.note(Note("device", {"settings": "new", "identity": "rig no. 8", "spec": spec}))
    journal.append(Record("train", "new", 20, 1.7e9, 0.1, np.zeros((2, 2)), np.ones((2, 4))))
    journal.close()
    path = export_run(run, "hdf5").path
    second = opened(path, "seed-0-device-0-part-2")
    assert second.sizes["row"] == 2
    assert second.attrs["identity"] == "rig no. 8"
    assert second.response.attrs["units_in_words"] == "counts since start"
    assert opened(path).sizes["row"] == 20
    parquet.read_table(export_run(run, "parquet").path).validate(full=True)


def test_texts_that_hdf5_cannot_hold_and_times_that_no_calendar_has(run):
    journal = DiskJournal(run / "journal" / "seed-2-device-0")
    journal.note(Note("device", {"settings": "odd", "identity": "a\0b\ud800", "spec": {"input_unit": "µ\0"}}))
    journal.append(Record("tra\0in", "odd", 0, 9e14, 0.1, np.zeros((2, 2)), np.ones((2, 3))))
    journal.close()
    found = opened(export_run(run, "hdf5").path, "seed-2-device-0")
    assert found.attrs["identity"] == "a\\0b\\ud800"
    assert found.purpose.values[0] == "tra\\0in"
    assert np.isnat(found.time.values).all()
    assert parquet.read_table(export_run(run, "parquet").path).column("time").null_count == 2


def test_blocks_join_without_a_seam(make_run, tmp_path, monkeypatch):
    run = make_run(tmp_path / "long", calls=23, rows=3)
    monkeypatch.setattr("hwloop.runs.recorded_rows.BLOCK_ROWS", 10)
    found = opened(export_run(run, "hdf5").path)
    assert np.array_equal(found.row, np.arange(69))
    assert np.array_equal(found.response[:, 0], np.arange(69) + THIRD)
    assert np.array_equal(found.call, np.repeat(np.arange(23), 3))


def test_what_is_damaged_is_left_out_and_said(run):
    chunk = run / "journal" / "seed-0-device-0" / "000000.rows"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    done = export_run(run, "hdf5")
    assert done.rows < 40
    assert any("damaged" in warning for warning in done.warnings)
    found = opened(done.path)
    assert np.array_equal(found.response[:, 0], found.row + THIRD)
    assert found.sizes["row"] == done.rows - 20


def test_a_run_is_exported_while_it_is_written(run):
    journal = DiskJournal(run / "journal" / "seed-0-device-0")
    journal.append(Record("train", "0123456789abcdef", 20, 1.7e9, 0.1, np.zeros((2, 2)), np.ones((2, 3))))
    done = export_run(run, "hdf5")
    journal.close()
    assert done.rows == 42


def test_nothing_is_overwritten_without_force(run, tmp_path):
    target = tmp_path / "here.h5"
    target.write_text("mine")
    with pytest.raises(ConfigError, match="--force"):
        export_run(run, "hdf5", target)
    assert target.read_text() == "mine"
    assert export_run(run, "hdf5", target, force=True).path == target
    assert opened(target).sizes["row"] == 20


def test_a_failure_leaves_what_was_there_and_no_half_file(run, tmp_path, monkeypatch):
    def full_disk(group, block):
        raise OSError("No space left on device")

    import hwloop.runs.netcdf_file

    monkeypatch.setattr(hwloop.runs.netcdf_file, "_write_block", full_disk)
    (tmp_path / "here.h5").write_text("mine")
    with pytest.raises(ConfigError, match="No space left"):
        export_run(run, "hdf5", tmp_path / "here.h5", force=True)
    assert (tmp_path / "here.h5").read_text() == "mine"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(("to", "package"), [("hdf5", "h5netcdf"), ("parquet", "pyarrow")])
def test_a_missing_package_is_one_error_with_the_command(run, monkeypatch, to, package):
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("netcdf_file", "parquet_file"):
        monkeypatch.delitem(sys.modules, f"hwloop.runs.{module}", raising=False)
    with pytest.raises(ConfigError, match=rf"{package}.*pip install 'hwloop\[export\]'"):
        export_run(run, to)


def test_mistakes_are_the_users(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "state.json").write_text("{}")
    for arguments, message in [
        ((run, "csv"), "hdf5, netcdf, parquet"),
        ((run, "hdf5", tmp_path), "is a folder"),
        ((run, "hdf5", tmp_path / "nowhere" / "x.h5"), "is no folder"),
        ((tmp_path / "empty", "hdf5"), "no rows"),
        ((tmp_path, "hdf5"), "holds no run"),
    ]:
        with pytest.raises(ConfigError, match=message):
            export_run(*arguments)


def test_a_relative_folder_gives_a_file_beside_it(run, monkeypatch):
    monkeypatch.chdir(run)
    from pathlib import Path

    assert export_run(Path("."), "hdf5").path == run.with_name("night.h5")
    monkeypatch.chdir(run.parent)
    assert export_run(Path("night"), "netcdf").path == Path("night.nc")
