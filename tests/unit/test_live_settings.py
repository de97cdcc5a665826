"""A setting that is changed on a device that is built already makes it another device."""

import copy
import enum
from dataclasses import dataclass

import numpy as np
import pytest

import hwloop
from hwloop import Device, DeviceSpec, Session
from hwloop.device.hold import hold_of
from hwloop.devices.averaged import Averaged
from hwloop.devices.pool import Pool
from hwloop.journal import InMemoryJournal
from hwloop.simulators.optical_fibre import OpticalFibre


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


def test_settings_of_a_shallow_copy_are_its_own():
    class Simulated(Amplifier):
        simulated = True

    device = Simulated(2.0)
    copied = copy.copy(device)
    copied.gain = 5.0
    with Session(device) as session:
        for k in range(3):
            copied.measure(ROWS)
            session.measure(ROWS / (k + 1))
    assert hold_of(device).settings_changed == {}
    assert hold_of(copied).settings_changed == {"Simulated.gain": 5}


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


class Through(hwloop.DeviceWrapper):
    """Hands every row on."""

    def _measure(self, inputs):
        return self.device.measure(inputs)


def pool(device):
    return Pool([device, Amplifier(2.0)])


@pytest.mark.parametrize("ask", [lambda s: s.device.identify(), lambda s: s.confirm(), lambda s: s.device.spec])
@pytest.mark.parametrize("wrapped", [lambda d: d, Through, lambda d: Through(Through(d)), pool])
def test_no_call_between_a_change_and_the_next_rows_hides_it(ask, wrapped, monkeypatch):
    monkeypatch.setattr("hwloop.session.device_state.FROM_MEMORY_SECONDS", -1.0)  # as if over a cable
    inner = Amplifier(2.0)
    with Session(wrapped(inner)) as session:
        session.measure(ROWS)
        inner.gain = 5.0
        ask(session)
        with pytest.raises(hwloop.errors.DeviceChanged, match="gain was set to 5"):
            session.measure(ROWS / 2)


class OfPort(Amplifier):
    """Says itself what the base class is built with."""

    def __init__(self, port="COM3"):
        super().__init__(gain=2.0)
        self.port = port


class PassesOn(Amplifier):
    """Passes what it gets on."""

    def __init__(self, **options):
        super().__init__(**{"gain": 2.0} | options)


@dataclass(eq=False)
class Fields(Amplifier):
    """Its constructor is made after the class."""

    gain: float = 2.0
    calls: int = 0
    _label = None


class FieldsOfPort(Fields):
    """Builds a dataclass from another argument."""

    def __init__(self, port="COM3"):
        super().__init__(gain=2.0)
        self.port = port


class NoDevice:
    """Has the constructor."""

    def __init__(self, gain=2.0):
        super().__init__(gain)


class Mixed(NoDevice, Amplifier):
    """Takes the constructor of a class that is no device."""


class Slotted(Amplifier):
    """Keeps its gain in a slot."""

    __slots__ = ("gain",)

    def __init__(self, gain=2.0):
        super().__init__(gain)


KINDS = [OfPort, PassesOn, Fields, FieldsOfPort, Mixed, Slotted]


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_every_constructor_are_watched_from_its_end_on(kind):
    device, changed = kind(), kind()
    changed.gain = 5.0
    assert changed.describe().differences(kind().describe())[0].startswith(f"{kind.__name__}.gain: 5, not ")
    with Session(device) as session:
        assert session.measure(ROWS).tolist() == (2 * ROWS).tolist()
        device.gain = 5.0
        with pytest.raises(hwloop.errors.DeviceChanged, match="gain was set to 5"):
            session.measure(ROWS / 2)


def test_a_setting_of_shipped_simulators_under_a_users_class():
    class Fibre(OpticalFibre):
        def __init__(self, extra=1.0, **options):
            super().__init__(n_inputs=2, n_outputs=2, drift_per_row=0.01, **options)
            self.extra = extra

    device = Fibre()
    with Session(device) as session:
        session.measure(ROWS)
        device.drift_per_row = 0.5
        with pytest.raises(hwloop.errors.DeviceChanged, match="drift_per_row was set to"):
            session.measure(ROWS / 2)


class SetsItself(Amplifier):
    """Finds its range when it is opened and after every call."""

    def open(self):
        self.gain = 4.0

    def _measure(self, inputs):
        answer, self.gain = inputs * self.gain, 4.0
        return answer


def test_a_setting_that_the_device_had_moved_is_compared_with_its_last_value():
    device = SetsItself(2.0)
    with Session(device) as session:
        session.measure(ROWS)
        device.gain = 2.0  # as it was built
        with pytest.raises(hwloop.errors.DeviceChanged, match="gain was set to 2"):
            session.measure(ROWS / 2)
        device.gain = 4.0
    device.gain = 5.0
    with Session(device) as session:
        session.measure(ROWS)
        device.gain = 5.0  # as it was when the session opened, over what the device found
        with pytest.raises(hwloop.errors.DeviceChanged, match=r"gain was set to 5, once more"):
            session.measure(ROWS / 2)


class Mode(enum.Enum):
    LOW = 1
    HIGH = 5


@pytest.mark.parametrize(
    ("value", "alike", "other"),
    [
        ((1.0, 2.0), (1.0, 2.0), (1.0, 3.0)),
        ([1.0, 2.0], [1.0, 2.0], [1.0, 3.0]),
        ({"g": 2.0}, {"g": 2.0}, {"g": 5.0}),
        (Mode.LOW, Mode.LOW, Mode.HIGH),
        (np.tanh, np.tanh, np.sin),
        (float("nan"), float("nan"), 1.0),
    ],
)
def test_values_are_compared_by_what_they_are(value, alike, other):
    device = Amplifier(2.0, label=value)
    device._label = alike
    device.measure(ROWS)
    assert hold_of(device).settings_changed == {}
    device._label = other
    device.measure(ROWS)
    assert list(hold_of(device).settings_changed) == ["Amplifier.label"]


class Busy(Amplifier):
    """Counts whatever is asked of it."""

    def _measure(self, inputs):
        return inputs * self.gain


def counting(name):
    base = getattr(Amplifier, name, None)

    def count(self, *arguments):
        self.calls += 1
        return base(self, *arguments) if callable(base) else base

    return property(count) if isinstance(base, DeviceSpec) or base is None else count


def pull_back(self, stimuli, gradients):
    """A gradient, and one call more."""
    self.calls += 1
    return gradients


ASKED = {
    "unit": lambda d: d.unit(),
    "versions": lambda d: d.versions(),
    "described_settings": lambda d: d.described_settings(),
    "progress": lambda d: d.progress(),
    "resume": lambda d: d.resume({"rows": 0}),
    "continue_from": lambda d: d.continue_from(0),
    "stood": lambda d: d.stood({}),
    "position": lambda d: d.position(),
    "spec": lambda d: d.spec,
    "handling": lambda d: d.handling,
    "pull_back": lambda d: d.pull_back(ROWS, ROWS),
}


@pytest.mark.parametrize("wrapped", [lambda d: d, Through])
@pytest.mark.parametrize("name", ASKED)
def test_what_a_device_changes_in_whatever_is_asked_of_it_is_its_state(name, wrapped):
    kind = type("Busy", (Busy,), {name: pull_back if name == "pull_back" else counting(name)})
    device = kind(2.0)
    with Session(wrapped(device)) as session:
        for k in range(3):
            ASKED[name](device)
            session.measure(ROWS / (k + 1))
    assert device.calls >= 3
    assert device._live_settings.changed == {}


class Lazy(Amplifier):
    """Reads its serial number when it is asked first."""

    def __init__(self, serial=None):
        super().__init__(2.0)
        self.serial = serial

    def unit(self):
        if self.serial is None:
            self.serial = "SN1"
        return self.serial


def test_a_serial_number_that_is_read_lazily():
    journal = InMemoryJournal()
    for rows in (2, 4):
        with Session(Lazy(), journal=journal) as session:
            session.measure(ROWS)
            if rows == 4:
                session.measure(ROWS / 2)
        assert journal.rows == rows


def test_the_message_says_what_a_driver_can_do_that_keeps_its_state_in_a_setting():
    device = Amplifier(2.0)
    with Session(device) as session:
        session.measure(ROWS)
        device.gain = 5.0
        with pytest.raises(hwloop.errors.DeviceChanged, match="give the attribute another name"):
            session.measure(ROWS / 2)
