"""Wrong answers that raise no error are recognised and measured again; false alarms cost little and end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import BadReading, Device, DeviceSpec, Retrying
from hwloop.devices.null import Zeros
from hwloop.devices.plausibility import NotConstant, NotRepeated, PlausibilityCheck, WithinRange
from hwloop.devices.suspect_readings import FALSE_ALARMS
from hwloop.simulators.optical_fibre import OpticalFibre


class Scripted(Device):
    """Halves its stimuli, but for the calls whose answers are listed (``None`` for the right one)."""

    def __init__(self, *answers, n_outputs=4):
        self.spec = DeviceSpec(n_outputs, n_outputs)
        self.answers = list(answers)
        self.log = []

    def open(self):
        self.log.append("open")

    def close(self):
        self.log.append("close")

    def _measure(self, inputs):
        self.log.append(len(inputs))
        answer = self.answers.pop(0) if self.answers else None
        return inputs / 2 if answer is None else answer


def retrying(device, **settings):
    """Retrying without waiting, and the events that it tells."""
    wrapped = Retrying(device, backoff_seconds=0.0, **settings)
    events = []
    wrapped.listener = events.append
    return wrapped, events


def stimuli(number=0, count=2, n=4):
    return np.linspace(0.1, 0.9, n * count).reshape(count, n) / (number + 1)


def test_a_stale_answer_is_measured_again():
    device = Scripted(None, stimuli(0) / 2)
    wrapped, events = retrying(device)
    wrapped.measure(stimuli(0))
    np.testing.assert_array_equal(wrapped.measure(stimuli(1)), stimuli(1) / 2)
    assert "NotRepeated" in events[0].error


@pytest.mark.parametrize("answer", [np.zeros((2, 4)), np.ones((2, 4)), np.tile(stimuli()[0], (2, 1))])
def test_a_constant_answer_is_measured_again(answer):
    wrapped, events = retrying(Scripted(answer))
    np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
    assert "NotConstant" in events[0].error


def test_a_single_row_with_all_outputs_alike_is_measured_again():
    wrapped, events = retrying(Scripted(np.full((1, 4), 0.3)))
    np.testing.assert_array_equal(wrapped.measure(stimuli(count=1)), stimuli(count=1) / 2)
    assert len(events) == 1


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_reading_out_of_range_is_measured_again(value):
    answer = stimuli() / 2
    answer[1, 2] = value
    wrapped, events = retrying(Scripted(answer), plausible=[WithinRange(0.0, 1.0)])
    np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
    assert "row 1, output 2" in events[0].error


def test_repeated_stimuli_may_get_repeated_answers():
    wrapped, events = retrying(Scripted())
    for _ in range(3):
        wrapped.measure(np.repeat(stimuli(count=1), 3, axis=0))
    assert events == []


def test_a_few_coarse_outputs_raise_no_alarm():
    class OneBit(Scripted):
        def _measure(self, inputs):
            return super()._measure(inputs).round()

    wrapped, events = retrying(OneBit(n_outputs=3))
    for number in range(20):
        wrapped.measure(stimuli(number, count=1, n=3))
    assert events == []


def test_a_false_alarm_costs_two_attempts_and_a_witness_and_the_answer_is_believed():
    device = Scripted()
    wrapped, events = retrying(device)
    wrapped.measure(stimuli())
    dark = np.zeros((1, 4))
    np.testing.assert_array_equal(wrapped.measure(dark), dark)
    assert len(events) == 2
    assert device.log == [2, 1, "close", "open", 1, "close", "open", 1, 1]
    wrapped.measure(stimuli())
    assert len(events) == 2


def test_a_check_that_is_wrong_again_and_again_is_retired():
    class CoarseInput(Scripted):
        """Its converter has one bit: almost all stimuli get the same answer."""

        def _measure(self, inputs):
            return super()._measure(inputs.round()) + np.arange(4) / 7

    device = CoarseInput()
    wrapped, events = retrying(device)
    wrapped.measure(np.eye(4))
    for number in range(50):
        wrapped.measure(np.full((1, 4), 0.001 * (number + 1)))
    assert len(events) == 2 * FALSE_ALARMS + 1
    assert events[-1].action == "answer kept; NotRepeated is not asked any more"


@pytest.mark.parametrize("at", [0, 1, 7])
def test_no_answer_of_a_device_that_died_is_ever_used(at):
    wrapped, events = retrying(Scripted(*[None] * at, *[np.zeros((1, 4))] * 999))
    for number in range(at):
        wrapped.measure(stimuli(number, count=1))
    with pytest.raises(BadReading, match=r"all 4 outputs read 0\.0 .*leave NotConstant out of plausible"):
        wrapped.measure(stimuli(at, count=1))
    assert len(events) == 4


def test_no_answer_of_a_device_that_froze_is_ever_used():
    frozen = stimuli(6, count=1) / 2
    wrapped, _ = retrying(Scripted(*[None] * 7, *[frozen] * 999))
    for number in range(7):
        wrapped.measure(stimuli(number, count=1))
    with pytest.raises(BadReading, match="stale reply"):
        wrapped.measure(stimuli(7, count=1))


def test_what_is_no_guess_is_never_believed():
    wrapped, _ = retrying(Scripted(), plausible=[WithinRange(0.0, 0.4)])
    wrapped.measure(stimuli(3))
    with pytest.raises(BadReading, match="lies outside the detector's range"):
        wrapped.measure(stimuli(0))


def test_a_null_device_needs_no_checks():
    spec = DeviceSpec(4, 4)
    with pytest.raises(BadReading, match="leave NotConstant out"):
        retrying(Zeros(spec))[0].measure(stimuli())
    wrapped, events = retrying(Zeros(spec), plausible=[])
    assert not wrapped.measure(stimuli()).any()
    assert events == []


def test_a_check_of_ones_own():
    class Positive(PlausibilityCheck):
        is_a_guess = False

        def check(self, now, before):
            if (now.responses < 0).any():
                raise BadReading("light is never negative")

    wrapped, events = retrying(Scripted(-stimuli()), plausible=[Positive(), "not-repeated"])
    np.testing.assert_array_equal(wrapped.measure(stimuli()), stimuli() / 2)
    assert "light is never negative" in events[0].error


@given(st.integers(6, 20), st.integers(8, 12), st.integers(1, 40), st.integers(0, 1000))
def test_a_camera_raises_no_false_alarm(n_outputs, adc_bits, count, seed):
    fibre = OpticalFibre(n_inputs=4, n_outputs=n_outputs, adc_bits=adc_bits, seed=seed)
    rng = np.random.default_rng(seed)
    for device in (fibre, fibre.noiseless()):
        wrapped, events = retrying(device, plausible=["not-repeated", "not-constant", WithinRange(0.0, 1.0)])
        for _ in range(3):
            wrapped.measure(rng.uniform(-1, 1, (count, 4)))
        assert events == []


@pytest.mark.parametrize("check", [lambda: NotRepeated(0), lambda: NotConstant(1), lambda: WithinRange(1, 1)])
def test_bad_settings_of_checks_are_refused(check):
    with pytest.raises(ValueError, match="must"):
        check()
