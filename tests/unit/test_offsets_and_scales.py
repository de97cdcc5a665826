"""Where the zero of the data lies, and in which unit they are, is no business of any trainer."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from small_fits import CLASSIFYING, Mixer, blobs, each_trainer, options, small_network

import hwloop
from hwloop.errors import HwloopWarning
from hwloop.layers import Encoder, PhysicalNetwork, Stage, Standardiser

pytestmark = pytest.mark.exhaustive

COLUMNS = np.array([1e6, -1e6, 1e3, 0.0, 5e5])
MOVED = {
    "offset 1": (1.0, 1.0),
    "offset 1e3": (1.0, 1e3),
    "offset 1e6": (1.0, 1e6),
    "offsets by column": (1.0, COLUMNS),
    "scale 1e-12": (1e-12, 0.0),
    "scale 1e12": (1e12, 0.0),
    "both": (1e9, 1e15),
}


def positive_blobs():
    inputs, labels = blobs()
    return inputs - inputs.min(), labels  # as pixels: their magnitude is their spread


class Recording(Mixer):
    """Keeps what it was sent."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def _measure(self, inputs):
        self.sent.append(inputs)
        return super()._measure(inputs)


@pytest.mark.usefixtures("quick_readouts")
@pytest.mark.parametrize("name", each_trainer("local", "phyll", "ff", "pepita", "lookahead"))
@pytest.mark.parametrize(
    "moved", [pytest.param(name, marks=[] if "column" in name else pytest.mark.slow) for name in MOVED]
)
def test_every_trainer_sends_the_same_stimuli(name, moved):
    inputs, labels = positive_blobs()
    settings = options(name, min_steps=8, epochs=1, batch_samples=24, twin="linear")

    def sent(rows):
        device = Recording()
        hwloop.trainer(name, **settings).fit(small_network(device, stages=1), rows, labels)
        return np.concatenate(device.sent)

    scale, offset = MOVED[moved]
    np.testing.assert_allclose(sent(inputs * scale + offset), sent(inputs), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFYING)
def test_every_trainer_learns_as_well(name):
    rng = np.random.default_rng(5)
    labels = np.arange(240) % 3
    inputs = rng.normal(size=(240, 5)) + 3.0 * np.eye(3, 5)[labels]
    settings = options(name, min_steps=200, epochs=20, batch_samples=32, twin="linear")

    def accuracy(scale, offset):
        network, rows = small_network(Mixer(), width=10), inputs * scale + offset
        hwloop.trainer(name, **settings).fit(network, rows[:90], labels[:90])
        return float((network.predict(rows[90:]) == labels[90:]).mean())

    plain = accuracy(1.0, 0.0)
    for scale, offset in MOVED.values():
        assert accuracy(scale, offset) > plain - 0.08


@pytest.mark.parametrize("spread", [1e-10, 1e-11, 1e-12])
@pytest.mark.parametrize("scaling", ["global", "channel"])
def test_a_small_spread_on_a_large_mean_is_kept(spread, scaling):
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(200, 2))
    rows = torch.from_numpy(193.4e12 * (1.0 + spread * wanted))
    encoder = Encoder(hwloop.DeviceSpec(4, 2, -1.0, 1.0), 2, reference_slots=0, scaling_name=scaling)
    encoder.fit(rows)
    assert np.corrcoef(encoder(rows)[:, 0], wanted[:, 0])[0, 1] > 0.999
    shuffled = rows[torch.randperm(200)]
    again = Encoder(hwloop.DeviceSpec(4, 2, -1.0, 1.0), 2, reference_slots=0, scaling_name=scaling)
    again.fit(shuffled)
    assert torch.equal(again.mean, encoder.mean)
    assert torch.equal(again.gain, encoder.gain)
    standardiser = Standardiser(2)
    standardiser.fit(rows)
    assert np.corrcoef(standardiser(rows)[:, 0], wanted[:, 0])[0, 1] > 0.999


# -- what is lost is said --------------------------------------------------------------------------------


def notes(inputs, device=None, name="readout"):
    return hwloop.trainer(name).fit(small_network(device or Mixer(), stages=1), inputs, blobs()[1]).notes


def with_column(values):
    inputs = blobs()[0].copy()
    inputs[:, 3] = values
    return inputs


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            with_column(7.3),
            r"1 of 5 features \(3\) are the same in every training row, but for rounding, and drive",
        ),
        (with_column(1e-8 * blobs()[0][:, 3]), r"1 of 5 features \(3\) hardly reach the device beside wider ones"),
        (
            (np.float32(1e6) + blobs()[0].astype(np.float32)).astype(np.float32),
            r"all 5 features take fewer than 256 values of floating point",
        ),
    ],
)
def test_features_that_are_lost(inputs, said):
    (note,) = notes(inputs)
    assert re.search(said, note)


class Wide(hwloop.Device):
    """Takes 400 features."""

    spec = hwloop.DeviceSpec(400, 8, -1.0, 1.0)

    def _measure(self, inputs):
        return np.abs(inputs[:, :8] - inputs[:, 8:16])


def test_clipped_features_are_said():
    rows = np.random.default_rng(0).normal(size=(24, 400))
    rows[:, 7] *= 1e3  # one column of 400: the scale, which 99.7 % of all values keep within, hardly knows it
    device = Wide()
    stages = [Stage(4, reference_slots=0)]
    network = PhysicalNetwork(hwloop.Session(device), stages)
    (note,) = hwloop.trainer("readout").fit(network, rows, blobs()[1]).notes
    assert note.startswith("1 of 400 features (7) are clipped at the device's limits")


def test_sound_data_and_devices_have_no_note():
    assert notes(blobs()[0]) == []


class PartlyDead(Mixer):
    """Some outputs answer the same to everything."""

    dead = slice(2, 4)

    def _measure(self, inputs):
        responses = super()._measure(inputs)
        responses[:, self.dead] = 0.3
        return responses


class Dead(PartlyDead):
    dead = slice(None)


def test_outputs_that_never_vary_are_said():
    assert notes(blobs()[0], PartlyDead()) == [
        "stage 1: 2 of 16 device outputs (2, 3) are the same in every training row and carry nothing"
    ]


@pytest.mark.usefixtures("quick_readouts")
@pytest.mark.parametrize("name", each_trainer("local", "phyll", "dfa", "readout"))
def test_every_trainer_warns_of_a_dead_device(name):
    settings = options(name, min_steps=8, epochs=1, batch_samples=24, twin="linear")
    with pytest.warns(HwloopWarning, match="all 16 device outputs are the same .* check that the device is on"):
        history = hwloop.trainer(name, **settings).fit(small_network(Dead(), stages=1), *blobs())
    assert any("all 16 device outputs" in note for note in history.notes)


def test_a_prediction_in_another_unit_is_said():
    inputs, labels = blobs()
    network = small_network(Mixer())
    hwloop.trainer("phyll", epochs=1, min_steps=5).fit(network, inputs, labels)
    with pytest.warns(HwloopWarning, match=r"\d+ % of the features of these rows lie beyond the range"):
        network.predict(1000 * inputs)
