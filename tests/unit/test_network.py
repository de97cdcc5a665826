"""Stages in a row: building, passing rows, devices per stage, costs."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import small_fits
import torch

import hwloop
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import as_rows, stage_seed


class Mixer(hwloop.Device):
    """|x T| with a fixed T: noiseless, and the same to the last bit in every batch."""

    def __init__(self, n_inputs: int = 8, n_outputs: int = 12, seed: int = 0) -> None:
        self.spec = hwloop.DeviceSpec(n_inputs, n_outputs, -1.0, 1.0, deterministic=True)
        self.matrix = np.random.default_rng(seed).normal(size=(n_inputs, n_outputs))

    def _measure(self, inputs):
        return np.abs(np.einsum("ri,io->rio", inputs, self.matrix).cumsum(axis=1)[:, -1])


def built(stages: list[Stage], n_features: int = 5, **options) -> PhysicalNetwork:
    network = PhysicalNetwork(hwloop.Session(Mixer()), stages, **options)
    network.build(n_features)
    for _, stage, _ in network:
        stage.encoder.fit(torch.randn(50, stage.encoder.n_features, generator=torch.Generator().manual_seed(0)))
    return network


def test_widths_chain_from_stage_to_stage():
    network = built([Stage(6), Stage(3)])
    rows = as_rows(np.random.default_rng(0).normal(size=(9, 5)))
    steps = list(network.passes(rows))
    assert [(features.shape, z.shape) for _, features, z in steps] == [((9, 12), (9, 6)), ((9, 12), (9, 3))]
    assert not any(tensor.requires_grad for _, features, z in steps for tensor in (features, z))


def test_the_bypass_appends_the_stages_input():
    network = built([Stage(6, bypass=True)])
    rows = as_rows(np.random.default_rng(0).normal(size=(4, 5)))
    ((_, features, _),) = network.passes(rows)
    assert features.shape == (4, 12 + 5)
    torch.testing.assert_close(features[:, 12:], rows.to(torch.float32))


def test_the_map_passes_on_z_and_the_activation_stays_with_the_stage():
    network = built([Stage(6, "relu")])
    ((stage, features, z),) = network.passes(as_rows(np.random.default_rng(1).normal(size=(40, 5))))
    torch.testing.assert_close(z, stage.linear(features).detach(), rtol=1e-4, atol=1e-5)
    assert (z < 0).any()
    assert (stage.activate(z) >= 0).all()


def test_stages_draw_their_first_maps_from_the_networks_seed_and_leave_torchs_own_alone():
    state = torch.get_rng_state()
    first, same, other = (built([Stage(6), Stage(6)], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [stage.linear.weight for network in (first, same, other) for _, stage, _ in network]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[4])
    assert stage_seed(1, 0) != stage_seed(0, 1)


def test_each_stage_may_have_a_device_of_its_own():
    sessions = [hwloop.Session(Mixer(8, 12)), hwloop.Session(Mixer(6, 20))]
    network = PhysicalNetwork(sessions, [Stage(5), Stage(4)])
    network.build(3)
    assert [stage.n_features for _, stage, _ in network] == [12, 20]
    assert network.distinct_sessions == sessions
    list(network.passes(torch.zeros(2, 3)))
    assert [session.ledger["evaluate"] for session in sessions] == [1, 1]


def test_every_device_is_open_inside_and_closed_afterwards_whatever_happens():
    closed: list[str] = []

    class Closing(Mixer):
        def close(self) -> None:
            closed.append("closed")

    sessions = [hwloop.Session(Closing()), hwloop.Session(Closing())]
    network = PhysicalNetwork(sessions, [Stage(), Stage()])

    def interrupted() -> None:
        with network.opened():
            assert closed == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert closed == ["closed", "closed"]


def test_multiply_adds_count_projection_encoding_standardising_and_map():
    direct = built([Stage(6)], n_features=5).multiply_adds
    assert direct == 5 + 12 + 12 * 6
    projected = built([Stage(6)], n_features=30).multiply_adds
    assert projected == 30 * 7 + 7 + 12 + 12 * 6


@pytest.mark.parametrize(
    ("trainer", "scaling", "stages", "count"),
    [
        ("tune-exact", "global", 1, 16 * 3 + 3),  # 16 outputs read by 3 classes: gains are folded, offsets count
        ("tune-exact", "channel", 1, 16 * 3 + 3 + 5),
        ("tune-exact", "global", 2, 2 * 16 * 3 + 3 + (16 + 1) * 6),
        ("local", "global", 1, (16 + 1) * 6 + 6 * 3 + 3),
    ],
)
def test_a_deployed_network_folds_gains_and_pays_for_offsets(trainer, scaling, stages, count):
    network = PhysicalNetwork(
        hwloop.Session(small_fits.Mixer()), [Stage(6, scaling=scaling) for _ in range(stages)]
    )
    settings = small_fits.options(trainer, epochs=1, min_steps=2)
    hwloop.trainer(trainer, **settings).fit(network, *small_fits.blobs())
    assert network.folded_multiply_adds == count


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PhysicalNetwork(hwloop.Session(Mixer()), []), "at least one stage"),
        (lambda: PhysicalNetwork([hwloop.Session(Mixer())], [Stage(), Stage()]), "1 sessions for 2 stages"),
        (lambda: PhysicalNetwork(hwloop.Session(Mixer()), [Stage()] * 2), "stands twice"),
        (lambda: Stage(0), "width must be at least 1"),
        (lambda: Stage(5, "rleu"), "did you mean 'relu'"),
    ],
)
def test_networks_that_make_no_sense_are_refused(make, message):
    with pytest.raises(hwloop.ConfigError, match=message):
        make()


def test_an_untrained_network_does_not_predict():
    with pytest.raises(hwloop.ConfigError, match="train it first"):
        built([Stage()]).predict(np.zeros((1, 5)))


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 2, 2)), [[np.nan]], [[1.0], [np.inf]]])
def test_data_that_are_no_finite_rows_are_refused(bad):
    with pytest.raises(hwloop.StimulusError):
        as_rows(bad)


def test_a_network_can_be_copied():
    network = built([Stage(6)])
    twin = copy.deepcopy(network)
    rows = torch.ones(2, 5, dtype=torch.float64)
    torch.testing.assert_close(*(next(iter(n.passes(rows)))[2] for n in (network, twin)), rtol=0, atol=0)
