"""Retrying measures rows again on a fresh connection, a bounded number of times, and tells of every failure."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import Sleepless

from hwloop import (
    BadReading,
    BudgetExceeded,
    ConfigError,
    Device,
    DeviceCrashed,
    DeviceDisconnected,
    DeviceError,
    DeviceSpec,
    DeviceTimeout,
    LimitError,
    Retrying,
    StimulusError,
    open_device,
)


class Scripted(Device):
    """Acts out a list, one entry a call: an exception, an answer, or ``None`` for the right answer."""

    def __init__(self, *script, n_outputs=4, clock=None, call_seconds=0.0, **spec):
        self.spec = DeviceSpec(n_outputs, n_outputs, **spec)
        self.script = list(script)
        self.opening, self.closing = [], []  # errors of the next times
        self.clock, self.call_seconds = clock, call_seconds
        self.log = []
        self.is_open = False

    def open(self):
        self.log.append("open")
        if self.opening:
            raise self.opening.pop(0)
        self.is_open = True

    def close(self):
        self.log.append("close")
        self.is_open = False
        if self.closing:
            raise self.closing.pop(0)

    def _measure(self, inputs):
        self.log.append(len(inputs))
        if self.clock is not None:
            self.clock.sleep(self.call_seconds)
        act = self.script.pop(0) if self.script else None
        if isinstance(act, BaseException):
            raise act
        return inputs / 2 if act is None else act


def retrying(device, **settings):
    """Retrying without waiting, and the events that it tells."""
    settings.setdefault("clock", Sleepless())
    wrapped = Retrying(device, **settings)
    events = []
    wrapped.listener = events.append
    return wrapped, events


def stimuli(number=0, count=2, n=4):
    return np.linspace(0.1, 0.9, n * count).reshape(count, n) / (number + 1)


RETRIED = [
    DeviceTimeout("no reply"),
    DeviceDisconnected("gone"),
    DeviceCrashed("dead"),
    BadReading("rubbish"),
    TimeoutError("5 s"),
    ConnectionResetError("peer"),
    EOFError(),
    ValueError("a driver's library"),
    np.full((2, 4), np.nan),
    np.zeros((1, 4)),
]


class TestMeasuringAgain:
    @pytest.mark.parametrize("failure", RETRIED, ids=str)
    def test_on_a_device_that_is_closed_and_opened(self, failure):
        device = Scripted(failure)
        wrapped, events = retrying(device)
        with wrapped:
            np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
        assert device.log == ["open", 2, "close", "open", 2, "close"]
        assert len(events) == 1

    def test_the_whole_block_of_a_call_and_no_other(self):
        device = Scripted(None, DeviceTimeout("slow"), max_rows=3)
        wrapped, events = retrying(device)
        with wrapped:
            np.testing.assert_array_equal(wrapped.measure(stimuli(count=8)), stimuli(count=8) / 2)
        assert device.log == ["open", 3, 3, "close", "open", 3, 2, "close"]
        assert [event.rows for event in events] == [3]

    def test_pauses_double_up_to_a_limit(self):
        clock = Sleepless()
        device = Scripted(*[DeviceTimeout("x")] * 9)
        wrapped, _ = retrying(device, retries=9, stop_after=99, backoff_seconds=0.5, clock=clock)
        wrapped.measure(stimuli())
        assert clock.waits == [0.5, 1, 2, 4, 8, 10, 10, 10, 10]

    def test_the_device_is_in_its_safe_state_during_a_pause(self):
        device = Scripted(DeviceTimeout("x"))

        class Watching(Sleepless):
            def sleep(self, seconds):
                assert not device.is_open

        with Retrying(device, clock=Watching()) as wrapped:
            wrapped.measure(stimuli())

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), BudgetExceeded("x"), LimitError("x")])
    def test_never_after_what_is_no_failure_of_the_device(self, error):
        device = Scripted(error)
        wrapped, events = retrying(device)
        wrapped.open()
        with pytest.raises(type(error)):
            wrapped.measure(stimuli())
        assert device.log == ["open", 2]
        assert events == []
        # But its reply may still come: the next rows are measured on a fresh connection.
        wrapped.measure(stimuli())
        assert device.log == ["open", 2, "close", "open", 2]

    def test_never_for_a_stimulus_that_is_refused(self):
        device = Scripted()
        wrapped, events = retrying(device)
        for bad, error in ((stimuli() + 1, LimitError), (stimuli() * np.nan, StimulusError)):
            with pytest.raises(error):
                wrapped.measure(bad)
        assert device.log == []
        assert events == []

    def test_ctrl_c_in_a_pause_leaves_the_device_closed_and_the_next_rows_open_it(self):
        device = Scripted(DeviceTimeout("x"))

        class Interrupted(Sleepless):
            def sleep(self, seconds):
                raise KeyboardInterrupt

        wrapped, events = retrying(device, clock=Interrupted())
        wrapped.open()
        with pytest.raises(KeyboardInterrupt):
            wrapped.measure(stimuli())
        assert not device.is_open
        assert len(events) == 1
        wrapped.measure(stimuli())
        assert device.log == ["open", 2, "close", "open", 2]

    def test_a_device_that_does_not_open_at_first_is_not_tried_again(self):
        device = Scripted()
        device.opening = [OSError("no power")]
        wrapped, events = retrying(device)
        with pytest.raises(OSError, match="no power"):
            wrapped.open()
        assert device.log == ["open"]
        assert events == []

    def test_a_device_that_does_not_open_again_is_one_more_failure(self):
        device = Scripted(DeviceDisconnected("gone"))
        wrapped, events = retrying(device)
        wrapped.open()
        device.opening = [OSError("rebooting"), DeviceTimeout("rebooting")]
        np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
        assert [event.error.partition(":")[0] for event in events] == [
            "DeviceDisconnected",
            "DeviceError",
            "DeviceTimeout",
        ]
        assert "could not be opened again (OSError: rebooting)" in events[1].error

    def test_nothing_is_measured_on_a_connection_that_could_not_be_closed(self):
        device = Scripted(DeviceTimeout("x"))
        wrapped, events = retrying(device)
        wrapped.open()
        device.closing = [OSError("stuck")] * 2
        np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
        assert device.log == ["open", 2, "close", "close", "close", "open", 2]
        assert "closing failed (OSError: stuck)" in events[0].action
        assert "could not be closed" in events[1].error


class TestStopping:
    def test_when_the_retries_are_used_up(self):
        clock = Sleepless()
        device = Scripted(*[DeviceTimeout("no reply")] * 9, clock=clock, call_seconds=2.0)
        wrapped, events = retrying(device, retries=2, backoff_seconds=1.0, clock=clock)
        wrapped.open()
        with pytest.raises(DeviceTimeout) as caught:
            wrapped.measure(stimuli())
        message = str(caught.value)
        for part in ("2 rows", "3 attempts in 9.0 s", "retries=2", "no reply", "safe state", "open it again"):
            assert part in message
        assert isinstance(caught.value.__cause__, DeviceTimeout)
        assert not device.is_open
        assert [event.fault for event in events] == [1, 2, 3]
        assert ["gave up" in event.action for event in events] == [False, False, True]

    def test_it_stays_closed_until_it_is_opened(self):
        device = Scripted(*[DeviceTimeout("x")] * 2)
        wrapped, _ = retrying(device, retries=1)
        wrapped.open()
        with pytest.raises(DeviceTimeout):
            wrapped.measure(stimuli())
        done = list(device.log)
        with pytest.raises(DeviceError, match="open it first"):
            wrapped.measure(stimuli())
        assert device.log == done
        wrapped.open()
        np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)

    def test_a_device_that_its_owner_closed_is_not_opened_behind_his_back(self):
        device = Scripted()
        wrapped, _ = retrying(device)
        with wrapped:
            pass
        with pytest.raises(DeviceError, match="closed, by its owner"):
            wrapped.measure(stimuli())
        assert device.log == ["open", "close"]

    def test_when_the_deadline_leaves_no_time(self):
        clock = Sleepless()
        device = Scripted(*[DeviceTimeout("x")] * 99, clock=clock, call_seconds=3.0)
        wrapped, events = retrying(
            device, retries=98, stop_after=98, backoff_seconds=1, deadline_seconds=10.0, clock=clock
        )
        with pytest.raises(DeviceTimeout, match="deadline of 10 s leaves no time"):
            wrapped.measure(stimuli())
        assert clock.time == 12.0  # 3 + 1 + 3 + 2 + 3: late already
        assert len(events) == 3

    def test_a_pause_that_would_end_after_the_deadline_is_not_begun(self):
        clock = Sleepless()
        device = Scripted(*[DeviceTimeout("x")] * 99, clock=clock, call_seconds=1.0)
        wrapped, _ = retrying(device, backoff_seconds=3, deadline_seconds=4.0, clock=clock)
        with pytest.raises(DeviceTimeout, match="deadline of 4 s leaves no time"):
            wrapped.measure(stimuli())
        assert clock.waits.count(3) == 0
        assert clock.time == 1.0

    def test_each_block_has_a_deadline_of_its_own(self):
        clock = Sleepless()
        failing = [DeviceTimeout("x"), None] * 5
        device = Scripted(*failing, clock=clock, call_seconds=3.0, max_rows=2)
        wrapped, _ = retrying(device, backoff_seconds=1, deadline_seconds=10.0, clock=clock)
        wrapped.measure(stimuli(count=10))
        assert clock.time == 35.0

    def test_an_answer_after_the_deadline_is_kept(self):
        clock = Sleepless()
        device = Scripted(clock=clock, call_seconds=99.0)
        wrapped, events = retrying(device, deadline_seconds=1.0, clock=clock)
        np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
        assert events == []

    def test_after_failures_in_a_row(self):
        device = Scripted(*[DeviceCrashed("x")] * 99)
        wrapped, events = retrying(device, retries=50, stop_after=4)
        with pytest.raises(DeviceCrashed, match=r"4 attempts .* stop_after=4"):
            wrapped.measure(stimuli())
        assert len(events) == 4
        assert not device.is_open

    def test_an_answer_ends_the_row_of_failures(self):
        device = Scripted(*[DeviceTimeout("x"), DeviceTimeout("x"), None] * 5)
        wrapped, events = retrying(device, stop_after=3)
        for number in range(5):
            wrapped.measure(stimuli(number))
        assert [event.fault for event in events] == list(range(1, 11))

    def test_without_retries_a_failure_still_closes_the_device(self):
        device = Scripted(DeviceTimeout("x"))
        wrapped, _ = retrying(device, retries=0)
        with pytest.raises(DeviceTimeout, match="1 attempt in"):
            wrapped.measure(stimuli())
        assert device.log == [2, "close"]

    def test_a_device_that_does_not_reach_its_safe_state_is_named(self):
        device = Scripted(DeviceTimeout("x"))
        device.closing = [OSError("stuck relay")]
        wrapped, _ = retrying(device, retries=0)
        with pytest.raises(DeviceTimeout, match=r"OSError: stuck relay\), so the device may not be in its safe"):
            wrapped.measure(stimuli())

    def test_opening_once_more_closes_first_what_could_not_be_closed(self):
        device = Scripted(DeviceTimeout("x"))
        device.closing = [OSError("stuck relay")]
        wrapped, _ = retrying(device, retries=0)
        with pytest.raises(DeviceTimeout):
            wrapped.measure(stimuli())
        wrapped.open()
        assert device.log == [2, "close", "close", "open"]


class TestSlowAnswers:
    def test_they_are_told_and_kept(self):
        clock = Sleepless()
        device = Scripted(clock=clock, call_seconds=2.0)
        wrapped, events = retrying(device, slow_seconds=1.5, clock=clock)
        np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
        assert device.log == [2]
        assert [(event.error, event.action) for event in events] == [
            ("DeviceTimeout: the answer took 2 s, more than 1.5 s", "answer kept")
        ]

    def test_without_a_limit_nothing_is_slow(self):
        clock = Sleepless()
        wrapped, events = retrying(Scripted(clock=clock, call_seconds=1e6), clock=clock)
        wrapped.measure(stimuli())
        assert events == []


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"retries": -1}, "retries must be at least 0"),
            ({"retries": 1.5}, "retries must be a whole number"),
            ({"backoff_seconds": -0.1}, "backoff_seconds must be at least 0"),
            ({"deadline_seconds": -1}, "deadline_seconds must be at least 0"),
            ({"stop_after": 0}, "stop_after must be at least 1"),
            ({"slow_seconds": "1"}, "slow_seconds must be a number"),
            ({"plausible": "not-repeated"}, "must be a list of checks"),
            ({"plausible": ["not-repeted"]}, "did you mean 'not-repeated'"),
            ({"plausible": [{"name": "within-range", "low": 1.0, "high": 0.0}]}, "must rise"),
            ({"plausible": [{"low": 1.0}]}, "must be one of"),
        ],
    )
    def test_bad_ones_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Retrying(Scripted(), **settings)

    def test_an_unknown_setting_of_a_check_is_named(self):
        with pytest.raises(ConfigError, match="did you mean 'high'"):
            Retrying(Scripted(), plausible=[{"name": "within-range", "low": 0.0, "heigh": 1.0}])

    def test_it_can_be_asked_for_in_a_toml_file(self, tmp_path):
        path = tmp_path / "rig.toml"
        path.write_text(
            'device = "optical-fibre"\n[settings]\nn_inputs = 3\n[[wrap]]\nname = "retrying"\nretries = 7\n'
            'plausible = ["not-constant", { name = "within-range", low = 0.0, high = 1.0 }]\n'
        )
        device = open_device(path)
        assert isinstance(device, Retrying)
        assert device.retries == 7
        assert device.measure(np.full((2, 3), 0.5)).shape == (2, 1000)
