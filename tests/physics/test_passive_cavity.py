"""The passive cavity against closed forms: impulse response, decay, energy, echo states, an unrolled line."""

import numpy as np
import pytest

from hwloop import open_device
from hwloop.errors import ConfigError

QUIET = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None}


def cavity(steps, nodes, **settings):
    settings = {"sequence_length": steps, "full_scale": 1.0, "bias": 0.0, "readout": "all", **QUIET} | settings
    return open_device("passive-cavity", n_inputs=steps, n_nodes=nodes, **settings)


def test_the_answer_to_an_impulse_goes_round_and_decays():
    # One pulse, then dark: |a|^2 is shifted by the excess nodes every cycle and loses gain^2.
    device = cavity(40, 7, excess_nodes=2, round_trip_gain=0.8, mask="phase")
    impulse = np.zeros((1, 40))
    impulse[0, 0] = 1.0
    light = device.measure(impulse).ravel()  # in time: a round trip is nine nodes
    np.testing.assert_allclose(light[:7], 1.0, rtol=1e-6)  # the mask has phases alone
    np.testing.assert_allclose(light[7:9], 0.0, atol=1e-12)
    np.testing.assert_allclose(light[9:], 0.8**2 * light[:-9], rtol=1e-5, atol=1e-12)
    # Energy: what was coupled in leaves as a geometric series, 7 / (1 - gain^2).
    assert light.sum() == pytest.approx(7 * (1 - 0.8 ** (2 * 31)) / (1 - 0.8**2), rel=1e-4)


def test_constant_light_builds_up_as_an_airy_function():
    # A cavity of one node: |E / (1 - g exp(i phase))|^2, largest on resonance.
    for phase in (0.0, 0.7, np.pi):
        device = cavity(200, 1, excess_nodes=0, round_trip_gain=0.9, round_trip_phase=phase, mask="binary")
        settled = device.measure(np.full((1, 200), 0.5))[0, -1]
        assert settled == pytest.approx(0.25 / abs(1 - 0.9 * np.exp(1j * phase)) ** 2, rel=1e-4)


@pytest.mark.parametrize("encoding", ["amplitude", "phase"])
def test_it_is_an_unrolled_line_of_nodes(encoding):
    nodes, steps, excess, gain = 5, 12, 3, 0.85 * np.exp(0.4j)
    device = cavity(
        2 * steps, nodes, sequence_length=steps, excess_nodes=excess, round_trip_gain=0.85, round_trip_phase=0.4,
        encoding=encoding, input_scale=0.6, bias=0.3, seed=2,
    )  # fmt: skip
    rows = np.random.default_rng(0).uniform(-1, 1, (3, 2 * steps))
    mask = device._drawn_mask()
    for row, read in zip(rows, device.measure(rows), strict=True):
        field = []
        for u in row.reshape(steps, 2):
            for i in range(nodes):
                if encoding == "amplitude":
                    light = sum((0.6 * u[j] + 0.3) * mask[j, i] for j in range(2)) / np.sqrt(2)
                else:
                    light = np.exp(1j * (0.6 * (u @ mask[:, i].real) / np.sqrt(2) + 0.3))
                k = len(field) - nodes - excess
                field.append(light + (gain * field[k] if k >= 0 else 0))
        np.testing.assert_allclose(read, np.abs(field) ** 2, rtol=1e-5, atol=2e-6)


def test_two_histories_differ_by_the_gain_a_cycle_whatever_follows():
    # |a|^2 differs by at most |d| (2 |a| + |d|), d = gain^n times the difference of the fields.
    device = cavity(60, 6, round_trip_gain=0.7, bias=0.5)
    rng = np.random.default_rng(1)
    rows = np.tile(rng.uniform(-1, 1, 60), (2, 1))
    rows[1, :20] = rng.uniform(-1, 1, 20)
    one, other = device.measure(rows).reshape(2, 60, 6)
    apart = np.abs(np.sqrt(one) - np.sqrt(other)).max(axis=1)
    largest = 2 * np.sqrt(3) * 1.5 / (1 - 0.7)  # of the fields' difference: mask and light at their limits
    after = np.arange(60) - 19
    assert (apart[20:] <= largest * 0.7 ** after[20:] + 1e-5).all()
    assert apart[19] > 0.1


def test_the_length_creeps_and_a_quiet_one_does_not():
    row = np.full((1, 8), 0.3)
    device = cavity(8, 4, phase_drift_per_row=1e-3)
    crept = device.measure(np.repeat(row, 101, axis=0))[100]
    np.testing.assert_allclose(crept, cavity(8, 4, round_trip_phase=0.6).measure(row)[0], atol=1e-5)
    np.testing.assert_allclose(device.noiseless().measure(row), cavity(8, 4).measure(row))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"round_trip_gain": 1.0}, "nearest allowed value is 0.9999"),
        ({"excess_nodes": 9}, "nearest allowed value is 4"),
        ({"mask": "phase", "encoding": "phase"}, "of the amplitude"),
        ({"sequence_length": 3}, "nearest allowed value is"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(settings, said):
    with pytest.raises(ConfigError, match=said):
        cavity(8, 4, **settings)
