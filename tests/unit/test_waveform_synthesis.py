"""What leaves the generator: decoded here sample by sample, against the wiring that it must keep."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop import LimitError
from hwloop.devices.waveform.limits import WaveformLimits
from hwloop.devices.waveform.synthesis import FULL_SCALE_CODE, BurstSynthesis, BurstTiming

TIMING = BurstTiming(5, 9, 4e-6, 3e-6, 2e-6, 10e-6, 0.8)


def volts_of(synthesis, codes):
    return codes.astype(float) * synthesis.limits.amplitude_volts / FULL_SCALE_CODE


def fixture_average(volts, rate, start, stop):
    """The exact average of held samples between two times, counted from the first point that is not 0."""
    edges = (np.arange(len(volts) + 1) - np.flatnonzero(volts)[0]) / rate
    overlap = np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None)
    return float((volts * overlap).sum() / (stop - start))


@pytest.mark.parametrize("slew", [float("inf"), 2.5e6])
@pytest.mark.parametrize("points", [4, 7])
def test_the_middle_of_every_slot_holds_the_level_of_its_row_and_channel(slew, points):
    rng = np.random.default_rng(3)
    rows = rng.uniform(-1, 1, (4, 5))
    synthesis = BurstSynthesis(TIMING, WaveformLimits(-1.0, 1.0, slew), points)
    volts = volts_of(synthesis, synthesis.waveform(rows))
    period = 2e-6 + max(5 * 4e-6, 9 * 3e-6)
    for row in range(4):
        for channel in range(5):
            start = 20e-6 + row * period + 2e-6 + channel * 4e-6
            average = fixture_average(volts, synthesis.rate_hertz, start + 1e-6, start + 3e-6)
            assert average == pytest.approx(rows[row, channel], abs=5e-5 if slew == float("inf") else 0.1)
        guard = 20e-6 + row * period
        assert fixture_average(volts, synthesis.rate_hertz, guard + 0.9e-6, guard + 1.5e-6) == 0
    assert fixture_average(volts, synthesis.rate_hertz, 3e-6, 9e-6) == pytest.approx(0.8, abs=1e-4)
    assert (len(volts) - 1) / synthesis.rate_hertz >= 20e-6 + 4 * period - 1e-12  # four whole rows


@examples(150)
@given(st.data())
def test_no_sequence_leaves_the_limits(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    low, high = -float(rng.uniform(0, 3)), float(rng.uniform(0.01, 3))
    slot = float(10 ** rng.uniform(-7, -2))
    points = int(rng.integers(4, 40))
    slew = (high - low) / slot * float(rng.uniform(8, 60)) if rng.random() < 0.7 else float("inf")
    timing = BurstTiming(
        int(rng.integers(1, 20)),
        int(rng.integers(1, 20)),
        slot,
        slot * float(rng.uniform(0.1, 3)),
        slot * float(rng.uniform(0, 3)),
        slot * float(rng.uniform(1, 5)),
        high if rng.random() < 0.5 else high * float(rng.uniform(0.1, 1)),
    )
    synthesis = BurstSynthesis(timing, WaveformLimits(low, high, slew), points)
    rows = rng.choice([low, high, 0.0, 1.0], size=(int(rng.integers(1, 12)), timing.n_inputs))
    rows = np.clip(np.where(rows == 1.0, rng.uniform(low, high, rows.shape), rows), low, high)
    volts = volts_of(synthesis, synthesis.waveform(rows))
    tolerance = 1e-12 * max(high, -low)
    assert low - tolerance <= volts.min()
    assert volts.max() <= high + tolerance
    assert volts[0] == volts[-1] == 0.0  # where the output rests
    steps = np.abs(np.diff(volts, prepend=0.0, append=0.0))
    assert steps.max() * synthesis.rate_hertz <= slew * (1 + 1e-12)


LIMITS = WaveformLimits(-0.5, 1.0, slew_volts_per_second=1e3, rms_volts=0.5)


@pytest.mark.parametrize(
    ("codes", "what"),
    [
        ([0, 100, FULL_SCALE_CODE + 0, 100, 0], "V/s"),
        ([0, -20000, -20000, 0], r"-0\.6.* V lies beyond -0\.5 V"),
        ([*range(0, 32767, 30), *[32767] * 3000, *range(32767, 0, -30)], "root mean square"),
        ([*range(0, 3000, 30)], "V/s"),  # stops short of 0
    ],
)
def test_a_waveform_beyond_a_limit_is_refused_whoever_made_it(codes, what):
    with pytest.raises(LimitError, match=what):
        LIMITS.check(np.array(codes, dtype=np.int16), FULL_SCALE_CODE, 1e6, 1000)


def test_rows_that_are_too_strong_together_are_refused_though_each_level_is_allowed():
    limits = WaveformLimits(-1.0, 1.0, rms_volts=0.5)
    synthesis = BurstSynthesis(TIMING, limits, 4)
    with pytest.raises(LimitError, match="root mean square"):
        synthesis.waveform(np.full((3, 5), 0.9))
    synthesis.waveform(np.full((3, 5), 0.3))


def test_a_slew_that_the_slots_leave_no_time_for_is_refused_at_once():
    with pytest.raises(ValueError, match=r"make them at least 0\.16 s"):
        BurstSynthesis(TIMING, WaveformLimits(-1.0, 1.0, 100.0), 4)


@pytest.mark.parametrize(
    "settings_", [{"low_volts": 0.1}, {"high_volts": -0.1}, {"duty": 0.0}, {"duty": 1.5}, {"rms_volts": 0.0}]
)
def test_limits_that_make_no_sense_are_refused(settings_):
    with pytest.raises(ValueError, match=r"must|leave"):
        WaveformLimits(**{"low_volts": -1.0, "high_volts": 1.0, **settings_})
