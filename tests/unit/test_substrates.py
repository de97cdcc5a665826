"""What every simulated substrate promises beside its physics: identity, quiet copies, resuming, and no torch."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import each_row

from hwloop import open_device
from hwloop.conformance import check_device
from hwloop.device.declared import SettingsGroup, choice, real, switch, whole
from hwloop.errors import ConfigError
from hwloop.simulators.substrate import Camera, Detector, Substrate

NOISE = {"read_noise": 0.05, "gain_jitter": 0.1, "glitch_rate": 0.1}
SMALL = {
    "acoustic-cavity": {"n_inputs": 6, "n_modes": 60, "n_scatterers": 3, "gain_drift": 0.01, "glitch_rate": 0.1},
    "acoustic-waveform": {
        "n_inputs": 16, "n_loudspeakers": 2,
        "n_modes": 20, "n_scatterers": 1, "gain_jitter": 0.1, "read_noise": 0.05,
    },
    "optical-fibre": {"n_inputs": 6, "n_outputs": 9, "drift_per_row": 0.01, **NOISE},
    "microwave-cavity": {
        "n_inputs": 6, "n_frequencies": 2, "n_scatterers": 3, "gain_jitter": 0.1, "drift_per_row": 0.01
    },
    "oscillators": {"n_inputs": 6, "duration_periods": 0.5, "drift_per_row": 0.01, **NOISE},
    "delay-loop": {"n_inputs": 6, "n_nodes": 10, "bias_drift_per_row": 0.001, **NOISE},
    "passive-cavity": {"n_inputs": 6, "n_nodes": 10, "phase_drift_per_row": 0.01, **NOISE},
    "multimode-fibre-nonlinear": {
        "n_inputs": 6, "n_modes": 9, "n_outputs": 9, "drift_per_row": 0.01, "phase_walk": 0.01, **NOISE
    },
    "second-harmonic": {"n_inputs": 6, "mismatch_drift_per_row": 0.01, **NOISE},
    "settled-oscillators": {"n_inputs": 6, "drift_per_row": 0.01, **NOISE},
    "programmable-speckle": {"n_inputs": 6, "n_outputs": 9, "drift_per_row": 0.01, **NOISE},
    "mach-zehnder-mesh": {"n_modes": 6, **NOISE},
    "memristor-crossbar": {"n_inputs": 6, "n_outputs": 9, "drift_exponent": 0.05, **NOISE},
    "spiking-lif": {
        "n_inputs": 6, "n_neurons": 10, "window_seconds": 0.02, "encoding": "poisson", "max_rate_hz": 1e3
    },
    "microrings:Microrings": {"n_inputs": 6, "n_outputs": 9, "drift_per_row": 0.01, **NOISE},
}  # fmt: skip
# Wave optics, a network in time, spikes, and the file of the documentation; all others among the slow tests.
FAST = ("optical-fibre", "oscillators", "spiking-lif", "microrings:Microrings")
every_substrate = pytest.mark.parametrize("name", each_row(SMALL, *FAST))
PAGE = Path(__file__).parents[2] / "docs" / "write-a-substrate.md"


@pytest.fixture(scope="module", autouse=True)
def substrate_of_the_docs(tmp_path_factory):
    """The file that docs/write-a-substrate.md shows, where ``microrings`` is imported from."""
    folder = tmp_path_factory.mktemp("substrates")
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    (folder / "microrings.py").write_text(code)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("microrings", None)


def opened(name, **settings):
    return open_device(name, **{**SMALL[name], "seed": 3, **settings})


def stimuli(device, rows):
    return np.random.default_rng(0).uniform(device.spec.low, device.spec.high, (rows, device.spec.n_inputs))


@every_substrate
def test_an_interrupted_series_of_rows_goes_on_as_if_it_were_not(name):
    whole, parts, resumed = (opened(name) for _ in range(3))
    rows = stimuli(whole, 300)
    expected = whole.measure(rows)
    np.testing.assert_array_equal(
        np.concatenate([parts.measure(p) for p in np.split(rows, [1, 140, 141])]), expected
    )
    resumed.continue_from(200)
    np.testing.assert_array_equal(resumed.measure(rows[200:]), expected[200:])


@every_substrate
def test_a_noiseless_copy_repeats_itself_and_leaves_the_original_alone(name):
    noisy = opened(name)
    quiet, rows = noisy.noiseless(), stimuli(noisy, 5)
    assert isinstance(noisy, Substrate)
    assert (quiet.spec.deterministic, noisy.spec.deterministic) == (True, False)
    np.testing.assert_array_equal(quiet.measure(rows), quiet.measure(rows))
    assert noisy.rows_measured == 0
    assert np.abs(noisy.measure(rows) - quiet.measure(rows)).max() > 0


@every_substrate
def test_seeds_and_settings_are_in_the_identity_but_not_where_it_is_computed(name):
    assert opened(name).identify() == opened(name).identify()
    assert opened(name).identify() != opened(name, seed=4).identify()
    assert opened(name).identify() != opened(name).noiseless().identify()
    assert "torch_device" not in opened(name).identify()


@every_substrate
def test_seeds_draw_other_noise(name):
    one, same, other = opened(name), opened(name), opened(name, seed=4)
    rows = stimuli(one, 5)
    response = one.measure(rows)
    np.testing.assert_array_equal(same.measure(rows), response)
    assert np.abs(other.measure(rows) - response).max() > 0


@pytest.fixture
def three_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("oscillators", {"n_inputs": 1001, "duration_periods": 0.1}),
        ("delay-loop", {"n_inputs": 20, "n_nodes": 1003}),
        ("second-harmonic", {"n_inputs": 300, "walk_off": 0.01, "dispersion": 1e-5, "harmonic_dispersion": 1e-5}),
        ("multimode-fibre-nonlinear", {"n_modes": 400, "n_inputs": 9, "n_segments": 1, "pitches": 0.1}),
    ],
)
def test_where_a_threads_share_of_a_block_ends_does_not_show(three_threads, name, settings):
    # Large enough that torch shares the work, in sizes that no number of lanes divides.
    device = open_device(name, **settings).noiseless()
    rows = stimuli(device, device.block_rows)
    expected = device.measure(rows)
    for shift in (1, 17, 100):
        np.testing.assert_array_equal(
            device.measure(np.roll(rows, shift, axis=0)), np.roll(expected, shift, axis=0)
        )


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("oscillators", {"n_inputs": 37, "duration_periods": 0.5}),
        ("delay-loop", {"n_inputs": 20, "n_nodes": 103, "model": "mackey-glass"}),
        ("passive-cavity", {"n_inputs": 20, "n_nodes": 103, "sequence_length": 4}),
        ("second-harmonic", {"n_inputs": 37, "readout": "both"}),
        ("multimode-fibre-nonlinear", {"n_inputs": 9, "n_modes": 25, "n_outputs": 49, "n_segments": 2}),
    ],
)
def test_a_few_rows_get_a_small_block_and_the_same_bits(name, settings):
    device = open_device(name, **settings).noiseless()
    rows = stimuli(device, 2 * device.block_rows + 5)
    together = device.measure(rows)
    for few in (1, 31, 32, 33):
        np.testing.assert_array_equal(device.measure(rows[-few:]), together[-few:])


MODES = {"n_inputs": 9, "n_outputs": 49}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("oscillators", {"n_inputs": 37, "duration_periods": 0.1, "drift_per_row": 1e-3}),
        ("delay-loop", {"n_inputs": 20, "n_nodes": 103, "bias_drift_per_row": 1e-3}),
        *(
            pytest.param(name, settings, marks=pytest.mark.slow)
            for name, settings in (
                ("second-harmonic", {"n_inputs": 37, "mismatch_drift_per_row": 1e-3}),
                ("multimode-fibre-nonlinear", {**MODES, "n_modes": 25, "drift_per_row": 1e-3}),
                ("multimode-fibre-nonlinear", {**MODES, "n_modes": 36, "phase_walk": 0.1}),
            )
        ),
    ],
)
def test_blocks_in_several_threads_are_those_of_one(three_threads, name, settings):
    shared, alone = (open_device(name, glitch_rate=0.1, gain_jitter=0.1, **settings) for _ in range(2))
    rows = stimuli(shared, 700)
    found = shared.measure(rows)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(found, alone.measure(rows))


MODULES = (
    "acoustic.cavity",
    "acoustic.waveform_cavity",
    "oscillators.network",
    "delay.cavity",
    "delay.loop",
    "kerr_fibre.fibre",
    "frequency_doubling.crystal",
    "spiking.spiking_lif",
)


def test_substrates_are_listed_without_torch():
    code = (
        "import importlib, sys\n"
        f"for module in {MODULES}:\n"
        "    importlib.import_module(f'hwloop.simulators.{module}')\n"
        "    if 'torch' in sys.modules: sys.exit(f'{module} loads torch')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_substrate_of_the_docs_keeps_a_device_s_promises():
    report = check_device(lambda: open_device("microrings:Microrings", n_inputs=4, n_outputs=5))
    assert report.passed, report


# -- declared settings -------------------------------------------------------------------------------------------


class Lens(SettingsGroup):
    """A group."""

    focus: float = real(0.5, 0.0, 1.0)
    coated: bool = switch(False)


class Shutter(Substrate):
    """Declares settings of every kind, and answers with its input."""

    stream_prefix = "shutter"
    path: str = "somewhere"
    blades: int = whole(3, 1, 9)
    kind: str = choice("iris", ("iris", "curtain"))
    lens: Lens = Lens(focus=0.25)
    wobble: float = real(0.1, 0.0, 1.0, quiet=0.0)
    detector: Detector = Detector(dac_bits=None, adc_bits=None)

    def _set_up(self):
        self._chain = self.detector.chain((0.0, 1.0), (0.0, 1.0), self._stream)
        self.spec = self._spec(1, 1, still=self.wobble == 0)

    def _signal(self, drive, first_row):
        return drive


class DoubleShutter(Shutter):
    """Adds a setting, and gives another default."""

    gap: float = real(1.0, 0.0)
    blades: int = whole(4, 1, 9)


OWN = ["path", "blades", "kind", "focus", "coated", "wobble"]
OF_DETECTORS = ["dac_bits", "adc_bits", "read_noise", "gain_jitter", "glitch_rate"]


def test_the_signature_has_the_settings_in_the_order_of_the_class_body():
    parameters = inspect.signature(Shutter).parameters
    assert list(parameters) == [*OWN, *OF_DETECTORS, "row_seconds", "seed"]
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert (parameters["focus"].default, parameters["dac_bits"].default) == (0.25, None)
    derived = inspect.signature(DoubleShutter).parameters
    assert list(derived) == [*parameters, "gap"]
    assert derived["blades"].default == 4


def test_identity_and_quiet_settings_follow_from_the_declarations():
    device = Shutter(blades=5, wobble=1)
    assert "blades=5, kind=iris, focus=0.25, coated=False, wobble=1, dac_bits=None" in device.identify()
    assert Shutter.quiet_settings == {"wobble": 0.0, "read_noise": 0.0, "gain_jitter": 0.0, "glitch_rate": 0.0}
    quiet = device.noiseless()
    assert (quiet.wobble, quiet.blades, quiet.detector.read_noise) == (0.0, 5, 0.0)
    assert (device.wobble, device.lens.focus, device.spec.deterministic) == (1.0, 0.25, False)
    assert list(device.described_settings())[:2] == ["path", "blades"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"blades": 10}, "blades must be at most 9, not 10; the nearest allowed value is 9"),
        ({"focus": -1}, "focus must be at least 0, not -1; the nearest allowed value is 0"),
        ({"kind": "irsi"}, "unknown kind 'irsi': did you mean 'iris'"),
        ({"coated": 1}, "coated must be true or false, not 1"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"read_noise": -1}, "read_noise must be at least 0"),
    ],
)
def test_a_declared_setting_out_of_its_range_is_refused(settings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Shutter(**settings)


def test_a_setting_that_is_not_declared_is_refused():
    with pytest.raises(TypeError, match=r"Shutter.*unexpected keyword argument 'blade'"):
        Shutter(blade=3)
    with pytest.raises(TypeError, match="Camera has no setting focus"):
        Camera(focus=1)
    with pytest.raises(ConfigError, match="no setting 'read_nose': did you mean 'read_noise'"):
        open_device("microrings:Microrings", read_nose=0.1)
