"""A deadline is one moment: it does not move when it is asked, handed on or compared."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.deadline import Clock, Deadline

SECONDS = st.floats(0, 1e9)


class StoppedClock(Clock):
    """Goes on only when it is told to, or slept on."""

    def __init__(self, now=100.0):
        self.time = now

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def test_time_runs_out():
    clock = StoppedClock()
    deadline = Deadline.after(5.0, clock)
    assert deadline.at_seconds == 105.0
    seen = []
    for _ in range(4):
        seen.append((deadline.remaining_seconds, deadline.expired))
        clock.sleep(2.5)
    assert seen == [(5.0, False), (2.5, False), (0.0, True), (0.0, True)]


def test_never():
    never = Deadline.after(math.inf)
    assert never.remaining_seconds == math.inf
    assert not never.expired


def test_no_time_at_all_has_run_out_at_once():
    assert Deadline.after(0.0, StoppedClock()).expired


@given(SECONDS, SECONDS, st.floats(0, 1e6))
def test_the_earlier_of_two_runs_out_first_whichever_is_asked(one, other, elapsed):
    clock = StoppedClock()
    first, second = Deadline.after(one, clock), Deadline.after(other, clock)
    earlier = first.earlier(second)
    assert earlier == second.earlier(first)
    clock.sleep(elapsed)
    assert earlier.expired == (first.expired or second.expired)
    assert earlier.remaining_seconds == min(first.remaining_seconds, second.remaining_seconds)


def test_deadlines_of_two_clocks_are_not_compared():
    with pytest.raises(ValueError, match="two clocks"):
        Deadline.after(1, StoppedClock()).earlier(Deadline.after(1, StoppedClock()))


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_a_deadline_lies_ahead(seconds):
    with pytest.raises(ValueError, match="at least 0 s ahead"):
        Deadline.after(seconds)


def test_nan_is_no_moment():
    with pytest.raises(ValueError, match="not nan"):
        Deadline(math.nan)


def test_by_default_it_is_this_machines_monotonic_time():
    before = time.monotonic()
    deadline = Deadline.after(10.0)
    assert before + 10.0 <= deadline.at_seconds <= time.monotonic() + 10.0
    clock = Clock()
    clock.sleep(0.01)
    assert clock.now() >= before + 0.009
