"""Substrates that are tuned: derivatives by what is set, what acts on what, and the statistics of speckle."""

import numpy as np
import pytest
from examples import each_row

import hwloop

IDEAL = {"dac_bits": None, "adc_bits": None, "read_noise": 0.0}
SPECKLE, MESH = {"n_inputs": 5, "n_outputs": 4, "pixel_bits": None}, {"n_modes": 4, "phase_bits": None}
FAULTS = {"splitter_error": 0.1, "phase_error": 0.2, "crosstalk": 0.05, "loss_db": 0.5}
CROSSBAR = {"n_inputs": 5, "n_outputs": 3, "stuck_share": 0.1}
TUNED = {
    "speckle": ("programmable-speckle", SPECKLE),
    "speckle, hard": ("programmable-speckle", {**SPECKLE, "saturation": "hard", "exposure": 0.2}),
    "speckle, shared": ("programmable-speckle", {**SPECKLE, "pixels": "shared", "n_pixels": 7}),
    "mesh": ("mach-zehnder-mesh", {**MESH, **FAULTS}),
    "mesh, quadratures": (
        "mach-zehnder-mesh",
        {**MESH, **FAULTS, "encoding": "quadratures", "saturation": "soft"},
    ),
    "crossbar": ("memristor-crossbar", CROSSBAR),
    "crossbar, reference": ("memristor-crossbar", {**CROSSBAR, "columns": "reference"}),
    "crossbar, wires": ("memristor-crossbar", {**CROSSBAR, "wire_ohms": 100.0}),
}
FAST = ("speckle", "mesh", "crossbar, wires")


def opened(name, **more):
    device, settings = TUNED[name]
    device = hwloop.open_device(device, **{**IDEAL, "seed": 2, **settings, **more})
    if "write_noise" in device.described_settings():  # its noise is another at every value
        device = hwloop.open_device(TUNED[name][0], **{**IDEAL, "seed": 2, **settings, **more, "write_noise": 0.0})
    return device


def rows_and_gradients(device, rows=6):
    rng = np.random.default_rng(0)
    limit = 0.5 * device.spec.high
    return rng.uniform(-limit, limit, (rows, device.spec.n_inputs)), rng.normal(size=(rows, device.spec.n_outputs))


@pytest.mark.parametrize("name", each_row(TUNED, *FAST))
def test_derivatives_by_stimuli_and_by_tunables_are_those_of_the_response(name):
    device = opened(name)
    stimuli, gradients = rows_and_gradients(device)
    low, high = device.spec.tunable_low, device.spec.tunable_high
    tuned = np.clip(device.spec.tunable_rest, low + 0.1 * (high - low), high - 0.1 * (high - low))
    slopes = []
    for place in range(device.spec.n_tunables):
        step = 1e-3 * (high - low)[place]
        both = []
        for sign in (1, -1):
            device.tune(tuned + sign * step * (np.arange(len(tuned)) == place))
            both.append((gradients * device.measure(stimuli)).sum())
        slopes.append((both[0] - both[1]) / (2 * step))
    device.tune(tuned)
    found = device.pull_back_tuning(stimuli, gradients)
    assert found.shape == (device.spec.n_tunables,)
    scale = np.abs(slopes).max()
    np.testing.assert_allclose(found / scale, np.array(slopes) / scale, atol=2e-3)

    by_stimuli = np.empty_like(stimuli)
    for channel in range(stimuli.shape[1]):
        step = 1e-3 * device.spec.high[channel] * (np.arange(stimuli.shape[1]) == channel)
        slope = (device.measure(stimuli + step) - device.measure(stimuli - step)) / (2 * step.max())
        by_stimuli[:, channel] = (gradients * slope).sum(axis=1)
    scale = np.abs(by_stimuli).max()
    np.testing.assert_allclose(device.pull_back(stimuli, gradients) / scale, by_stimuli / scale, atol=2e-3)


@pytest.mark.parametrize("name", ["speckle", "crossbar, reference"])
def test_a_tunable_acts_on_the_output_that_the_device_names_and_on_no_other(name):
    device = opened(name)
    stimuli, _ = rows_and_gradients(device)
    before, middle = device.measure(stimuli), (device.spec.tunable_low + device.spec.tunable_high) / 2
    acted = set()
    for place, output in enumerate(device.tunable_outputs):
        tuned = device.spec.tunable_rest.copy()
        tuned[place] = middle[place]
        device.tune(tuned)
        moved = np.abs(device.measure(stimuli) - before).max(axis=0) > 0
        assert set(np.flatnonzero(moved)) <= {output}
        acted |= set(np.flatnonzero(moved))
    assert acted == set(range(device.spec.n_outputs))


@pytest.mark.parametrize("pixels", ["own", "shared"])
def test_a_typical_stimulus_gives_speckle_of_the_exposure_at_rest(pixels):
    # exponential statistics: mean and standard deviation are equal (Goodman, Speckle Phenomena, section 3.2)
    means, contrasts = [], []
    for seed in range(4):
        device = hwloop.open_device(
            "programmable-speckle",
            **IDEAL, pixels=pixels, n_outputs=300, n_pixels=400 if pixels == "shared" else None,
            saturation="hard", exposure=0.02, seed=seed,
        )  # fmt: skip
        stimuli = np.random.default_rng(seed).normal(size=(20, 44)) * np.sqrt(0.04)
        intensities = device.measure(stimuli)
        means.append(intensities.mean())
        contrasts.append((intensities.std(axis=1) / intensities.mean(axis=1)).mean())
    assert np.mean(means) == pytest.approx(0.02 * 0.2, rel=0.1)
    assert np.mean(contrasts) == pytest.approx(1.0, abs=0.05)


def test_shared_phases_turned_together_change_nothing():
    device = opened("speckle, shared")
    stimuli, _ = rows_and_gradients(device)
    rng = np.random.default_rng(1)
    phases = rng.uniform(0, np.pi, 7)
    device.tune({"phases": phases})
    before = device.measure(stimuli)
    device.tune({"phases": phases + 1.0})
    np.testing.assert_allclose(device.measure(stimuli), before, atol=1e-6)
    device.tune({"phases": rng.uniform(0, np.pi, 7)})
    assert np.abs(device.measure(stimuli) - before).max() > 0.05


def test_speckle_decorrelates_with_the_rows_whatever_is_set():
    # correlation of intensities of independent Gaussian matrices: (1 - e_k), as of the fibre's fields squared
    settings = {**IDEAL, "n_inputs": 20, "n_outputs": 2000, "saturation": "hard", "exposure": 0.01}
    device = hwloop.open_device("programmable-speckle", **settings, drift_per_row=0.01)
    stimulus = np.random.default_rng(0).uniform(-1, 1, (1, 20))
    start = device.measure(stimulus)[0]
    device.continue_from(70)
    later = device.measure(stimulus)[0]
    assert np.corrcoef(start, later)[0, 1] == pytest.approx(np.exp(-0.7), abs=0.06)
