"""Loops whose inside is tuned: gain, phase, bias and mask are what settings would be, and the loop contracts."""

import numpy as np
import pytest

from hwloop import open_device
from hwloop.errors import ConfigError, LimitError

QUIET = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None}
STEPS, NODES = 40, 6
LOOPS = {
    "delay-loop": {"model": "sine", "laps_per_step": 1, "excess_nodes": 1, "node_spacing": 50.0, "gain": 0.7},
    "passive-cavity": {"round_trip_gain": 0.7, "mask": "phase"},
}


def loop(name, **settings):
    settings = {**LOOPS[name], "n_inputs": STEPS, "n_nodes": NODES, "sequence_length": STEPS, **settings}
    return open_device(name, readout="all", **QUIET, **settings)


def rows(count=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, STEPS))


@pytest.mark.parametrize("name", LOOPS)
def test_at_rest_it_is_the_loop_of_its_settings(name):
    np.testing.assert_allclose(loop(name, tuned=True).measure(rows()), loop(name).measure(rows()), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "tuning", "settings"),
    [
        ("delay-loop", {"gain": 0.4, "bias": -0.3}, {"gain": 0.4, "bias": -0.3}),
        ("passive-cavity", {"gain": 0.4, "phase": 1.0, "bias": 0.9}, {
            "round_trip_gain": 0.4, "round_trip_phase": 1.0, "bias": 0.9,
        }),
    ],
)  # fmt: skip
def test_what_is_tuned_is_what_a_setting_would_be(name, tuning, settings):
    device = loop(name, tuned=True)
    with device:
        device.tune(tuning)
        tuned = device.measure(rows())
    np.testing.assert_allclose(tuned, loop(name, **settings).measure(rows()), atol=1e-6)


def test_another_mask_is_that_of_another_seed():
    device, other = loop("passive-cavity", tuned=True), loop("passive-cavity", seed=5)
    mask = other._drawn_mask().ravel()
    with device:
        device.tune({"mask_real": mask.real, "mask_imaginary": mask.imag})
        np.testing.assert_allclose(device.measure(rows()), other.measure(rows()), atol=1e-5)


@pytest.mark.parametrize("name", LOOPS)
def test_two_histories_come_together_at_the_largest_gain_that_can_be_set(name):
    # The contraction that the limit promises: a cycle shrinks what is left of a difference by 0.99 or more.
    device = loop(name, tuned=True)
    pair = rows(1).repeat(2, axis=0)
    pair[1, :5] = rows(1, seed=1)[0, :5]
    with device:
        device.tune({"gain": device.spec.tunable_high[0]})
        one, other = device.measure(pair).reshape(2, STEPS, NODES)
        with pytest.raises(LimitError, match="gain"):
            device.tune({"gain": device.spec.tunable_high[0] + 0.01})
    if name == "passive-cavity":  # the field's difference bounds that of the amplitudes
        one, other = np.sqrt(one), np.sqrt(other)
        apart = np.abs(one - other).max(axis=1)
        assert apart[-1] <= 0.99**34 * 2 * np.sqrt(2) * 5 / (1 - 0.99)
    else:
        apart = np.abs(one - other).max(axis=1)
        assert (apart[6:] <= 0.99 * np.maximum(apart[5:-1], apart[4:-2]) + 1e-6).all()


def test_the_tuned_mask_acts_on_its_node_first():
    device = loop("delay-loop", tuned=True)
    assert device.tunable_nodes.tolist() == [-1, -1, *range(NODES)]
    with device:
        before = device.measure(rows(1)).reshape(STEPS, NODES)
        tuning = device.tuning.copy()
        tuning[2 + 3] += 0.1
        device.tune(tuning)
        after = device.measure(rows(1)).reshape(STEPS, NODES)
    assert np.flatnonzero(np.abs(after - before)[0]).tolist() == [3]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("delay-loop", {"gain": 1.2}, "a tuned loop contracts"),
        ("passive-cavity", {"round_trip_gain": 0.995}, "a tuned cavity contracts"),
        ("delay-loop", {"streams": True}, "a stream is not tuned"),
    ],
)
def test_what_does_not_go_together_is_refused(name, settings, said):
    with pytest.raises(ConfigError, match=said):
        loop(name, tuned=True, **settings)
