"""Faulty fails in the ways that its plan says, by its seed, and its link treats replies as a real one does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers import Sleepless

from hwloop import (
    BadReading,
    Device,
    DeviceCrashed,
    DeviceDisconnected,
    DeviceError,
    DeviceSpec,
    DeviceTimeout,
    Faulty,
    open_device,
)
from hwloop.devices.faults import FAULTS
from hwloop.simulators.optical_fibre import OpticalFibre


class Doubling(Device):
    """Answers twice the stimulus on each output, and notes what happens to it."""

    def __init__(self, n_outputs=3):
        self.spec = DeviceSpec(3, n_outputs, deterministic=True)
        self.log = []

    def open(self):
        self.log.append("open")

    def close(self):
        self.log.append("close")

    def _measure(self, inputs):
        self.log.append(len(inputs))
        return 2 * inputs[:, : self.spec.n_outputs]


def rows(number, count=2):
    """Stimuli that belong to one call alone."""
    return np.linspace(0.1, 0.9, 3 * count).reshape(count, 3) / (number + 1)


class Script:
    """Meets the planned fault exactly in the calls that are listed."""

    def __new__(cls, kind, *calls, device=None, **settings):
        faulty = Faulty(device or Doubling(), {kind: 1.0}, **settings)
        draw = faulty._drawn_kind
        faulty._drawn_kind = lambda number: draw(number) if faulty.calls - 1 in calls else None
        return faulty


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("timeout", DeviceTimeout),
        ("late", DeviceTimeout),
        ("disconnect", DeviceDisconnected),
        ("crash", DeviceCrashed),
        ("garbled", BadReading),
        ("truncated", BadReading),
    ],
)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2])
def test_faults_that_raise(kind, error, seed, count):
    faulty = Faulty(Doubling(), {kind: 1.0}, seed=seed)
    with pytest.raises(DeviceError) as caught:
        faulty.measure(rows(0, count))
    assert type(caught.value) is error
    assert [(fault.call, fault.kind, fault.rows) for fault in faulty.injected] == [(0, kind, count)]


def test_garbled_replies_take_every_form():
    seen = set()
    for seed in range(30):
        with pytest.raises(BadReading) as caught:
            Faulty(Doubling(), {"garbled": 1.0}, seed=seed).measure(rows(0))
        seen |= {form for form in ("nan", "9.91e+37", "real numbers") if form in str(caught.value)}
    assert seen == {"nan", "9.91e+37", "real numbers"}


class TestTheLink:
    def test_after_a_time_out_every_call_reads_the_answer_to_the_one_before(self):
        faulty = Script("timeout", 0)
        with pytest.raises(DeviceTimeout):
            faulty.measure(rows(0))
        for number in range(1, 5):
            np.testing.assert_array_equal(faulty.measure(rows(number)), 2 * rows(number - 1))

    def test_a_late_reply_makes_two_calls_fail_and_all_others_wrong(self):
        faulty = Script("late", 0)
        for number in range(2):
            with pytest.raises(DeviceTimeout):
                faulty.measure(rows(number))
        for number in range(2, 5):
            np.testing.assert_array_equal(faulty.measure(rows(number)), 2 * rows(number - 2))

    @pytest.mark.parametrize("kind", ["timeout", "late", "disconnect", "crash"])
    def test_closing_and_opening_resets_it(self, kind):
        faulty = Script(kind, 0)
        with pytest.raises(DeviceError):
            faulty.measure(rows(0))
        faulty.close()
        faulty.open()
        np.testing.assert_array_equal(faulty.measure(rows(1)), 2 * rows(1))
        assert faulty.device.log[-3:] == ["close", "open", 2]

    @pytest.mark.parametrize(("kind", "error"), [("disconnect", DeviceDisconnected), ("crash", DeviceCrashed)])
    def test_a_broken_one_stays_broken_and_opening_alone_does_not_mend_it(self, kind, error):
        faulty = Script(kind, 0)
        for _ in range(3):
            with pytest.raises(error):
                faulty.measure(rows(0))
            faulty.open()
        assert len(faulty.injected) == 1  # that it stays broken is no second fault

    def test_a_closed_one_answers_nothing(self):
        faulty = Faulty(Doubling(), {})
        faulty.close()
        with pytest.raises(DeviceDisconnected, match="open the device first"):
            faulty.measure(rows(0))
        faulty.open()
        np.testing.assert_array_equal(faulty.measure(rows(0)), 2 * rows(0))

    def test_a_reply_to_another_number_of_rows_does_not_pass(self):
        faulty = Script("timeout", 0)
        with pytest.raises(DeviceTimeout):
            faulty.measure(rows(0, 3))
        with pytest.raises(BadReading, match="must have shape"):
            faulty.measure(rows(1, 2))


class TestSilentFaults:
    def test_stale(self):
        faulty = Script("stale", 0, 2, 3)
        answers = [faulty.measure(rows(number)) for number in range(5)]
        expected = [0, 1, 1, 1, 4]  # there is nothing stale in the first call
        np.testing.assert_array_equal(answers, [2 * rows(number) for number in expected])
        assert [fault.call for fault in faulty.injected] == [2, 3]

    def test_nothing_is_stale_on_a_fresh_link(self):
        faulty = Script("stale", 1)
        faulty.measure(rows(0))
        faulty.close()
        faulty.open()
        np.testing.assert_array_equal(faulty.measure(rows(1)), 2 * rows(1))
        assert faulty.injected == []

    def test_saturation_at_either_end(self):
        ends = set()
        for seed in range(20):
            answer = Faulty(Doubling(), {"saturation": 1.0}, seed=seed, output_range=(-4, 7)).measure(rows(0))
            assert len(np.unique(answer)) == 1
            ends.add(float(answer[0, 0]))
        assert ends == {-4.0, 7.0}

    def test_constant(self):
        answer = Faulty(Doubling(), {"constant": 1.0}).measure(rows(0))
        assert np.all(answer == 2 * rows(0)[0, 0])

    def test_slow_and_right(self):
        clock = Sleepless()
        answer = Faulty(Doubling(), {"slow": 1.0}, slow_seconds=2.5, clock=clock).measure(rows(0))
        assert clock.time == 2.5
        np.testing.assert_array_equal(answer, 2 * rows(0))


class TestThePlan:
    PLAN = dict.fromkeys(FAULTS, 0.03)

    def run(self, seed, calls=4000):
        faulty = Faulty(Doubling(), self.PLAN, seed=seed, clock=Sleepless())
        for number in range(calls):
            try:
                faulty.measure(rows(number % 7))
            except DeviceError:
                faulty.close()
                faulty.open()
        return faulty

    def test_faults_come_at_the_planned_rates(self):
        counted = Counter(fault.kind for fault in self.run(0).injected)
        for kind in FAULTS:  # 120 expected, standard deviation 11; "stale" needs a link that was used
            assert counted[kind] == pytest.approx(120 * (0.8 if kind == "stale" else 1.0), abs=44)

    def test_the_seed_and_the_number_of_calls_decide(self):
        assert self.run(1, 300).injected == self.run(1, 300).injected
        assert self.run(1, 300).injected == self.run(1, 600).injected[: len(self.run(1, 300).injected)]
        assert self.run(1, 300).injected != self.run(2, 300).injected

    def test_without_faults_it_is_the_device_inside(self):
        fibre = OpticalFibre(n_inputs=3, n_outputs=5).noiseless()
        faulty = Faulty(fibre, {"timeout": 0.0})
        assert faulty.spec.deterministic
        np.testing.assert_array_equal(faulty.measure(rows(0)), fibre.measure(rows(0)))
        assert not Faulty(fibre, {"timeout": 0.1}).spec.deterministic

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"plan": {"time-out": 0.1}}, "did you mean 'timeout'"),
            ({"plan": {"timeout": 1.5}}, "at most 1"),
            ({"plan": {"timeout": -0.1}}, "at least 0"),
            ({"plan": {"timeout": 0.6, "crash": 0.6}}, "add up to at most 1"),
            ({"plan": 0.1}, "by kind of fault"),
            ({"plan": {}, "output_range": 3}, "must be a pair"),
            ({"plan": {}, "slow_seconds": -1}, "slow_seconds must be at least 0"),
            ({"plan": {}, "seed": -1}, "seed must be at least 0"),
        ],
    )
    def test_bad_settings_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Faulty(Doubling(), **settings)

    def test_it_can_be_asked_for_in_a_toml_file(self, tmp_path):
        path = tmp_path / "rig.toml"
        path.write_text(
            'device = "optical-fibre"\n[settings]\nn_inputs = 3\n'
            '[[wrap]]\nname = "faulty"\nplan = { timeout = 0.5, stale = 0.1 }\nseed = 3\n'
        )
        device = open_device(path)
        assert isinstance(device, Faulty)
        assert device.plan == {"timeout": 0.5, "stale": 0.1}
        assert device.identify().endswith("plan={'timeout': 0.5, 'stale': 0.1}, seed=3)")
