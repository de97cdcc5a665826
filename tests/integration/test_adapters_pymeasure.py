"""PyMeasure's own instruments, over a wire that notes what was sent."""

import numpy as np
import pytest

from hwloop import LimitError
from hwloop.devices.adapters import PyMeasureDevice

pymeasure = pytest.importorskip("pymeasure", reason="pymeasure is not installed: pip install 'hwloop[lab]'")

from pymeasure.adapters import Adapter  # noqa: E402
from pymeasure.instruments import Channel, Instrument, SCPIMixin  # noqa: E402
from pymeasure.instruments.agilent import Agilent33500  # noqa: E402
from pymeasure.instruments.validators import strict_discrete_set, strict_range, truncated_range  # noqa: E402


class Wire(Adapter):
    """Notes what is written; a query gets the last value that was written under its name."""

    def __init__(self):
        super().__init__()
        self.written = []
        self.state = {}
        self.answer = "0"

    def _write(self, command, **_):
        self.written.append(command)
        name, _, value = command.partition(" ")
        if name.endswith("?"):
            self.answer = "Acme,Supply,7,1.0" if name == "*IDN?" else self.state.get(name[:-1], "0")
        else:
            self.state[name] = value

    def _read(self, **_):
        return self.answer


class Output(Channel):
    current = Channel.control("CURR{ch}?", "CURR{ch} %g", "Current in A.", validator=strict_range, values=[0, 0.5])


class Supply(SCPIMixin, Instrument):
    ch_1 = Instrument.ChannelCreator(Output, 1)
    voltage = Instrument.control("VOLT?", "VOLT %.17g", "Volts.", validator=strict_range, values=(-5, 5))
    clipped = Instrument.control("CLIP?", "CLIP %g", "Volts.", validator=truncated_range, values=[0, 2])
    wide = Instrument.control("WIDE?", "WIDE %g", "Volts.", validator=strict_range, values=[0, 1], dynamic=True)
    mode = Instrument.control("MODE?", "MODE %g", "Mode.", validator=strict_discrete_set, values=[1, 2])
    free = Instrument.control("FREE?", "FREE %g", "No validator.")
    trace = Instrument.measurement("TRACE?", "Three numbers.")

    def __init__(self, adapter):
        super().__init__(adapter, "Supply")


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def supply(wire):
    return Supply(wire)


def test_rows_go_out_and_come_back(wire, supply):
    wire.state["TRACE"] = "1,2,3"
    device = PyMeasureDevice(supply, ["voltage", "ch_1.current"], ["voltage", "ch_1.current", ("trace", 3)])
    with device:
        np.testing.assert_array_equal(
            device.measure([[1.5, 0.25], [-5, 0.5]]), [[1.5, 0.25, 1, 2, 3], [-5, 0.5, 1, 2, 3]]
        )
        assert wire.written[:3] == ["*IDN?", "VOLT 1.5", "CURR1 0.25"]
    assert (wire.state["VOLT"], wire.state["CURR1"]) == ("0", "0")


def test_limits_come_from_the_range_validators(supply):
    spec = PyMeasureDevice(supply, ["voltage", "clipped", "ch_1.current"], ["voltage"]).spec
    assert (spec.low.tolist(), spec.high.tolist()) == ([-5, 0, 0], [5, 2, 0.5])


def test_limits_that_were_changed_in_the_instance_hold(supply):
    supply.wide_values = [0, 30]
    assert PyMeasureDevice(supply, ["wide"], ["wide"]).spec.high.tolist() == [30]


def test_limits_of_an_instrument_that_pymeasure_ships(wire):
    """Keysight 33500B: 10 mV to 10 V peak to peak, offset to 5 V less half of the least amplitude."""
    spec = PyMeasureDevice(Agilent33500(wire), ["amplitude", "offset"], ["amplitude"], input_unit="V").spec
    assert (spec.low.tolist(), spec.high.tolist()) == ([0.01, -4.995], [10, 4.995])


@pytest.mark.parametrize("name", ["mode", "free"])
def test_without_a_range_limits_must_be_given(supply, name):
    with pytest.raises(ValueError, match=f"{name} states no limits"):
        PyMeasureDevice(supply, [name], ["voltage"])
    assert PyMeasureDevice(supply, [(name, 1, 2)], ["voltage"]).spec.high.tolist() == [2]


def test_given_limits_may_be_narrower_not_wider(supply):
    assert PyMeasureDevice(supply, [("voltage", -1, 1)], ["voltage"]).spec.high.tolist() == [1]
    with pytest.raises(ValueError, match="outside the instrument's own"):
        PyMeasureDevice(supply, [("clipped", 0, 3)], ["voltage"])  # PyMeasure would send 2 for a 3


@pytest.mark.parametrize(
    ("settable", "gettable"), [("trace", "voltage"), ("volts", "voltage"), ("voltage", "volts")]
)
def test_what_cannot_be_set_or_read_is_named(supply, settable, gettable):
    with pytest.raises(ValueError, match=r"no property '(volts|trace)'"):
        PyMeasureDevice(supply, [settable], [gettable])


def test_nothing_out_of_limits_is_sent(wire, supply):
    with PyMeasureDevice(supply, [("voltage", -1, 1)], ["voltage"]) as device, pytest.raises(LimitError):
        device.measure([[0.0], [np.nextafter(1, 2)]])
    assert wire.written == ["*IDN?", "VOLT 0"]  # of open, which makes sure who answers, and of close


def test_who_answers(supply):
    device = PyMeasureDevice(supply, ["voltage"], ["voltage"], settling_seconds=0.1)
    assert device.identify() == "Acme,Supply,7,1.0: voltage, voltage, settling 0.1 s"
