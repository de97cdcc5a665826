"""What a function of the user's may return as a dataset, and one clear line for everything else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hwloop
from hwloop.errors import ConfigError, DatasetError
from hwloop.experiment.config import load_experiment
from hwloop.experiment.parts import DatasetPart
from hwloop.experiments.own_data import from_object

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 3
NAMES = ["a", "b", "c"]
CLASSES = ["ant", "bee", "cat"]


def frame():
    return pd.DataFrame(X, columns=NAMES).assign(kind=[CLASSES[y] for y in Y])


def of_polars():
    polars = pytest.importorskip("polars")
    return polars.DataFrame({name: X[:, n] for n, name in enumerate(NAMES)} | {"kind": [CLASSES[y] for y in Y]})


def bunch():
    from sklearn.utils import Bunch

    return Bunch(data=X, target=Y, feature_names=NAMES, target_names=np.array(CLASSES[::-1]))


def of_torch():
    import torch

    return torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


def of_a_torch_class():
    import torch

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, number):
            return torch.from_numpy(X[number].reshape(3, 1)), int(Y[number])

    return Samples()


def of_a_torch_stream():
    import torch

    class Samples(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    return Samples()


@pytest.mark.parametrize(
    ("make", "names", "classes"),
    [
        (lambda: (X, Y), ("x1", "x2", "x3"), ("0", "1", "2")),
        (lambda: [X.tolist(), [CLASSES[y] for y in Y]], ("x1", "x2", "x3"), CLASSES),
        (lambda: (X.reshape(12, 3, 1), Y[:, None]), ("x1", "x2", "x3"), ("0", "1", "2")),
        (lambda: (frame()[NAMES], frame()["kind"]), NAMES, CLASSES),
        (lambda: (frame()[NAMES], frame()[["kind"]]), NAMES, CLASSES),
        (frame, NAMES, CLASSES),
        (of_polars, NAMES, CLASSES),
        (bunch, NAMES, CLASSES[::-1]),
        (of_torch, ("x1", "x2", "x3"), ("0", "1", "2")),
        (of_a_torch_class, ("x1", "x2", "x3"), ("0", "1", "2")),
        (of_a_torch_stream, ("x1", "x2", "x3"), ("0", "1", "2")),
    ],
)
def test_what_is_returned_becomes_the_same_dataset(make, names, classes):
    dataset = from_object(make(), name="mine:data")
    np.testing.assert_array_equal(dataset.inputs, X)
    np.testing.assert_array_equal(dataset.labels, Y)
    assert dataset.preparation.names == tuple(names)
    assert dataset.class_names == tuple(classes)
    assert dataset.task.kind == "classification"
    assert dataset.notes[0] == "mine:data: 12 rows of 3 columns"


def test_a_dataset_is_taken_as_it_is_and_values_are_a_regression():
    dataset = hwloop.Dataset("mine", X, Y, tuple(CLASSES))
    assert from_object(dataset, name="mine:data") is dataset
    found = from_object((X, X @ [[1, 0], [2, 1], [0, 3]]), name="mine:data")
    assert (found.task.kind, found.labels.shape) == ("regression", (12, 2))
    one = from_object((X, X[:, 0]), name="mine:data")
    assert (one.task.kind, one.labels.shape) == ("regression", (12,))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "mine:data gave a NoneType; a dataset is a hwloop.Dataset, (X, y)"),
        (X, "gave a ndarray"),
        ((X, Y, Y), "gave a tuple of 3"),
        ({"X": X}, "gave a dict"),
        ((X, Y[:5]), "X has 12 rows, y 5"),
        ((X[0], Y), r"X has shape (3,); give it a row a sample"),
        ((X, np.zeros((12, 2, 2))), "y has shape (12, 2, 2)"),
        ((X, Y + 1j), "y is of type complex128"),
        ((X + 1j, Y), "is of type complex128"),
        (([[1, 2], [3]], [0, 1]), "X is no array"),
        ((np.full((12, 3), np.inf), Y), "row 1: column 'x1' is inf"),
        ((X[:0], Y[:0]), "no rows"),
        ((np.zeros((12, 0)), Y), "no column beside the target"),
        (pd.DataFrame(X, columns=["a", "a", "b"]), "two columns are called 'a'"),
        (pd.DataFrame({"a": X[:, 0], "when": pd.date_range("2024", periods=12), "y": Y}), "'when' holds dates"),
        (pd.DataFrame({"a": X[:, 0], "d": pd.to_timedelta(Y, "s"), "y": Y}), "'d' is of type timedelta64"),
    ],
)
def test_anything_else_is_one_clear_line(found, message):
    with pytest.raises(DatasetError) as error:
        from_object(found, name="mine:data")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


MODULE = """
import numpy as np
import pandas as pd

def pair(rows=12):
    return np.arange(3.0 * rows).reshape(rows, 3) % 7, np.arange(rows) % 2

def table():
    columns = {"a": np.arange(12) % 5, "who": list("aabbccddeeff"), "y": np.arange(12) % 2, "b": range(12)}
    return pd.DataFrame(columns)

def broken():
    return {}["nothing"]

def nothing():
    return 7

VALUE = 0.0

def another_time():
    return np.arange(36.0).reshape(12, 3) % 7 + VALUE, np.arange(12) % 2
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_tables.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_function_is_named_in_an_experiment_with_what_is_said_of_its_table(module):
    part = DatasetPart.model_validate(
        {"name": "my_tables:table", "target": "y", "drop": ["b"], "group": "who", "task": "classification"}
    )
    dataset = part.build()
    assert (dataset.preparation.names, dataset.name) == (("a",), "my_tables.table")
    assert dataset.groups.tolist() == list("aabbccddeeff")
    assert part.as_read(dataset).model_dump(exclude_none=True)["settings"] == {}
    sized = DatasetPart.model_validate({"name": "my_tables:pair", "settings": {"rows": 20}}).build()
    assert sized.inputs.shape == (20, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_tables:nothing", "my_tables:nothing gave a int"),
        ("my_tables:broken", r"my_tables:broken.*KeyError.*nothing"),
        ("my_tables:none", "cannot be imported"),
        ("my_table:pair", "cannot be imported"),
    ],
)
def test_a_function_that_gives_none_is_one_clear_line(module, name, message):
    part = DatasetPart.model_validate(name)
    with pytest.raises((DatasetError, ConfigError), match=message):
        part.build()


def test_an_experiment_may_name_a_function_bare(module):
    (module / "mine.toml").write_text('device = "relu-layer"\ntrainer = "local"\ndataset = "my_tables:pair"\n')
    assert load_experiment(module / "mine.toml").dataset.title == "my_tables:pair"


def test_a_function_that_gives_other_data_later_is_refused_and_an_older_run_goes_on(module, monkeypatch):
    from hwloop.experiment.provenance import made_with

    head = 'device = "relu-layer"\ntrainer = "local"\n'
    (module / "mine.toml").write_text(f'{head}dataset = "my_tables:another_time"\n')
    asked = load_experiment(module / "mine.toml")
    read = asked.model_copy(update={"dataset": asked.dataset.as_read(asked.dataset.build())})
    older = read.model_copy(update={"dataset": read.dataset.model_copy(update={"data_sha256": None})})
    assert made_with(read) == made_with(older)  # what an older version has finished is not computed again
    digest = read.dataset.data_sha256
    (module / "run.toml").write_text(
        f'{head}[dataset]\nname = "my_tables:another_time"\ndata_sha256 = "{digest}"\n'
    )
    part = load_experiment(module / "run.toml").dataset
    assert part.as_read(part.build()).data_sha256 == digest
    monkeypatch.setattr("my_tables.VALUE", 1e-9)
    with pytest.raises(DatasetError, match="gives other data than when the run was begun"):
        part.as_read(part.build())
    other = load_experiment(module / "run.toml", ["dataset.drop=[]"]).dataset  # asked for
    assert other.as_read(other.build()).data_sha256 != digest
    with pytest.raises(ValueError, match="belongs to a dataset that is a function"):
        DatasetPart.model_validate({"name": "digits", "data_sha256": digest})
