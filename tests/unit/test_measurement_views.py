"""Rows that a measurement hands out belong to everybody who asks for them."""

import numpy as np
import pytest

import hwloop


class Twice(hwloop.Device):
    spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)

    def _measure(self, inputs):
        return 2 * inputs


def test_nobody_writes_to_rows_that_others_may_hold():
    session = hwloop.Session(Twice())
    with session, session.submit(np.full((3, 2), 0.25)) as measurement:
        for rows in (measurement.wait_for(1), measurement.wait_for(3), measurement.result()):
            with pytest.raises(ValueError, match="read-only"):
                rows *= 2
        np.testing.assert_array_equal(measurement.result(), np.full((3, 2), 0.5))


def test_what_measure_returns_is_the_callers_own():
    session = hwloop.Session(Twice())
    stimuli = np.full((3, 2), 0.25)
    first = session.measure(stimuli)
    first *= 2
    np.testing.assert_array_equal(session.measure(stimuli), np.full((3, 2), 0.5))
    assert session.ledger.total == 1
