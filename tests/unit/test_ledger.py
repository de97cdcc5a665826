"""The ledger's account, the duty cycle and the forecast in words."""

from __future__ import annotations

import pytest

import hwloop
from hwloop.session import Forecast, Ledger, Session
from hwloop.session.account import MeasuringPhase, readable_time


def test_rows_and_seconds_add_up_by_purpose():
    ledger = Ledger()
    assert (ledger.total, ledger.row_seconds, ledger.duty_cycle) == (0, None, None)
    ledger.count_measured("train", 30, 3.0)
    ledger.count_measured("evaluate", 10, 1.0)
    ledger.count_recalled("evaluate", 5)
    assert (ledger["train"], ledger["evaluate"], ledger.total) == (30, 10, 40)
    assert ledger.recalled["evaluate"] == 5
    assert (ledger.busy_seconds, ledger.row_seconds) == (4.0, pytest.approx(0.1))


def test_the_duty_cycle_is_busy_over_wall_time_of_all_phases_from_first_to_last_row():
    ledger = Ledger()
    for begin in (100.0, 500.0):
        phase = MeasuringPhase()
        phase.extend(begin, begin + 3)
        phase.extend(begin + 5, begin + 8)
        ledger.count_phase(phase.busy_seconds, phase.wall_seconds)
    assert ledger.duty_cycle == pytest.approx(12 / 16)


def test_only_rows_inside_a_measuring_phase_count_for_the_duty_cycle():
    class Instant(hwloop.Device):
        spec = hwloop.DeviceSpec(1, 1)

        def _measure(self, inputs):
            return inputs

    session = Session(Instant())
    session.measure([[0.5]])
    assert session.ledger.duty_cycle is None
    with session.measuring_phase(), session.measuring_phase():
        session.measure([[0.25]])
    assert session.ledger.duty_cycle == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (41, "41 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (2460, "41 min"),
        (5940, "99 min"),
        (6000, "1 h 40 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_times_read_as_a_person_says_them(seconds, text):
    assert readable_time(seconds) == text


def test_a_forecast_in_words():
    assert str(Forecast(12_400, 2460.0)) == "12,400 rows, about 41 min"
    assert str(Forecast(1)) == "1 row"


def test_a_forecast_goes_by_the_spec_and_else_by_what_was_measured():
    class Rig(hwloop.Device):
        spec = hwloop.DeviceSpec(1, 1)

        def _measure(self, inputs):
            return inputs

    session = Session(Rig())
    assert session.forecast(10).seconds is None
    session.ledger.count_measured("train", 4, 2.0)
    assert session.forecast(10).seconds == pytest.approx(5.0)
    session.device.spec = hwloop.DeviceSpec(1, 1, row_seconds=2e-3)
    assert session.forecast(1000).seconds == pytest.approx(2.0)
