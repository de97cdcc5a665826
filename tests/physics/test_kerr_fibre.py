"""The nonlinear fibre against solitons, its linear limit, closed forms of modes, and the statistics of speckle."""

from functools import partial

import numpy as np
import pytest
import torch
from examples import each_row
from scipy import stats

from hwloop.simulators import optics
from hwloop.simulators.kerr_fibre import medium
from hwloop.simulators.kerr_fibre.fibre import NonlinearFibre
from hwloop.simulators.kerr_fibre.medium import ModalFibre, propagators, quadrature_form
from hwloop.simulators.kerr_fibre.split_step import TorchExactProduct, split_step
from hwloop.simulators.optical_fibre import OpticalFibre

CAMERA = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None, "saturation": "hard", "exposure": 1e-6}
SMALL = {"n_modes": 16, "n_inputs": 12, "n_outputs": 25, "n_segments": 4}
PERIOD = np.pi / 2  # of solitons of i u_z + u_tt / 2 + |u|^2 u = 0 (Agrawal, section 5.2)


class Pulse:
    """A line of light in a dispersive Kerr medium: modes are frequencies, points are moments."""

    points, window = 256, 40.0
    t = window * (np.arange(points) / points - 0.5)

    @staticmethod
    def product(matrix, rows):
        return rows @ matrix

    def run(self, start, length, steps):
        count, dt = self.points, self.window / self.points
        frequency = 2 * np.pi * np.fft.fftfreq(count, dt)
        to_modes = np.fft.fft(np.eye(count), norm="ortho")
        eye = np.eye(count, dtype=complex)
        medium = ModalFibre(
            launch=eye,
            groups=None,
            entry=to_modes,
            phases=-(frequency**2) / 2 * length,
            couplings=eye[np.newaxis],
            to_points=to_modes.conj().T,
            density=np.ones(count),
            exit=to_modes.conj().T,
        )
        chain = propagators(medium, steps)
        linear = [partial(self.product, torch.as_tensor(quadrature_form(matrix))) for matrix in chain]
        field = np.sqrt(dt) * start[np.newaxis]
        kerr = torch.full((count,), length / steps / dt, dtype=torch.float64)
        end = split_step(torch.as_tensor(np.hstack([field.real, field.imag])), linear, kerr).numpy()[0]
        return (end[:count] + 1j * end[count:]) / np.sqrt(dt)


class TestSoliton:
    def test_keeps_its_shape_over_a_period_to_second_order(self):
        pulse = Pulse()
        start = 1 / np.cosh(pulse.t) + 0j
        truth = start * np.exp(0.5j * PERIOD)
        errors = [np.abs(pulse.run(start, PERIOD, steps) - truth).max() for steps in (20, 40, 80)]
        assert errors[2] < 2e-4
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.05)
        assert np.log2(errors[1] / errors[2]) == pytest.approx(2.0, abs=0.05)

    @pytest.mark.slow
    def test_of_second_order_comes_back_after_a_period(self):
        pulse = Pulse()
        start = 2 / np.cosh(pulse.t) + 0j
        half, whole = (pulse.run(start, length, 500) for length in (PERIOD / 2, PERIOD))
        assert np.abs(half).max() == pytest.approx(4.0, rel=0.01)  # it contracts to twice its amplitude
        np.testing.assert_allclose(np.abs(whole), np.abs(start), atol=2e-3)

    def test_power_is_conserved(self):
        pulse = Pulse()
        start = 2 / np.cosh(pulse.t) * np.exp(1j * np.sin(pulse.t))
        power = np.vdot(start, start).real
        end = pulse.run(start, PERIOD, 200)
        assert np.vdot(end, end).real == pytest.approx(power, rel=1e-12)


class TestModes:
    def test_points_are_those_of_gauss_and_hermite(self):
        nodes, weights = np.polynomial.hermite.hermgauss(8)
        points, found = medium.quadrature_points(8)
        np.testing.assert_allclose(points, nodes, atol=1e-12)
        np.testing.assert_allclose(found, weights * np.exp(nodes**2), rtol=1e-10)

    def test_to_points_is_unitary(self):
        matrix, weights = medium.to_points(6)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(36), atol=1e-12)
        assert weights.shape == (36,)

    def test_modes_are_orthonormal_on_a_line(self):
        x = np.linspace(-9, 9, 4001)
        modes = medium.hermite_functions(8, x)
        np.testing.assert_allclose(modes.T @ modes * (x[1] - x[0]), np.eye(8), atol=1e-9)


class TestLinearLimit:
    def test_is_the_product_of_its_matrices(self):
        device = NonlinearFibre(nonlinear_phase=0.0, steps_per_segment=3, **SMALL, **CAMERA)
        medium, product = device.media[0], device.media[0].launch
        for coupling in medium.couplings:
            product = coupling @ np.diag(np.exp(1j * medium.phases / 4)) @ product
        rows = np.random.default_rng(0).uniform(-1, 1, (20, 12))
        expected = np.abs(rows @ (medium.exit @ product).T) ** 2 / (12 / 5)
        np.testing.assert_allclose(device.measure(rows) / 1e-6, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("encoding", ["amplitude", "phase"])
    def test_of_a_given_matrix_is_the_linear_device(self, encoding):
        rng = np.random.default_rng(0)
        matrix = (rng.normal(size=(20, 20)) + 1j * rng.normal(size=(20, 20))) * np.linspace(0.2, 1, 20)
        rows = rng.uniform(0, 1, (30, 20))
        same = {"matrix": matrix, "encoding": encoding, **CAMERA}
        linear = OpticalFibre(**same).measure(rows)
        found = NonlinearFibre(nonlinear_phase=0.0, **same)
        np.testing.assert_allclose(found.measure(rows), linear, rtol=1e-4, atol=1e-10)
        np.testing.assert_allclose(found.transmission_matrix, OpticalFibre(**same).transmission_matrix, atol=1e-4)

    def test_without_coupling_every_mode_keeps_its_power_and_its_phase(self):
        device = NonlinearFibre(mixing=0.0, pitches=0.37, **SMALL)
        medium = device.media[0]
        groups = np.add.outer(np.arange(4), np.arange(4)).ravel()
        expected = medium.exit * np.exp(2j * np.pi * 0.37 * groups) @ medium.launch
        np.testing.assert_allclose(device.transmission_matrix, expected, atol=1e-9)


class TestNonlinearity:
    def test_losslessness_to_the_precision_of_the_products(self):
        matrix = optics.unitary(36, 36, np.random.default_rng(1))
        device = NonlinearFibre(matrix=matrix, encoding="phase", nonlinear_phase=8.0, n_segments=40, **CAMERA)
        rows = np.random.default_rng(0).uniform(0, 2 * np.pi, (50, 36))
        np.testing.assert_allclose(device.measure(rows).mean(axis=1) / 1e-6, 1.0, rtol=1e-4)  # 640 steps

    def test_weak_light_is_linear_and_strong_light_is_not(self):
        quiet = {**SMALL, **CAMERA}
        strong, linear = NonlinearFibre(nonlinear_phase=3.0, **quiet), NonlinearFibre(nonlinear_phase=0.0, **quiet)
        rows = np.random.default_rng(0).uniform(-1, 1, (50, 12))
        apart = [
            np.abs(strong.measure(r) - linear.measure(r)).sum() / linear.measure(r).sum()
            for r in (rows, rows / 20)
        ]
        assert apart[0] > 0.2
        assert apart[1] < 0.01

    def test_steps_converge_to_second_order(self):
        rows = np.random.default_rng(0).uniform(-0.6, 0.6, (20, 12))
        found = [NonlinearFibre(steps_per_segment=n, **SMALL, **CAMERA).measure(rows) for n in (16, 32, 160)]
        errors = [np.linalg.norm(each - found[2]) for each in found[:2]]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("nonlinear_phase", each_row([0.0, 6.0], 6.0))
def test_speckle_of_a_mixing_fibre(nonlinear_phase):
    # Many modes in random phases: contrast 1, negative exponential intensities (Goodman, section 3.2).
    device = NonlinearFibre(mixing=3.0, n_modes=100, n_inputs=100, nonlinear_phase=nonlinear_phase,
                            steps_per_segment=8, encoding="phase", **CAMERA)  # fmt: skip
    intensity = device.measure(np.random.default_rng(0).uniform(0, 2 * np.pi, (1500, 100)))
    intensity = intensity[:, intensity.mean(axis=0) > 0.3e-6]
    intensity /= intensity.mean(axis=0)
    assert intensity.std() == pytest.approx(1.0, abs=0.02)
    assert stats.kstest(intensity[:, ::29].ravel(), "expon").statistic < 0.02


def test_the_exact_product_in_torch_is_accurate_and_the_same_anywhere():
    rng = np.random.default_rng(0)
    matrix, rows = rng.normal(size=(96, 40)), torch.as_tensor(rng.normal(size=(64, 96)))
    product = TorchExactProduct(matrix, torch.device("cpu"))
    np.testing.assert_allclose(product(rows), rows.numpy() @ matrix, atol=2e-5)
    for place in (0, 31, 63):
        assert torch.equal(product(rows[place : place + 1])[0], product(rows)[place])
