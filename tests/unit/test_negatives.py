"""Negatives without labels, hard negatives, and devices that have no room for a label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.training.plans import HardLabels, Hybrids, SelfContrast, WrongLabels, blurred


def planned(plan, inputs: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive and negative rows of a plan."""
    labels = torch.zeros(len(inputs), dtype=torch.int64)
    rows = plan.rows(inputs, labels, 2, torch.Generator().manual_seed(seed))
    return rows[::2], rows[1::2]


@given(samples=st.integers(2, 30), features=st.integers(1, 12), seed=st.integers(0, 2**31 - 1))
def test_a_self_contrast_is_the_mean_with_another_sample(samples, features, seed):
    inputs = torch.arange(samples * features, dtype=torch.float64).reshape(samples, features)
    positive, negative = planned(SelfContrast(), inputs, seed)
    assert torch.equal(positive, inputs)
    others = 2 * negative - inputs
    assert sorted(others[:, 0].tolist()) == inputs[:, 0].tolist()  # each once
    assert not (others == inputs).all(dim=1).any()  # and never itself


@given(
    samples=st.integers(2, 20), features=st.integers(2, 40), blurs=st.integers(0, 8), seed=st.integers(0, 2**31)
)
def test_a_hybrid_takes_half_of_its_features_from_each_of_two_samples(samples, features, blurs, seed):
    inputs = torch.arange(samples, dtype=torch.float64)[:, None].expand(samples, features)
    _, negative = planned(Hybrids(blurs=blurs), inputs, seed)
    own = negative == inputs
    assert (own.sum(dim=1) == features // 2).all()
    for row, mask in zip(negative, own, strict=True):
        assert len(set(row[~mask].tolist())) == 1


def test_blurs_make_regions_long_and_an_image_has_two_axes():
    rng = torch.Generator().manual_seed(0)

    def changes(plan, axis):
        masks = plan.masks(300, 256, rng).reshape(300, 16, 16)
        return float(masks.diff(dim=axis).double().mean())

    image, line = Hybrids((16, 16)), Hybrids()
    assert changes(image, 1) < 0.25 > changes(image, 2)
    assert changes(line, 1) > 0.4 > 0.3 > changes(line, 2)  # on one axis, rows of the image are unrelated
    assert changes(Hybrids((16, 16), blurs=0), 1) > 0.45


def test_a_blur_weighs_neighbours_and_repeats_the_ends():
    assert blurred(torch.tensor([[4.0, 0.0, 8.0, 0.0]]), 1).tolist() == [[3.0, 3.0, 4.0, 2.0]]


@pytest.mark.parametrize(
    ("options", "message"), [({"image_shape": [3, 3]}, "9 features"), ({"blurs": -1}, "blurs")]
)
def test_hybrids_that_do_not_fit_are_refused(options, message):
    with pytest.raises(hwloop.ConfigError, match=message):
        Hybrids(**options).fit(torch.zeros(4, 10))


def test_one_sample_has_no_negative():
    with pytest.raises(hwloop.DatasetError, match="two samples"):
        planned(SelfContrast(), torch.ones(1, 3))


# -- hard negatives --------------------------------------------------------------------------------------


class Wire(hwloop.Device):
    """Answers what it is sent."""

    def __init__(self, n_inputs: int) -> None:
        self.spec = hwloop.DeviceSpec(n_inputs, n_inputs, -1.0, 1.0, deterministic=True)
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        return inputs.copy()


def test_hard_labels_are_mostly_the_class_that_looks_alike():
    # Classes 0 and 1 lie close together, and so do 2 and 3.
    centres = np.array([[0.0, 0.0], [0.6, 0.0], [9.0, 9.0], [9.6, 9.0]])
    labels = torch.arange(80) % 4
    inputs = torch.from_numpy(centres[labels] + 0.3 * np.random.default_rng(0).normal(size=(80, 2)))
    plan, session = HardLabels(), hwloop.Session(Wire(7))
    plan.fit(inputs)
    stage = hwloop.Stage(5)
    stage.build(session.device.spec, 6, seed=0)
    plan.measure_pilot(stage, session, inputs, labels, 4)
    hard = plan.negatives(labels, 4, torch.Generator())[:, 0]
    assert session.ledger["train"] == 80 * plan.scouting_rows_a_sample()
    assert (hard != labels).all()
    assert (hard // 2 == labels // 2).double().mean() > 0.5  # 1/3 by chance
    with pytest.raises(hwloop.ConfigError, match="cached"):
        plan.negatives(labels[:10], 4, torch.Generator())


def test_negatives_are_named():
    assert [WrongLabels(name, 2).overlay().rows_a_sample(10) for name in ("random", "hard", "all")] == [3, 2, 10]
    with pytest.raises(hwloop.ConfigError, match="did you mean 'hard'"):
        WrongLabels("harder", 1)


# -- refusals before the first row -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["phyll", "ff", "symba", "collaboration", "all-labels"])
def test_a_device_without_room_for_the_label_is_refused_before_any_row(name):
    inputs, labels = np.random.default_rng(0).normal(size=(40, 6)), np.arange(40) % 8
    device = Wire(9)  # one input is the reference: 8 are free, and 8 classes want them all
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(10)])
    with pytest.raises(hwloop.ConfigError, match=r"8 free inputs.*9 free inputs or more"):
        hwloop.trainer(name).fit(network, inputs, labels)
    assert device.rows == 0
    network = hwloop.PhysicalNetwork(hwloop.Session(Wire(10)), [hwloop.Stage(10)])
    hwloop.trainer(name, min_steps=5, epochs=1).fit(network, inputs, labels)


def test_a_network_too_narrow_to_compete_is_refused_before_any_row():
    device = Wire(9)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(10), hwloop.Stage(7)])
    with pytest.raises(hwloop.ConfigError, match="width 7"):
        hwloop.trainer("channel-competition").fit(
            network, np.random.default_rng(0).normal(size=(40, 6)), np.arange(40) % 8
        )
    assert device.rows == 0
