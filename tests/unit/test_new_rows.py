"""Rows to predict are read as training data are, found by their columns' names, and prepared as in training."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from hwloop.errors import CheckpointError, DatasetError
from hwloop.experiment.partition import partition
from hwloop.experiments.dataset import split
from hwloop.experiments.own_data import from_file, from_object
from hwloop.experiments.own_data.new_rows import preparation_of, read_new_rows
from hwloop.experiments.own_data.prepared import Preparation

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({
    "a": RNG.normal(size=40).round(3),
    "same": 7,
    "colour": np.array(["red", "blue"])[np.arange(40) // 2 % 2],
    "grade": np.arange(40) % 5 + 1,
    "kind": np.arange(40) % 2,
})  # fmt: skip
FRAME.loc[3, "a"] = np.nan


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a checkpoint keeps of a table with text, gaps and a constant column, and its test rows."""
    path = tmp_path_factory.mktemp("t") / "t.csv"
    FRAME.to_csv(path, index=False)
    data = partition(from_file(str(path)), 0, split, 0.25, 0.0)
    rows = split(from_file(str(path)), 0, 0.25)
    kept = json.loads(json.dumps(data.preparation.as_dict()))
    return preparation_of(kept, data.n_features, None), data.test.inputs, FRAME.iloc[rows.test]


def read(folder, frame, preparation, name="new.csv", **options):
    path = folder / name
    writer = {".parquet": frame.to_parquet}.get(path.suffix) or frame.to_csv
    writer(path, index=False, **options)
    return read_new_rows(path, preparation)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda frame: frame, {}, "columns that the network does not use: 'same', 'kind'"),
        (lambda frame: frame[["grade", "colour", "a"]], {}, ""),
        (lambda frame: frame[["grade", "colour", "a"]], {"sep": ";"}, "separated by semicolons"),
        (lambda frame: frame, {"name": "new.parquet"}, "'same', 'kind'"),
        (lambda frame: frame, {"header": False}, "taken in the order of the training table"),
        (lambda frame: frame.drop(columns="kind"), {"header": False}, "taken in the order"),
        (lambda frame: frame[["a", "colour", "grade"]], {"header": False}, "taken in the order"),
    ],
)
def test_the_same_rows_become_the_same_features_whatever_the_file(tmp_path, trained, change, options, said):
    preparation, features, rows = trained
    found = read(tmp_path, change(rows), preparation, **options)
    np.testing.assert_array_equal(found.inputs, features)
    assert said in " | ".join(found.notes)


def test_gaps_and_unknown_categories_are_said(tmp_path, trained):
    preparation, _, _ = trained
    frame = pd.DataFrame({"a": [None, 1.0], "colour": ["green", None], "grade": [1, None]})
    found = read(tmp_path, frame, preparation)
    median = preparation.columns[0].fill
    assert found.inputs[0].tolist() == [median, 0, 0, 1]
    assert found.inputs[1, 1:3].sum() == 1
    said = " | ".join(found.notes)
    assert f"1 missing values of 'a' are taken for {median:g}, as in training" in said
    assert "1 missing values of 'colour' are taken for '" in said
    assert "1 values of 'colour' are none of the training rows' ('green'), so they count as no category" in said


def test_categories_that_look_like_numbers_stay_what_they_were(tmp_path):
    frame = pd.DataFrame({"a": RNG.normal(size=30), "floor": ["1", "2", "E"] * 10, "kind": [0, 1] * 15})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = partition(from_file(str(tmp_path / "t.csv")), 0, split, 0.2, 0.0)
    found = read(tmp_path, pd.DataFrame({"a": [1.0, 2.0, 3.0], "floor": [1, None, 2]}), data.preparation)
    assert found.inputs[0, 1:].tolist() == [1, 0, 0]
    assert found.inputs[2, 1:].tolist() == [0, 1, 0]
    codes = pd.DataFrame({"a": RNG.normal(size=30), "grade": ["01", "02", "E"] * 10, "kind": [0, 1] * 15})
    codes.to_csv(tmp_path / "t.csv", index=False)
    data = partition(from_file(str(tmp_path / "t.csv")), 0, split, 0.2, 0.0)
    found = read(tmp_path, pd.DataFrame({"a": [1.0, 2.0], "grade": ["01", "02"]}), data.preparation)
    assert found.inputs[:, 1:].tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            pd.DataFrame({"a": [1], "color": ["red"], "grade": [1]}),
            "no column 'colour', which .* did you mean 'color'",
        ),
        (pd.DataFrame({"a": ["x"], "colour": ["red"], "grade": [1]}), "line 2, column 'a': 'x' is no number"),
        (
            pd.DataFrame({"a": [1, np.inf], "colour": "red", "grade": 1}),
            "line 3, column 'a': .* beyond all numbers",
        ),
        (
            pd.DataFrame({"a": ["1,5"], "colour": ["red"], "grade": [1]}),
            "'1,5' is no number; write a decimal point",
        ),
        (pd.DataFrame({"a": ["1_000"], "colour": ["red"], "grade": [1]}), "'1_000' is no number"),
        (pd.DataFrame({"a": [], "colour": [], "grade": []}), "holds no rows"),
    ],
)
def test_what_cannot_be_predicted_is_one_clear_line(tmp_path, trained, frame, message):
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path, frame, trained[0])
    assert "\n" not in str(error.value)


def test_a_table_without_names_must_have_as_many_columns(tmp_path, trained):
    with pytest.raises(DatasetError, match=r"has 2 columns, where the network takes 3 or 4 or 5"):
        read(tmp_path, pd.DataFrame([[1, 2]]), trained[0], header=False)


def test_arrays_and_images_are_read_without_their_targets(tmp_path):
    inputs, labels = RNG.random((20, 2, 3)), np.arange(20) % 2
    dataset = from_object((inputs, labels), name="mine:data")
    preparation = partition(dataset, 0, split, 0.2, 0.0).preparation
    np.save(tmp_path / "new.npy", inputs[:4])
    np.savez(tmp_path / "new.npz", X=inputs[:4])
    for name in ("new.npy", "new.npz"):
        np.testing.assert_array_equal(read_new_rows(tmp_path / name, preparation).inputs, inputs[:4].reshape(4, 6))
    from PIL import Image

    for number in range(2):
        Image.fromarray(np.full((2, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    assert read_new_rows(tmp_path, preparation).inputs.tolist() == [[0] * 6, [1] * 6]


def test_as_many_numbers_of_another_shape_or_depth_are_refused(tmp_path):
    from PIL import Image

    for name in ("a", "b"):
        for place, size, kind in (("t", (2, 3), "u1"), ("turned", (3, 2), "u1"), ("deep", (2, 3), "u2")):
            (tmp_path / place / name).mkdir(parents=True)
            for number in range(3):
                image = Image.fromarray(RNG.integers(0, 99, size).astype(kind))
                image.save(tmp_path / place / name / f"{number}.png")
    data = partition(from_file(str(tmp_path / "t")), 0, split, 0.3, 0.0)
    kept = preparation_of(json.loads(json.dumps(data.preparation.as_dict())), 6, None)
    read_new_rows(tmp_path / "t", kept)
    with pytest.raises(DatasetError, match=r"turned has shape 3 x 2, one that the network was trained on 2 x 3"):
        read_new_rows(tmp_path / "turned", kept)
    with pytest.raises(DatasetError, match=r"deep has values of 16 bits, .* 8 bits"):
        read_new_rows(tmp_path / "deep", kept)
    np.savez(tmp_path / "t.npz", X=RNG.random((20, 2, 3)), y=np.arange(20) % 2)
    arrays = partition(from_file(str(tmp_path / "t.npz")), 0, split, 0.3, 0.0).preparation
    for shape in ((4, 6), (4, 2, 3), (4, 1, 2, 3)):
        np.savez(tmp_path / "new.npz", X=np.zeros(shape))
        assert read_new_rows(tmp_path / "new.npz", arrays).inputs.shape == (4, 6)
    np.savez(tmp_path / "new.npz", X=np.zeros((4, 3, 2)))
    with pytest.raises(DatasetError, match=r"new.npz has shape 3 x 2"):
        read_new_rows(tmp_path / "new.npz", arrays)


def test_a_network_of_features_as_they_are_takes_them_by_name_or_place(tmp_path):
    bare, named = preparation_of(None, 3, None), preparation_of(None, 3, ["a", "b", "c"])
    frame = pd.DataFrame({"c": [3], "b": [2], "a": [1]})
    assert read(tmp_path, frame, named).inputs.tolist() == [[1, 2, 3]]
    assert read(tmp_path, frame, bare).inputs.tolist() == [[3, 2, 1]]
    with pytest.raises(DatasetError, match="the value is missing"):
        read(tmp_path, pd.DataFrame({"a": [1, None], "b": 1, "c": 1}), named)


@pytest.mark.parametrize(("horizon", "used"), [(1, ["u", "v"]), (0, ["v"])])
def test_columns_of_a_series_are_found_by_their_names(tmp_path, horizon, used):
    frame = pd.DataFrame(RNG.normal(size=(60, 3)), columns=["t", "u", "v"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    settings = {"horizon": horizon, "steps": 10, "washout": 2}
    dataset = from_file(str(tmp_path / "t.csv"), task="sequence", drop=["t"], target="u", settings=settings)
    data = partition(dataset, 0, split, 0.25, 0.0)
    preparation = preparation_of(json.loads(json.dumps(data.preparation.as_dict())), 2, None)
    for new in (frame, frame[["v", "t", "u"]], frame[["v", "u"]]):
        found = read(tmp_path, new, preparation)
        np.testing.assert_array_equal(found.inputs, frame[used])
        assert "in the order of the training table" not in " | ".join(found.notes)
    np.testing.assert_array_equal(read(tmp_path, frame, preparation, header=False).inputs, frame[used])
    np.testing.assert_array_equal(
        data.train.inputs, frame[used].to_numpy()[: len(data.train) * 10].reshape(-1, 10 * len(used))
    )
    with pytest.raises(DatasetError, match="no column 'v', which the network was trained on"):
        read(tmp_path, frame[["t", "u"]], preparation)
    with pytest.raises(DatasetError, match="line 2, column 'v': the value is missing"):
        read(tmp_path, frame.assign(v=np.nan), preparation)


@pytest.mark.parametrize(
    "change",
    [
        {"columns": [{"name": 3, "fill": 0.0}]},
        {"columns": [{"name": "a", "fill": float("inf")}]},
        {"columns": [{"name": "a", "fill": 2.0, "categories": ["x"]}]},
        {"columns": [{"name": "a", "fill": 0.0, "categories": ["x"], "unseen": ["y"]}]},
        {"columns": []},
        {"columns": [{"name": "z", "fill": 0.0}]},
        {"table": None},
        [],
        3,
    ],
)
def test_a_preparation_that_is_none_is_refused(change):
    whole = {"columns": [{"name": "a", "fill": 0.0}], "table": ["a", "y"], "targets": ["y"], "named": True}
    assert Preparation.from_dict(whole).as_dict() == whole
    with pytest.raises(CheckpointError, match="not understood"):
        Preparation.from_dict(whole | change if isinstance(change, dict) else change)
