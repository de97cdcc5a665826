"""How columns are scaled: what is chosen for which tables, said, kept, and the same in every door."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets as tables

from hwloop.errors import DatasetError
from hwloop.estimator import PhysicalClassifier
from hwloop.experiment.config import NetworkConfig, load_experiment, validated
from hwloop.experiment.partition import partition
from hwloop.experiment.rigs import PlannedRig
from hwloop.experiment.runner import run_experiment
from hwloop.experiment.seed_run import prepare_seed
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.datasets import experiment_file, split
from hwloop.input_scaling import chosen, decided
from hwloop.registry import DATASETS

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((200, 6))
ONE_HOT = np.eye(20)[RNG.integers(0, 20, 300)]
SPECTRUM = np.cumsum(RNG.standard_normal((100, 200)), axis=1) * np.logspace(-2, 2, 200) + np.linspace(0, 1e4, 200)
IMAGES = np.clip(RNG.standard_normal((300, 64)) - np.linspace(0, 3, 64), 0, None)
CASES = {
    "wine": (tables.load_wine().data, "channel"),
    "iris": (tables.load_iris().data, "channel"),
    "breast cancer": (tables.load_breast_cancer().data, "channel"),
    "diabetes in units": (tables.load_diabetes(scaled=False).data, "channel"),
    "diabetes, standardised": (tables.load_diabetes().data, "global"),
    "digits": (tables.load_digits().data, "global"),
    "a column of 10^12": (NORMAL * [1, 1, 1, 1, 1, 1e12], "channel"),
    "all columns of 10^12": (1e12 * NORMAL, "global"),
    "the limits of float64": (NORMAL * [1e307, 1e-308, 1, 1, 1, 1], "channel"),
    "one-hot": (ONE_HOT, "global"),
    "age and one-hot": (np.column_stack([RNG.normal(40, 5, 300), ONE_HOT]), "channel"),
    "income, mostly none, and age": (np.column_stack([(RNG.random(300) > 0.9) * 1e5, RNG.random(300)]), "channel"),
    "spectrum": (SPECTRUM, "global"),
    "spectrum, columns shuffled": (RNG.permutation(SPECTRUM, axis=1), "channel"),
    "images with dim borders": (IMAGES, "global"),
    "one column": (NORMAL[:, :1], "global"),
    "one row": (NORMAL[:1], "global"),
    "constant columns": (np.column_stack([NORMAL, np.full((200, 3), 1e9)]), "global"),
}


@pytest.mark.parametrize("name", CASES)
def test_chosen(name):
    rows, expected = CASES[name]
    found = chosen(rows)
    assert found.name == expected
    assert found.reason


@given(st.integers(0, 2**32 - 1), st.sampled_from(["digits", "wine", "iris", "one-hot", "spectrum"]))
def test_order_and_common_unit_change_nothing(seed, name):
    rows, expected = CASES[name]
    changed = np.random.default_rng(seed).permutation(rows) * 2.0 ** (seed % 60 - 30)
    assert chosen(changed).name == expected
    assert chosen(changed).reason == chosen(rows).reason


def test_sequences_are_judged_by_the_columns_of_a_step():
    steps = np.tile([1.0, 1e6], 8) * RNG.standard_normal((50, 16))
    assert decided("auto", steps, steps=8).name == "channel"
    assert decided("global", steps, steps=8).name == "global"


EARLIER = {"vowels-acoustic": "channel", "vowels-cavity": "channel"}  # all others: one scale


@pytest.mark.parametrize(
    "dataset",
    [
        "digits",
        pytest.param("mnist1d", marks=pytest.mark.slow),
        pytest.param("vowels", marks=pytest.mark.real_data),
    ],
)
def test_shipped_experiments_keep_what_they_had(dataset):
    try:
        data = DATASETS.build(dataset)
    except DatasetError as error:
        if "was not found" in str(error):
            pytest.skip(str(error))
        raise
    for name in SHIPPED_BEFORE:
        config = load_experiment(experiment_file(name))
        if config.dataset.name != dataset:
            continue
        rows = data.inputs[split(data, 0, config.split.test, config.split.validation).train]
        network = config.network
        found = decided(network.input_scaling, rows, network.sequence_steps)
        assert found.name == EARLIER.get(name, "global"), name


SHIPPED_BEFORE = (
    *("digits-acoustic", "digits-brian2", "digits-fibre", "digits-lava", "digits-lif", "digits-microwave"),
    *("digits-optical", "digits-oscillators-eqprop", "digits-phyll", "mnist1d-delay-loop", "mnist1d-optical"),
    *("mnist1d-fibre-nonlinear", "mnist1d-oscillators", "mnist1d-second-harmonic", "mnist1d-sequence"),
    *("vowels-acoustic", "vowels-cavity"),
)

TABLE = {"name": "small", "dataset": "digits", "trainer": "local"}
DEVICE = {"name": "optical-fibre", "settings": {"n_inputs": 40, "n_outputs": 20}}


def test_a_run_says_what_it_chose_and_what_it_projects():
    config = validated({**TABLE, "device": DEVICE}, "here")
    data = partition(DATASETS.build("digits"), 0, split, 0.25, 0.0)
    seed = prepare_seed(config, data, PlannedRig(config), None, lambda event: None)
    assert seed.notes[0] == "input scaling: one scale for all columns: the columns share a range, as pixels do"
    assert seed.notes[1].startswith(
        "stage 1: 64 features do not fit 36 free inputs: a seeded orthogonal projection"
    )
    assert seed.network.stages[0].settings()["scaling"] == seed.config.network.input_scaling == "global"


def test_run_files_that_say_nothing_mean_one_scale(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('name="a"\ndataset="digits"\ndevice="optical-fibre"\ntrainer="local"\n')
    assert load_experiment(file).network.input_scaling == "auto"
    (tmp_path / "metrics.jsonl").touch()
    assert load_experiment(file).network.input_scaling == "global"
    assert load_experiment(file, ["network.input_scaling=channel"]).network.input_scaling == "channel"


def test_one_default_in_every_door():
    assert NetworkConfig().input_scaling == PhysicalClassifier().input_scaling == "auto"


@pytest.mark.parametrize(("scale", "expected"), [(1.0, "global"), (1e6, "channel")])
def test_the_estimator_chooses_and_its_file_says_what(scale, expected, tmp_path):
    rows = NORMAL[:40] * [scale, 1, 1, 1, 1, 1]
    made = {"stages": 1, "width": 4, "trainer": "readout", "device_settings": {"n_outputs": 10}, "random_state": 0}
    model = PhysicalClassifier(**made).fit(rows, rows[:, 1] > 0)
    assert model.input_scaling_ == expected
    model.save(tmp_path / "m.safetensors")
    loaded = PhysicalClassifier.load(tmp_path / "m.safetensors")
    assert (loaded.input_scaling, loaded.input_scaling_) == ("auto", expected)


def wine():
    table = tables.load_wine()
    return Dataset("wine", table.data, table.target, tuple(map(str, table.target_names)))


@pytest.mark.slow
def test_a_table_of_columns_of_different_kinds_is_learned_with_the_default(tmp_path, monkeypatch):
    load = DATASETS.load
    monkeypatch.setattr(DATASETS, "load", lambda name: wine if name == "wine" else load(name))
    device = {"name": "optical-fibre", "settings": {"n_outputs": 200}}
    table = {**TABLE, "dataset": "wine", "device": device, "seeds": 5, "evidence": {"floors": False}}
    evidence = run_experiment(validated(table, "here"), split, out=tmp_path / "run")
    assert evidence.score("network").mean >= 0.96  # with one scale for all columns 0.75
    assert evidence.as_json()["input_scaling"] == {"setting": "auto", "seeds": ["channel"] * 5}
