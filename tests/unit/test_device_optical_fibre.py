"""The fibre's settings: what it says of itself, what it reads, and what it refuses."""

import subprocess
import sys

import numpy as np
import pytest

from hwloop import LimitError, open_device
from hwloop.simulators.optical_fibre import OpticalFibre

SMALL = {"n_inputs": 6, "n_outputs": 5}


def test_defaults_and_spec():
    spec = OpticalFibre().spec
    assert (spec.n_inputs, spec.n_outputs, spec.input_low, spec.input_high) == (64, 1000, -1.0, 1.0)
    assert not spec.deterministic
    phase = OpticalFibre(encoding="phase", row_seconds=1e-3, **SMALL).spec
    assert (phase.input_low, phase.input_high, phase.input_unit) == (0.0, 2 * np.pi, "rad")
    assert phase.row_seconds == 1e-3


def test_stimuli_beyond_the_modulator_are_refused():
    with pytest.raises(LimitError):
        OpticalFibre(**SMALL).measure(np.full((1, 6), 1.01))
    with pytest.raises(LimitError):
        OpticalFibre(encoding="phase", **SMALL).measure(np.full((1, 6), -0.01))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_inputs": 0}, "nearest allowed value is 1"),
        ({"n_inputs": 6.5}, "n_inputs must be a whole number"),
        ({"n_outputs": True}, "n_outputs must be a whole number"),
        ({"matrix": "idd"}, "unknown matrix 'idd': did you mean 'iid'"),
        ({"encoding": "phases"}, "did you mean 'phase'"),
        ({"encoding": None}, "encoding must be one of amplitude, phase"),
        ({"saturation": "medium"}, "unknown saturation 'medium'"),
        ({"dac_bits": 0}, "nearest allowed value is 1"),
        ({"adc_bits": 25}, "nearest allowed value is 24"),
        ({"adc_bits": 8.0}, "nearest allowed value is 8"),
        ({"read_noise": -0.1}, r"read_noise must be at least 0.*nearest allowed value is 0"),
        ({"read_noise": np.nan}, "read_noise must be a finite number"),
        ({"read_noise": np.inf}, "read_noise must be a finite number"),
        ({"read_noise": "0.1"}, "read_noise must be a number"),
        ({"full_well_electrons": 0}, "full_well_electrons must be at least 1"),
        ({"gain_jitter": 1.5}, "gain_jitter must be at most 1"),
        ({"glitch_rate": 1.1}, "glitch_rate must be at most 1"),
        ({"drift_per_row": -1e-9}, "drift_per_row must be at least 0"),
        ({"exposure": 0.0}, "exposure must be at least 1e-09"),
        ({"row_seconds": -1.0}, "row_seconds"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": None}, "seed must be a whole number"),
        ({"matrix": np.zeros((5, 6))}, "zero everywhere"),
        ({"matrix": np.full((5, 6), np.nan)}, "NaN or infinity"),
        ({"matrix": np.ones((5, 6, 2))}, "shape"),
        ({"matrix": np.ones((5, 7))}, "n_inputs is 6, but the given matrix has 7"),
        ({"matrix": [["a"]]}, "array of numbers"),
    ],
)
def test_bad_settings_are_refused_with_reason(settings, message):
    with pytest.raises(ValueError, match=message):
        OpticalFibre(**{**SMALL, **settings})


def test_noiseless_is_a_new_deterministic_fibre_with_the_same_matrix_and_converters():
    noise = {"gain_jitter": 0.1, "glitch_rate": 0.1, "drift_per_row": 0.01, "full_well_electrons": 100.0}
    noisy = OpticalFibre(seed=4, adc_bits=3, **noise, **SMALL)
    quiet = noisy.noiseless()
    assert quiet is not noisy
    assert quiet.spec.deterministic
    assert not noisy.spec.deterministic
    np.testing.assert_array_equal(quiet.transmission_matrix, noisy.transmission_matrix)
    responses = quiet.measure(np.random.default_rng(0).uniform(-1, 1, (20, 6)))
    np.testing.assert_allclose(responses * 7, np.rint(responses * 7), atol=1e-12)
    assert noisy.rows_measured == 0


def test_identity_tells_settings_and_matrices_apart():
    matrix = np.random.default_rng(0).normal(size=(5, 6))
    fibres = [
        OpticalFibre(**SMALL),
        OpticalFibre(seed=1, **SMALL),
        OpticalFibre(read_noise=0.02, **SMALL),
        OpticalFibre(matrix="unitary", **SMALL),
        OpticalFibre(matrix=matrix),
        OpticalFibre(matrix=matrix + np.eye(5, 6)),
    ]
    names = [fibre.identify() for fibre in fibres]
    assert len(set(names)) == len(names)
    assert all("OpticalFibre" in name and "seed=" in name and "\n" not in name for name in names)
    assert OpticalFibre(**SMALL).identify() == names[0]


class TestFiles:
    @pytest.fixture
    def matrices(self):
        rng = np.random.default_rng(0)
        return (rng.normal(size=(3, 5, 6)) + 1j * rng.normal(size=(3, 5, 6))).astype(np.complex64)

    def test_one_of_several_matrices(self, tmp_path, matrices):
        path = tmp_path / "fibre.npz"
        np.savez(path, matrices=matrices, position_mm=np.arange(3))
        for index in range(3):
            fibre = OpticalFibre.from_file(path, index=index, seed=2)
            expected = OpticalFibre(matrix=matrices[index], seed=2)
            np.testing.assert_array_equal(fibre.transmission_matrix, expected.transmission_matrix)
            assert np.mean(np.abs(fibre.transmission_matrix) ** 2) == pytest.approx(1.0, rel=1e-5)
        with pytest.raises(ValueError, match="nearest allowed value is 2"):
            OpticalFibre.from_file(path, index=3)

    def test_a_path_as_setting(self, tmp_path, matrices):
        path = tmp_path / "one.npy"
        np.save(path, matrices[1])
        fibre = open_device("optical-fibre", matrix=str(path))
        path.unlink()  # what was read stays, also for noiseless()
        expected = OpticalFibre(matrix=matrices[1]).noiseless()
        np.testing.assert_array_equal(fibre.noiseless().transmission_matrix, expected.transmission_matrix)

    def test_bad_files(self, tmp_path, matrices):
        with pytest.raises(ValueError, match="no such file"):
            OpticalFibre(matrix=tmp_path / "absent.npy")
        (tmp_path / "noise.npz").write_bytes(b"no archive at all")
        with pytest.raises(ValueError, match="cannot be read"):
            OpticalFibre(matrix=str(tmp_path / "noise.npz"))
        np.savez(tmp_path / "other.npz", a=matrices, b=matrices)
        with pytest.raises(ValueError, match="no array named matrices, only a, b"):
            OpticalFibre.from_file(tmp_path / "other.npz")
        np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(ValueError, match="cannot be read"):
            OpticalFibre.from_file(tmp_path / "pickled.npy")
        np.save(tmp_path / "flat.npy", np.ones(7))
        with pytest.raises(ValueError, match="holds no matrix"):
            OpticalFibre.from_file(tmp_path / "flat.npy")

    def test_the_given_array_is_copied(self, matrices):
        given = matrices[0].copy()
        fibre = OpticalFibre(matrix=given)
        given[:] = 0
        np.testing.assert_array_equal(fibre.noiseless().transmission_matrix, fibre.transmission_matrix)


def test_opening_a_device_loads_no_torch():
    code = "import hwloop, sys; hwloop.open_device('optical-fibre'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
