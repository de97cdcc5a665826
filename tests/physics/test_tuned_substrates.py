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
    "fibre": ("optical-fibre", {"n_inputs": 5, "n_outputs": 4, "mask_bits": 24}),
    "fibre, phase": ("optical-fibre", {"n_inputs": 5, "n_outputs": 4, "mask_bits": 24, "encoding": "phase"}),
    "crossbar": ("memristor-crossbar", CROSSBAR),
    "crossbar, reference": ("memristor-crossbar", {**CROSSBAR, "columns": "reference"}),
    "crossbar, wires": ("memristor-crossbar", {**CROSSBAR, "wire_ohms": 100.0}),
}
FAST = ("speckle", "mesh", "crossbar, wires", "fibre, phase")


def opened(name, **more):
    device, settings = TUNED[name]
    device = hwloop.open_device(device, **{**IDEAL, "seed": 2, **settings, **more})
    if "write_noise" in device.described_settings():  # its noise is another at every value
        device = hwloop.open_device(TUNED[name][0], **{**IDEAL, "seed": 2, **settings, **more, "write_noise": 0.0})
    return device


def rows_and_gradients(device, rows=6):
    rng = np.random.default_rng(0)
    middle, limit = (device.spec.low + device.spec.high) / 2, (device.spec.high - device.spec.low) / 4
    return rng.uniform(middle - limit, middle + limit, (rows, device.spec.n_inputs)), rng.normal(
        size=(rows, device.spec.n_outputs)
    )


@pytest.mark.parametrize("name", each_row(TUNED, *FAST))
def test_derivatives_by_stimuli_and_by_tunables_are_those_of_the_response(name):
    device = opened(name)
    stimuli, gradients = rows_and_gradients(device)
    low, high = device.spec.tunable_low, device.spec.tunable_high
    tuned = np.clip(device.spec.tunable_rest, low + 0.1 * (high - low), high - 0.1 * (high - low))
    slopes = []
    for place in range(device.spec.n_tunables):
        step, both = 1e-3 * (high - low)[place], []
        for sign in (1, -1):
            moved = device.spec.nearest_tuning(tuned + sign * step * (np.arange(len(tuned)) == place))
            device.tune(moved)
            both.append((gradients * device.measure(stimuli)).sum())
        slopes.append((both[0] - both[1]) / (2 * step))
    device.tune(device.spec.nearest_tuning(tuned))
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


# -- substrates that are tuned only if a setting says so ---------------------------------------------------------

MORE = {
    "fibre": ("optical-fibre", {"n_inputs": 6, "n_outputs": 9}, {"mask_bits": 8}),
    "Kerr fibre": (
        "multimode-fibre-nonlinear",
        {"n_inputs": 6, "n_modes": 9, "n_outputs": 9, "n_segments": 2},
        {"mask_bits": 8},
    ),
    "oscillators": ("oscillators", {"n_inputs": 6, "duration_periods": 0.5}, {"tuned_springs": True}),
    "acoustic": ("acoustic-cavity", {"n_inputs": 4, "n_modes": 40, "n_scatterers": 2}, {"tuned_phases": True}),
}


@pytest.mark.parametrize("name", each_row(MORE, "fibre", "oscillators"))
def test_at_rest_the_device_is_the_one_without_tunables_and_tuned_it_is_another(name):
    kind, settings, more = MORE[name]
    plain, tuned = (hwloop.open_device(kind, **settings, **each).noiseless() for each in ({}, more))
    assert next(iter(more)) not in plain.identify()
    assert next(iter(more)) in tuned.identify()
    assert plain.spec.n_tunables == 0 < tuned.spec.n_tunables
    rows = np.random.default_rng(0).uniform(plain.spec.low, plain.spec.high, (5, plain.spec.n_inputs))
    expected = plain.measure(rows)
    np.testing.assert_allclose(tuned.measure(rows), expected, atol=2e-3)  # a step of the converter
    drawn = np.random.default_rng(1).uniform(tuned.spec.tunable_low, tuned.spec.tunable_high)
    tuned.tune(tuned.spec.nearest_tuning(drawn))
    assert np.abs(tuned.measure(rows) - expected).max() > 0.02
    tuned.tune(tuned.spec.tunable_rest)
    np.testing.assert_allclose(tuned.measure(rows), expected, atol=2e-3)


@pytest.mark.parametrize("encoding", ["amplitude", "phase"])
def test_a_mask_turns_the_light_of_each_channel_before_a_linear_fibre(encoding):
    settings = {
        **IDEAL,
        "n_inputs": 6,
        "saturation": "hard",
        "exposure": 0.05,
        "encoding": encoding,
        "mask_bits": 20,
    }
    rows = np.random.default_rng(0).uniform(0, 1, (5, 6))
    fields = rows if encoding == "amplitude" else np.exp(1j * rows)
    for kind, more in (
        ("optical-fibre", {"n_outputs": 9}),
        ("multimode-fibre-nonlinear", {"nonlinear_phase": 0.0, "n_modes": 9, "n_outputs": 9, "n_segments": 1}),
    ):
        device = hwloop.open_device(kind, **settings, **more)
        mask = device.spec.nearest_tuning(np.random.default_rng(1).uniform(0, 6, 6))
        device.tune(mask)
        light = np.abs((fields * np.exp(1j * mask)) @ device.transmission_matrix.T) ** 2
        read = device.measure(rows)
        np.testing.assert_allclose(read / read.sum(), light / light.sum(), rtol=1e-4)


def test_tuned_pixels_are_the_pixels_that_others_send():
    settings = {"n_inputs": 12, "n_frequencies": 2, "n_scatterers": 2, "noise_floor": 0.0}
    plain, tuned = (hwloop.open_device("microwave-cavity", **settings, tuned_pixels=k) for k in (0, 5))
    states = np.random.default_rng(0).integers(0, 2, (6, 12)).astype(float)
    states[:, 7:] = states[0, 7:]
    tuned.tune({"pixels": states[0, 7:]})
    np.testing.assert_array_equal(tuned.measure(states[:, :7]), plain.measure(states))
    assert (tuned.spec.n_inputs, tuned.spec.n_tunables, plain.spec.n_tunables) == (7, 5, 0)


def test_without_springs_no_oscillator_feels_another_and_the_stiffest_springs_are_integrated():
    settings = {**IDEAL, "n_inputs": 6, "duration_periods": 1.0, "coupling": 1.0}
    device = hwloop.open_device("oscillators", **settings, tuned_springs=True)
    rows = np.zeros((2, 6))
    rows[:, 0], rows[1, 1:] = 0.4, 0.3
    device.tune(device.spec.tunable_low)
    alone, beside = device.measure(rows).reshape(2, -1, 6)[:, :, 0]
    np.testing.assert_allclose(alone, beside)
    device.tune(device.spec.tunable_high)
    alone, beside = device.measure(rows).reshape(2, -1, 6)[:, :, 0]
    assert np.abs(alone - beside).max() > 0.01
    with pytest.raises(hwloop.errors.ConfigError, match="steps_per_period must be at least"):
        hwloop.open_device(
            "oscillators", **{**settings, "coupling": 50.0, "steps_per_period": 80}, tuned_springs=True
        )
    with pytest.raises(hwloop.errors.ConfigError, match="needs springs"):
        hwloop.open_device("oscillators", **{**settings, "coupling": 0.0}, tuned_springs=True)


def test_one_tone_with_all_phases_turned_alike_is_the_same_sound_later():
    settings = {
        "n_inputs": 4,
        "n_tones": 1,
        "n_modes": 40,
        "n_scatterers": 2,
        "noise": False,
        "precision": "double",
    }
    device = hwloop.open_device("acoustic-cavity", **settings, tuned_phases=True)
    rows = np.random.default_rng(0).uniform(0, 1, (3, 4))
    device.tune(np.full(4, 0.5))
    before = device.measure(rows)
    device.tune(np.full(4, -1.0))
    np.testing.assert_allclose(device.measure(rows), before, rtol=1e-4, atol=1e-6)
    device.tune([0.5, -0.5, 1.0, -1.0])
    assert np.abs(device.measure(rows) - before).max() > 0.02
