"""From features to stimuli: always within the limits, fitted on training rows only."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import hwloop
from hwloop.layers import Encoder
from hwloop.layers.encode import default_reference_slots, orthogonal_projection
from hwloop.layers.standardise import quantile

finite = st.floats(allow_nan=False, allow_infinity=False)
limits = st.floats(-1e9, 1e9)


@st.composite
def specs(draw) -> hwloop.DeviceSpec:
    n_inputs = draw(st.integers(1, 6))
    low = draw(arrays(np.float64, n_inputs, elements=limits))
    span = draw(arrays(np.float64, n_inputs, elements=st.floats(1e-3, 1e9)))
    if draw(st.booleans()):
        return hwloop.DeviceSpec(n_inputs, 1, float(low[0]), float(low[0] + span[0]))
    return hwloop.DeviceSpec(n_inputs, 1, low, low + span)


def fitted(spec: hwloop.DeviceSpec, features: np.ndarray, **options) -> Encoder:
    encoder = Encoder(spec, features.shape[1], **options)
    encoder.fit(torch.from_numpy(features))
    return encoder


def encoded(encoder: Encoder, features: np.ndarray) -> np.ndarray:
    return encoder(torch.from_numpy(np.asarray(features, dtype=float)))


BIPOLAR = hwloop.DeviceSpec(8, 1, -1.0, 1.0)
UNIPOLAR = hwloop.DeviceSpec(8, 1, 0.0, 5.0)


@given(
    spec=specs(),
    data=st.data(),
    shape=array_shapes(min_dims=2, max_dims=2, max_side=8),
    scaling=st.sampled_from(["global", "channel"]),
)
def test_whatever_the_data_every_stimulus_is_within_the_limits(spec, data, shape, scaling):
    train = data.draw(arrays(np.float64, shape, elements=finite))
    later = data.draw(arrays(np.float64, shape, elements=finite))
    encoder = fitted(spec, train, scaling_name=scaling)
    for features in (train, later):
        stimuli = encoded(encoder, features)
        assert stimuli.shape == (len(features), spec.n_inputs)
        assert ((stimuli >= spec.low) & (stimuli <= spec.high)).all()  # False for NaN


def test_features_that_fit_drive_a_channel_each_and_the_rest_of_the_channels_stay_at_mid_range():
    features = np.random.default_rng(0).normal(size=(500, 3))
    encoder = fitted(UNIPOLAR, features)
    stimuli = encoded(encoder, features)
    assert encoder.is_direct
    for channel in range(3):
        assert np.corrcoef(features[:, channel], stimuli[:, channel])[0, 1] > 0.999
    np.testing.assert_array_equal(stimuli[:, 3:], 2.5)


def test_the_mean_rests_at_mid_range_and_all_but_the_outliers_are_encoded_without_clipping():
    features = np.random.default_rng(1).normal(3.0, 2.0, size=(4000, 4))
    stimuli = encoded(fitted(UNIPOLAR, features), features)
    np.testing.assert_allclose(stimuli[:, :4].mean(axis=0), 2.5, atol=0.02)
    clipped = np.isin(stimuli[:, :4], (0.0, 5.0)).mean()
    assert 0.001 < clipped <= 0.004


def test_the_encoding_is_affine_where_it_does_not_clip():
    features = np.random.default_rng(2).normal(size=(300, 4))
    encoder = fitted(BIPOLAR, features)
    zero, a, b = (
        encoded(encoder, row[None])[0] for row in (0 * features[0], 0.1 * features[0], 0.1 * features[1])
    )
    both = encoded(encoder, 0.1 * (features[0] + features[1])[None])[0]
    np.testing.assert_allclose(both - zero, (a - zero) + (b - zero), atol=1e-12)


def test_a_global_scale_keeps_relative_strengths_and_a_channel_scale_lets_each_fill_its_range():
    features = np.random.default_rng(3).normal(size=(1000, 2)) * [1.0, 100.0]
    together = encoded(fitted(BIPOLAR, features, scaling_name="global"), features)[:, :2].std(axis=0)
    apart = encoded(fitted(BIPOLAR, features, scaling_name="channel"), features)[:, :2].std(axis=0)
    assert together[1] / together[0] == pytest.approx(100, rel=0.1)
    assert apart[1] / apart[0] == pytest.approx(1, rel=0.2)


def test_limits_of_each_channel_are_filled_by_their_own_channel():
    spec = hwloop.DeviceSpec(3, 1, np.array([0.0, -5.0, 100.0]), np.array([1.0, 5.0, 300.0]))
    features = np.random.default_rng(4).uniform(-1, 1, size=(1000, 3))
    stimuli = encoded(fitted(spec, features, reference_slots=0), features)
    np.testing.assert_allclose(stimuli.min(axis=0), spec.low, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(stimuli.max(axis=0), spec.high, rtol=0.02)


@pytest.mark.parametrize("scaling", ["global", "channel"])
@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3e5])
def test_a_feature_that_never_varied_in_training_rests_at_mid_range_also_when_it_varies_later(scaling, constant):
    features = np.random.default_rng(5).normal(size=(97, 3))
    features[:, 1] = constant  # the mean of 97 times 0.1 is not exactly 0.1
    encoder = fitted(BIPOLAR, features, scaling_name=scaling)
    later = features.copy()
    later[:, 1] += 3.0
    for rows in (features, later):
        np.testing.assert_array_equal(encoded(encoder, rows)[:, 1], 0.0)


def test_fitting_sees_the_training_rows_only():
    train, test = np.random.default_rng(6).normal(size=(2, 50, 3))
    encoder = fitted(BIPOLAR, train)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoded(encoder, 1000 * test)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_a_row_is_encoded_the_same_in_every_batch_also_where_it_is_projected():
    features = np.random.default_rng(7).normal(size=(150, 33))
    encoder = fitted(BIPOLAR, features)
    together = encoded(encoder, features)
    for rows in ([3], [149, 3], list(range(149, -1, -1))):
        np.testing.assert_array_equal(encoded(encoder, features[rows]), together[rows])


@given(
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=30), elements=finite),
    st.randoms(use_true_random=False),
)
def test_the_fit_does_not_depend_on_the_order_of_the_rows_to_the_last_bit(features, random):
    order = random.sample(range(len(features)), len(features))
    first, second = fitted(BIPOLAR, features), fitted(BIPOLAR, features[order])
    np.testing.assert_array_equal(encoded(first, features), encoded(second, features))


def test_the_mean_is_the_mean():
    features = np.random.default_rng(11).normal([1e-9, 3.0, -1e12], [1e-9, 5.0, 1e10], size=(1347, 3))
    np.testing.assert_allclose(fitted(BIPOLAR, features).mean, features.mean(axis=0), rtol=1e-10)


# -- projection ----------------------------------------------------------------------------------------


def test_features_that_do_not_fit_are_projected_and_the_log_says_so(caplog):
    features = np.random.default_rng(8).normal(size=(100, 30))
    with caplog.at_level(logging.INFO, logger="hwloop"):
        encoder = fitted(BIPOLAR, features)
    assert not encoder.is_direct
    assert encoder.n_data == 7  # one of eight channels is the reference
    assert "30 features do not fit 7 free inputs" in caplog.text


@given(n_to=st.integers(1, 20), more=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_the_projection_has_orthonormal_columns(n_to, more, seed):
    projection = orthogonal_projection(n_to + more, n_to, seed)
    torch.testing.assert_close(projection.T @ projection, torch.eye(n_to, dtype=torch.float64))


def test_the_projection_is_isotropic_and_belongs_to_its_seed():
    # Haar measure: the mean square of every element is 1/n_from, and its mean is zero.
    drawn = np.array([orthogonal_projection(6, 2, seed).numpy() for seed in range(4000)])
    np.testing.assert_allclose(np.square(drawn).mean(axis=0), 1 / 6, atol=0.02)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.03)
    torch.testing.assert_close(orthogonal_projection(6, 2, 5), orthogonal_projection(6, 2, 5), rtol=0, atol=0)


# -- reference and controls ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "slots"),
    [(-1.0, 1.0, 10), (0.0, 1.0, 0), (-2.0, -1.0, 0), (-1.0, 0.0, 0)],
)
def test_only_a_device_of_both_signs_gets_a_reference_by_default(low, high, slots):
    assert default_reference_slots(hwloop.DeviceSpec(110, 1, low, high)) == slots


@pytest.mark.parametrize("n_inputs", range(1, 40))
def test_the_default_reference_always_leaves_room_for_data(n_inputs):
    assert default_reference_slots(hwloop.DeviceSpec(n_inputs, 1, -1.0, 1.0)) < n_inputs


def test_the_reference_stands_at_the_upper_limit_and_controls_before_it_in_every_row():
    high = np.arange(1.0, 9.0)
    spec = hwloop.DeviceSpec(8, 1, -high, high)
    features = np.random.default_rng(9).normal(size=(20, 3))
    stimuli = encoded(fitted(spec, features, reference_slots=2, controls=(0.5, -1.5)), features)
    np.testing.assert_array_equal(stimuli[:, 4:], np.tile([0.5, -1.5, 7.0, 8.0], (20, 1)))
    np.testing.assert_array_equal(stimuli[:, 3], 0.0)


def test_a_reference_lets_a_quadratic_detector_see_the_sign_of_its_input():
    rng = np.random.default_rng(10)
    t = rng.normal(size=(8, 30)) + 1j * rng.normal(size=(8, 30))
    features = rng.normal(size=(200, 3))

    def asymmetry(slots: int) -> float:
        encoder = fitted(BIPOLAR, features, reference_slots=slots)
        encoder.mean.zero_()
        plus, minus = (np.abs(encoded(encoder, sign * features) @ t) ** 2 for sign in (1, -1))
        return float(np.abs(plus - minus).mean() / (plus + minus).mean())

    assert asymmetry(0) < 1e-12
    assert asymmetry(1) > 0.1


@pytest.mark.parametrize("value", [-0.1, 5.1, float("nan"), float("inf")])
def test_a_control_outside_the_limits_is_refused_not_clipped(value):
    with pytest.raises(hwloop.LimitError, match="control on channel 6"):
        Encoder(UNIPOLAR, 3, controls=(value, 2.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference_slots": 8}, "leave none"),
        ({"reference_slots": 4, "controls": (0.0,) * 4}, "leave none"),
        ({"reference_slots": -1}, "negative"),
        ({"scaling_name": "globl"}, "did you mean 'global'"),
    ],
)
def test_options_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(hwloop.ConfigError, match=message):
        Encoder(BIPOLAR, 3, **options)


def test_data_of_another_width_than_trained_are_refused():
    encoder = fitted(BIPOLAR, np.zeros((2, 3)))
    with pytest.raises(hwloop.ConfigError, match=r"built for 3 features .* shape \(1, 4\)"):
        encoded(encoder, np.zeros((1, 4)))


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)), st.floats(0, 1))
def test_the_quantile_is_a_value_with_that_share_at_or_below_it(values, share):
    found = float(quantile(torch.from_numpy(values), share))
    assert found in values
    assert (values <= found).mean() >= share - 0.5 / len(values) - 1e-9
