"""The measured files are the published ones, and hold what their description says."""

import numpy as np
import pytest

from hwloop.errors import DatasetError
from hwloop.experiments import data_files
from hwloop.experiments.datasets import split, vowels

pytestmark = pytest.mark.real_data


@pytest.fixture(autouse=True)
def _needs_data():
    try:
        for file in data_files.ALL:
            data_files.find(file)
    except DatasetError as error:
        if "was not found" in str(error):
            pytest.skip(str(error))
        raise


def test_every_checksum_is_right():
    for file in data_files.ALL:
        assert data_files.find(file).is_file()


def test_the_acoustic_recording():
    measured = data_files.read_arrays(data_files.ACOUSTIC_CAVITY)
    assert measured["inputs"].shape == measured["outputs"].shape == (8000, 20)
    assert not measured["inputs"][0].any()
    assert 0 <= measured["inputs"].min() <= measured["inputs"].max() <= 1


def test_the_fibre_decorrelates_as_it_is_pressed():
    recorded = data_files.read_arrays(data_files.MULTIMODE_FIBRE)
    matrices = recorded["matrices"].reshape(27, -1)
    norms = np.linalg.norm(matrices, axis=1)
    correlation = np.abs(matrices.conj() @ matrices[0]) / norms / norms[0]
    assert correlation[0] == pytest.approx(1)
    assert correlation[-1] == pytest.approx(0.15, abs=0.05)


def test_vowels_keep_their_speakers_apart():
    dataset = vowels()
    assert dataset.inputs.shape == (258, 12)
    assert np.bincount(dataset.labels).tolist() == [37, 37, 37, 37, 37, 37, 36]
    assert dataset.class_names == ("ae", "ah", "aw", "er", "ih", "iy", "uw")
    # F1 of "iy" is low and its F2 high, of "ah" the other way round (Hillenbrand et al. 1995, table V).
    mean = {name: dataset.inputs[dataset.labels == k].mean(axis=0) for k, name in enumerate(dataset.class_names)}
    assert mean["iy"][0] < 500 < mean["ah"][0]
    assert mean["ah"][1] < 2000 < mean["iy"][1]
    for seed in range(20):
        parts = split(dataset, seed, test=0.25, validation=0.15)
        speakers = [set(dataset.groups[part]) for part in (parts.train, parts.validation, parts.test)]
        assert sum(map(len, speakers)) == len(set.union(*speakers)) == 48
        for part in (parts.train, parts.validation, parts.test):
            assert set(dataset.labels[part]) == set(range(7))
        assert abs(len(parts.test) - 0.25 * 258) < 6
