"""Training for the next device: features of others of its kind, averaged weights, chips of one design."""

import numpy as np
import pytest
import torch
from small_fits import Mixer, small_network
from torch import nn

import hwloop
from hwloop.errors import ConfigError
from hwloop.training.optimiser import AveragedWeights, OtherDevices


def generator():
    return torch.Generator().manual_seed(3)


def test_without_a_spread_nothing_is_changed_and_no_random_number_is_drawn():
    rng, features = generator(), torch.ones(4, 6)
    assert OtherDevices(0.0, rng).worse(features, lambda given: given.sum()) is features
    assert torch.equal(rng.get_state(), generator().get_state())


def test_each_channel_takes_in_a_share_of_another_and_the_worse_device_is_taken():
    features = torch.randn(50, 8, generator=generator())
    tried = []

    def loss(given):
        tried.append(given)
        return given[:, 0].mean()

    found = OtherDevices(0.3, generator()).worse(features, loss)
    up, down = tried
    torch.testing.assert_close(up + down, 2 * features)
    taken = (up - features) / 0.3
    channels = [int(torch.argmin((taken[:, [k]].abs() - features.abs()).abs().sum(dim=0))) for k in range(8)]
    assert sorted(channels) == list(range(8))
    for k, other in enumerate(channels):
        torch.testing.assert_close(taken[:, k].abs(), features[:, other].abs(), rtol=1e-3, atol=1e-4)
    assert found[:, 0].mean() == max(up[:, 0].mean(), down[:, 0].mean())


def test_averaged_weights_are_the_mean_of_the_last_steps():
    weight = nn.Parameter(torch.zeros(2))
    averaged, none = AveragedWeights([weight], 0.5, 4), AveragedWeights([weight], 0.0, 4)
    for value in (1.0, 2.0, 3.0, 5.0):
        with torch.no_grad():
            weight.fill_(value)
        averaged.step()
        none.step()
    none.put_in_place()
    assert weight.tolist() == [5.0, 5.0]
    averaged.put_in_place()
    assert weight.tolist() == [4.0, 4.0]


@pytest.mark.parametrize("options", [{"device_spread": 0.3}, {"averaged_share": 0.5}])
def test_options_change_what_is_learned_and_cost_no_row(options):
    inputs = np.random.default_rng(0).normal(size=(40, 6))
    labels = (inputs[:, 0] > 0).astype(int)
    plain, robust = small_network(Mixer()), small_network(Mixer())
    for network, told in ((plain, {}), (robust, options)):
        trainer = hwloop.trainer("local", epochs=2, min_steps=20, seed=1, **told)
        assert trainer.cost(40, 2, len(network)) == 40 * len(network)
        trainer.fit(network, inputs, labels)
    assert not torch.equal(plain.stages[0].linear.weight, robust.stages[0].linear.weight)


def test_a_share_or_a_spread_out_of_range_is_refused():
    for options in ({"device_spread": -0.1}, {"averaged_share": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            hwloop.trainer("local", **options)


def test_chips_of_one_design_correlate_as_the_spread_says():
    def chip(number, spread=0.6, **settings):
        return hwloop.open_device(
            "optical-fibre", n_inputs=80, n_outputs=90, fabrication_spread=spread, chip=number, seed=4, **settings
        )

    def correlation(one, other):
        a, b = one.transmission_matrix, other.transmission_matrix
        return abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b)

    design = hwloop.open_device("optical-fibre", n_inputs=80, n_outputs=90, seed=4)
    assert correlation(chip(1), chip(2)) == pytest.approx(1 - 0.6**2, abs=0.03)
    assert correlation(design, chip(1)) == pytest.approx(0.8, abs=0.02)
    assert correlation(chip(1), chip(1)) == pytest.approx(1.0)
    np.testing.assert_array_equal(chip(5, spread=0.0).transmission_matrix, design.transmission_matrix)
    assert "chip" not in design.identify()
    assert "fabrication_spread=0.6, chip=1" in chip(1).identify()
    rows = np.random.default_rng(0).uniform(-1, 1, (3, 80))
    quiet = chip(1).noiseless()
    assert not np.array_equal(quiet.measure(rows), design.noiseless().measure(rows))  # the spread is no noise
