"""The mesh of interferometers against linear optics: unitarity, decomposition, fringes, sinusoids, power."""

import numpy as np
import pytest
from scipy.stats import unitary_group

import hwloop
from hwloop.simulators.mach_zehnder.circuit import Layout
from hwloop.simulators.mach_zehnder.clements import ideal_settings
from hwloop.simulators.mach_zehnder.mesh import MachZehnderMesh

IDEAL = {"dac_bits": None, "adc_bits": None, "read_noise": 0.0, "phase_bits": None}


def mesh(**settings):
    return MachZehnderMesh(**{**IDEAL, **settings})


def random_tuning(device, seed=0):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, device.spec.n_tunables)


@pytest.mark.parametrize("n_modes", [2, 3, 4, 5, 8, 17])
def test_a_unitary_matrix_is_decomposed_and_put_together_again(n_modes):
    device = mesh(n_modes=n_modes)
    given = [unitary_group.rvs(n_modes, random_state=seed) for seed in range(3)]
    for matrix in (*given, np.eye(n_modes), np.eye(n_modes)[::-1]):
        tuning, outputs = ideal_settings(matrix)
        made = np.exp(1j * outputs)[:, np.newaxis] * device.transfer_matrix(tuning)
        np.testing.assert_allclose(made, matrix, atol=1e-9)
        np.testing.assert_allclose(device.ideal_tuning(matrix), tuning)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.ones((2, 2)), "not unitary"),
        (np.ones(3), "shape"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.eye(3), "3 modes"),
    ],
)
def test_what_is_no_unitary_matrix_of_this_size_is_refused(matrix, said):
    with pytest.raises(ValueError, match=said):
        mesh(n_modes=4).ideal_tuning(matrix)


def test_a_chip_is_unitary_with_any_errors_and_loses_what_its_loss_says():
    faulty = {"splitter_error": 0.2, "phase_error": 1.0, "crosstalk": 0.1}
    for n_modes in (4, 7):
        device = mesh(n_modes=n_modes, **faulty)
        matrix = device.transfer_matrix(random_tuning(device))
        np.testing.assert_allclose(matrix.conj().T @ matrix, np.eye(n_modes), atol=1e-12)
    lossy = mesh(n_modes=6, loss_db=1.0, **faulty)
    found = np.linalg.svd(lossy.transfer_matrix(random_tuning(lossy)), compute_uv=False)
    # six columns of interferometers, of which waveguides at the edge may miss three
    assert 10 ** (-6 / 20) - 1e-12 <= found.min() < found.max() <= 10 ** (-3 / 20) + 1e-12


@pytest.mark.parametrize("encoding", ["amplitude", "quadratures"])
def test_all_power_that_goes_in_comes_out(encoding):
    device = mesh(n_modes=5, encoding=encoding, exposure=0.2, splitter_error=0.1)
    rows = np.random.default_rng(0).uniform(-0.3, 0.3, (9, device.spec.n_inputs))
    with device:
        device.tune(random_tuning(device))
        np.testing.assert_allclose(device.measure(rows).sum(axis=1), np.square(rows).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("error", [0.0, 0.05, 0.2])
def test_one_interferometers_fringe_and_its_extinction(error):
    """Splitters off by d leave sin(2 d)**2 of the power where none should be; the other minimum stays dark."""
    device = mesh(n_modes=2, exposure=0.2)
    object.__setattr__(device.chip, "splitting", np.full((2, 1), np.pi / 4 + error))
    theta = np.linspace(-np.pi, np.pi, 201)
    powers = np.array([np.abs(device.transfer_matrix(np.array([t, 0.3]))[:, 0]) ** 2 for t in theta])
    leak = np.sin(2 * error) ** 2
    expected = leak + (1 - leak) * np.sin(theta / 2) ** 2
    np.testing.assert_allclose(powers[:, 0], expected, atol=1e-12)
    np.testing.assert_allclose(powers.sum(axis=1), 1.0)
    visibility = (powers[:, 0].max() - powers[:, 0].min()) / (powers[:, 0].max() + powers[:, 0].min())
    assert visibility == pytest.approx((1 - leak) / (1 + leak), abs=1e-3)


def test_intensities_are_sinusoids_of_every_phase_and_the_parameter_shift_is_the_derivative():
    device = mesh(n_modes=5, splitter_error=0.1, phase_error=0.5, loss_db=0.3, encoding="quadratures")
    rng = np.random.default_rng(1)
    stimuli, gradients = rng.uniform(-0.5, 0.5, (4, 10)), rng.normal(size=(4, 5))
    tuning = random_tuning(device) / 2
    turns = np.arange(5) * 2 * np.pi / 5 - np.pi
    with device:
        for place in (0, 7, 19):
            readings = []
            for turn in turns:
                device.tune(tuning + turn * (np.arange(20) == place))
                readings.append(device.measure(stimuli))
            spectrum = np.abs(np.fft.fft(readings, axis=0))
            assert spectrum[2].max() < 1e-4 * spectrum[1].max()  # nothing at twice the frequency
        shifted = np.empty(20)
        for place, frequency in enumerate(device.tuning_frequencies):
            both = []
            for sign in (1, -1):
                device.tune(tuning + sign * np.pi / (2 * frequency) * (np.arange(20) == place))
                both.append((gradients * device.measure(stimuli)).sum())
            shifted[place] = frequency * (both[0] - both[1]) / 2
        device.tune(tuning)
        np.testing.assert_allclose(shifted, device.pull_back_tuning(stimuli, gradients), atol=1e-5)


def test_heat_reaches_the_neighbours_alone():
    # four modes: columns of 2, 1, 2, 1; phi before theta along the light
    beside = Layout(4).neighbours()
    np.testing.assert_array_equal(beside, beside.T)
    theta, phi = range(6), range(6, 12)
    assert set(np.flatnonzero(beside[theta[0]])) == {theta[1], phi[0], phi[2]}
    assert set(np.flatnonzero(beside[phi[2]])) == {theta[0], theta[1], theta[2]}
    device = mesh(n_modes=4, crosstalk=0.1)
    set_one = np.zeros(12)
    set_one[theta[0]] = 1.0
    expected = set_one + 0.1 * beside[theta[0]]
    np.testing.assert_allclose(device.chip.phases(set_one), expected)


def test_a_soft_detector_is_no_sinusoid_and_phases_lie_on_their_steps():
    assert hwloop.open_device("mach-zehnder-mesh", saturation="soft").tuning_frequencies is None
    device = MachZehnderMesh(n_modes=4, phase_bits=5)
    tuning = device.ideal_tuning(unitary_group.rvs(4, random_state=0))
    steps = (tuning + 2 * np.pi) / (4 * np.pi / 32)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
