"""Converters, noise and saturation against their textbook figures."""

import numpy as np
import pytest
from scipy import stats

from hwloop.device.converters import Converter
from hwloop.device.streams import NoiseStream
from hwloop.simulators.imperfections import (
    ADC,
    GainJitter,
    Glitches,
    HardSaturation,
    ImperfectionChain,
    ReadNoise,
    ShotNoise,
    SoftSaturation,
)
from hwloop.simulators.optical_fibre import OpticalFibre


@pytest.mark.parametrize("bits", [6, 8, 10, 12])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.0, 2.0)])
def test_quantisation_snr_of_a_full_scale_sine(bits, low, high):
    # Bennett (1948): signal to quantisation noise 6.02 b + 1.76 dB. The frequency is no rational part of the
    # sampling rate, so that the error visits all of a step.
    time = np.arange(200_000) * np.sqrt(2) / 97
    sine = (low + high) / 2 + (high - low) / 2 * np.sin(2 * np.pi * time)
    error = ADC(Converter(bits, low, high)).apply(sine[:, np.newaxis], 0)[:, 0] - sine
    snr_db = 10 * np.log10(np.var(sine) / np.mean(error**2))
    assert snr_db == pytest.approx(6.02 * bits + 1.76, abs=0.2)


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 24])
@pytest.mark.parametrize(("low", "high"), [(0.0, 2 * np.pi), (-1.0, 1.0), (-0.3, 7.1)])
def test_converter_levels(bits, low, high):
    converter = Converter(bits, low, high)
    levels = np.unique(converter.convert(np.linspace(low - 1, high + 1, 20_001)))
    assert low <= levels[0] <= low + 1e-12
    assert high - 1e-12 <= levels[-1] <= high
    if bits <= 8:
        symmetric = low == -high and bits > 1
        assert len(levels) == 2**bits - symmetric
        np.testing.assert_allclose(np.diff(levels), converter.step, rtol=1e-9)
    if low == -high and bits > 1:
        assert converter.convert(np.zeros(1))[0] == 0.0
    inside = np.linspace(low, high, 777)
    assert np.abs(converter.convert(inside) - inside).max() <= converter.step / 2 * (1 + 1e-9)


def test_shot_noise_variance_equals_mean_in_electrons():
    for mean in (0.5, 4.0, 100.0, 10_000.0):
        well = 20_000.0
        noise = ShotNoise(well, NoiseStream(0, "shot"))
        electrons = noise.apply(np.full((400, 500), mean / well), 0) * well
        assert electrons.mean() == pytest.approx(mean, rel=0.01)
        assert electrons.var() == pytest.approx(mean, rel=0.02)
        np.testing.assert_allclose(electrons, np.rint(electrons), atol=1e-6)


def test_shot_noise_of_the_fibre():
    well = 2_000.0
    settings = {"adc_bits": None, "read_noise": 0.0, "saturation": "hard", "exposure": 0.1}
    fibre = OpticalFibre(n_inputs=8, n_outputs=40, full_well_electrons=well, **settings)
    stimulus = np.full((4000, 8), 0.3)
    electrons = fibre.measure(stimulus) * well
    unsaturated = electrons.mean(axis=0) < 0.8 * well
    assert unsaturated.sum() > 30
    ratio = electrons.var(axis=0)[unsaturated] / electrons.mean(axis=0)[unsaturated]
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("saturation", ["soft", "hard"])
def test_read_noise_is_the_stated_fraction_of_full_scale_at_every_brightness(saturation):
    fibre = OpticalFibre(n_inputs=8, n_outputs=60, read_noise=0.02, adc_bits=None, saturation=saturation)
    deviations = fibre.measure(np.full((3000, 8), 0.5)).std(axis=0)
    assert deviations.mean() == pytest.approx(0.02, rel=0.01)
    assert deviations.max() / deviations.min() < 1.15


def test_read_noise_is_white_and_gaussian():
    noise = ReadNoise(0.5, NoiseStream(1, "read")).apply(np.zeros((500, 200)), 0)
    assert stats.kstest(noise.ravel() / 0.5, "norm").pvalue > 0.01
    correlation = np.corrcoef(noise.T)
    assert np.abs(correlation - np.eye(200)).max() < 6 / np.sqrt(500)


def test_gain_jitter_is_common_to_a_row():
    signal = np.random.default_rng(0).uniform(0.1, 1, (2000, 5))
    gains = GainJitter(0.03, NoiseStream(2, "gain")).apply(signal, 0) / signal
    np.testing.assert_allclose(gains, gains[:, :1] * np.ones(5), rtol=1e-12)
    assert gains[:, 0].std() == pytest.approx(0.03, rel=0.06)
    assert gains[:, 0].mean() == pytest.approx(1.0, abs=0.003)


def test_glitches_hit_the_stated_fraction_of_rows_and_leave_the_others():
    signal = np.full((20_000, 3), 0.25)
    hit = (Glitches(0.03, NoiseStream(3, "glitch")).apply(signal, 0) != signal).any(axis=1)
    assert hit.mean() == pytest.approx(0.03, abs=0.004)
    assert (signal == 0.25).all()


def test_saturation_curves():
    signal = np.array([[-2.0, -0.5, 0.0, 0.5, 1.0, 3.0, 1e9]])
    np.testing.assert_allclose(SoftSaturation(1.0).apply(signal, 0)[0, 2:6], [0.0, 1 / 3, 0.5, 0.75])
    np.testing.assert_allclose(HardSaturation(1.0).apply(signal, 0)[0], [-1, -0.5, 0, 0.5, 1, 1, 1])
    for kind in (SoftSaturation, HardSaturation):
        curve = kind(2.0).apply(signal, 0)[0]
        assert (np.diff(curve) >= 0).all()
        assert np.abs(curve).max() <= 2.0


def test_noiseless_chain_keeps_what_is_deterministic():
    steps = (
        GainJitter(0.1, NoiseStream(0, "gain")),
        SoftSaturation(),
        ReadNoise(0.1, NoiseStream(0, "read")),
        ADC(Converter(4, 0.0, 1.0)),
    )
    chain = ImperfectionChain(Converter(3, 0.0, 1.0), steps)
    assert not chain.deterministic
    quiet = chain.noiseless()
    assert quiet.deterministic
    assert quiet.dac is chain.dac
    np.testing.assert_allclose(quiet.detect(np.full((2, 3), 1.0), 7), 8 / 15)  # 0.5 lies between 7 and 8
    assert ImperfectionChain(None, (ReadNoise(0.0, NoiseStream(0, "read")),)).deterministic
