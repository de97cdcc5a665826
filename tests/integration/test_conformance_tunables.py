"""A device with tunables that keep their promise, and broken ones, each named by the check."""

import re
from dataclasses import replace

import numpy as np
import pytest
from tuned_devices import TunedLayer, TunedRig

import hwloop
from hwloop.conformance import Status, check_device


class Sound(TunedRig):
    """The rig with a little noise."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(3)
        self.spec = replace(self.spec, deterministic=False)

    def _measure(self, inputs):
        answers = super()._measure(inputs)
        return answers + 0.01 * self.rng.normal(size=answers.shape)


WAITS = []


@pytest.fixture(autouse=True)
def waiting_takes_no_time(monkeypatch):
    monkeypatch.setattr("hwloop.conformance.tunables._wait", WAITS.append)


class SettlesLate(Sound):
    written_at = 0
    before = np.zeros(7)

    def _tune(self, values):
        self.before, self.written_at = self._values, len(WAITS)
        super()._tune(values)

    def _measure(self, inputs):
        values = self._values
        if len(WAITS) == self.written_at and np.isfinite(self.before).all():
            self._values = 0.5 * (values + self.before)
        answers = super()._measure(inputs)
        self._values = values
        return answers


class HasHysteresis(Sound):
    before = np.zeros(7)

    def _tune(self, values):
        self.before = 0.8 * self.before + 0.2 * values
        super()._tune(values)

    def _measure(self, inputs):
        return super()._measure(inputs) + 0.1 * self.before.sum()


class AddsWhatIsWritten(Sound):
    offset = 0.0

    def _tune(self, values):
        self.offset += 0.3 * (np.array_equal(values, self._values))
        super()._tune(values)

    def _measure(self, inputs):
        return super()._measure(inputs) + self.offset


class Deaf(Sound):
    def _tune(self, values):
        super()._tune(np.zeros(7))


class Swallows(hwloop.DeviceWrapper):
    handling = hwloop.RowHandling()

    def __init__(self, device=None):
        super().__init__(device or Sound())

    def _tune(self, values):
        pass

    def _measure(self, inputs):
        return self.device.measure(inputs)


class GoesRound(Swallows):
    def _tune(self, values):
        self.device._tune(1.5 * values)


class WidensLimits(Swallows):
    @property
    def spec(self):
        wider = hwloop.Tunable("phases", 3, -3.0, 3.0)
        return replace(self.device.spec, tunables=(wider, self.device.spec.tunables[1]))

    def _tune(self, values):
        self.device.tune(values)


class TakesAll(Sound):
    def __init__(self):
        super().__init__()
        self.tune = lambda values: None


BROKEN = {
    SettlesLate: "right behind a write is not the settled one",
    HasHysteresis: "depends on the tuning before",
    AddsWhatIsWritten: "same values once more changes",
    Deaf: "no tuning changes the response",
    Swallows: "another tuning than was asked for, or none",
    GoesRound: "past tune|refused|takes a tuning|another tuning",
    WidensLimits: "within the limits is refused",
    TakesAll: r"replaces tune\(\)",
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.slow
def test_a_broken_promise_is_named(broken):
    finding = check_device(broken, only=["tunables"])["tunables"]
    assert finding.status is Status.FAIL, finding
    assert finding.next_step
    assert re.search(BROKEN[broken], finding.summary), finding


@pytest.mark.slow
def test_sound_tunables_pass_all_checks():
    for sound in (lambda: TunedLayer(noise=0.01), lambda: hwloop.Averaged(Sound(), n=2)):
        finding = check_device(sound, only=["tunables"])["tunables"]
        assert finding.status is Status.PASS, finding
    report = check_device(Sound, rows=2000)
    assert report["tunables"].status is Status.PASS, report["tunables"]
    bad = {result.promise: result.finding for result in report.results if result.finding.status is Status.FAIL}
    assert not bad
