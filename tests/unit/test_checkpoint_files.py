"""A checkpoint is what was written, to the last bit, or it is refused; what it does not say is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from examples import each_row, examples
from hypothesis import given
from hypothesis import strategies as st
from small_fits import options

import hwloop
from hwloop.errors import CheckpointError, HwloopWarning
from hwloop.registry import TRAINERS
from hwloop.runs.checkpoints import CHECKSUM, SUM_OF_TENSORS
from hwloop.tasks import Classification

ROWS = np.random.default_rng(0).uniform(-1, 1, (24, 5))
LABELS = np.arange(24) % 3


def session():
    return hwloop.Session(hwloop.open_device("optical-fibre", n_inputs=7, n_outputs=6, seed=1))


def trained(trainer="readout"):
    network = hwloop.PhysicalNetwork(session(), [hwloop.Stage(4)], seed=1)
    hwloop.trainer(trainer, **options(trainer, min_steps=20, epochs=1)).fit(network, ROWS, LABELS)
    network.class_names = ("ant", "bee", "cat")
    return network


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A trained network, and its two files."""
    path = tmp_path_factory.mktemp("whole") / "net.safetensors"
    network = trained()
    hwloop.save_network(network, path)
    return network, path.read_bytes(), path.with_suffix(".json").read_bytes()


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    return tmp_path_factory.mktemp("spare") / "net.safetensors"


def same(first, second):
    mine, theirs = first.state_dict(), second.state_dict()
    return (
        mine.keys() == theirs.keys()
        and all(torch.equal(mine[name], theirs[name]) for name in mine)
        and first.class_names == second.class_names
        and (first.seed, first.n_features) == (second.seed, second.n_features)
        and [stage.settings() for _, stage, _ in first] == [stage.settings() for _, stage, _ in second]
    )


@examples(250)
@given(data=st.data())
def test_any_flipped_bit_is_refused_or_changes_nothing(whole, spare, data):
    network, tensors, described = whole
    in_tensors = data.draw(st.booleans())
    damaged = bytearray(tensors if in_tensors else described)
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    spare.write_bytes(bytes(damaged) if in_tensors else tensors)
    spare.with_suffix(".json").write_bytes(described if in_tensors else bytes(damaged))
    try:
        loaded = hwloop.load_network(spare, network.sessions[0])
    except CheckpointError:
        return
    assert not in_tensors
    assert same(loaded, network)


@pytest.mark.slow
def test_every_flipped_bit_of_the_description_is_refused_or_changes_nothing(whole, spare):
    network, tensors, described = whole
    spare.write_bytes(tensors)
    refused = 0
    for bit in range(8 * len(described)):
        damaged = bytearray(described)
        damaged[bit // 8] ^= 1 << bit % 8
        spare.with_suffix(".json").write_bytes(bytes(damaged))
        try:
            assert same(hwloop.load_network(spare, network.sessions[0]), network)
        except CheckpointError:
            refused += 1
    assert refused > 4 * len(described)


def test_files_of_two_checkpoints_are_no_checkpoint(whole, spare):
    _, tensors, described = whole
    other = trained()
    with torch.no_grad():
        other.stages[0].linear.bias += 1
    hwloop.save_network(other, spare)
    spare.with_suffix(".json").write_bytes(described)
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged, or belongs to another checkpoint"):
        hwloop.load_network(spare, session())
    spare.write_bytes(tensors)
    assert same(hwloop.load_network(spare, session()), whole[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_never_saved_and_never_loaded(whole, tmp_path, value, reseal, monkeypatch):
    network, path = trained(), tmp_path / "net.safetensors"
    hwloop.save_network(network, path)
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    with torch.no_grad():
        network.stages[0].linear.weight[1, 2] = value
    with pytest.raises(CheckpointError, match=r"1 of 24 numbers of stages\.0\.linear\.weight .* diverged"):
        hwloop.save_network(network, path)
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    monkeypatch.setattr("hwloop.checkpoint.file.require_finite", lambda tensors, what: None)
    hwloop.save_network(network, path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"net\.safetensors is refused: 1 of 24 numbers"):
        hwloop.load_network(path, session())


def old_format(path):
    """As the first version wrote it."""
    described = json.loads(path.with_suffix(".json").read_text())
    for entry in (CHECKSUM, SUM_OF_TENSORS, "class_names"):
        del described[entry]
    described |= {"format": 1, "devices": []}
    path.with_suffix(".json").write_text(json.dumps(described))


def test_an_old_checkpoint_loads_and_says_what_it_does_not_name(tmp_path):
    network, path = trained(), tmp_path / "net.safetensors"
    hwloop.save_network(network, path)
    old_format(path)
    with pytest.warns(HwloopWarning, match=r"format 1.* device .* classes .* whether a bit has changed"):
        loaded = hwloop.load_network(path, network.sessions[0])
    assert loaded.class_names == ()
    np.testing.assert_array_equal(loaded.predict_proba(ROWS), network.predict_proba(ROWS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(calibration="x"), "entry 'calibration' is not understood"),
        (lambda said: said["stages"][0].update(gain=2), "gain"),
        (lambda said: said["readout"].update(temperature=2), "temperature = 2 is not understood"),
        (lambda said: said.update(class_names=["a", 3, "b"]), "class names are no list of text"),
        (lambda said: said.update(class_names=["a", "b"]), "names 2 classes .* readout has 3"),
        (lambda said: said.update(weight_bits=[1]), "weights have"),
        (lambda said: said.update(format=3), "format 1 or 2"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, reseal, change, message):
    path = tmp_path / "net.safetensors"
    hwloop.save_network(trained("local"), path)
    described = json.loads(path.with_suffix(".json").read_text())
    change(described)
    path.with_suffix(".json").write_text(json.dumps(described))
    reseal(path)
    with pytest.raises(CheckpointError, match=message):
        hwloop.load_network(path, session())


def test_a_tensor_of_another_type_is_not_rounded_in_silence(tmp_path, reseal):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "net.safetensors"
    hwloop.save_network(trained(), path)
    tensors = load_file(path)
    tensors["stages.0.linear.weight"] = tensors["stages.0.linear.weight"].to(torch.float64)
    save_file(tensors, path)
    reseal(path)
    with pytest.raises(
        CheckpointError, match=r"linear\.weight is torch\.float64 where this network has torch\.float32"
    ):
        hwloop.load_network(path, session())


@pytest.mark.parametrize("trainer", each_row(["local", "ff", "channel-competition", "prototypes", "block"], "ff"))
def test_classes_have_the_names_that_they_were_given(tmp_path, trainer):
    assert trainer in TRAINERS.entries()
    path = tmp_path / "net.safetensors"
    hwloop.save_network(trained(trainer), path)
    assert hwloop.load_network(path, session()).class_names == ("ant", "bee", "cat")


def test_a_network_over_sequences_comes_back_the_same(tmp_path):
    device = hwloop.open_device("optical-fibre", n_inputs=8, n_outputs=6, seed=1)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(4, steps=2)], seed=1)
    hwloop.trainer("readout").fit(network, ROWS[:, :4], LABELS)
    hwloop.save_network(network, tmp_path / "net.safetensors")
    loaded = hwloop.load_network(tmp_path / "net.safetensors", hwloop.Session(device))
    assert same(loaded, network)


class Ordinal(Classification):
    """A task that another package might have."""


def test_a_network_of_a_task_that_no_file_can_name_is_not_saved(tmp_path):
    network = trained()
    network.task = Ordinal(3)
    with pytest.raises(CheckpointError, match=r"trained for Ordinal cannot be saved"):
        hwloop.save_network(network, tmp_path / "network.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named_as_it_was_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors is not there"):
        hwloop.load_network(tmp_path / "nothing.safetensors")
