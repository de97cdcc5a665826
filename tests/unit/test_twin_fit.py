"""Twins of devices whose truth is known: what is fitted must be the device, to within its noise."""

import numpy as np
import pytest
from examples import each_row, examples
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop import twin
from hwloop.errors import DatasetError, LimitError
from hwloop.twin import mlp
from hwloop.twin.fitting import _rounded_range
from hwloop.twin.linear import AffineCandidate
from hwloop.twin.mlp import Perceptron
from hwloop.twin.modulus import Modulus

N_INPUTS, N_OUTPUTS, ROWS = 12, 9, 1500
NOISE = 0.02  # relative to each output's standard deviation
FAST = (AffineCandidate(), Modulus())


def stimuli(rows=ROWS, seed=1):
    return np.random.default_rng(seed).random((rows, N_INPUTS))


def linear_device(x, seed=2):
    rng = np.random.default_rng(seed)
    return x @ rng.normal(size=(N_INPUTS, N_OUTPUTS)) + rng.normal(size=N_OUTPUTS)


def field_matrix(seed=3):
    real, imaginary = np.random.default_rng(seed).normal(size=(2, N_INPUTS, N_OUTPUTS))
    return real + 1j * imaginary


def interference_device(x):
    return np.abs(x @ field_matrix())


def saturating_device(x):
    intensity = np.abs((x - 0.5) @ field_matrix()) ** 2
    return intensity / (1 + intensity)


def noisy(y, seed=4, glitches=0.0):
    rng = np.random.default_rng(seed)
    y = y + NOISE * y.std(axis=0) * rng.normal(size=y.shape)
    lost = rng.random(len(y)) < glitches
    y[lost] = 3 * y.max() * rng.random((lost.sum(), y.shape[1]))
    return y


def relative_error(device, truth):
    """Root mean square error of the twin's model on fresh stimuli, over the truth's standard deviation."""
    fresh = stimuli(rows=500, seed=99).clip(device.spec.low, device.spec.high)
    answer, true = device.noiseless().measure(fresh), truth(fresh)
    return np.sqrt(np.mean((answer - true) ** 2, axis=0)) / true.std(axis=0)


@pytest.mark.parametrize(
    ("truth", "winner", "parameters"),
    [(linear_device, "linear", N_INPUTS + 1), (interference_device, "modulus", 2 * N_INPUTS + 2)],
)
def test_a_device_of_known_form_is_recovered_to_its_noise_floor(truth, winner, parameters):
    x = stimuli()
    device = twin.fit(x, noisy(truth(x)), candidates=FAST)
    # Least squares with p parameters leaves an error of noise * sqrt(p / rows); Huber's costs 5 % more.
    assert np.all(relative_error(device, truth) < 2 * NOISE * np.sqrt(parameters / ROWS))
    assert device.report.score.nrmse == pytest.approx(NOISE, rel=0.15)
    if winner == "modulus":
        assert device.report.winner == "modulus"
    else:  # the modulus contains the affine map as a limit, and may tie
        linear = next(score for score in device.report.candidates if score.name == "linear")
        assert linear.nrmse == pytest.approx(NOISE, rel=0.15)


def test_the_transmission_matrix_is_recovered_up_to_the_phase_that_no_camera_sees():
    x = stimuli()
    device = twin.fit(x, interference_device(x), candidates=(Modulus(),))
    found = device.model.matrix / device.scaling.spread[:, None]
    for recovered, true in zip(found.T, field_matrix().T, strict=True):
        norms = np.linalg.norm(recovered) * np.linalg.norm(true)
        # Only |A x| is measured, and x is real: A, exp(i phi) A and its conjugate are the same device.
        overlap = max(abs(np.vdot(recovered, true)), abs(np.vdot(recovered.conj(), true))) / norms
        assert overlap == pytest.approx(1, abs=1e-4)
        assert np.linalg.norm(recovered) == pytest.approx(np.linalg.norm(true), rel=1e-3)


@pytest.mark.parametrize("truth", [linear_device, interference_device])
def test_glitches_in_three_percent_of_the_rows_do_not_spoil_the_fit(truth):
    x = stimuli()
    clean = twin.fit(x, noisy(truth(x)), candidates=FAST)
    spoilt = twin.fit(x, noisy(truth(x), glitches=0.03), candidates=FAST)
    assert spoilt.report.winner == clean.report.winner or truth is linear_device
    assert relative_error(spoilt, truth).mean() < 2 * relative_error(clean, truth).mean()


@pytest.mark.slow
def test_a_form_that_is_neither_falls_to_the_perceptron():
    x = stimuli(rows=4000)
    device = twin.fit(x, noisy(saturating_device(x)))
    assert device.report.winner == "mlp"
    errors = {score.name: score.nrmse for score in device.report.candidates}
    assert set(errors) == {"linear", "modulus", "mlp"}
    assert errors["mlp"] < 0.5 * errors["linear"]
    assert "* mlp" in str(device.report)


def test_scores_by_hand():
    measured = np.array([[0.0, 10.0], [2.0, 20.0], [4.0, 30.0]])
    predicted = np.array([[0.0, 10.0], [2.0, 20.0], [2.0, 40.0]])
    score = twin.CandidateScore.of("by hand", predicted, measured)
    np.testing.assert_allclose(score.r2_per_output, [1 - 4 / 8, 1 - 100 / 200])
    assert score.r2_variance_weighted == pytest.approx(1 - 104 / 208)
    assert score.nrmse == pytest.approx(np.sqrt(0.5))
    assert score.r2_uniform == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_twin_and_leaves_global_generators_alone(monkeypatch):
    import torch

    monkeypatch.setattr(mlp, "STEPS", 40)
    x = stimuli(rows=60)
    y = noisy(saturating_device(x))
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first, second = (twin.fit(x, y, seed=5, candidates=(Perceptron(),)).measure(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_limits_are_the_range_of_the_fitted_stimuli():
    x = stimuli() * 0.4 + 0.1
    device = twin.fit(x, linear_device(x), candidates=(AffineCandidate(),))
    np.testing.assert_allclose(device.spec.low, 0.1, atol=1e-12)
    np.testing.assert_allclose(device.spec.high, 0.5, atol=1e-12)
    device.measure(x)
    with pytest.raises(LimitError, match="row 0, channel 0"):
        device.measure(np.full((1, N_INPUTS), 0.52))


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=20),
)
def test_a_rounded_range_holds_the_data_and_little_more(values):
    column = np.array(values)[:, None]
    (low,), (high,) = _rounded_range(column)
    width = np.ptp(column)
    assert low <= column.min() <= column.max() <= high
    assert low < high
    slack = 0.1 * width + 4e-16 * np.abs(column).max() + 5e-324
    assert low >= column.min() - slack
    assert high <= column.max() + slack


def test_a_channel_that_never_moved_stays_where_it_was():
    x = stimuli()
    x[:, 4] = 0.3
    device = twin.fit(x, linear_device(x), candidates=FAST)
    device.measure(x)
    with pytest.raises(LimitError):
        device.measure(x + 1e-6 * (np.arange(N_INPUTS) == 4))


@pytest.mark.parametrize("constant", each_row([0.0, 2.5], 2.5))
def test_an_output_that_never_changes_is_no_trouble(monkeypatch, constant):
    monkeypatch.setattr(mlp, "STEPS", 40)  # the linear candidate wins here
    x = stimuli(rows=300)
    y = linear_device(x)
    y[:, 0] = constant
    device = twin.fit(x, y)
    np.testing.assert_allclose(device.measure(x)[:, 0], constant, atol=2e-2)
    assert np.all(np.isfinite(device.report.score.r2_per_output))


def test_fewer_rows_than_inputs_still_give_a_device(monkeypatch):
    monkeypatch.setattr(mlp, "STEPS", 40)
    rng = np.random.default_rng(0)
    x = rng.random((30, 50))
    assert np.all(np.isfinite(twin.fit(x, x[:, :3]).measure(x)))


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (np.ones((30, 2)), np.ones((29, 2)), "shapes are"),
        (np.ones(30), np.ones(30), "shapes are"),
        (np.ones((10, 2)), np.ones((10, 2)), "at least 20 measured rows"),
        (np.ones((30, 0)), np.ones((30, 2)), "one input"),
        (np.ones((30, 2)), np.full((30, 2), np.nan), "response of row 0, channel 0 is nan"),
        (np.full((30, 2), np.inf), np.ones((30, 2)), "stimulus of row 0, channel 0 is inf"),
        ([["a"]] * 30, np.ones((30, 1)), "real numbers"),
    ],
)
def test_pairs_that_cannot_be_fitted_are_refused(inputs, outputs, message):
    with pytest.raises(DatasetError, match=message):
        twin.fit(inputs, outputs)


@examples(20)
@given(st.data())
def test_a_noiseless_row_is_the_same_to_the_last_bit_in_every_batch(fitted_twins, data):
    device = data.draw(st.sampled_from(fitted_twins)).noiseless()
    assert device.spec.deterministic
    pool = stimuli(rows=300, seed=8).clip(device.spec.low, device.spec.high)
    whole = device.measure(pool)
    chosen = data.draw(st.lists(st.integers(0, 299), min_size=1, max_size=200))
    np.testing.assert_array_equal(device.measure(pool[chosen]), whole[chosen])


@pytest.fixture(scope="module")
def fitted_twins():
    x = stimuli(rows=200)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlp, "STEPS", 40)  # how well it fits does not matter here
        devices = [
            twin.fit(x, noisy(interference_device(x)), candidates=(candidate,))
            for candidate in twin.fitting.default_candidates()
        ]
    assert all(isinstance(device, hwloop.Device) for device in devices)
    return devices
