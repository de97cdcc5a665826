"""A device that says that it can be nudged, and the check that it is so."""

from dataclasses import replace

import numpy as np
import pytest
from examples import each_row

import hwloop
import hwloop.testing
from hwloop.conformance import PROMISES, Status, check_device
from hwloop.simulators.oscillators.settled import SettledOscillators

SPEC = hwloop.DeviceSpec(4 + 6, 6, -1.0, 1.0, n_nudges=6, row_seconds=1e-5)
ROOT = np.random.default_rng(0).normal(size=(6, 6))
RESPONSE = ROOT @ ROOT.T / 6 + np.eye(6)  # symmetric


class Springs(hwloop.Device):
    """Sound: linear, reciprocal, a little noise."""

    spec = SPEC
    response = RESPONSE

    def __init__(self):
        self.rng = np.random.default_rng(1)

    def identify(self):
        return "springs no. 7"

    def forces(self, drives, nudges):
        return np.pad(drives, ((0, 0), (0, 2))) + nudges

    def _measure(self, inputs):
        forces = self.forces(inputs[:, :4], inputs[:, 4:])
        return forces @ self.response + 0.01 * self.rng.normal(size=(len(inputs), 6))


class OneWay(Springs):
    response = np.triu(RESPONSE + 0.5)


class NudgesInAnotherOrder(Springs):
    def forces(self, drives, nudges):
        return super().forces(drives, nudges[:, ::-1])


class WeakNudges(Springs):
    def forces(self, drives, nudges):
        return super().forces(drives, 0.3 * nudges)


class OutputsInAnotherOrder(Springs):
    response = np.roll(RESPONSE, 1, axis=1)


@pytest.mark.parametrize("seed", each_row([0, 1], 0))
@pytest.mark.parametrize("broken", [OneWay, NudgesInAnotherOrder, WeakNudges, OutputsInAnotherOrder])
def test_nudges_that_are_none_are_named(broken, seed):
    finding = check_device(broken, only=["nudges"], seed=seed)["nudges"]
    assert finding.status is Status.FAIL, finding
    assert "n_nudges" in finding.next_step


@pytest.mark.parametrize("seed", each_row([0, 1, 2], 0))
def test_sound_nudges_pass_noise_and_curvature_notwithstanding(seed):
    for sound in (Springs, lambda: SettledOscillators(n_inputs=8)):
        finding = check_device(sound, only=["nudges"], seed=seed)["nudges"]
        assert finding.status is Status.PASS, finding


def test_a_device_without_nudges_is_not_asked():
    class Plain(Springs):
        spec = replace(SPEC, n_nudges=0)

    whole = check_device(Plain, rows=100)
    assert "nudges" not in [result.promise for result in whole.results]
    assert check_device(Plain, only=["nudges"])["nudges"].status is Status.NOTE


def test_a_drivers_own_tests_have_one_for_every_promise():
    tests = set(vars(hwloop.testing.DeviceConformance))
    assert {f"test_{promise.replace('-', '_')}" for promise in PROMISES} <= tests
