"""Devices that answer wrongly, each in one way of its own, and the check that names the fault."""

import time
from dataclasses import replace

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.conformance import PROMISES, check_device

MATRIX = np.random.default_rng(0).normal(size=(6, 8)) / 3
SPEC = hwloop.DeviceSpec(n_inputs=6, n_outputs=8, input_low=-1.0, input_high=1.0, input_unit="V", row_seconds=1e-5)
NOISE = 0.01


class Rig(hwloop.Device):
    """Sound: a saturating mixer with a little noise, told from others by its serial number."""

    spec = SPEC
    noise = NOISE

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def identify(self):
        return "rig no. 7"

    def physics(self, inputs):
        return np.tanh(inputs @ MATRIX + 0.3)

    def _measure(self, inputs):
        responses = self.physics(inputs)
        return responses + self.noise * self.rng.normal(size=responses.shape)


class LeaksIntoTheNextRow(Rig):
    last = 0.0

    def physics(self, inputs):
        drive = inputs @ MATRIX
        settled = [drive[0] + 0.03 * (self.last - drive[0])]
        for row in drive[1:]:
            settled.append(row + 0.03 * (settled[-1] - row))
        self.last = settled[-1]
        return np.tanh(np.array(settled) + 0.3)


class TakesTheMeanOfItsBatch(Rig):
    def physics(self, inputs):
        responses = super().physics(inputs)
        return responses - 0.1 * responses.mean(axis=0)


class AnswersACallInReverse(Rig):
    def physics(self, inputs):
        return super().physics(inputs)[::-1]


class OverrunsItsBuffer(Rig):
    spec = replace(SPEC, max_rows=64)

    def physics(self, inputs):
        responses = super().physics(inputs)
        responses[40:] = 0.0
        return responses


class RepeatsAnOldReading(Rig):
    old = None

    def _measure(self, inputs):
        responses = super()._measure(inputs)
        if self.old is not None and self.rng.random() < 0.25:
            responses[0] = self.old
        self.old = responses[-1].copy()
        return responses


class IsDead(Rig):
    def _measure(self, inputs):
        return np.full((len(inputs), 8), 0.25)


class HearsNoStimulus(Rig):
    def physics(self, inputs):
        return np.zeros((len(inputs), 8))


class LosesEveryThirdRow(Rig):
    def _measure(self, inputs):
        responses = super()._measure(inputs)
        lost = self.rng.random(len(inputs)) < 0.35
        return np.where(lost[:, None], self.rng.uniform(-3, 3, responses.shape), responses)


class IsClipped(Rig):
    def _measure(self, inputs):
        return np.clip(20 * super()._measure(inputs), -1, 1)


class IsNotDeterministic(Rig):
    spec = replace(SPEC, deterministic=True)
    noise = 1e-12


class IsSlowerThanItSays(Rig):
    spec = replace(SPEC, row_seconds=1e-5)

    def _measure(self, inputs):
        time.sleep(1.5e-3 * len(inputs))
        return super()._measure(inputs)


class ReadsNotANumber(Rig):
    count = 0

    def _measure(self, inputs):
        responses = super()._measure(inputs)
        self.count += len(inputs)
        if self.count > 150:
            self.count = 0
            responses[0, 3] = 9.91e37
        return responses


class HasTooManyOutputs(Rig):
    def _measure(self, inputs):
        return np.repeat(super()._measure(inputs), 2, axis=1)


class AnswersARowLate(Rig):
    late = np.zeros((1, 8))

    def _measure(self, inputs):
        responses = np.concatenate([self.late, super()._measure(inputs)])
        self.late = responses[-1:]
        return responses[:-1]


class TakesFewerRowsThanItSays(Rig):
    spec = replace(SPEC, max_rows=100)

    def _measure(self, inputs):
        if len(inputs) > 50:
            raise MemoryError("the generator holds 50 segments")
        return super()._measure(inputs)


class IsFasterThanItSays(Rig):
    spec = replace(SPEC, row_seconds=0.01)


class SlowsDownInLargeCalls(Rig):
    spec = replace(SPEC, row_seconds=None)

    def _measure(self, inputs):
        time.sleep(5e-5 * (len(inputs) ** 2 - 1))
        return super()._measure(inputs)


BROKEN = {
    "memory": LeaksIntoTheNextRow,
    "batches": TakesTheMeanOfItsBatch,
    "batches-reversed": AnswersACallInReverse,
    "full-calls": OverrunsItsBuffer,
    "staleness": RepeatsAnOldReading,
    "repeatability": IsDead,
    "repeatability-deaf": HearsNoStimulus,
    "repeatability-glitches": LosesEveryThirdRow,
    "saturation": IsClipped,
    "determinism": IsNotDeterministic,
    "pace": IsSlowerThanItSays,
    "readings": ReadsNotANumber,
    "readings-shape": HasTooManyOutputs,
    "staleness-late": AnswersARowLate,
    "full-calls-refused": TakesFewerRowsThanItSays,
    "pace-fast": IsFasterThanItSays,
    "latency": SlowsDownInLargeCalls,
}
# What a fault brings with it: nothing else can be told of a device that answers nothing.
FOLLOWS = {
    "staleness-late": {"memory"},  # the row before is all that it answers
    "full-calls-refused": {"readings"},
}


def test_the_sound_rig_keeps_every_promise():
    assert check_device(Rig).broken == []


WITH_OTHERS = {"latency", "readings"}  # judged by what the examinations of other promises measure


@pytest.mark.parametrize("promise", [fault for fault in BROKEN if fault in PROMISES and fault not in WITH_OTHERS])
def test_a_promise_that_is_broken_is_found_when_it_is_asked_for(promise):
    report = check_device(BROKEN[promise], only=[promise])
    assert report.broken == [promise], report.as_dict()
    assert report[promise].next_step


@pytest.mark.parametrize("fault", each_row(BROKEN, "full-calls", *WITH_OTHERS))
def test_of_a_broken_device_what_is_broken_is_named_and_nothing_else(fault):
    assert_named(fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", BROKEN)
def test_broken_devices_are_named_with_other_stimuli_and_lots(fault, seed):
    assert_named(fault, seed)


def assert_named(fault, seed=0):
    promise = next(name for name in PROMISES if fault.startswith(name))
    report = check_device(BROKEN[fault], seed=seed)
    assert promise in report.broken, report.as_dict()
    assert set(report.broken) <= {promise} | FOLLOWS.get(fault, set())
    assert report[promise].next_step
