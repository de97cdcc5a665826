"""Datasets and their splits: disjoint, seeded, stratified, speakers apart."""

import builtins
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop.errors import ConfigError, DatasetError
from hwloop.experiments import datasets
from hwloop.experiments.datasets import Dataset, split
from hwloop.registry import DATASETS

seeds = st.integers(0, 2**32 - 1)


def dataset(labels, **more):
    labels = np.asarray(labels)
    inputs = np.arange(2.0 * len(labels)).reshape(-1, 2)
    names = tuple(f"class {k}" for k in range(labels.max() + 1))
    return Dataset("test", inputs, labels, names, **more)


def assert_partition(parts, rows):
    together = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(rows))


def test_digits_are_scikit_learns_as_they_are():
    digits = datasets.digits()
    assert digits.inputs.shape == (1797, 64)
    assert digits.inputs.dtype == np.float64
    assert (digits.inputs.min(), digits.inputs.max()) == (0, 16)
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.groups is None


def test_mnist1d_keeps_its_authors_split_and_the_global_generators():
    datasets._generated_mnist1d.cache_clear()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    mnist1d = datasets.mnist1d()
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    assert mnist1d.inputs.shape == (5000, 40)
    assert np.bincount(mnist1d.labels).tolist() == [500] * 10
    # The package standardises the whole set.
    assert mnist1d.inputs.mean() == pytest.approx(0, abs=1e-9)
    assert mnist1d.inputs.std() == pytest.approx(1)
    for seed in (0, 1):
        parts = split(mnist1d, seed, validation=0.1)
        np.testing.assert_array_equal(parts.test, np.arange(4000, 5000))
        assert len(parts.validation) == 500
        assert_partition(parts, 5000)


def test_mnist1d_without_its_package_says_what_to_install(monkeypatch):
    datasets._generated_mnist1d.cache_clear()
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(DatasetError, match="pip install mnist1d"):
        datasets.mnist1d()


def test_every_registered_dataset_has_a_line():
    lines = DATASETS.describe()
    assert {"digits", "mnist1d", "vowels"} <= set(lines)
    assert not any(line.startswith("unavailable") for line in lines.values())


@examples(30)
@given(seeds)
def test_digits_split_into_stratified_disjoint_parts(seed):
    digits = DIGITS
    parts = split(digits, seed, validation=0.1)
    assert_partition(parts, 1797)
    assert len(parts.test) == 450
    assert len(parts.validation) == 180
    share = np.bincount(digits.labels[parts.test]) / np.bincount(digits.labels)
    np.testing.assert_allclose(share, 0.25, atol=0.007)
    np.testing.assert_array_equal(parts.test, split(digits, seed, validation=0.1).test)
    assert not np.array_equal(parts.test, split(digits, seed + 1).test)


DIGITS = datasets.digits()


@given(
    st.lists(st.integers(0, 4), min_size=4, max_size=80),
    seeds,
    st.floats(0, 0.6),
    st.floats(0, 0.35),
)
def test_any_split_is_a_partition_with_every_class_left_to_train_on(labels, seed, test, validation):
    labels = [0, 1, *labels]
    parts = split(dataset(labels), seed, test, validation)
    assert_partition(parts, len(labels))
    np.testing.assert_array_equal(np.unique(np.array(labels)[parts.train]), np.unique(labels))
    assert len(parts.test) <= np.ceil(test * len(labels))


@examples(50)
@given(st.data(), seeds, st.floats(0.1, 0.4), st.sampled_from([0.0, 0.2]))
def test_groups_are_never_torn_apart(data, seed, test, validation):
    groups = data.draw(st.lists(st.integers(0, 12), min_size=30, max_size=60))
    labels = np.arange(len(groups)) % 3
    grouped = dataset(labels, groups=np.array(groups))
    try:
        parts = split(grouped, seed, test, validation)
    except DatasetError:
        assert len(set(groups)) < 6  # nearly all rows in a few groups
        return
    assert_partition(parts, len(groups))
    named = [set(grouped.groups[part]) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, named)) == len(set(groups))
    assert len(parts.train)
    again = split(grouped, seed, test, validation)
    np.testing.assert_array_equal(parts.test, again.test)
    np.testing.assert_array_equal(parts.validation, again.validation)


def test_grouped_parts_hold_about_their_share_of_every_class():
    labels = np.tile(np.arange(5), 40)
    speakers = np.repeat(np.arange(40), 5)
    for seed in range(10):
        parts = split(dataset(labels, groups=speakers), seed, 0.25, 0.25)
        np.testing.assert_array_equal(np.bincount(labels[parts.test]), [10] * 5)
        np.testing.assert_array_equal(np.bincount(labels[parts.validation]), [10] * 5)


@pytest.mark.parametrize(("test", "validation"), [(-0.1, 0), (1.0, 0), (0.5, 0.5), (float("nan"), 0)])
def test_fractions_out_of_range_are_refused(test, validation):
    with pytest.raises(ConfigError):
        split(dataset([0, 1, 0, 1]), 0, test, validation)


def test_a_split_that_leaves_one_class_is_refused():
    with pytest.raises(DatasetError, match="fewer than two classes"):
        split(dataset([0, 0, 1, 1], test_rows=np.array([2, 3])), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(4, int)}, "at least two"),
        ({"labels": np.array([], int), "inputs": np.empty((0, 2))}, "at least two"),
        ({"inputs": np.array([[0, 1], [2, np.nan], [4, 5], [6, 7]])}, "row 1, feature 1 is nan"),
        ({"inputs": np.ones((3, 2))}, r"\(3, 2\)"),
        ({"inputs": [["x", "y"]] * 4}, "no numbers"),
        ({"labels": np.array([0, 1, 2, 1])}, "2 classes"),
        ({"labels": np.array([0, 1, -1, 1])}, "from -1"),
        ({"groups": np.array([1, 2])}, "groups of shape"),
        ({"test_rows": np.array([0, 0])}, "distinct"),
        ({"test_rows": np.array([4])}, "0 to 3"),
        ({"groups": np.array([1, 1, 2, 2]), "test_rows": np.array([0])}, "group"),
    ],
)
def test_datasets_that_cannot_be_trained_on_are_refused(change, message):
    fields = {
        "name": "bad",
        "inputs": np.ones((4, 2)),
        "labels": np.array([0, 1, 0, 1]),
        "class_names": ("a", "b"),
    }
    with pytest.raises(DatasetError, match=message):
        Dataset(**(fields | change))


def test_a_dataset_is_a_read_only_copy():
    inputs = np.ones((4, 2))
    made = Dataset("copy", inputs, np.array([0, 1, 0, 1]), ("a", "b"))
    inputs[0, 0] = 5
    assert made.inputs[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        made.inputs[0, 0] = 2


VOWELS = "".join(f"w{k:02d}{v}," + ",".join(["500"] * 12) + "\n" for k in (1, 2) for v in ("ae", "iy"))


@pytest.mark.parametrize("name", ["labels", "targets"])
def test_a_copy_with_other_targets_takes_them_by_either_name(name):
    dataset = Dataset("rows", np.eye(4), np.array([0, 1, 0, 1]), ("a", "b"))
    other = replace(dataset, inputs=dataset.inputs[:2], **{name: np.array([1, 0])})
    assert other.labels is other.targets
    np.testing.assert_array_equal(other.labels, [1, 0])
    np.testing.assert_array_equal(replace(other, name="same").targets, [1, 0])
    with pytest.raises(DatasetError, match="give either"):
        replace(dataset, labels=np.array([0, 0, 1, 1]), targets=np.array([1, 1, 0, 0]))
    with pytest.raises(DatasetError, match="give either"):
        Dataset("rows", np.eye(2), np.array([0, 1]), ("a", "b"), targets=np.array([1, 0]))


def test_vowels_read_from_a_file_that_is_named(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(",f\n" + VOWELS)
    vowels = datasets.vowels(path)
    assert vowels.class_names == ("ae", "iy")
    assert vowels.groups.tolist() == ["w01", "w01", "w02", "w02"]
    assert vowels.inputs.shape == (4, 12)


@pytest.mark.parametrize(
    "text", ["", "header\n", "h\nw01ae,1,2\n", "h\n" + VOWELS + "w03ae" + ",x" * 12 + "\n", "h\n\xff\x00"]
)
def test_damaged_vowels_are_refused(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match=r"bad\.csv"):
        datasets.vowels(path)


@examples(100)
@given(st.binary(max_size=200))
def test_the_vowel_parser_meets_anything_with_one_kind_of_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("vowels") / "any.csv"
    path.write_bytes(content)
    try:
        datasets.vowels(path)
    except DatasetError:
        pass
    else:
        assert builtins.len(content) > 50
