"""Noise that belongs to the row: independent of batching, seekable, independent between seeds and names."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop.device.streams import NoiseStream
from hwloop.simulators.optical_fibre import OpticalFibre

ALL_NOISE = {
    "read_noise": 0.02,
    "full_well_electrons": 500.0,
    "gain_jitter": 0.05,
    "glitch_rate": 0.1,
    "drift_per_row": 1e-3,
}
STIMULI = np.random.default_rng(0).uniform(-0.4, 0.4, (300, 24))


def fibre(encoding="amplitude", **settings):
    return OpticalFibre(n_inputs=24, n_outputs=37, encoding=encoding, **settings)


@pytest.fixture(scope="module")
def noisy_responses():
    return fibre(**ALL_NOISE).measure(STIMULI)


@examples(25)
@given(st.lists(st.integers(0, 300), max_size=6))
def test_noise_of_a_row_does_not_depend_on_batching(noisy_responses, cuts):
    device = fibre(**ALL_NOISE)
    parts = [device.measure(part) for part in np.split(STIMULI, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(parts), noisy_responses)


@pytest.mark.parametrize("row", [0, 1, 127, 128, 250])
def test_a_device_can_be_set_to_any_row(noisy_responses, row):
    device = fibre(**ALL_NOISE)
    device.rows_measured = row
    np.testing.assert_array_equal(device.measure(STIMULI[row:]), noisy_responses[row:])
    assert device.rows_measured == 300


@pytest.mark.parametrize("encoding", ["amplitude", "phase"])
def test_noiseless_rows_are_bit_identical_in_every_batch_and_place(encoding):
    device = fibre(encoding, dac_bits=None, adc_bits=None, **ALL_NOISE).noiseless()
    stimuli = np.abs(STIMULI)
    together = device.measure(stimuli)
    one_by_one = np.concatenate([device.measure(row[np.newaxis]) for row in stimuli])
    np.testing.assert_array_equal(together, one_by_one)
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(device.measure(stimuli[order]), together[order])
    for cuts in ([1], [64, 65], [127, 255], [3, 4, 200]):
        parts = [device.measure(part) for part in np.split(stimuli, cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


def test_different_seeds_have_independent_noise_and_matrices():
    settings = {"read_noise": 0.1, "adc_bits": None, "n_outputs": 2000, "n_inputs": 24}
    dark = np.zeros((5, 24))
    one, other = (OpticalFibre(seed=seed, **settings) for seed in (1, 2))
    noise = np.corrcoef(one.measure(dark).ravel(), other.measure(dark).ravel())[0, 1]
    assert abs(noise) < 0.05
    overlap = np.vdot(one.transmission_matrix, other.transmission_matrix) / one.transmission_matrix.size
    assert abs(overlap) < 0.03
    again = OpticalFibre(seed=1, **settings)
    np.testing.assert_array_equal(again.measure(dark), OpticalFibre(seed=1, **settings).measure(dark))


def test_rows_and_names_have_independent_numbers():
    read, gain = (NoiseStream(0, name).normals(0, 200, 500) for name in ("read", "gain"))
    assert abs(np.corrcoef(read.ravel(), gain.ravel())[0, 1]) < 0.02
    assert np.abs(np.corrcoef(read) - np.eye(200)).max() < 6 / np.sqrt(500)
    assert not np.array_equal(NoiseStream(0, "read").normals(1, 1, 9), NoiseStream(1, "read").normals(0, 1, 9))


def test_switching_one_noise_on_leaves_the_others_as_they_were():
    settings = {"adc_bits": None, "read_noise": 0.02}
    plain = fibre(**settings).measure(STIMULI)
    with_glitches = fibre(glitch_rate=0.2, **settings).measure(STIMULI)
    same = (plain == with_glitches).all(axis=1)
    assert 0.7 < same.mean() < 0.9


def test_far_rows_are_reached_at_once():
    stream = NoiseStream(0, "read")
    far = stream.normals(2**62, 2, 8)
    np.testing.assert_array_equal(far[1], stream.normals(2**62 + 1, 1, 8)[0])
