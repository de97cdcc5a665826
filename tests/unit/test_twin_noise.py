"""The noise of a twin against noise of known size, correlation and dependence on the response."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop import twin
from hwloop.twin.linear import AffineCandidate

MATRIX = np.array([[1.0, 0.5, 0.0], [0.2, 1.0, 0.3], [0.1, 0.4, 1.0], [1.0, 0.0, 1.0]])
OFFSET = np.array([0.0, 1.0, 2.0])


def fitted(noise, rows=6000, seed=0):
    """A twin of a linear device with noise: a function of the true response and a generator."""
    rng = np.random.default_rng(7)
    x = rng.random((rows, 4))
    y = x @ MATRIX + OFFSET
    return twin.fit(x, y + noise(y, rng), seed=seed, candidates=(AffineCandidate(),))


def noise_of(device, stimulus, rows=4000):
    x = np.tile(stimulus, (rows, 1))
    return device.measure(x) - device.noiseless().measure(x)


@pytest.fixture(scope="module")
def additive():
    return fitted(lambda y, rng: np.array([0.05, 0.1, 0.2]) * rng.normal(size=y.shape))


def test_additive_noise_has_the_measured_size_at_every_response(additive):
    for stimulus in (np.full(4, 0.1), np.full(4, 0.9)):
        np.testing.assert_allclose(noise_of(additive, stimulus).std(axis=0), [0.05, 0.1, 0.2], rtol=0.2)
        np.testing.assert_allclose(noise_of(additive, stimulus).mean(axis=0), 0, atol=0.02)


def test_common_gain_jitter_scales_with_the_response_and_moves_all_outputs_together():
    device = fitted(lambda y, rng: 0.03 * y * rng.normal(size=(len(y), 1)))
    low, high = np.full(4, 0.1), np.full(4, 0.9)
    for stimulus in (low, high):
        response = stimulus @ MATRIX + OFFSET
        noise = noise_of(device, stimulus)
        np.testing.assert_allclose(noise.std(axis=0), 0.03 * response, rtol=0.25)
        assert np.all(np.corrcoef(noise.T) > 0.95)


def test_independent_noise_stays_independent(additive):
    correlation = np.corrcoef(noise_of(additive, np.full(4, 0.5)).T) - np.eye(3)
    assert np.all(np.abs(correlation) < 0.15)


def test_glitches_come_back_at_their_rate():
    def glitches(y, rng):
        lost = rng.random((len(y), 1)) < 0.03
        return 0.01 * rng.normal(size=y.shape) + 50 * lost

    noise = noise_of(fitted(glitches), np.full(4, 0.5))
    assert np.mean(noise[:, 0] > 10) == pytest.approx(0.03, abs=0.015)
    assert np.median(np.abs(noise[:, 0])) < 0.02


def test_a_device_without_noise_gives_a_twin_without_noise():
    device = fitted(lambda y, rng: 0 * y)
    assert np.abs(noise_of(device, np.full(4, 0.5))).max() < 1e-5


@examples(30)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=5), st.integers(0, 2**40))
def test_noise_depends_on_seed_and_row_alone(additive, batches, first):
    x = np.tile(np.full(4, 0.5), (sum(batches), 1))
    whole, parts = additive.reseeded(3), additive.reseeded(3)
    whole.rows_measured = parts.rows_measured = first
    expected = whole.measure(x)
    ends = np.cumsum(batches)
    got = np.concatenate([parts.measure(part) for part in np.split(x, ends[:-1])])
    np.testing.assert_array_equal(got, expected)
    assert parts.rows_measured == first + len(x)


def test_another_seed_is_other_noise_and_repeats_differ(additive):
    x = np.full((50, 4), 0.5)
    device = additive.reseeded(1)
    first = device.measure(x)
    assert not np.array_equal(first, device.measure(x))
    assert not np.array_equal(first, additive.reseeded(2).measure(x))
    np.testing.assert_array_equal(first, additive.reseeded(1).measure(x))
    assert not device.spec.deterministic


def test_identity_tells_twins_of_different_data_apart(additive):
    other = fitted(lambda y, rng: 0.1 * rng.normal(size=y.shape))
    assert additive.identify() != other.identify()
    assert "seed 9" in additive.reseeded(9).identify()
    assert "noiseless" in additive.noiseless().identify()
