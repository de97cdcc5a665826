"""What a check may do to a device: nothing beyond its limits, no more rows than granted, no trace left behind."""

import sys
from pathlib import Path

import numpy as np
import pytest
from examples import each_row, examples
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.conformance import check_device
from hwloop.conformance.examination import Examination
from hwloop.conformance.guard import Hung, InterruptInjector, within
from hwloop.errors import ConfigError
from hwloop.probing import stimuli


class Recorder(hwloop.Device):
    """Notes the rows that reach it, over all objects of a test."""

    def __init__(self, seen, low=-1.0, high=1.0):
        self.spec = hwloop.DeviceSpec(n_inputs=3, n_outputs=4, input_low=low, input_high=high)
        self.seen = seen

    def identify(self):
        return "recorder no. 1"

    def _measure(self, inputs):
        self.seen.append(np.array(inputs))
        return np.tanh(inputs @ np.arange(1.0, 13.0).reshape(3, 4) / 10)


class RoundTheCheck(hwloop.DeviceWrapper):
    def _measure(self, inputs):
        return self.device._measure(3 * inputs)


class InPlaceOfTheCheck(hwloop.DeviceWrapper):
    def __init__(self, device):
        super().__init__(device)
        self.measure = lambda inputs: device._measure(np.asarray(inputs, dtype=float))

    def _measure(self, inputs):
        return self.device.measure(inputs)


limits = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(channels=st.lists(limits, min_size=1, max_size=6), seed=st.integers(0, 100))
def test_every_stimulus_lies_within_the_limits(channels, seed):
    low, high = np.array(channels).T
    spec = hwloop.DeviceSpec(n_inputs=len(low), n_outputs=1, input_low=low, input_high=high)
    rng = np.random.default_rng(seed)
    moderate = stimuli.moderate(spec, 5, rng)
    kinds = (moderate, stimuli.mirrored(spec, moderate), stimuli.rest(spec), stimuli.strong(spec, rng))
    for rows in kinds:
        assert ((rows >= low) & (rows <= high)).all()


@given(channel=limits, seed=st.integers(0, 100))
@examples(3)
def test_a_whole_check_stays_within_the_limits(channel, seed):
    seen = []
    check_device(lambda: Recorder(seen, *channel), seed=seed)
    rows = np.concatenate(seen)
    assert rows.min() >= channel[0]
    assert rows.max() <= channel[1]


@pytest.mark.parametrize("wrapper", each_row([RoundTheCheck, InPlaceOfTheCheck], RoundTheCheck))
def test_a_wrapper_that_goes_round_the_checks_does_not_reach_the_hardware(wrapper):
    seen = []
    assert "limits" in check_device(lambda: wrapper(Recorder(seen))).broken
    assert all(np.abs(rows).max() <= 1.0 for rows in seen)


@pytest.mark.parametrize("budget", each_row([1, 5, 80, 300, 1000], 1, 5, 80))
def test_no_more_rows_than_granted_reach_the_hardware(budget):
    seen = []
    report = check_device(lambda: Recorder(seen), rows=budget)
    assert sum(len(rows) for rows in seen) <= budget
    assert report.rows <= budget
    unchecked = [r for r in report.results if r.finding.summary.startswith("not checked")]
    assert bool(unchecked) == (budget < 1000)


def test_a_checked_device_is_as_it_was():
    device = Recorder([])
    counted = ("seen", "_listener", "_rows_answered")
    before = {key: value for key, value in vars(device).items() if key not in counted}
    devices = iter([device, Recorder([])])
    check_device(lambda: next(devices))
    after = {key: value for key, value in vars(device).items() if key not in counted}
    assert after == before
    assert "_measure" not in vars(device)
    assert sys.gettrace() is None or "coverage" in repr(sys.gettrace())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report():
    def report(seed):
        found = check_device(lambda: Recorder([]), seed=seed).as_dict()
        timed = ("pace", "latency", "reopening")
        return [result for result in found["results"] if result["promise"] not in timed]

    assert report(3) == report(3)


def test_unknown_promises_and_what_is_no_device_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'memory'"):
        check_device(lambda: Recorder([]), only=["memori"])


def test_a_call_that_hangs_is_given_up_and_an_error_comes_through():
    import threading

    never = threading.Event()
    with pytest.raises(Hung, match="measure"):
        within(0.05, "measure()", never.wait)
    never.set()
    with pytest.raises(ZeroDivisionError):
        within(5.0, "measure()", lambda: 1 / 0)
    assert within(5.0, "measure()", lambda: 7) == 7


def test_the_hook_acts_before_the_line_that_it_is_told():
    def driver(inputs):
        first = inputs + 1
        second = first * 2
        return second - 1

    hook = InterruptInjector(frozenset({__name__.partition(".")[0]}))
    hook.watch()
    assert hook.call(driver, 1) == 3
    assert len(hook.lines) == 3
    acted = []
    hook.act_at(hook.lines[1], lambda: acted.append(True))
    assert hook.call(driver, 1) == 3
    assert acted == [True]
    assert hook.fired
    assert not hook.armed


def test_what_the_check_does_in_a_call_are_no_lines_of_the_driver():
    with Examination(lambda: hwloop.Averaged(hwloop.open_device("relu-layer"), n=2), 100, 0, 30.0) as examination:
        lines = examination.driver_lines(stimuli.rest(examination.spec))
    folders = {Path(file).parent.name for file, _ in lines}
    assert "devices" in folders
    assert not folders & {"", "conformance", "probing", "session"}
