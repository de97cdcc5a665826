"""Scatterers in the acoustic cavity: reciprocity, passivity, harmonics, and the field against time stepping."""

import numpy as np
import pytest

from hwloop.simulators.acoustic import eigenmodes
from hwloop.simulators.acoustic.cavity import AcousticCavity
from hwloop.simulators.acoustic.harmonic_balance import HarmonicBalance
from hwloop.simulators.acoustic.medium import Medium, Resistor
from hwloop.simulators.acoustic.modal_stepping import ModalStepping, recursion
from hwloop.simulators.acoustic.shapes import Places, Shape

SMALL = {"n_modes": 60, "n_scatterers": 5, "precision": "double"}


@pytest.fixture(scope="module")
def medium():
    return Medium(eigenmodes.modes(Shape.named("sinai", 1.0, 0.7), 61), 343.0, 60.0)


def points(medium, count, seed=0):
    return np.column_stack(medium.modes.shape.points(*np.random.default_rng(seed).uniform(0.1, 0.9, (2, count))))


def stimuli(rows, seed=0, n_inputs=20):
    return np.random.default_rng(seed).random((rows, n_inputs))


class TestLinearCavity:
    def test_reciprocity(self, medium):
        a, b = points(medium, 6), points(medium, 6, seed=1)
        w = 2 * np.pi * np.linspace(200, 2000, 7)
        there, back = medium.green(a, b, w), medium.green(b, a, w).swapaxes(1, 2)
        assert np.abs(there - back).max() < 1e-10 * np.abs(there).max()

    def test_no_power_comes_out_of_a_cavity_with_loss(self, medium):
        # The mean power of forces q at points is q^dagger (Z + Z^dagger) q / 4, Z = i w G.
        a, w = points(medium, 8), 2 * np.pi * np.linspace(100, 4000, 50)
        z = 1j * w[:, None, None] * medium.green(a, a, w)
        assert np.linalg.eigvalsh(z + z.conj().swapaxes(1, 2)).min() > -1e-12 * np.abs(z).max()

    def test_free_decay_of_a_mode_is_exact(self, medium):
        step, count = 1e-4, 300
        turn, _, _ = recursion(medium, step)
        w = np.sqrt(medium.angular_frequencies**2 - medium.loss**2)
        t = count * step
        found = np.linalg.matrix_power(turn, count)[:, 0, 0]
        expected = np.exp(-medium.loss * t) * (np.cos(w * t) + medium.loss / w * np.sin(w * t))
        np.testing.assert_allclose(found, expected, atol=1e-10)


class TestScattererLaw:
    @pytest.mark.parametrize("asymmetry", [0.0, 0.5, 2.0])
    def test_it_takes_energy_and_its_force_is_bounded_and_rises(self, asymmetry):
        law, rate = Resistor(asymmetry), np.linspace(-50, 50, 20001)
        force = law.force(rate)
        assert np.all(force * rate >= 0)
        assert np.diff(force).min() >= -1e-14 * np.abs(force).max()
        assert np.abs(force).max() <= law.steepest * (1 + law.offset) + 1e-12
        assert np.gradient(force, rate)[10000] == pytest.approx(1.0, abs=1e-4)
        assert law.slope(rate).max() <= law.steepest * (1 + 1e-12)

    def test_one_scatterer_without_nonlinearity_in_closed_form(self, medium):
        # At a small drive F(v) = v, so v = v_free / (1 + Z).
        w = 2 * np.pi * 500 * np.arange(1, 7)
        z = 1e4 * 1j * w[:, None, None] * medium.green(points(medium, 1), points(medium, 1), w)
        balance = HarmonicBalance(z, Resistor(0.0), np.array([2]), np.arange(1, 7), "double")
        force = balance(np.full((1, 1, 1), 1e-6 + 0j)).forces[0, :, 0]
        assert force[1] == pytest.approx(1e-6 / (1 + z[1, 0, 0]), rel=1e-9)


def harmonic_amplitudes(scale):
    """Harmonics 1 to 3 of one tone at a microphone, at a fraction of full drive."""
    cavity = AcousticCavity(
        n_inputs=1, n_loudspeakers=1, first_tone=1, fundamental=500.0, lines=[1, 2, 3], n_microphones=1,
        harmonics=24, asymmetry=0.5, **SMALL,
    )  # fmt: skip
    return np.abs(cavity.field(np.full((1, 1), scale)).pressures[0, :, 0])


def test_harmonics_grow_as_powers_of_a_small_drive():
    small, large = harmonic_amplitudes(0.01), harmonic_amplitudes(0.02)
    np.testing.assert_allclose(np.log2(large / small), [1, 2, 3], atol=0.05)


def test_without_asymmetry_there_are_no_even_harmonics():
    cavity = AcousticCavity(
        n_inputs=1, n_loudspeakers=1, first_tone=1, fundamental=500.0, lines=[1, 2, 3], n_microphones=1,
        harmonics=24, asymmetry=0.0, **SMALL,
    )  # fmt: skip
    first, second, third = np.abs(cavity.field(np.ones((1, 1))).pressures[0, :, 0])
    assert second < 1e-9 * first
    assert third > 1e-5 * first


@pytest.mark.parametrize("drive_level", [0.1, 3.0, 10.0])
@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_it_converges_at_every_drive(strength, drive_level):
    cavity = AcousticCavity(scatterer_strength=strength, drive_level=drive_level, n_modes=100)
    assert cavity.field(stimuli(40)).converged.all()


@pytest.mark.slow
def test_every_line_agrees_with_modal_time_stepping():
    cavity = AcousticCavity(loss=150.0, n_modes=60, n_scatterers=6, precision="double")
    field, setup = cavity.field, cavity.field.setup
    x = np.vstack([np.ones(20), stimuli(2)])
    per_period, periods = 768, 30
    step = 1 / setup.fundamental / per_period
    waves = np.exp(1j * np.outer(setup.angular(setup.driven), step * np.arange(per_period * periods + 1)))
    signals = np.einsum("ri,ifl,ft->rtl", x, setup.excitation, waves).real * field.source_unit
    heard = ModalStepping(setup.medium, setup.places, setup.law, setup.strength, step)(signals)
    lines = np.fft.fft(heard[:, -per_period - 1 : -1], axis=1)[:, setup.lines] * 2 / per_period
    balanced = field(x).pressures * field.pressure_unit
    assert np.abs(lines / balanced - 1).max() < 0.01


def test_a_step_too_long_for_the_scatterers_is_refused_with_one_that_works(medium):
    places = Places(points(medium, 1), points(medium, 5, seed=1), points(medium, 1, seed=2))
    with pytest.raises(ValueError, match="nearest allowed value") as refused:
        ModalStepping(medium, places, Resistor(0.5), 500.0, 1e-3)
    allowed = float(str(refused.value).split()[-2])
    ModalStepping(medium, places, Resistor(0.5), 500.0, allowed)


def test_a_row_of_time_stepping_is_the_same_in_every_batch(medium):
    places = Places(points(medium, 2), points(medium, 5, seed=1), points(medium, 3, seed=2))
    stepping = ModalStepping(medium, places, Resistor(0.5), 20.0, 2e-5)
    signals = np.random.default_rng(0).standard_normal((50, 40, 2))
    together = stepping(signals)
    np.testing.assert_array_equal(
        np.concatenate([stepping(signals[k : k + 1]) for k in (3, 31, 49)]), together[[3, 31, 49]]
    )
