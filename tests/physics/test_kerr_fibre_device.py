"""The nonlinear fibre as a device: batches, drift, files, and the settings that it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import open_device
from hwloop.device.streams import NoiseStream
from hwloop.simulators.kerr_fibre.fibre import NonlinearFibre
from hwloop.simulators.optics import PhaseWalk

SMALL = {"n_modes": 16, "n_inputs": 12, "n_outputs": 25, "n_segments": 4}
QUIET = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None}
ROWS = np.random.default_rng(0).uniform(-1, 1, (600, 12))


@pytest.mark.parametrize("settings", [{}, {"encoding": "phase", "saturation": "hard"}])
def test_a_row_is_the_same_in_every_batch(settings):
    device = NonlinearFibre(**SMALL, **settings).noiseless()
    assert device.spec.deterministic
    rows = np.abs(ROWS)
    together = device.measure(rows)
    np.testing.assert_array_equal(device.measure(rows[100:437]), together[100:437])
    np.testing.assert_array_equal(device.measure(rows[511:512]), together[511:512])


@pytest.mark.parametrize("drift", [{"drift_per_row": 0.01}, {"phase_walk": 0.1}])
def test_drift_does_not_depend_on_batches_and_continues(drift):
    whole, parts, resumed = (NonlinearFibre(**SMALL, **drift, seed=2) for _ in range(3))
    expected = whole.measure(ROWS)
    cut = np.concatenate([parts.measure(part) for part in np.split(ROWS, [1, 130, 400])])
    np.testing.assert_array_equal(cut, expected)
    resumed.continue_from(400)
    np.testing.assert_array_equal(resumed.measure(ROWS[400:]), expected[400:])


def test_drift_mixes_in_another_fibre():
    row = np.repeat(ROWS[:1], 301, axis=0)
    dim = {"saturation": "hard", "exposure": 1e-6, **QUIET}
    drifting, still = (NonlinearFibre(drift_per_row=rate, **SMALL, **dim) for rate in (0.01, 0.0))
    assert not drifting.spec.deterministic
    responses, first = drifting.measure(row), still.measure(row[:1])[0]
    np.testing.assert_allclose(responses[0], first, rtol=1e-9)
    assert np.corrcoef(responses[300], first)[0, 1] < 0.7


def test_phases_of_groups_walk():
    walk = PhaseWalk(NoiseStream(0, "walk"), 400, 0.1)
    phases = walk.at(0, 101)
    assert np.all(phases[0] == 0)
    assert phases[100].std() == pytest.approx(0.1 * 10, rel=0.15)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=8))
def test_a_walk_is_the_same_wherever_it_is_entered(visits):
    whole = PhaseWalk(NoiseStream(3, "walk"), 2, 0.5).at(0, 100)
    walk = PhaseWalk(NoiseStream(3, "walk"), 2, 0.5)
    for first, rows in visits:
        np.testing.assert_array_equal(walk.at(first, rows), whole[first : first + rows])


def test_the_walk_of_a_measured_matrix_needs_whole_groups():
    rng = np.random.default_rng(0)
    whole, odd = (rng.normal(size=(n, n)) + 0j for n in (12, 13))  # 2 + 4 + 6
    assert NonlinearFibre(matrix=whole, phase_walk=0.1).media[0].groups.max() == 2
    with pytest.raises(ValueError, match="13 modes do not fill"):
        NonlinearFibre(matrix=odd, phase_walk=0.1)


def test_a_file_of_matrices(tmp_path):
    rng = np.random.default_rng(0)
    matrices = (rng.normal(size=(2, 6, 6)) + 1j * rng.normal(size=(2, 6, 6))).astype(np.complex64)
    np.savez(tmp_path / "fibre.npz", matrices=matrices)
    device = NonlinearFibre.from_file(tmp_path / "fibre.npz", index=1, **QUIET)
    np.testing.assert_array_equal(
        device.measure(ROWS[:, :6]), NonlinearFibre(matrix=matrices[1], **QUIET).measure(ROWS[:, :6])
    )
    names = {NonlinearFibre(matrix=m).identify() for m in matrices} | {NonlinearFibre(**SMALL).identify()}
    assert len(names) == 3
    np.savez(tmp_path / "flat.npz", matrices=matrices[:, :4])
    with pytest.raises(ValueError, match=r"nearest allowed shape is \(4, 4\)"):
        NonlinearFibre.from_file(tmp_path / "flat.npz")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_modes": 60}, "n_modes must be a square, not 60; the nearest allowed value is 64"),
        ({"n_modes": 1}, "nearest allowed value is 4"),
        ({"n_outputs": 250}, "nearest allowed value is 256"),
        ({"nonlinear_phase": -1.0}, "nearest allowed value is 0"),
        ({"nonlinear_phase": 100.0}, "nonlinear phase of a step .* nearest allowed value is 50"),
        ({"pitches": 10.0}, "linear phase between two modes .* nearest allowed value is 35"),
        ({"matrix": np.eye(4), "n_inputs": 5}, "the given matrix has 4; leave n_inputs out"),
        ({"matrix": np.zeros((4, 4))}, "zero everywhere"),
        ({"encoding": "colour"}, "unknown encoding"),
        ({"saturation": "medium"}, "unknown saturation"),
        ({"torch_device": 5.5}, "nearest allowed value is 'cpu'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(settings, said):
    with pytest.raises(ValueError, match=said):
        NonlinearFibre(**settings)


def test_it_is_found_by_name():
    assert open_device("multimode-fibre-nonlinear", n_outputs=49).spec.n_outputs == 49
