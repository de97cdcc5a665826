"""The sound card's device on a simulated room: latency, lost samples, limits, silence."""

import threading
import time

import numpy as np
import pytest
from examples import each_row
from scipy.interpolate import CubicSpline
from scipy.signal import resample

from hwloop import BadReading, DeviceDisconnected, DeviceError, DeviceTimeout, HwloopError, LimitError, Retrying
from hwloop.conformance import PROMISES, check_device
from hwloop.devices.sound_card import SoundCard
from hwloop.devices.sound_card.stream import Job, SoundDeviceStream

PATIENCE_SECONDS = 20.0  # on a busy machine


class Room:
    """Delays what is played, adds its square, and may drop samples or go deaf."""

    def __init__(self, latency=700, squared=0.0, gain=1.0):
        self.latency, self.squared, self.gain = latency, squared, gain
        self.lose = 0
        self.sounds = []
        self.is_open = False

    def open(self):
        self.is_open = True

    def close(self):
        self.is_open = False

    def identify(self):
        return "room"

    def play_and_record(self, sound, timeout_seconds):
        assert self.is_open
        assert timeout_seconds > len(sound) / 48_000
        self.sounds.append(sound)
        heard = np.concatenate([np.zeros(self.latency), self.gain * sound + self.squared * sound**2])
        if self.lose:
            middle = len(heard) // 2
            heard = np.delete(heard, np.s_[middle : middle + self.lose])
            self.lose = 0
        return np.concatenate([heard, np.zeros(self.lose + 100)])[: len(sound)]


def card(room, **settings):
    quick = {"coding": {"name": "tones", "window_samples": 1024}, "settling_seconds": 0.01, "gap_seconds": 0.02}
    return SoundCard(4, 14, **{**quick, "stream": room, **settings})


def rows_for(device, count, seed=0):
    return np.random.default_rng(seed).uniform(device.spec.low, device.spec.high, (count, device.spec.n_inputs))


def test_rows_are_read_back_whatever_the_latency():
    room = Room()
    with card(room) as device:
        assert device.latency_seconds == 700 / 48_000
        rows = rows_for(device, 40)
        np.testing.assert_allclose(device.measure(rows)[:, :4], np.abs(rows), atol=1e-9)
        assert len(room.sounds) == 1 + 2  # the marker of open(), and 32 rows a sound
        room.latency = 900
        np.testing.assert_allclose(device.measure(rows)[:, :4], np.abs(rows), atol=1e-9)
        assert device.latency_seconds == 900 / 48_000


def test_the_squares_of_the_room_are_on_the_mixing_lines():
    with card(Room(squared=0.5)) as device:
        rows = rows_for(device, 3)
        a = rows[:, 0]
        np.testing.assert_allclose(device.measure(rows)[:, 4], 0.5 * a**2 / 2, atol=1e-9)  # at 2 f_0


def test_waveforms():
    with SoundCard(32, 40, coding={"name": "waveform", "samples_per_value": 1}, stream=Room(gain=-0.5)) as device:
        rows = rows_for(device, 5)
        answers = device.measure(rows)
        np.testing.assert_allclose(answers[:, :32], -0.5 * rows, atol=1e-12)
        assert np.all(np.abs(answers[:, 32:]) < 0.5 * np.abs(rows[:, -1:]))  # the ramp out


def on_another_clock(sound, ppm):
    """What a card records whose clock runs so much faster: eight times oversampled, then a cubic spline."""
    padded = np.concatenate([sound, np.zeros(4096)])
    fine = CubicSpline(np.arange(8 * len(padded)) / 8, resample(padded, 8 * len(padded)))
    return fine(np.arange(len(sound)) / (1 + 1e-6 * ppm))


class TwoClocks(Room):
    """Microphone and loudspeaker on cards of their own."""

    ppm = 0.0

    def play_and_record(self, sound, timeout_seconds):
        return on_another_clock(super().play_and_record(sound, timeout_seconds), self.ppm)


CODINGS = {"tones": {"name": "tones", "window_samples": 1024}, "waveform": {"name": "waveform"}}


@pytest.mark.parametrize("ppm", each_row([20.0, -150, -5, 0.5, 5, 100], 20.0))
@pytest.mark.parametrize("coding", each_row(CODINGS, "waveform"))
def test_two_clocks_that_differ_are_told_and_made_good(coding, ppm):
    room = TwoClocks(squared=0.3)
    with card(room, coding=CODINGS[coding], max_rows=40) as device:
        rows = rows_for(device, 40)
        truth = device.measure(rows)
    room.ppm = ppm
    with card(room, coding=CODINGS[coding], max_rows=40) as device:
        tolerance = max(2e-3, 6e-5 * abs(ppm))  # a stretched chirp is placed a few hundredths of a sample off
        assert (device.clock_ratio - 1) * 1e6 == pytest.approx(ppm, abs=0.2)
        answers = device.measure(rows)
        assert np.abs(answers - truth).max() < tolerance * np.abs(truth).max()
        room.ppm = ppm + 0.2  # the cards warm up
        assert np.abs(device.measure(rows) - truth).max() < tolerance * np.abs(truth).max()
        room.lose = 3
        with pytest.raises(BadReading, match="lost or doubled"):
            device.measure(rows)


def test_different_sample_rates_are_refused_when_the_card_is_opened():
    room = TwoClocks()
    room.ppm = 1e6 * (48_000 / 47_900 - 1)
    device = card(room)
    with pytest.raises(DeviceError, match="one sample rate"):
        device.open()
    assert not room.is_open


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("full_scale", [1.0, 0.9995])
def test_a_microphone_that_clips_is_refused(coding, full_scale):
    class Clipping(Room):
        def play_and_record(self, sound, timeout_seconds):
            return np.clip(super().play_and_record(sound, timeout_seconds), -full_scale, full_scale)

    room = Clipping()
    with card(room, coding=CODINGS[coding]) as device:
        rows = rows_for(device, 4) / 10
        rows[2] = device.spec.high
        device.measure(rows)
        room.gain = 1.2 / np.abs(device.coding.encode(rows[2:3])).max()
        with pytest.raises(BadReading, match=r"row 2: the microphone reaches full scale.*turn down"):
            device.measure(rows)


def test_what_is_measured_does_not_depend_on_the_batch():
    with card(Room(squared=0.5)) as device:
        rows = rows_for(device, 8)
        together, alone = device.measure(rows), [device.measure([row])[0] for row in rows]
        np.testing.assert_allclose(together, alone, atol=1e-12)


def test_lost_samples_are_noticed_and_measured_again():
    room = Room()
    with Retrying(card(room), backoff_seconds=0.0) as device:
        rows = rows_for(device, 6)
        room.lose = 200
        with card(Room()) as sound:
            np.testing.assert_allclose(device.measure(rows), sound.measure(rows), atol=1e-9)
    room = Room()
    with card(room) as device:
        room.lose = 200
        with pytest.raises(BadReading, match="lost or doubled"):
            device.measure(rows)


def test_a_deaf_microphone_is_told_when_it_is_opened():
    room = Room(gain=0.0)
    with pytest.raises(DeviceError, match="loudspeaker is not heard"):
        card(room).open()
    assert not room.is_open


def test_nothing_louder_than_the_limits_is_ever_played():
    room = Room()
    with card(room, peak=0.3, rms=0.1) as device:
        limit = device.spec.high[0]
        device.measure(np.full((3, 4), limit))
        with pytest.raises(LimitError):
            device.measure(np.full((1, 4), np.nextafter(limit, 1)))
        device.coding.limit = 1.0
        with pytest.raises(LimitError, match="nothing was played"):  # should the coding ever be wrong
            device._played(np.full(1000, 0.31))
    for sound in room.sounds:
        assert np.abs(sound).max() <= 0.3
        assert np.sqrt(np.convolve(sound**2, np.ones(4800) / 4800, "valid")).max() <= 0.1 + 1e-6
    assert len(room.sounds) == 2


def test_closed_it_plays_nothing():
    room = Room()
    device = card(room)
    with pytest.raises(DeviceDisconnected, match="open it first"):
        device.measure(rows_for(device, 1))
    with device:
        pass
    assert not room.is_open
    assert len(room.sounds) == 1


def test_the_identity_says_what_a_response_depends_on():
    identity = card(Room()).identify()
    for part in ("room", "48000 Hz", "tones 515.6 to 7968.8 Hz, 2 windows of 1024", "settling 0.01 s", "peak 0.5"):
        assert part in identity


@pytest.mark.parametrize(
    "setting",
    [
        {"coding": "tunes"},
        {"coding": {"name": "tones", "size": 3}},
        {"peak": 1.5},
        {"rms": 0.0},
        {"band_hz": (900, 400)},
        {"band_hz": (500, 30_000)},
        {"ramp_seconds": 0.0},
        {"n_outputs": 0},
        {"max_rows": 0},
    ],
)
def test_bad_settings_are_refused(setting):
    with pytest.raises((ValueError, HwloopError), match=next(iter(setting))):
        SoundCard(**{"n_inputs": 4, "n_outputs": 14, "stream": Room(), **setting})


def test_a_sound_that_is_broken_off_dies_away_without_a_click():
    job = Job(np.full(10_000, 0.5, dtype=np.float32), 100)
    played = np.zeros(10_240, dtype=np.float32)
    for block in range(4):
        job.step(np.zeros(1024, np.float32), played[block * 1024 : (block + 1) * 1024], "")
    job.fade()
    for block in range(4, 10):
        job.step(np.zeros(1024, np.float32), played[block * 1024 : (block + 1) * 1024], "")
    assert job.done.is_set()
    assert np.all(played[:4096] == 0.5)
    assert np.all(played[4200:] == 0)
    assert np.abs(np.diff(played)).max() < 0.01


@pytest.mark.parametrize("ending", ["timeout", "interrupt"])
def test_the_stream_falls_silent_when_a_call_ends_early(ending, monkeypatch):
    stream = SoundDeviceStream(48_000, None, None, "high", 0, 100)
    stream._stream = type("Running", (), {"active": True})()
    played, stop = [], threading.Event()

    def card_thread():
        while not stop.wait(0.005):
            block = np.zeros((256, 1), np.float32)
            stream._callback(np.zeros((256, 1), np.float32), block, 256, None, None)
            played.append(block[:, 0])

    thread = threading.Thread(target=card_thread)
    thread.start()
    if ending == "interrupt":
        waits = iter([KeyboardInterrupt])
        real = threading.Event.wait

        def interrupted(event, timeout=None):
            if threading.current_thread() is threading.main_thread() and timeout == 30.0:
                real(event, 0.2)
                raise next(waits)
            return real(event, timeout)

        monkeypatch.setattr(threading.Event, "wait", interrupted)
    expected = KeyboardInterrupt if ending == "interrupt" else DeviceTimeout
    with pytest.raises(expected):
        stream.play_and_record(np.full(480_000, 0.4), 30.0 if ending == "interrupt" else 0.2)
    end = time.monotonic() + PATIENCE_SECONDS
    while np.concatenate(played[-2:]).any() and time.monotonic() < end:
        stop.wait(0.005)
    stop.set()
    thread.join()
    sound = np.concatenate(played)
    assert sound.max() == np.float32(0.4)
    assert np.all(sound[-512:] == 0)
    after = sound[int(np.argmax(sound > 0)) :]
    assert np.abs(np.diff(after)).max() < 0.4 * np.pi / 2 / 100 * 1.1


class NoisyRoom(Room):
    """With a microphone that has a noise of its own, as every real one."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.rng = np.random.default_rng(0)

    def play_and_record(self, sound, timeout_seconds):
        heard = super().play_and_record(sound, timeout_seconds)
        return heard + self.rng.normal(0.0, 1e-5, len(heard))


@pytest.mark.parametrize(
    "promises",
    [
        {"limits", "identity", "closing", "arrays"},
        # The room answers at once: that a row takes as long as its sound is not to be seen here.
        pytest.param(set(PROMISES) - {"pace"}, marks=pytest.mark.slow),
    ],
    ids=["a few", "every"],
)
def test_the_card_keeps_the_promises_of_a_driver(promises):
    report = check_device(lambda: card(NoisyRoom(squared=0.2)), only=promises)
    assert report.broken == []
