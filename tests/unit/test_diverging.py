"""A fit that leaves the finite numbers is an error of training, said with stage, epoch and learning rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_fits import Mixer, blobs, options, small_network

import hwloop
from hwloop.adapt.anchors import Anchors
from hwloop.adapt.local_heads import WarmLocal
from hwloop.errors import DeviceError, StimulusError, TrainingDiverged
from hwloop.events import Noticed
from hwloop.layers import Stage
from hwloop.layers.graph import GraphNetwork, nearest_neighbour_graph
from hwloop.registry import TRAINERS
from hwloop.training.echo_state import EchoState
from hwloop.training.nodes import fit_nodes
from hwloop.training.reservoir import DigitalRecurrence
from hwloop.twin.linear import AffineCandidate

# Tunables end at their limits, and what moves them is a share of their range: that cannot diverge.
WITH_A_RATE = [name for name in TRAINERS.entries() if options(name, lr=1.0) and not name.startswith("tune-")]


@pytest.mark.usefixtures("quick_readouts")
@pytest.mark.parametrize("name", WITH_A_RATE)
def test_every_trainer_says_that_it_diverged(name):
    settings = options(name, lr=1e30, min_steps=30, epochs=4, batch_samples=8, twin="linear")
    network = small_network(Mixer())
    with pytest.raises(TrainingDiverged, match=r"in stage \d of 2.*lr = 1e\+30") as raised:
        hwloop.trainer(name, **settings).fit(network, *blobs())
    assert not isinstance(raised.value, DeviceError)
    assert "resume" not in str(raised.value)
    assert network.readout is None


@pytest.mark.usefixtures("quick_readouts")
@pytest.mark.parametrize("name", ["mgd", "spsa", "zo"])
def test_a_rate_that_no_float32_holds_is_the_same_error(name):
    with pytest.raises(TrainingDiverged, match=r"in stage \d of 2.*lr = 1e\+200"):
        hwloop.trainer(name, **options(name, lr=1e200, epochs=2)).fit(small_network(Mixer()), *blobs())


@pytest.mark.parametrize("stages", [1, 2])
def test_epoch_and_stage_are_told(stages):
    trainer = hwloop.trainer("local", lr=1e30, epochs=5, min_steps=5)
    with pytest.raises(TrainingDiverged, match=rf"stage 1 of {stages}, epoch \d of 5 with lr = 1e"):
        trainer.fit(small_network(Mixer(), stages), *blobs())


def test_where_anomalies_are_detected_it_is_the_same_error():
    trainer, said = hwloop.trainer("local", lr=1e30, epochs=5, min_steps=5), "Anomaly Detection|Error detected"
    detecting, warned = torch.autograd.set_detect_anomaly(True), pytest.warns(UserWarning, match=said)
    with detecting, warned, pytest.raises(TrainingDiverged):
        trainer.fit(small_network(Mixer()), *blobs())


@pytest.mark.parametrize("where", ["stages.0.linear.weight", "readout.heads.0.linear.bias"])
def test_a_network_that_holds_nan_predicts_nothing(where):
    network = small_network(Mixer())
    hwloop.trainer("local", epochs=1, min_steps=5).fit(network, *blobs())
    network.get_parameter(where).data.fill_(float("nan"))
    with pytest.raises(TrainingDiverged):
        network.predict(blobs()[0])


def test_a_loss_that_rose_and_a_class_that_takes_all_are_said():
    heard: list[object] = []
    inputs, labels = blobs()
    history = hwloop.trainer("all-labels", lr=1000.0, epochs=4, min_steps=60, weight_decay=0.0).fit(
        small_network(Mixer(), 1), inputs, labels, callbacks=[heard.append]
    )
    assert [event.text for event in heard if isinstance(event, Noticed)] == history.notes
    assert all("loss rose" in note for note in history.notes)


class Silent(Mixer):
    """Tells nothing of what it was sent, but never twice the same."""

    def _measure(self, inputs):
        noise = np.random.default_rng(self.rows).normal(size=(len(inputs), 1))
        return np.zeros_like(super()._measure(inputs)) + noise


def test_a_class_that_takes_every_row_is_said():
    inputs, labels = blobs()
    labels = np.where(labels == 2, 0, labels)  # twice as many of class 0
    history = hwloop.trainer("readout").fit(
        small_network(Silent(), 1), inputs, labels, validation=(inputs, labels)
    )
    assert any("every validation row is taken for class 0" in note for note in history.notes)


# -- beside the trainers -----------------------------------------------------------------------------------


class Broken(AffineCandidate):
    """A candidate that gives no numbers."""

    name = "broken"

    def fit(self, stimuli, responses, rng):
        model = super().fit(stimuli, responses, rng)
        return replace(model, offset=model.offset + np.nan)


def test_a_twin_that_diverged_never_wins():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (60, 4))
    y = x @ rng.normal(size=(4, 3))
    assert hwloop.twin.fit(x, y, candidates=(Broken(), AffineCandidate())).report.winner == "linear"
    with pytest.raises(TrainingDiverged, match="broken gave no finite number"):
        hwloop.twin.fit(x, y, candidates=(Broken(),))


def test_an_adaptation_that_diverged_leaves_the_network_as_it_was():
    network = small_network(Mixer())
    hwloop.trainer("local", epochs=1, min_steps=5).fit(network, *blobs())
    anchors = Anchors.record(network, *blobs())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    adapter = hwloop.Adapter(network, WarmLocal(lr=1e30), anchors, gate=0.0)
    adapter._known = [replace(known, mean=known.mean + 1.0) for known in adapter._known]  # the device has moved
    with pytest.raises(TrainingDiverged, match=r"adaptation diverged \(WarmLocal\): stage 1"):
        adapter.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_graph_network_says_it_too():
    network = GraphNetwork(hwloop.Session(Mixer()), [Stage(6)], nearest_neighbour_graph(blobs()[0], 3), seed=1)
    with pytest.raises(TrainingDiverged, match=r"in stage 1 of 1, epoch \d of 5 with lr = 1e"):
        fit_nodes(
            hwloop.trainer("local", lr=1e30, epochs=5, min_steps=5), network, blobs()[0], range(24), blobs()[1]
        )


def test_sequences_that_are_no_numbers_are_refused_before_the_first_row():
    device = Mixer()
    echo = EchoState(DigitalRecurrence(hwloop.Session(device), feedback_channels=3))
    sound = np.zeros((3, 8, 2))
    for sequences, targets in ((sound, sound * np.nan), (sound * np.nan, sound), (sound, sound + 1j)):
        with pytest.raises(StimulusError):
            echo.fit(sequences, targets)
    assert device.rows == 0
