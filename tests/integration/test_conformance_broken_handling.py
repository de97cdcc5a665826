"""Devices with sound answers that are badly handled, each in one way of its own, and the check that names it."""

import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.conformance import PROMISES, check_device

MATRIX = np.random.default_rng(0).normal(size=(6, 8)) / 3
SPEC = hwloop.DeviceSpec(n_inputs=6, n_outputs=8, input_low=-1.0, input_high=1.0, input_unit="V", row_seconds=1e-5)


class Rig(hwloop.Device):
    """Sound, but for what a subclass does when it is opened, closed and asked."""

    spec = SPEC

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def identify(self):
        return "rig no. 7"

    def _measure(self, inputs):
        return np.tanh(inputs @ MATRIX + 0.3) + 0.01 * self.rng.normal(size=(len(inputs), 8))


class ReusesItsBuffer(Rig):
    buffer = np.zeros((0, 8))

    def _measure(self, inputs):
        if len(self.buffer) != len(inputs):
            self.buffer = np.empty((len(inputs), 8))
        self.buffer[:] = super()._measure(inputs)
        return self.buffer


class AltersItsStimuli(Rig):
    def _measure(self, inputs):
        inputs *= 0.5
        return super()._measure(2 * inputs)


class ForgetsItsRange(Rig):
    """Opened again, it comes up with the instrument's default gain."""

    gain = None

    def open(self):
        self.gain = 1.0 if self.gain is None else 1.0 + 0.1 * self.rng.normal()

    def _measure(self, inputs):
        return self.gain * super()._measure(inputs)


class KeepsTheReplyOfAnInterruptedCall(Rig):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.link = []

    def _measure(self, inputs):
        self.link.append(super()._measure(inputs))
        reply = self.link.pop(0)
        return reply[np.arange(len(inputs)) % len(reply)]


class SharesABuffer(Rig):
    shared = np.zeros((1, 6))

    def _measure(self, inputs):
        SharesABuffer.shared = inputs
        return super()._measure(SharesABuffer.shared)


class OpensOnce(Rig):
    opened = closed = False

    def open(self):
        if self.closed:
            raise OSError("the port is gone")

    def close(self):
        self.closed = True


class CannotBeClosed(Rig):
    def close(self):
        raise OSError("the port does not close")


class CannotBeClosedTwice(Rig):
    link = None

    def open(self):
        self.link = object()

    def close(self):
        if self.link is None:
            raise RuntimeError("no link to close")
        self.link = None


class ClosesOnlyAfterTheCall(Rig):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.lock = threading.Lock()

    def close(self):
        with self.lock:
            pass

    def _measure(self, inputs):
        with self.lock:
            return super()._measure(inputs)


class HangsWhenClosedElsewhere(Rig):
    owner = None

    def open(self):
        self.owner = threading.get_ident()

    def close(self):
        if self.owner not in (None, threading.get_ident()):
            time.sleep(3.0)
        self.owner = None


class ChangesItsName(Rig):
    counter = itertools.count()

    def identify(self):
        return f"rig, connection {next(self.counter)}"


class Wrapper(hwloop.DeviceWrapper):
    def _measure(self, inputs):
        return self.device.measure(inputs)


class GoesRoundMeasure(Wrapper):
    """Drives the device inside at twice its limit."""

    def _measure(self, inputs):
        return self.device._measure(2 * inputs)


class ReplacesMeasure(Wrapper):
    def __init__(self, device):
        super().__init__(device)
        self.measure = lambda inputs: device._measure(np.asarray(inputs))


class PromisesMoreThanIsInside(Wrapper):
    @property
    def spec(self):
        return replace(self.device.spec, input_high=2.0)


class LeavesTheInsideOpen(Wrapper):
    def close(self):
        pass


BROKEN = {
    "arrays": ReusesItsBuffer,
    "arrays-inputs": AltersItsStimuli,
    "reopening": ForgetsItsRange,
    "reopening-refused": OpensOnce,
    "closing-refused": CannotBeClosed,
    "recovery": KeepsTheReplyOfAnInterruptedCall,
    "two-at-once": SharesABuffer,
    "closing": CannotBeClosedTwice,
    "closing-thread": HangsWhenClosedElsewhere,
    "closing-in-mid-call": ClosesOnlyAfterTheCall,
    "closing-inside": lambda: LeavesTheInsideOpen(Rig()),
    "identity": ChangesItsName,
    "limits": lambda: GoesRoundMeasure(Rig()),
    "limits-replaced": lambda: ReplacesMeasure(Rig()),
    "limits-spec": lambda: PromisesMoreThanIsInside(Rig()),
}


def test_the_sound_rig_keeps_every_promise():
    assert check_device(Rig).broken == []


@pytest.mark.parametrize("promise", [fault for fault in BROKEN if fault in PROMISES])
def test_a_promise_that_is_broken_is_found_when_it_is_asked_for(promise):
    report = check_device(BROKEN[promise], only=[promise])
    assert report.broken == [promise], report.as_dict()
    assert report[promise].next_step


@pytest.mark.parametrize("fault", each_row(BROKEN, "limits"))
def test_of_a_broken_device_what_is_broken_is_named_and_nothing_else(fault):
    assert_named(fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", [fault for fault in BROKEN if "thread" not in fault and "mid-call" not in fault])
def test_broken_devices_are_named_with_other_stimuli_and_lots(fault, seed):
    assert_named(fault, seed)


def assert_named(fault, seed=0):
    promise = next(name for name in PROMISES if fault.startswith(name))
    report = check_device(BROKEN[fault], seed=seed, timeout_seconds=1.0 if fault == "closing-thread" else 30.0)
    assert promise in report.broken, report.as_dict()
    assert set(report.broken) <= {promise}
    assert report[promise].next_step


class Speaker(Rig):
    """Its loudness can be seen from outside; ``close`` mutes it, or forgets to."""

    loudness = 0.0

    def __init__(self, mutes):
        super().__init__()
        self.mutes = mutes

    def close(self):
        self.loudness *= not self.mutes

    def _measure(self, inputs):
        self.loudness = np.abs(inputs).max()
        return super()._measure(inputs)


@pytest.mark.parametrize("mutes", [True, False])
def test_the_safe_state_is_judged_where_it_can_be_seen(mutes):
    report = check_device(lambda: Speaker(mutes), only=["closing"], is_safe=lambda device: device.loudness == 0)
    assert report.passed is mutes
    assert report["closing"].evidence.get("safe_state_seen", True)
    assert mutes or "safe state" in report["closing"].summary
