"""The device acoustic-cavity: batches, doubts that it tells, noise, readouts and what it refuses."""

import warnings

import numpy as np
import pytest
import torch

from hwloop.simulators.acoustic.cavity import NO_NOISE, AcousticCavity
from hwloop.simulators.acoustic.tone_field import AccuracyDoubt, AccuracyWarning

SMALL = {"n_modes": 60, "n_scatterers": 5}
QUIET = SMALL | NO_NOISE


def stimuli(rows, seed=0, n_inputs=20):
    return np.random.default_rng(seed).random((rows, n_inputs))


@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_row_is_the_same_in_every_batch(precision):
    cavity, rows = AcousticCavity(precision=precision, **QUIET), stimuli(300)
    rows[7] = 0.0
    together = cavity.measure(rows)
    shuffled = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(cavity.measure(rows[shuffled]), together[shuffled])
    for k in (0, 7, 31, 32, 150, 299):
        np.testing.assert_array_equal(cavity.measure(rows[k : k + 1]), together[k : k + 1])


def test_no_bit_depends_on_the_number_of_threads():
    cavity, rows, threads = AcousticCavity(**QUIET), stimuli(300), torch.get_num_threads()
    responses = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            responses.append(cavity.measure(rows))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for response in responses[1:]:
        np.testing.assert_array_equal(response, responses[0])


def test_a_slow_row_does_not_change_its_neighbours():
    # Rows of very different drive take different numbers of steps; each is frozen when it is done.
    cavity, rows = AcousticCavity(scatterer_strength=3.0, **QUIET), stimuli(32)
    mixed = rows * np.geomspace(1e-3, 1, 32)[:, np.newaxis]
    steps = cavity.field(mixed).steps
    assert steps.max() > steps.min()
    alone = np.concatenate([cavity.measure(mixed[k : k + 1]) for k in range(32)])
    np.testing.assert_array_equal(cavity.measure(mixed), alone)


def test_single_precision_is_double_s_but_for_rounding():
    rows = stimuli(20)
    single, double = (AcousticCavity(precision=p, **QUIET).measure(rows) for p in ("single", "double"))
    np.testing.assert_allclose(single, double, atol=1e-5 * double.max())


def test_loudspeakers_interfere_so_the_response_is_not_linear():
    cavity = AcousticCavity(**QUIET)
    one, other, both = np.eye(20)[[0]], np.eye(20)[[5]], np.eye(20)[[0]] + np.eye(20)[[5]]
    first = slice(0, 1)  # input 0 and 5 play tone 0 on different loudspeakers
    apart = cavity.measure(one) + cavity.measure(other)
    assert np.abs(cavity.measure(both) - apart)[:, first].max() > 0.01
    assert cavity.measure(np.zeros((1, 20))).max() == 0.0


def test_a_cavity_without_scatterers_is_linear():
    cavity = AcousticCavity(readout="iq", **QUIET | {"n_scatterers": 0})
    one, other = stimuli(2)[:, np.newaxis] / 2
    np.testing.assert_allclose(cavity.measure(one + other), cavity.measure(one) + cavity.measure(other), atol=1e-6)
    assert cavity.field(one).converged.all()


def test_rows_that_do_not_converge_are_told_and_counted():
    cavity, told = AcousticCavity(max_steps=2, **QUIET), []
    cavity.listener = told.append
    with pytest.warns(AccuracyWarning, match="raise max_steps"):
        cavity.measure(stimuli(3))
    assert cavity.rows_not_converged == 3
    assert isinstance(told[0], AccuracyDoubt)


def test_too_few_harmonics_are_told():
    cavity = AcousticCavity(harmonics=18, drive_level=3.0, **QUIET)
    with pytest.warns(AccuracyWarning, match="twice the harmonics"):
        cavity.measure(stimuli(3))
    assert cavity.harmonics_error > 0.01


@pytest.mark.parametrize("n_tones", [None, 20])
def test_twice_the_default_harmonics_change_no_line_by_more_than_1_percent(n_tones):
    cavity = AcousticCavity(n_tones=n_tones, **NO_NOISE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cavity.measure(np.vstack([np.ones(20), stimuli(5)]))
    assert 0 < cavity.harmonics_error < 0.01


def test_readouts_agree():
    rows = stimuli(4)
    magnitude, power, iq, waveform = (
        AcousticCavity(readout=name, n_samples=200, **QUIET).measure(rows)
        for name in ("magnitude", "power", "iq", "waveform")
    )
    np.testing.assert_allclose(power, magnitude**2, rtol=1e-12)
    real, imaginary = np.split(iq, 2, axis=1)
    np.testing.assert_allclose(np.hypot(real, imaginary), magnitude, rtol=1e-12)
    lines = AcousticCavity(**QUIET).field.setup.lines
    spectrum = np.abs(np.fft.rfft(waveform.reshape(4, 4, 200), axis=2))[:, :, lines] / 100
    np.testing.assert_allclose(spectrum.reshape(4, -1), magnitude, atol=1e-6)


def test_noise_depends_on_the_row_alone_and_has_the_size_asked_for():
    row = np.repeat(stimuli(1), 3000, axis=0)
    settings = QUIET | {"readout": "iq", "lines": [5, 6]}
    still = AcousticCavity(**settings).measure(row[:1])[0]
    noisy = AcousticCavity(**settings | {"read_noise": 0.01})
    together = noisy.measure(row)
    assert (together - still).std() == pytest.approx(0.01, rel=0.03)
    again = AcousticCavity(**settings | {"read_noise": 0.01})
    again.continue_from(2990)
    np.testing.assert_array_equal(again.measure(row[:10]), together[2990:])
    tone = AcousticCavity(**settings | {"tone_jitter": 0.02}).measure(row) / still
    assert tone[:, 0].std() == pytest.approx(0.02, rel=0.05)
    np.testing.assert_allclose(tone[:, 0], tone[:, 2])  # the same line at two microphones
    assert abs(np.corrcoef(tone[:, 0], tone[:, 1])[0, 1]) < 0.1


@pytest.mark.slow
def test_gain_drift_is_slow_and_has_the_size_asked_for():
    cavity = AcousticCavity(**QUIET | {"gain_drift": 0.03, "drift_rows": 50, "lines": [5], "n_microphones": 1})
    gains = cavity.measure(np.repeat(stimuli(1), 20_000, axis=0))[:, 0]
    gains = gains / gains.mean()
    assert gains.std() == pytest.approx(0.03, rel=0.15)
    assert np.abs(np.diff(gains)).max() < 0.01


def test_glitches_come_as_often_as_asked_for():
    cavity = AcousticCavity(**QUIET | {"glitch_rate": 0.05, "lines": [5], "n_microphones": 1})
    found = cavity.measure(np.repeat(stimuli(1), 4000, axis=0))[:, 0]
    assert np.mean(np.abs(found / np.median(found) - 1) > 1e-9) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": -1.0}, "loss must be at least 0.*nearest allowed value is 0"),
        ({"positions": {"loudspeakers": [(2.0, 0.5)]}}, "outside the cavity.*nearest allowed"),
        ({"positions": {"loudspeaker": []}}, "did you mean 'loudspeakers'"),
        ({"harmonics": 10}, "nearest allowed value is 18"),
        ({"n_tones": 30}, "nearest allowed value is 20"),
        ({"lines": []}, "lines must be a list"),
        ({"lines": [5, 5]}, "leave out"),
        ({"scatterer_strength": -0.5}, "nearest allowed value is 0"),
        ({"asymmetry": 5.0}, "nearest allowed value is 2"),
        ({"shape": "stadum"}, "unknown shape"),
        ({"readout": "phase"}, "unknown readout"),
        ({"n_microphones": 0}, "nearest allowed value is 1"),
        ({"n_modes": 1}, "nearest allowed value is 2"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_in_words(settings, said):
    with pytest.raises(ValueError, match=said):
        AcousticCavity(**SMALL | settings)


def test_given_positions_are_used():
    there = {"microphones": [(0.3, 0.3), (0.5, 0.2), (0.2, 0.5), (0.6, 0.4)]}
    cavity = AcousticCavity(**SMALL, positions=there)
    np.testing.assert_array_equal(cavity.field.setup.places.microphones, there["microphones"])


def test_identity_tells_settings_apart_but_not_where_it_is_computed():
    assert AcousticCavity(**SMALL).identify() == AcousticCavity(**SMALL, torch_device="cpu").identify()
    assert AcousticCavity(**SMALL).identify() != AcousticCavity(**SMALL, seed=1).identify()
