"""Labels that are none are refused before the first row, by every trainer and for validation rows too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_fits import CLASSIFYING, Mixer, blobs, each_trainer, options, small_network

import hwloop
from hwloop.errors import CheckpointError, ConfigError, DatasetError, HwloopWarning, StimulusError
from hwloop.experiment.config import validated
from hwloop.experiment.partition import partition
from hwloop.experiment.rigs import PlannedRig
from hwloop.experiment.seed_run import prepare_seed
from hwloop.experiments.dataset import Dataset, split
from hwloop.registry import TRAINERS

ROWS = 24
WHOLE = np.arange(ROWS) % 3
ODD = {
    "2, 5, 8": (3 * WHOLE + 2, r"labels are 2, 5, 8: 6 of the 9 classes have no training row"),
    "text": (np.array(["a", "b", "c"])[WHOLE], "text such as 'a'"),
    "text that looks like numbers": (WHOLE.astype(str), "text such as '0'"),
    "negative": (WHOLE - 1, "row 0 is -1"),
    "halves": (WHOLE + 0.5, "floats such as 0.5"),
    "floats": (WHOLE.astype(float), "floats such as 0.0"),
    "one class": (np.zeros(ROWS, dtype=int), "one class only"),
    "missing": (np.where(WHOLE == 0, np.nan, WHOLE), r"missing \(nan, in row 0\)"),
    "None": (np.where(WHOLE == 1, None, WHOLE), r"missing \(None, in row 1\)"),
    "masked": (np.ma.masked_equal(WHOLE, 2), "8 masked values"),
    "complex": (WHOLE + 0j, "complex numbers"),
    "a column": (WHOLE[:, None], r"shape \(24,\)"),
    "too few": (WHOLE[:-1], r"shape \(24,\)"),
    "huge": (np.where(WHOLE == 2, 2**62, WHOLE), "have no training row"),
    "beyond int64": (WHOLE.astype(np.uint64) + np.uint64(2**63), "row 2 is 9223372036854775810"),
}
# Of validation rows, gaps and a single class are fine, but a class that was never trained is not.
UNKNOWN = {
    "2, 5, 8": (3 * WHOLE + 2, "validation row 2 is of class 8"),
    "one unknown": (np.where(np.arange(ROWS) == 7, 3, WHOLE), "row 7 is of class 3"),
} | {name: odd for name, odd in ODD.items() if name not in ("2, 5, 8", "one class", "huge")}


@pytest.fixture(scope="module")
def trainers():
    return [hwloop.trainer(name) for name in CLASSIFYING]


@pytest.mark.parametrize(("labels", "said"), ODD.values(), ids=ODD)
def test_no_trainer_takes_odd_labels(trainers, labels, said):
    device = Mixer()
    for trainer in trainers:
        with pytest.raises(DatasetError, match=said):
            trainer.fit(small_network(device), blobs()[0], labels)
    assert device.rows == 0


@pytest.mark.parametrize(("labels", "said"), UNKNOWN.values(), ids=UNKNOWN)
def test_no_trainer_takes_odd_validation_labels(trainers, labels, said):
    device, (inputs, known) = Mixer(), blobs()
    for trainer in trainers:
        with pytest.raises(DatasetError, match=said):
            trainer.fit(small_network(device), inputs, known, validation=(inputs, labels))
    assert device.rows == 0


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.uint64, list, torch.tensor])
def test_whole_numbers_of_any_kind_are_the_same_labels(kind):
    def probabilities(labels):
        network = small_network(Mixer(), stages=1)
        hwloop.trainer("readout").fit(network, blobs()[0], labels)
        return network.predict_proba(blobs()[0])

    labels = WHOLE % 2
    given = labels.astype(kind) if isinstance(kind, type) and kind is not list else kind(labels)
    np.testing.assert_array_equal(probabilities(given), probabilities(labels))


def test_a_single_gap_is_said():
    with pytest.warns(HwloopWarning, match="labels are 1, 2, 3: 1 of the 4 classes have no training row"):
        hwloop.trainer("readout").fit(small_network(Mixer()), blobs()[0], WHOLE + 1)


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (np.ma.masked_less(blobs()[0], 0), DatasetError, "masked values"),
        (blobs()[0] + 1j, StimulusError, "complex128"),
        (blobs()[0].astype(str), StimulusError, "real numbers"),
        ([[1.0, 2.0], [3.0]], StimulusError, "real numbers"),
        (np.where(blobs()[0] > 3, np.nan, blobs()[0]), StimulusError, "nan; clean the data"),
    ],
)
def test_rows_that_are_no_real_numbers(rows, error, said):
    device = Mixer()
    with pytest.raises(error, match=said):
        hwloop.trainer("local").fit(small_network(device), rows, WHOLE[: len(rows)])
    assert device.rows == 0


@pytest.mark.parametrize("name", each_trainer("local", "dfa", "phyll", "readout"))
@pytest.mark.usefixtures("quick_readouts")
def test_every_trainer_scores_validation_after_the_last_training_row_and_keeps_its_weights(name):
    (inputs, labels), held_out = blobs(), (blobs()[0][:7] + 0.1, blobs()[1][:7])

    class Noisy(Mixer):
        """As its rows are counted, so is its noise: one row more before another changes that one."""

        def _measure(self, rows):
            noise = np.random.default_rng(self.rows).normal(0, 0.05, (len(rows), 16))
            return super()._measure(rows) + noise

    def fitted(validation):
        network = small_network(Noisy())
        settings = options(name, min_steps=8, epochs=1, batch_samples=16, twin="linear")
        history = hwloop.trainer(name, **settings).fit(network, inputs, labels, validation=validation)
        return network, history

    plain, _ = fitted(None)
    checked, history = fitted(held_out)
    for key, value in plain.state_dict().items():
        assert torch.equal(value, checked.state_dict()[key]), key
    assert history.stages[-1].validation_accuracy is not None
    asked = hwloop.trainer(name).predict_cost(7, 3, 2)
    assert checked.sessions[0].ledger["evaluate"] == asked


def two_of_three():
    """Named classes, the last of which has test rows alone."""
    inputs, labels = blobs(30)
    order = np.argsort(labels, kind="stable")
    names = ("ash", "birch", "cedar")
    return Dataset("leaves", inputs[order], labels[order], names, test_rows=[0, 1, 10, 11, *range(20, 30)])


@pytest.mark.parametrize("name", each_trainer("readout", "local", "phyll"))
@pytest.mark.usefixtures("quick_readouts")
def test_a_class_without_training_rows_keeps_its_place_and_its_name(name, tmp_path):
    settings = options(name, min_steps=4, epochs=1, batch_samples=16, twin="linear")
    config = validated(
        {
            "name": "leaves",
            "dataset": "digits",
            "device": "small_fits:Mixer" if TRAINERS.build(name).writes(30) else "relu-layer",
            "trainer": {"name": name, "settings": settings},
            "network": {"stages": 1, "width": 6},
            "evidence": {"floors": False},
        },
        "here",
    )
    data = partition(two_of_three(), 0, split, 0.25, 0.0)
    seed = prepare_seed(config, data, PlannedRig(config), None, lambda event: None)
    with pytest.warns(HwloopWarning, match="no training row is of class cedar"):
        result, _ = seed.run(0)
    assert result.details["confusion"].sum(axis=1).tolist() == [2, 2, 10]
    hwloop.save_network(seed.network, tmp_path / "net.safetensors")
    again = hwloop.load_network(tmp_path / "net.safetensors", seed.sessions[0], compare_device=False)
    assert again.class_names == ("ash", "birch", "cedar")
    assert again.predict_proba(data.test.inputs).shape == (14, 3)


def test_a_trainer_of_an_older_kind_is_refused_where_it_would_not_know_of_a_class():
    class Older(hwloop.Trainer):
        def fit(self, network, inputs, labels):
            raise AssertionError("nothing is to be measured")

    built = hwloop.trainer("readout")
    data = partition(two_of_three(), 0, split, 0.25, 0.0)
    older = Older(built.plan, built.schedule, built.new_readout)
    with pytest.raises(ConfigError, match="the last classes have no training row"):
        older.require_told_of(data.fit_options)
    older.require_told_of({})


def test_names_that_do_not_fit_the_readout_are_not_saved(tmp_path):
    network = small_network(Mixer())
    hwloop.trainer("readout").fit(network, *blobs())
    network.class_names = ("ash", "birch")
    with pytest.raises(CheckpointError, match="2 classes where its readout has 3"):
        hwloop.save_network(network, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
