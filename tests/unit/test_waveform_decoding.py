"""Records made from the wiring's own words, decoded."""

import numpy as np
import pytest

from hwloop import BadReading
from hwloop.devices.waveform.decoding import Decoder, ScopeRecord
from hwloop.devices.waveform.synthesis import BurstTiming

TIMING = BurstTiming(6, 11, 5e-6, 2e-6, 3e-6, 12e-6, 1.0)
PERIOD = 3e-6 + 30e-6


def line(times, responses, latency, settle=0.0):
    """Volts of the output line: a marker, then row k's responses in row period k + 1, a little late each."""
    levels = np.zeros(len(times))
    local = times - latency
    levels[(local >= 0) & (local < 12e-6)] = 1.0
    for row, answers in enumerate(responses):
        for channel, volts in enumerate(answers):
            start = 24e-6 + (row + 1) * PERIOD + 3e-6 + channel * 2e-6
            levels[(local >= start + settle) & (local < start + 2e-6 + settle)] = volts
    return levels


def record_of(responses, latency, step=0.3e-6, start=-12e-6, noise=0.0, offset=0.0, settle=0.0, oversample=1):
    end = latency + 24e-6 + (len(responses) + 1) * PERIOD + 2e-6
    fine = np.arange(int((end - start) / step) * oversample) * step / oversample + start
    volts = line(fine, responses, latency, settle).reshape(-1, oversample).mean(axis=1) + offset
    volts += noise * np.random.default_rng(1).standard_normal(len(volts))
    lsb = 2.2 / 256
    codes = np.clip(np.rint(volts / lsb + 100), 0, 255).astype(np.uint8)
    middle = step * (oversample - 1) / (2 * oversample)  # of the times that a point averages
    return ScopeRecord(codes, step, start + middle, lsb, 100, 1, 255)


RESPONSES = np.random.default_rng(0).uniform(-0.3, 0.9, (7, 11))
DECODER = Decoder(TIMING, 40e-6, "rig")


@pytest.mark.parametrize("latency", [0.0, 1.234e-6, 17.77e-6, 39e-6])
def test_responses_come_back_within_a_step_of_the_converter_at_any_latency(latency):
    decoded = DECODER.decode(record_of(RESPONSES, latency), 7)
    np.testing.assert_allclose(decoded.volts, RESPONSES, atol=2.2 / 256)
    assert decoded.latency_seconds == pytest.approx(latency, abs=0.3e-6)


@pytest.mark.parametrize("fraction", [0.0, 0.13, 0.31, 0.5, 0.77])
def test_the_delay_is_measured_below_one_point_where_points_are_averages(fraction):
    latency = 9e-6 + fraction * 0.3e-6
    decoded = DECODER.decode(record_of(RESPONSES, latency, oversample=30, noise=0.01), 7)
    assert decoded.latency_seconds == pytest.approx(latency, abs=0.1 * 0.3e-6)


def test_noise_offset_and_slow_settling_are_survived():
    decoded = DECODER.decode(record_of(RESPONSES, 5e-6, step=0.05e-6, noise=0.05, offset=0.08, settle=0.3e-6), 7)
    error = decoded.volts - RESPONSES
    assert error.std() < 0.05 / np.sqrt(15)  # about 20 points a window
    assert abs(error.mean()) < 0.01


def test_more_rows_than_were_recorded_is_no_reading():
    with pytest.raises(BadReading, match="record ends"):
        DECODER.decode(record_of(RESPONSES, 5e-6), 9)


def test_no_marker_is_no_reading():
    record = record_of(RESPONSES, 5e-6)
    quiet = ScopeRecord(np.full_like(record.codes, 100), 0.3e-6, -12e-6, 2.2 / 256, 100, 1, 255)
    with pytest.raises(BadReading, match="no marker"):
        DECODER.decode(quiet, 7)


@pytest.mark.parametrize("level", [1.3, -1.0])
def test_a_line_beyond_the_oscilloscopes_range_is_no_reading(level):
    responses = RESPONSES.copy()
    responses[3, 4] = level * 2
    with pytest.raises(BadReading, match="range of the oscilloscope"):
        DECODER.decode(record_of(responses, 5e-6), 7)


def test_too_few_points_a_slot_is_said():
    with pytest.raises(BadReading, match="without a point"):
        DECODER.decode(record_of(RESPONSES, 5e-6, step=1.5e-6), 7)
