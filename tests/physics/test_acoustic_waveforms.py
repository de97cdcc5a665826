"""The device acoustic-waveform: causal, linear when soft, a steady sine as in closed form, batches."""

import numpy as np
import pytest
from examples import each_row

from hwloop.simulators.acoustic.waveform_cavity import WaveformCavity

SMALL = {"n_modes": 60, "n_scatterers": 3, "noise": False}


def stimuli(rows, n_inputs=64, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, n_inputs))


@pytest.mark.parametrize(
    ("n_modes", "n_scatterers", "n_inputs"),
    each_row([(12, 1, 4), (60, 3, 16)], (12, 1, 4)),
    ids=["small", "larger"],
)
def test_a_row_is_the_same_in_every_batch(n_modes, n_scatterers, n_inputs):
    cavity = WaveformCavity(n_inputs=n_inputs, n_modes=n_modes, n_scatterers=n_scatterers, noise=False)
    rows = stimuli(40, n_inputs)
    together = cavity.measure(rows)
    for k in (0, 31, 39):
        np.testing.assert_array_equal(cavity.measure(rows[k : k + 1]), together[k : k + 1])
    np.testing.assert_array_equal(cavity.measure(rows[::-1]), together[::-1])


def test_nothing_is_heard_before_it_is_played():
    cavity, rows = WaveformCavity(**SMALL), stimuli(1)
    later = rows.copy()
    later[0, 40:] = 0.0
    one, other = (cavity.measure(part).reshape(2, 64) for part in (rows, later))
    np.testing.assert_array_equal(one[:, :39], other[:, :39])
    assert np.abs(one[:, 45:] - other[:, 45:]).max() > 0.01


def test_silence_stays_silent_and_a_soft_drive_is_linear_but_a_loud_one_is_not():
    def departure(level):
        cavity, (one, other) = WaveformCavity(n_inputs=32, drive_level=level, **SMALL), stimuli(2, 32)[:, None] / 2
        both = cavity.measure(one + other)
        return np.abs(both - cavity.measure(one) - cavity.measure(other)).max() / np.abs(both).max()

    assert np.abs(WaveformCavity(**SMALL).measure(np.zeros((1, 64)))).max() == 0.0
    assert departure(1e-6) < 1e-5
    assert departure(10.0) > 0.01


def test_a_steady_sine_has_the_amplitude_of_green_s_function():
    settings = SMALL | {"n_scatterers": 0, "loss": 200.0}
    cavity = WaveformCavity(n_inputs=800, substeps=4, **settings)
    w = 2 * np.pi * 1000.0
    heard = cavity.measure(np.sin(w * (np.arange(1, 801) / 8000.0))[None]).reshape(2, 800)[:, -400:]
    amplitude = np.abs(np.fft.rfft(heard, axis=1))[:, 50] / 200
    from hwloop.simulators.acoustic.arrangement import places_in
    from hwloop.simulators.acoustic.medium import Medium

    shape = cavity.room.medium().shape
    places = places_in(cavity._settings, shape, cavity._stream("places").at_row(0))
    green = Medium.filled(shape, 60, 343.0, 200.0).green(places.microphones, places.loudspeakers, np.array([w]))
    # The drive is straight between samples: a sine's amplitude is sinc^2 smaller, 5 % at 8 samples a period.
    expected = np.abs(green[0, :, 0]) * cavity._source_unit / cavity._pressure_unit * np.sinc(1 / 8) ** 2
    np.testing.assert_allclose(amplitude, expected, rtol=0.01)


def test_spectrum_is_that_of_the_waveform():
    rows = stimuli(3)
    waveform = WaveformCavity(**SMALL).measure(rows).reshape(3, 2, 64)
    spectrum = WaveformCavity(readout="magnitude", **SMALL).measure(rows)
    np.testing.assert_allclose(spectrum.reshape(3, 2, 33), np.abs(np.fft.rfft(waveform, axis=2)) / 32)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_inputs": 65, "n_loudspeakers": 2}, "nearest allowed value is 64"),
        ({"substeps": 1, "scatterer_strength": 10.0}, "unstable .* nearest allowed value"),
        ({"sampling_rate": -1.0}, "sampling_rate must be at least"),
        ({"loss": -1.0}, "nearest allowed value is 0"),
        ({"readout": "iq"}, "unknown readout"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(settings, said):
    with pytest.raises(ValueError, match=said):
        WaveformCavity(**SMALL | settings)
