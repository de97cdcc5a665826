"""The simulated fibre against the optics of random media: speckle, random matrices, focusing, drift."""

import numpy as np
import pytest
from scipy import stats

from hwloop.simulators.optical_fibre import OpticalFibre

IDEAL = {"dac_bits": None, "adc_bits": None, "read_noise": 0.0, "saturation": "hard"}
DIM = 1e-3  # an exposure at which no speckle grain reaches full scale


def intensities(fibre, stimuli):
    return fibre.measure(stimuli) / DIM


def typical_stimuli(rows, n_inputs, seed=0):
    """Amplitudes of random sign and a mean square of 1/5, which shall give a mean intensity of 1."""
    return np.sqrt(1 / 5) * np.random.default_rng(seed).choice([-1.0, 1.0], size=(rows, n_inputs))


class TestSpeckle:
    """Goodman, Speckle Phenomena in Optics (2007), section 3.2: fully developed polarised speckle."""

    @pytest.mark.parametrize("encoding", ["amplitude", "phase"])
    def test_mean_and_contrast_are_one(self, encoding):
        fibre = OpticalFibre(n_inputs=64, n_outputs=4000, encoding=encoding, exposure=DIM, **IDEAL)
        if encoding == "amplitude":
            stimuli = typical_stimuli(50, 64)
        else:
            stimuli = np.random.default_rng(0).uniform(0, 2 * np.pi, (50, 64))
        speckle = intensities(fibre, stimuli)
        assert speckle.mean() == pytest.approx(1.0, abs=0.02)
        assert speckle.std() / speckle.mean() == pytest.approx(1.0, abs=0.02)

    def test_intensities_are_exponential(self):
        fibre = OpticalFibre(n_inputs=64, n_outputs=5000, exposure=DIM, seed=3, **IDEAL)
        speckle = intensities(fibre, typical_stimuli(1, 64))[0]
        assert stats.kstest(speckle, "expon").pvalue > 0.01

    def test_exposure_scales_intensity_and_full_range_stimuli_are_allowed(self):
        stimulus = np.ones((1, 32))
        dim = OpticalFibre(n_inputs=32, n_outputs=3000, exposure=1e-4, **IDEAL).measure(stimulus)
        assert dim.mean() == pytest.approx(5e-4, rel=0.06)
        brighter = OpticalFibre(n_inputs=32, n_outputs=3000, exposure=2e-4, **IDEAL).measure(stimulus)
        np.testing.assert_allclose(brighter, 2 * dim, rtol=1e-12)

    def test_mean_response_of_the_soft_camera(self):
        # E[I / (1 + I)] over exponential I is 1 - e E1(1) = 0.40365.
        fibre = OpticalFibre(
            n_inputs=64, n_outputs=4000, dac_bits=None, adc_bits=None, read_noise=0.0, exposure=1.0
        )
        assert fibre.measure(typical_stimuli(50, 64)).mean() == pytest.approx(0.40365, abs=0.005)


class TestMatrices:
    def test_square_gaussian_matrix_has_ginibre_singular_values(self):
        # Quarter-circle law on [0, 2]: largest 2, mean 8 / (3 pi), in units of the root mean square.
        matrix = OpticalFibre(n_inputs=500, n_outputs=500).transmission_matrix
        singular = np.linalg.svd(matrix, compute_uv=False)
        rms = np.sqrt(np.mean(singular**2))
        assert singular.max() / rms == pytest.approx(2.0, abs=0.05)
        assert singular.mean() / rms == pytest.approx(8 / (3 * np.pi), abs=0.005)
        assert rms == pytest.approx(np.sqrt(500), rel=0.01)

    @pytest.mark.parametrize("n_outputs", [40, 90])
    def test_unitary_matrix_conserves_power(self, n_outputs):
        settings = {**IDEAL, "exposure": DIM, "matrix": "unitary"}
        fibre = OpticalFibre(n_inputs=40, n_outputs=n_outputs, **settings)
        stimuli = np.random.default_rng(1).uniform(-0.3, 0.3, (20, 40))
        power = 5 * np.mean(stimuli**2, axis=1)
        np.testing.assert_allclose(intensities(fibre, stimuli).mean(axis=1), power, rtol=1e-5)

    def test_unitary_matrix_with_fewer_outputs_has_orthonormal_rows(self):
        matrix = OpticalFibre(n_inputs=60, n_outputs=25, matrix="unitary").transmission_matrix
        np.testing.assert_allclose(matrix @ matrix.conj().T, 60 * np.eye(25), atol=1e-4)

    def test_given_matrix_is_the_physics_up_to_its_scale(self):
        rng = np.random.default_rng(2)
        matrix = 1e-5 * (rng.normal(size=(30, 20)) + 1j * rng.normal(size=(30, 20)))
        fibre = OpticalFibre(matrix=matrix, exposure=DIM, **IDEAL)
        stimuli = typical_stimuli(5, 20)
        expected = np.abs(stimuli @ matrix.T) ** 2 / np.mean(np.abs(matrix) ** 2) / 4
        np.testing.assert_allclose(intensities(fibre, stimuli), expected, rtol=1e-3, atol=1e-6)

    def test_phase_modulation_is_the_complex_product(self):
        fibre = OpticalFibre(n_inputs=20, n_outputs=30, encoding="phase", exposure=DIM, **IDEAL)
        phases = np.random.default_rng(3).uniform(0, 2 * np.pi, (5, 20))
        expected = np.abs(np.exp(1j * phases) @ fibre.transmission_matrix.T) ** 2 / 20
        np.testing.assert_allclose(intensities(fibre, phases), expected, rtol=1e-3, atol=1e-6)


class TestFocusing:
    """Vellekoop and Mosk, Opt. Lett. 32, 2309 (2007): phase-only enhancement pi / 4 (N - 1) + 1."""

    N = 256
    TARGETS = 40

    def enhancement(self, fibre, phases):
        targets = np.arange(len(phases))
        focused = intensities(fibre, np.mod(phases, 2 * np.pi))[targets, targets]
        rng = np.random.default_rng(5)
        background = intensities(fibre, rng.uniform(0, 2 * np.pi, (200, self.N)))[:, targets]
        return focused.mean() / background.mean()

    def fibre(self):
        return OpticalFibre(n_inputs=self.N, n_outputs=self.TARGETS, encoding="phase", exposure=DIM, **IDEAL)

    def test_with_the_known_matrix(self):
        fibre = self.fibre()
        expected = np.pi / 4 * (self.N - 1) + 1
        measured = self.enhancement(fibre, -np.angle(fibre.transmission_matrix))
        assert measured == pytest.approx(expected, rel=0.06)

    def test_with_the_matrix_measured_by_four_step_interferometry(self):
        # Each channel is stepped by 0, pi/2, pi, 3 pi/2 against the light of all the others.
        fibre = self.fibre()
        steps = []
        for step in range(4):
            stimuli = np.zeros((self.N, self.N))
            np.fill_diagonal(stimuli, step * np.pi / 2)
            steps.append(intensities(fibre, stimuli))
        field = (steps[0] - steps[2]) - 1j * (steps[1] - steps[3])  # 4 conj(reference) t_n, (N, outputs)
        measured = self.enhancement(fibre, -np.angle(field.T))
        assert measured == pytest.approx(np.pi / 4 * (self.N - 1) + 1, rel=0.08)


class TestDrift:
    def test_field_correlation_falls_exponentially(self):
        # abs(field correlation)**2 of two speckle patterns shows as their intensity correlation (Siegert).
        rate = 0.002
        fibre = OpticalFibre(n_inputs=32, n_outputs=8000, exposure=DIM, drift_per_row=rate, **IDEAL)
        stimulus = typical_stimuli(1, 32)
        first = fibre.measure(stimulus)[0]
        for age in (100, 400, 1500):
            fibre.rows_measured = age
            later = fibre.measure(stimulus)[0]
            expected = np.exp(-rate * age / 2) ** 2
            assert np.corrcoef(first, later)[0, 1] == pytest.approx(expected, abs=0.05)

    def test_mean_intensity_does_not_drift(self):
        fibre = OpticalFibre(n_inputs=32, n_outputs=8000, exposure=DIM, drift_per_row=0.01, **IDEAL)
        stimulus = typical_stimuli(1, 32)
        for age in (0, 70, 100_000):
            fibre.rows_measured = age
            assert intensities(fibre, stimulus).mean() == pytest.approx(1.0, abs=0.05)

    def test_drift_moves_within_a_batch_as_it_does_between_batches(self):
        stimuli = np.repeat(typical_stimuli(1, 16), 300, axis=0)
        whole, split = (OpticalFibre(n_inputs=16, n_outputs=9, drift_per_row=1e-3) for _ in range(2))
        together = whole.measure(stimuli)
        apart = np.concatenate([split.measure(part) for part in np.split(stimuli, [1, 5, 130, 299])])
        np.testing.assert_array_equal(together, apart)
