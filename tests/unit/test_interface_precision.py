"""Quantised interface maps: the published rules, straight-through gradients, and what is kept on disk."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

import hwloop
from hwloop.checkpoint import load_network, save_network
from hwloop.errors import CheckpointError, ConfigError
from hwloop.experiment.config import validated
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.interface import InterfaceMap, weight_precision
from hwloop.simulators.optical_fibre import OpticalFibre

NAMES = ("binary", "ternary", "dorefa:2", "dorefa:4", "dorefa:9")
LATENT = torch.tensor([[0.9, -0.1, 0.2], [-0.8, 0.0, -0.4]])


def weights(name, latent=LATENT):
    return weight_precision(name).quantise(latent).weight.numpy()


def test_binary_is_the_sign_times_the_mean_magnitude():
    np.testing.assert_allclose(weights("binary"), 0.4 * np.array([[1, -1, 1], [-1, 1, -1]]), rtol=1e-6)


def test_ternary_drops_what_is_below_seven_tenths_of_the_mean_magnitude():
    # Mean magnitude 0.4, threshold 0.28; the mean of 0.9, 0.8 and 0.4 is 0.7.
    np.testing.assert_allclose(weights("ternary"), 0.7 * np.array([[1, 0, 0], [-1, 0, -1]]), rtol=1e-6)


def test_dorefa_with_two_bits_by_hand():
    # tanh w / (2 tanh 0.9) + 1/2 = 1, 0.430, 0.638, 0.036, 0.5, 0.235; times 3 rounds to 3, 1, 2, 0, 2, 1.
    levels = weight_precision("dorefa:2").quantise(LATENT).levels
    np.testing.assert_array_equal(levels.numpy(), [[3, -1, 1], [-3, 1, -1]])
    assert weights("dorefa:2").max() == pytest.approx(0.9)
    np.testing.assert_array_equal(weights("dorefa:1"), weights("binary"))


def test_dorefa_with_many_bits_is_the_float_weight_where_tanh_is_straight():
    latent = LATENT / 100
    np.testing.assert_allclose(weights("dorefa:16", latent), latent.numpy(), atol=1e-6)


@given(
    st.sampled_from(NAMES),
    arrays(np.float32, (3, 5), elements=st.floats(-1e6, 1e6, width=32)),
)
def test_no_latent_weight_leaves_the_levels(name, latent):
    precision = weight_precision(name)
    found = precision.quantise(torch.from_numpy(latent))
    assert len(np.unique(found.levels)) <= precision.n_levels <= 2**precision.bits
    assert bool(torch.isfinite(found.weight).all())
    # The opposite latent weights are the opposite weights, save where a sign or a rounding is a tie.
    opposite = precision.quantise(torch.from_numpy(-latent))
    assert float(opposite.scale) == float(found.scale)


@given(st.text(max_size=12))
def test_a_name_is_known_or_refused_with_a_reason_in_both_places(name):
    table = {"name": "x", "dataset": "digits", "device": "optical-fibre", "trainer": "local"}
    try:
        validated(table | {"network": {"weights": name}}, "test")
    except ConfigError:
        with pytest.raises(ConfigError, match="weights"):
            weight_precision(name)
    else:
        weight_precision(name)


@pytest.mark.parametrize("name", ["dorefa:0", "dorefa:17", "dorefa:", "dorefa:four", "dorefa:٣", "ternery"])
def test_bits_that_are_none_are_refused(name):
    with pytest.raises(ConfigError, match="weights"):
        Stage(4, weights=name)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_goes_straight_through_and_the_forward_pass_sees_the_quantised_weight(name):
    rng = torch.Generator().manual_seed(0)
    linear = InterfaceMap(6, 4, weight_precision(name))
    features, weighting = torch.randn(9, 6, generator=rng), torch.randn(9, 4, generator=rng)
    z = linear(features)
    plain = linear.effective_weight.clone().requires_grad_()
    (z * weighting).sum().backward()
    same = torch.nn.functional.linear(features, plain, linear.bias.detach())
    (same * weighting).sum().backward()
    assert torch.equal(z, same)
    assert torch.equal(linear.weight.grad, plain.grad)


@pytest.fixture(scope="module")
def small_digits():
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(n_class=3, return_X_y=True)
    return inputs[:300] / 16.0, labels[:300]


def trained(data, name, trainer="local", **options):
    device = OpticalFibre(n_inputs=80, n_outputs=60, seed=1)
    network = PhysicalNetwork(hwloop.Session(device), [Stage(12, weights=name) for _ in range(2)], seed=2)
    hwloop.trainer(trainer, epochs=4, min_steps=100, seed=3, **options).fit(network, data[0][:200], data[1][:200])
    return network


@pytest.mark.parametrize(("name", "trainer"), [("binary", "local"), ("ternary", "phyll"), ("dorefa:2", "local")])
def test_a_trained_network_predicts_with_levels_alone(small_digits, name, trainer):
    inputs, labels = small_digits
    network = trained(small_digits, name, trainer)
    before = network.predict_proba(inputs[200:])
    assert (before.argmax(axis=1) == labels[200:]).mean() > 0.8
    # Put the quantised weight in place of the latent one, in floats: not one bit of the prediction may move.
    for stage in network.stages:
        quantised = stage.linear.effective_weight
        stage.linear.precision = None
        with torch.no_grad():
            stage.linear.weight.copy_(quantised)
    np.testing.assert_array_equal(network.predict_proba(inputs[200:]), before)


def test_a_checkpoint_keeps_latent_weights_levels_and_bits(small_digits, tmp_path, reseal):
    network, path = trained(small_digits, "ternary"), tmp_path / "network.safetensors"
    save_network(network, path)
    tensors = load_file(path)
    assert tensors["interface.0.levels"].dtype == torch.int8
    assert set(np.unique(tensors["interface.1.levels"])) <= {-1, 0, 1}
    assert '"weight_bits": [\n    2,\n    2\n  ]' in path.with_suffix(".json").read_text()
    again = load_network(path, network.sessions[0])
    rows = small_digits[0][200:]
    np.testing.assert_array_equal(again.predict_proba(rows), network.predict_proba(rows))

    tensors["interface.0.levels"] = -tensors["interface.0.levels"]
    save_file(tensors, path)
    reseal(path)
    with pytest.raises(CheckpointError, match=r"interface\.0\.levels does not follow"):
        load_network(path, network.sessions[0])


def test_float_weights_are_as_they_always_were(small_digits, tmp_path):
    network, path = trained(small_digits, "float"), tmp_path / "network.safetensors"
    save_network(network, path)
    assert not [name for name in load_file(path) if name.startswith("interface.")]
