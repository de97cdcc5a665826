"""Bursts played on a rig of pure arithmetic: a sample-and-hold, a linear system, and an oscilloscope."""

import contextlib
import time

import numpy as np
import pytest

from hwloop import BadReading, ConfigError, LimitError
from hwloop.devices.waveform.decoding import Decoder, ScopeRecord
from hwloop.devices.waveform.limits import WaveformLimits
from hwloop.devices.waveform.player import BurstPlayer
from hwloop.devices.waveform.synthesis import FULL_SCALE_CODE, BurstSynthesis, BurstTiming

TIMING = BurstTiming(3, 5, 4e-6, 3e-6, 2e-6, 12e-6, 1.0)
PERIOD = 2e-6 + 15e-6
RATE = 1e6
LATENCY = 7.3e-6
MATRIX = np.array([[0.5, 0.1, 0.0, -0.3, 0.2], [0.1, 0.3, -0.2, 0.4, 0.1], [0.0, 0.2, 0.5, 0.1, -0.4]])


class Rig:
    """Both instruments in one; keeps a log of what was asked of it."""

    memory_points = 4000
    full_scale_code = FULL_SCALE_CODE
    safe_commands = ()
    record_sizes = (100, 250, 500, 1000, 2000, 4000)

    def __init__(self):
        self.waves, self.log, self.gain, self.plan = {}, [], 1.0, None
        self.selected = self.record = None

    def has_room(self, points):
        return sum(map(len, self.waves.values())) + points <= self.memory_points

    def forget_waveforms(self):
        self.waves.clear()
        self.log.append("forget")

    def load(self, codes):
        assert self.has_room(len(codes))
        name = f"W{len(self.log)}"
        self.waves[name] = codes.astype(float) / FULL_SCALE_CODE
        self.log.append("load")
        return name

    def select(self, name):
        self.selected = self.waves[name]

    def configure(self, plan):
        self.plan = plan

    def points_for(self, points):
        return next((size for size in self.record_sizes if size >= points), self.record_sizes[-1])

    def arm(self):
        self.record = "armed"
        self.log.append("arm")

    def start(self):
        assert self.record == "armed"
        self.log.append("start")
        self.record = self._recorded(self.selected)

    def check_errors(self):
        pass

    def fetch(self, wait_seconds):
        self.log.append("fetch")
        return self.record

    def _recorded(self, volts):
        integral = np.concatenate([[0.0], np.cumsum(volts)]) / RATE

        def mean(start, stop):
            ends = np.interp([start, stop], np.arange(len(integral)) / RATE, integral)
            return (ends[1] - ends[0]) / (stop - start)

        edge = np.flatnonzero(volts > 0.5)[0] / RATE
        rows = int((len(volts) / RATE - edge - 24e-6) / PERIOD + 1e-9)
        points = self.points_for(self.plan.points)
        step = self.plan.duration_seconds / points
        times = self.plan.start_seconds + np.arange(points) * step - edge - LATENCY
        line = np.where((times >= 0) & (times < 12e-6), 1.0, 0.0)
        for row in range(rows):
            start = 24e-6 + row * PERIOD + 2e-6
            levels = [mean(edge + start + (j + 0.25) * 4e-6, edge + start + (j + 0.75) * 4e-6) for j in range(3)]
            for i, volt in enumerate(self.gain * np.array(levels) @ MATRIX):
                slot = start + PERIOD + i * 3e-6
                line[(times >= slot) & (times < slot + 3e-6)] = volt
        codes = np.rint(line / 1e-4).astype(np.int32)
        return ScopeRecord(codes, step, self.plan.start_seconds, 1e-4, 0, -(2**20), 2**20)


def player_of(rig, averages=1, limits=None):
    synthesis = BurstSynthesis(TIMING, limits or WaveformLimits(-1.0, 1.0), 4)
    decoder = Decoder(TIMING, 20e-6, "rig")
    return BurstPlayer(rig, rig, synthesis, decoder, 4, -1.0, 1.0, False, averages, 1.0)


@pytest.fixture
def rows():
    return np.random.default_rng(5).uniform(-1, 1, (150, 3))


@pytest.mark.parametrize("rows_per_burst", [1, 7, 60])
def test_rows_come_back_in_order_through_any_number_of_bursts(rows, rows_per_burst):
    player = player_of(Rig())
    responses = player.play(rows, rows_per_burst)
    np.testing.assert_allclose(responses, rows @ MATRIX, atol=3e-4)
    assert player.latency_seconds == pytest.approx(LATENCY, abs=0.5e-6)


def test_as_many_rows_ride_in_a_burst_as_both_memories_take(rows):
    rig = Rig()
    player = player_of(rig)
    most = player.rows_per_burst()
    assert player.synthesis.points(most) <= rig.memory_points // 2
    assert player.synthesis.points(2 * most) > rig.memory_points // 2
    assert player.record_plan(most).points <= rig.memory_points
    np.testing.assert_allclose(player.play(rows, most), rows @ MATRIX, atol=3e-4)
    assert player.rows_per_burst(5) == 5


def test_the_next_burst_is_loaded_while_one_plays_where_there_is_room(rows):
    rig = Rig()
    player_of(rig).play(rows[:60], 30)
    assert rig.log == ["load", "arm", "start", "load", "fetch", "arm", "start", "fetch"]
    rig = Rig()
    player_of(rig).play(rows, 75)
    assert "forget" not in rig.log[:5]
    rig.memory_points = 1500
    rig.log.clear()
    player_of(rig).play(rows, 75)
    assert rig.log == ["forget", "load", "arm", "start", "fetch", "forget", "load", "arm", "start", "fetch"]


def test_averages_are_means_of_separate_bursts(rows):
    rig = Rig()
    start = rig.start

    def alternating():
        rig.gain = 0.5 if rig.log.count("start") % 2 else 1.5
        start()

    rig.start = alternating
    responses = player_of(rig, averages=4).play(rows[:10] / 2, 5)
    np.testing.assert_allclose(responses, rows[:10] / 2 @ MATRIX, atol=3e-4)
    assert rig.log.count("load") == 2
    assert rig.log.count("start") == 8


def test_the_duty_limit_is_kept_by_waiting():
    rig = Rig()
    limits = WaveformLimits(-1.0, 1.0, duty=0.01)
    begun = []
    start = rig.start
    rig.start = lambda: (begun.append(time.monotonic()), start())
    player_of(rig, limits=limits).play(np.ones((60, 3)), 20)
    active = 12e-6 + 20 * 12e-6
    assert np.diff(begun).min() >= active / 0.01
    assert np.diff(begun).max() < 3 * active / 0.01


def test_the_duty_limit_is_kept_after_a_burst_of_which_only_an_error_is_known():
    rig = Rig()
    begun = []
    start = rig.start
    rig.start = lambda: (begun.append(time.monotonic()), 1 / (len(begun) - 1), start())
    player = player_of(rig, limits=WaveformLimits(-1.0, 1.0, duty=0.01))
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError):
            player.play(np.ones((20, 3)), 20)
    assert begun[1] - begun[0] >= (12e-6 + 20 * 12e-6) / 0.01


def test_the_first_burst_waits_for_one_that_a_killed_process_may_have_begun():
    rig = Rig()
    begun = []
    start = rig.start
    rig.start = lambda: (begun.append(time.monotonic()), start())
    player = player_of(rig, limits=WaveformLimits(-1.0, 1.0, duty=0.01))
    opened = time.monotonic()
    player.rest_first(20)
    player.play(np.ones((20, 3)), 20)
    assert begun[0] - opened >= (12e-6 + 20 * 12e-6) / 0.01


def test_a_record_without_a_marker_is_no_reading_and_one_row_too_long_is_said(rows):
    rig = Rig()
    rig.fetch = lambda wait: ScopeRecord(np.zeros(4000, dtype=np.int32), 1e-6, -12e-6, 1e-4, 0, -9, 9)
    with pytest.raises(BadReading, match="no marker"):
        player_of(rig).play(rows, 10)
    rig.memory_points = 50
    with pytest.raises(ConfigError, match="points of the generator"):
        player_of(rig).rows_per_burst()


def test_nothing_is_loaded_that_breaks_a_limit(rows):
    rig = Rig()
    with pytest.raises(LimitError):
        player_of(rig, limits=WaveformLimits(-1.0, 1.0, rms_volts=0.2)).play(rows, 10)
    assert rig.log == []
