"""A setting that is changed on a device that is built already makes it another device."""

import copy

import numpy as np
import pytest

import hwloop
from hwloop import Device, DeviceSpec, Session
from hwloop.device.hold import hold_of
from hwloop.devices.averaged import Averaged
from hwloop.journal import InMemoryJournal


class Amplifier(Device):
    """Multiplies by its gain, and counts its own calls in an attribute that bears an argument's name."""

    spec = DeviceSpec(2, 2)

    def __init__(self, gain, calls=0, label=None):
        self.gain, self.calls, self._label = gain, calls, label

    def identify(self):
        return "Amplifier no. 7"

    def _measure(self, inputs):
        self.calls += 1
        return inputs * self.gain


ROWS = np.array([[0.5, 0.25], [0.75, 1.0]])


@pytest.mark.parametrize("wrapped", [lambda d: d, lambda d: Averaged(d, 2)])
def test_a_change_between_two_calls_is_refused_before_its_rows_are_recorded(wrapped):
    inner = Amplifier(2.0)
    with Session(wrapped(inner)) as session:
        session.measure(ROWS)
        inner.gain = 5.0
        with pytest.raises(hwloop.errors.DeviceChanged, match=r"gain was set to 5"):
            session.measure(ROWS / 2)
        assert session.journal.rows == 2
        inner.gain = 2.0  # and back
        assert session.measure(ROWS / 4).tolist() == (ROWS / 2).tolist()


def test_a_change_before_the_first_call_is_part_of_the_description():
    changed, plain, built = Amplifier(2.0), Amplifier(2.0), Amplifier(5.0)
    changed.gain = 5.0
    assert plain.describe().differences(Amplifier(2.0).describe()) == []
    assert changed.describe().digest() != plain.describe().digest()
    assert changed.describe().differences(built.describe()) == []
    assert changed.describe().differences(plain.describe()) == ["Amplifier.gain: 5, not 2"]


def test_rows_of_the_old_setting_are_not_reused_and_no_journal_goes_on_with_the_new_one():
    journal = InMemoryJournal()
    with Session(Amplifier(2.0), journal=journal) as session:
        session.measure(ROWS)
    changed = Amplifier(2.0)
    changed.gain = 5.0
    with Session(changed, earlier=journal) as session:
        assert session.measure(ROWS).tolist() == (5 * ROWS).tolist()
    again = Amplifier(2.0)
    again.gain = 5.0
    with pytest.raises(hwloop.HwloopError, match="gain"), Session(again, journal=journal) as session:
        session.measure(ROWS)


def test_what_a_device_changes_itself_is_its_state():
    device = Amplifier(2.0)
    with Session(device) as session:
        for k in range(5):
            session.measure(ROWS / (k + 1))
    assert device.calls == 5
    assert hold_of(device).settings_changed == {}
    assert device.describe().differences(Amplifier(2.0).describe()) == []


def test_private_attributes_none_and_copies():
    device = Amplifier(2.0)
    device._label = "new"
    device.measure(ROWS)
    assert hold_of(device).settings_changed == {"Amplifier.label": "new"}
    copied = copy.deepcopy(device)
    copied.measure(ROWS)
    assert hold_of(copied).settings_changed == {"Amplifier.label": "new"}
    device._label = None
    device.measure(ROWS)
    assert hold_of(device).settings_changed == {}


class Matrix(Device):
    """Holds an array, and turns its own gain up in a call."""

    spec = DeviceSpec(2, 2)

    def __init__(self, matrix, gain=1.0):
        self.matrix, self.gain = np.asarray(matrix), gain

    def identify(self):
        return "Matrix no. 1"

    def _measure(self, inputs):
        self.gain = 2.0
        return inputs @ self.matrix * self.gain


def test_another_array_is_another_setting():
    device = Matrix(np.eye(2))
    with Session(device) as session:
        session.measure(ROWS)
        device.matrix = 3 * np.eye(2)
        with pytest.raises(hwloop.errors.DeviceChanged, match="matrix was set to"):
            session.measure(ROWS / 2)
    built, changed = Matrix(np.eye(2)), Matrix(np.eye(2))
    changed.matrix = 3 * np.eye(2)
    assert changed.describe().differences(built.describe()) != []


class Sets(hwloop.DeviceWrapper):
    """Sets the device inside in every call, as an automatic range does."""

    def _measure(self, inputs):
        self.device.gain += 1.0
        return self.device.measure(inputs)


def test_what_a_wrapper_sets_on_the_device_inside_is_state():
    with Session(Sets(Amplifier(2.0))) as session:
        session.measure(ROWS)
        assert session.measure(ROWS / 2).tolist() == (ROWS * 2).tolist()
