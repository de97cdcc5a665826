"""The table of commands against an instrument that keeps its settings and a log of what was sent."""

import re

import pytest

from hwloop import BadReading, DeviceError, LimitError
from hwloop.devices.scpi import ScpiInstrument, control, measurement, setting
from hwloop.devices.scpi.instrument import ScpiLink
from hwloop.devices.scpi.replies import BOOLEAN, KEYWORD


class Supply(ScpiInstrument):
    """Two channels; the second is driven here."""

    models = r"PS\d+"

    voltage = control("SOURce{channel}:VOLTage", "the voltage", unit="V", low=0, high=5)
    slow_voltage = control("SLOW", "a voltage that must not jump", unit="V", low=0, high=5, slew_per_second=50)
    mode = control("MODE", "the mode", form=KEYWORD, choices=("CC", "CV"))
    remote = control("REMote", "whether the front panel is locked", form=BOOLEAN)
    current = measurement("MEASure:CURRent", "the current", unit="A")
    beep = setting("BEEP", "how long it beeps", unit="s", low=0, high=1, asserted=False)

    def __init__(self, link):
        super().__init__(link)
        self.channel = 2

    def to_safe_state(self):
        self.link.write("OUTPut OFF")


class FakeLink(ScpiLink):
    """Answers messages without a network, as an instrument would: several commands a message."""

    def __init__(self):
        super().__init__("TCPIP::127.0.0.1::1::SOCKET")
        self.sent = []
        self.values = {"MEASure:CURRent": "+1.5E-01", "*IDN": "ACME,PS2,7,1.0", "SYSTem:ERRor": '0,"No error"'}
        self.stuck = {}

    def write(self, *commands, timeout_seconds=None):
        for command in commands:
            self.sent.append(command)
            header, _, value = command.partition(" ")
            self.values[header] = {"ON": "1", "OFF": "0"}.get(value, value)

    def query(self, question, form, *, timeout_seconds=None):
        answers = []
        for part in re.split(r";:?", question):
            if part.endswith("?"):
                header = part.removesuffix("?")
                answers.append(self.stuck.get(header, self.values.get(header, "1")))
            else:
                self.write(part)
        return form.read(";".join(answers).encode(), question, self.resource)


@pytest.fixture
def supply():
    return Supply(FakeLink())


def test_a_value_is_set_and_asked_with_its_channel(supply):
    supply.voltage = 3.25
    assert supply.link.sent == ["SOURce2:VOLTage 3.25"]
    assert supply.voltage == 3.25
    assert supply.current == 0.15


@pytest.mark.parametrize("volts", [-0.001, 5.001, float("nan"), float("inf")])
def test_nothing_is_sent_beyond_the_limits(supply, volts):
    with pytest.raises(LimitError, match=r"voltage \(SOURce2:VOLTage\) takes 0 to 5 V"):
        supply.voltage = volts
    with pytest.raises(LimitError):
        supply.set(mode="CV", voltage=volts)
    assert supply.link.sent == []
    assert supply.asserted == {}


def test_keywords_and_booleans(supply):
    supply.set(mode="CC", remote=True)
    assert (supply.mode, supply.remote) == ("CC", True)
    with pytest.raises(LimitError, match="one of CC, CV"):
        supply.mode = "CX"


def test_what_can_only_be_measured_or_set_says_so(supply):
    with pytest.raises(AttributeError, match="only be measured"):
        supply.current = 1
    with pytest.raises(AttributeError, match="only be set"):
        _ = supply.beep


def test_a_value_of_limited_slew_moves_in_steps(supply):
    supply.link.values["SLOW"] = "0"
    supply.slow_voltage = 4.5
    steps = [float(command.split()[1]) for command in supply.link.sent]
    assert steps == [1.0, 2.0, 3.0, 4.0, 4.5]


def test_docstrings_say_control_measure_set_with_unit_and_limits():
    assert Supply.voltage.__doc__ == "Control the voltage, in V, 0 to 5 (``SOURce{channel}:VOLTage``)."
    assert Supply.current.__doc__.startswith("Measure the current, in A")
    assert Supply.beep.__doc__.startswith("Set how long it beeps, in s, 0 to 1")
    assert "one of CC, CV" in Supply.mode.__doc__


def test_after_a_lost_connection_the_same_settings_are_set_again_from_the_safe_state(supply):
    supply.set(voltage=2.0, mode="CV")
    supply.beep = 0.5
    supply.link.sent.clear()
    supply.assert_settings()
    assert supply.link.sent == ["*CLS", "OUTPut OFF", "SOURce2:VOLTage 2", "MODE CV"]


def test_a_setting_that_does_not_read_back_and_another_instrument_are_errors(supply):
    supply.voltage = 2.0
    supply.link.stuck["SOURce2:VOLTage"] = "+1.0E+00"
    with pytest.raises(DeviceError, match=r"voltage was set to 2\.0 but reads 1\.0"):
        supply.assert_settings()
    supply.link.stuck = {"*IDN": "ACME,LOAD9,7,1.0"}
    with pytest.raises(DeviceError, match="drives models"):
        supply.assert_settings()
    supply.link.stuck = {"*IDN": "+3.5"}
    with pytest.raises(BadReading):
        supply.assert_settings()
