"""Sound without a card: coding, level, ramps, markers, and what a room in between does to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import BadReading, LimitError
from hwloop.devices.sound_card.batch import Batch, Heard
from hwloop.devices.sound_card.coding import LevelLimit, Timing, ToneCoding, WaveformCoding, line_bins, tone_bins
from hwloop.devices.sound_card.signals import Marker, faded, rise

TIMING = Timing(48_000, 240, 960, (500.0, 8000.0))
LEVEL = LevelLimit(0.5, 0.25)


def tones(n_inputs=5, n_outputs=20, window=1024):
    return ToneCoding(n_inputs, n_outputs, TIMING, LEVEL, window_samples=window)


def waveform(n_inputs=12, n_outputs=12, per_value=4):
    return WaveformCoding(n_inputs, n_outputs, TIMING, LEVEL, samples_per_value=per_value)


def rows_for(coding, count, seed=0):
    return np.random.default_rng(seed).uniform(-coding.limit, coding.limit, (count, coding.n_inputs))


@pytest.mark.parametrize("shift", [-200, -7, 0, 7, 200])
def test_tones_read_their_own_amplitude_and_nothing_leaks(shift):
    """Also where the latency is some samples off: the tones sound before and after the window."""
    coding = tones()
    rows = rows_for(coding, 4)
    heard = np.roll(coding.encode(rows), shift, axis=1)
    readings = coding.decode(heard)
    np.testing.assert_allclose(readings[:, :5], np.abs(rows), atol=1e-12)
    np.testing.assert_allclose(readings[:, 5:], 0.0, atol=1e-12)


def test_a_quadratic_room_puts_products_of_amplitudes_on_the_mixing_lines():
    """x**2 has a_i a_j at f_i + f_j and f_i - f_j, and a_i**2 / 2 at 2 f_i."""
    coding = tones(n_inputs=2, n_outputs=5)
    low, high = coding.tones
    assert coding.lines.tolist() == [low, high, 2 * low, low + high, high - low]
    (a, b), *_ = rows = rows_for(coding, 1)
    readings = coding.decode(coding.encode(rows) ** 2)[0]
    np.testing.assert_allclose(readings, np.abs([0, 0, a * a / 2, a * b, a * b]), atol=1e-12)


@pytest.mark.parametrize("length", [30, 100, 900])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_hole_in_the_sound_is_noticed_and_noise_is_none(length, noise):
    coding = tones()
    rng = np.random.default_rng(0)
    rows = np.concatenate([rows_for(coding, 20), np.zeros((2, 5))])
    segments = coding.encode(rows)
    segments += rng.normal(0, noise, segments.shape)
    np.testing.assert_allclose(coding.decode(segments, noise**2)[:, :5], np.abs(rows), atol=4 * noise / 20 + 1e-12)
    segments[7, coding.start + 500 : coding.start + 500 + length] = 0.0
    with pytest.raises(BadReading, match="row 7"):
        coding.decode(segments, noise**2)


@given(st.integers(1, 30), st.integers(256, 8192))
def test_every_tone_and_every_line_has_a_bin_of_its_own(n_tones, window):
    try:
        bins = tone_bins(n_tones, window, TIMING)
    except ValueError:
        return
    hertz = bins * 48_000 / window
    assert len(set(bins.tolist())) == n_tones
    assert hertz.min() >= 500
    assert hertz.max() <= 8000
    lines = line_bins(bins, n_tones, window)
    assert lines.tolist() == bins.tolist()


def test_more_lines_than_there_are_is_refused():
    with pytest.raises(ValueError, match="not 200; take fewer outputs"):
        tones(n_inputs=2, n_outputs=200)
    with pytest.raises(ValueError, match="400 tones do not fit"):
        tones(n_inputs=400)


@given(st.integers(0, 2**32 - 1), st.sampled_from([tones, waveform]), st.booleans())
def test_no_row_exceeds_the_level_limits(seed, kind, extreme):
    coding = kind()
    rows = rows_for(coding, 3, seed)
    if extreme:
        rows = np.sign(rows) * coding.limit
    LEVEL.check(coding.encode(rows).ravel(), 48_000)


@pytest.mark.parametrize(("peak", "rms"), [(0.5, 0.5), (0.9, 0.05), (0.1, 1.0)])
def test_the_limits_of_a_row_are_what_the_level_allows(peak, rms):
    level = LevelLimit(peak, rms)
    limit = level.tone(8)
    assert 8 * limit <= peak * (1 + 1e-12)
    assert np.sqrt(8 * limit**2 / 2) <= rms * (1 + 1e-12)
    assert limit == pytest.approx(min(peak / 8, rms / 2))


@pytest.mark.parametrize("place", [0, 5000, 9999])
def test_a_peak_above_the_limit_is_refused(place):
    sound = np.zeros(10_000)
    sound[place] = -0.51
    with pytest.raises(LimitError, match=r"peak of 0\.51"):
        LEVEL.check(sound, 48_000)


def test_an_rms_above_the_limit_is_refused_wherever_it_is():
    sound = np.zeros(48_000)
    LEVEL.check(sound, 48_000)
    sound[30_000:34_800] = 0.26
    with pytest.raises(LimitError, match="RMS"):
        LEVEL.check(sound, 48_000)
    with pytest.raises(LimitError):
        LEVEL.check(np.full(10, 0.4), 48_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_never_played(bad):
    with pytest.raises(LimitError):
        LEVEL.check(np.array([0.0, bad, 0.0]), 48_000)


@pytest.mark.parametrize("kind", [tones, waveform])
def test_nothing_clicks_where_rows_meet(kind):
    """A row begins and ends in silence, and no step there is larger than the ramp's steepest."""
    coding = kind()
    rows = np.full((3, coding.n_inputs), coding.limit)
    segments = coding.encode(rows)
    steepest = np.pi / 2 / 240 * 0.5
    assert np.abs(segments[:, [0, -1]]).max() < steepest / 50
    joints = np.diff(np.concatenate([segments[0][-20:], segments[1][:20]]))
    assert np.abs(joints).max() < steepest


def test_ramps():
    assert np.all(np.diff(rise(100)) > 0)
    assert 0 < rise(100)[0] < 0.001
    flat = faded(np.ones(1000), 100)
    np.testing.assert_allclose(flat, flat[::-1])
    assert np.all(flat[100:900] == 1)


def test_a_waveform_goes_through_a_perfect_wire():
    coding = waveform(per_value=1)
    rows = rows_for(coding, 5)
    np.testing.assert_allclose(coding.decode(coding.encode(rows)), rows, atol=1e-15)


def test_a_waveform_is_the_mean_of_straight_lines_between_its_values():
    coding = waveform(n_inputs=3, n_outputs=3, per_value=8)
    readings = coding.decode(coding.encode(np.array([[0.0, 0.08, 0.0]])))[0]
    np.testing.assert_allclose(readings, [0.01, 0.06, 0.01], atol=1e-12)


@pytest.fixture
def marker():
    return Marker(48_000, (500.0, 8000.0), 1920, 0.2)


@pytest.mark.parametrize("delay", [0, 1, 777, 30_000])
@pytest.mark.parametrize("seed", range(3))
def test_a_marker_is_found_in_noise_and_reverberation(marker, delay, seed):
    rng = np.random.default_rng(seed)
    echoes = rng.normal(size=2400) * np.exp(-np.arange(2400) / 400) * 0.05
    echoes[0] = 1.0
    recording = np.zeros(delay + 12_000)
    heard = -0.02 * np.convolve(marker.signal, echoes)
    recording[delay : delay + len(heard)] = heard
    assert marker.delay(recording + rng.normal(0, 1e-3, len(recording))) == delay


@pytest.mark.parametrize("seed", range(10))
def test_no_marker_is_found_where_there_is_none(marker, seed):
    rng = np.random.default_rng(seed)
    for recording in (np.zeros(50_000), rng.normal(0, 0.1, 50_000), 0.3 * np.sin(0.1 * np.arange(50_000))):
        with pytest.raises(BadReading, match="marker is not heard"):
            marker.delay(recording)


@pytest.mark.parametrize("kind", [tones, waveform])
@pytest.mark.parametrize("latency", [0, 333, 1200])
def test_a_batch_is_decoded_wherever_its_markers_are(marker, kind, latency):
    coding = kind()
    batch = Batch(coding, marker, 1200)
    rows = rows_for(coding, 6)
    recording = np.concatenate([np.zeros(latency), batch.sound(rows), np.zeros(2400)])
    readings, found = batch.readings(recording, 6, Heard(600, 0.0))
    assert (found.latency, found.stretch) == (latency, pytest.approx(0.0, abs=1e-7))
    np.testing.assert_allclose(readings, coding.decode(coding.encode(rows)), atol=1e-12)


@pytest.mark.parametrize("lost", [-2400, -500, -3, 3, 500, 2400])
def test_samples_that_are_lost_or_doubled_in_a_batch_are_noticed(marker, lost):
    batch = Batch(tones(), marker, 1200)
    sound = np.concatenate([batch.sound(rows_for(batch.coding, 6)), np.zeros(2400)])
    place = batch.first_row + 3000
    pieces = [sound[:place], np.zeros(max(lost, 0)), sound[place + max(-lost, 0) :], np.zeros(4000)]
    with pytest.raises(BadReading):
        batch.readings(np.concatenate(pieces), 6, Heard(0, 0.0))
