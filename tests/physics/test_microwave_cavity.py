"""The simulated microwave cavity against the physics of waves in chaotic cavities, and against plain inversion."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from examples import each_row
from scipy import stats
from scipy.special import hankel2, jv

from hwloop.simulators.microwave.cavity import PORT_COUPLING, MicrowaveCavity
from hwloop.simulators.microwave.chamber import Dipoles, plain_scattering

QUIET = {"noise_floor": 0.0}


def random_states(rows, pixels, seed=0):
    return (np.random.default_rng(seed).random((rows, pixels)) < 0.5).astype(float)


@pytest.fixture(scope="module")
def cavity():
    return MicrowaveCavity(n_inputs=41, n_transmitters=2, n_receivers=2, n_frequencies=4, bandwidth=0.2, **QUIET)


class TestDipoles:
    def test_two_dipoles_as_in_closed_form(self):
        positions = np.array([[0.0, 0.0], [0.7, 0.0]])
        pair = Dipoles.alike(positions, resonance=1.1, strength=0.5, loss=0.2)
        k = 2 * np.pi * 1.05
        alone = ((2 * np.pi * 1.1) ** 2 - k**2 + 1j * k * 0.2) / 0.25 + 0.25j * k**2
        coupling = 0.25j * k**2 * hankel2(0, k * 0.7)
        inverse = np.linalg.inv(pair.interaction(1.05))
        assert inverse[0, 0] == pytest.approx(alone / (alone**2 - coupling**2), rel=1e-12)
        assert inverse[0, 1] == pytest.approx(-coupling / (alone**2 - coupling**2), rel=1e-12)

    def test_what_dipoles_radiate_is_what_they_lose(self):
        # Without absorption Im W_ij = k^2 J0(k r_ij) / 4 for all i, j: the radiation resistance of the set.
        positions = np.random.default_rng(0).uniform(0, 3, (12, 2))
        matrix = Dipoles.alike(positions, 1.3, 0.5, loss=0.0).interaction(1.0)
        k, apart = 2 * np.pi, np.linalg.norm(positions[:, None] - positions[None], axis=2)
        np.testing.assert_allclose(matrix.imag, k**2 / 4 * jv(0, k * apart), atol=1e-11)


class TestScattering:
    def test_reciprocity(self, cavity):
        for frequency in cavity.frequencies:
            s = plain_scattering(cavity.chambers[0], frequency, PORT_COUPLING, random_states(1, 41))[0]
            assert np.abs(s - s.T).max() < 1e-10

    def test_no_power_is_made(self, cavity):
        for frequency in cavity.frequencies:
            s = plain_scattering(cavity.chambers[0], frequency, PORT_COUPLING, random_states(3, 41))
            lost = np.linalg.eigvalsh(np.eye(4) - s @ s.conj().swapaxes(1, 2))
            assert lost.min() > 0

    def test_what_the_cables_lose_is_radiated_or_absorbed(self, cavity):
        # 1 - S S^dagger = 4 Gamma V Im(W_0) V^dagger Gamma, with V = W^-1 from all dipoles to the antennas.
        chamber = cavity.chambers[0]
        dipoles = chamber.antennas + chamber.fixed + chamber.pixels
        alone = dipoles.interaction(1.0)
        with_cables = alone + np.diag(np.r_[np.full(4, 1j * PORT_COUPLING), np.zeros(len(dipoles) - 4)])
        v = np.linalg.inv(with_cables)[:4]
        s = plain_scattering(chamber, 1.0, PORT_COUPLING, np.zeros((1, 41)))[0]
        lost = 4 * PORT_COUPLING**2 * (v @ alone.imag @ v.conj().T) / PORT_COUPLING
        np.testing.assert_allclose(np.eye(4) - s @ s.conj().T, lost, atol=1e-10)

    @pytest.mark.slow
    def test_fully_stirred_transmission_is_rayleigh(self):
        # A field of many random waves has complex Gaussian statistics: |S| is Rayleigh, std / mean = 0.5227.
        found = []
        for seed in range(300):
            stirred = MicrowaveCavity(
                n_inputs=4, n_receivers=3, n_frequencies=1, size=14.0, n_scatterers=20, seed=seed, **QUIET
            )
            found.append(np.abs(stirred.transmission(np.zeros((1, 4)))).ravel())
        magnitudes = np.concatenate(found)
        assert magnitudes.std() / magnitudes.mean() == pytest.approx(np.sqrt(4 / np.pi - 1), abs=0.03)
        assert stats.kstest(magnitudes, "rayleigh", (0, np.sqrt((magnitudes**2).mean() / 2))).pvalue > 0.01


class TestFastPath:
    @pytest.mark.parametrize("share", each_row([0.0, 0.1, 0.5, 0.9, 1.0], 0.0, 0.5))
    def test_agrees_with_plain_inversion(self, cavity, share):
        states = (np.random.default_rng(1).random((6, 41)) < share).astype(float)
        plain = np.stack(
            [plain_scattering(cavity.chambers[0], f, PORT_COUPLING, states) for f in cavity.frequencies], axis=1
        )[:, :, 2:, :2]
        fast = cavity.transmission(states)
        assert np.abs(fast - plain).max() < 1e-5 * np.abs(plain).max()

    def test_single_flips_agree_with_every_state_solved_for_itself(self, cavity):
        state = random_states(1, 41)[0]
        flipped = np.abs(state - np.eye(41))
        np.testing.assert_allclose(cavity.flip_transmissions(state), cavity.transmission(flipped), atol=1e-10)

    def test_a_row_is_the_same_in_every_batch(self, cavity):
        states = random_states(700, 41)
        together = cavity.measure(states)
        alone = np.concatenate([cavity.measure(states[k : k + 1]) for k in range(0, 700, 50)])
        np.testing.assert_array_equal(together[::50], alone)


@pytest.mark.slow
def test_no_bit_depends_on_the_number_of_threads():
    script = (
        "import hwloop, numpy; cavity = hwloop.open_device('microwave-cavity', n_frequencies=3, noise_floor=0.0);"
        "print(cavity.measure(numpy.eye(40)[::5]).tobytes().hex())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    }
    assert len(answers) == 1


def test_waves_meet_several_pixels_so_the_response_is_not_linear_in_them():
    cavity = MicrowaveCavity(n_inputs=20, n_frequencies=10, **QUIET)
    states, new = random_states(400, 20), random_states(200, 20, seed=1)
    design = [np.column_stack([x, np.ones(len(x))]) for x in (states, new)]
    weights, *_ = np.linalg.lstsq(design[0], cavity.measure(states), rcond=None)
    truth = cavity.measure(new)
    explained = 1 - (truth - design[1] @ weights).var(axis=0).sum() / truth.var(axis=0).sum()
    assert 0.2 < explained < 0.85


def test_readouts_agree_and_noise_has_the_floor_that_was_asked_for():
    settings = {"n_inputs": 10, "n_frequencies": 5}
    states = random_states(1, 10)
    iq = MicrowaveCavity(readout="iq", **settings, **QUIET).measure(states)
    magnitude = MicrowaveCavity(**settings, **QUIET).measure(states)
    np.testing.assert_allclose(np.hypot(*np.split(iq, 2, axis=1)), magnitude, rtol=1e-12)
    noisy = MicrowaveCavity(readout="iq", noise_floor=0.01, **settings).measure(np.repeat(states, 2000, axis=0))
    assert (noisy - iq).std() == pytest.approx(0.01, rel=0.02)


def test_faulty_pixels_do_nothing():
    cavity = MicrowaveCavity(n_inputs=20, n_frequencies=2, stuck_pixels=0.2, dead_pixels=0.1, **QUIET)
    state = np.zeros((1, 20))
    changed = [not np.array_equal(cavity.measure(state), cavity.measure(np.eye(20)[[k]])) for k in range(20)]
    assert sum(changed) == 14


def test_drift_leads_to_another_chamber():
    cavity = MicrowaveCavity(n_inputs=10, n_frequencies=4, readout="iq", drift_per_row=0.01, **QUIET)
    state = random_states(1, 10)
    first, after_100 = cavity.measure(np.repeat(state, 101, axis=0))[[0, 100]]
    still = cavity.noiseless().measure(state)[0]
    np.testing.assert_allclose(first, still, rtol=1e-12)
    new = cavity.transmission(state, 1).ravel()
    expected = np.exp(-0.5) * still + np.sqrt(1 - np.exp(-1.0)) * np.r_[new.real, new.imag]
    np.testing.assert_allclose(after_100, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"wall_loss": -1.0}, "nearest allowed value is 0"),
        ({"n_inputs": 400}, "holds 170"),
        pytest.param({"size": 3.0, "n_inputs": 5, "n_scatterers": 100}, "no room", marks=pytest.mark.slow),
        ({"readout": "phase"}, "readout"),
        ({"stuck_pixels": 0.6, "dead_pixels": 0.6}, "nearest allowed value is 0.4"),
        ({"bandwidth": 3.0}, "nearest allowed value is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(settings, said):
    with pytest.raises(ValueError, match=said):
        MicrowaveCavity(**settings)


def test_unused_pixel_surface_is_part_of_the_geometry():
    cavity = MicrowaveCavity(n_inputs=10, n_frequencies=1, **QUIET)
    chamber = cavity.chambers[0]
    bare = replace(chamber, pixels=Dipoles.alike(chamber.pixels.positions, 1.0, 1e-9, 0.0))
    with_pixels = plain_scattering(chamber, 1.0, PORT_COUPLING, np.zeros((1, 10)))
    without = plain_scattering(bare, 1.0, PORT_COUPLING, np.zeros((1, 10)))
    assert np.abs(with_pixels - without).max() > 1e-3
