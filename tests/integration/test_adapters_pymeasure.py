"""PyMeasure's own instruments, over a wire that notes what was sent."""

import numpy as np
import pytest

from hwloop import LimitError, StimulusError
from hwloop.devices.adapters import PyMeasureDevice

pymeasure = pytest.importorskip("pymeasure", reason="pymeasure is not installed: pip install 'hwloop[lab]'")

from pymeasure.adapters import Adapter  # noqa: E402
from pymeasure.instruments import Channel, Instrument, SCPIMixin  # noqa: E402
from pymeasure.instruments.agilent import Agilent33500  # noqa: E402
from pymeasure.instruments.validators import (  # noqa: E402
    strict_discrete_set,
    strict_range,
    truncated_discrete_set,
    truncated_range,
)


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
    rung = Instrument.control(
        "RUNG?", "RUNG %d", "Truncates up.", validator=truncated_discrete_set, values=[1, 10, 100]
    )
    gain = Instrument.control(
        "GAIN?", "GAIN %d", "By code.", validator=strict_discrete_set, values={1: 7, 10: 3}, map_values=True
    )
    word = Instrument.control("WORD?", "WORD %s", "W.", validator=strict_discrete_set, values=["low", "high"])
    nano = Instrument.control("NANO?", "NANO %f", "A.", validator=strict_range, values=[-1e-7, 1e-7])
    milli = Instrument.control(
        "MILLI?", "MILLI %.3f", "V.", validator=strict_range, values=[0, 1], set_process=lambda v: 1e3 * v
    )
    cut = Instrument.control("CUT?", "CUT %d", "V.", validator=strict_range, values=[0, 1000])
    blind = Instrument.setting("BLIND %g", "V.", validator=strict_range, values=[0, 1])
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
        assert [command for command in wire.written if "?" not in command][:2] == ["VOLT 1.5", "CURR1 0.25"]
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


def test_without_a_range_limits_must_be_given(supply):
    with pytest.raises(ValueError, match="free states no limits"):
        PyMeasureDevice(supply, ["free"], ["voltage"])
    assert PyMeasureDevice(supply, [("free", 1, 2)], ["voltage"]).spec.high.tolist() == [2]


def test_of_a_discrete_set_the_nearest_value_is_sent_and_told(wire, supply):
    told = []
    with PyMeasureDevice(supply, ["mode", "rung", "gain"], ["mode"]) as device:
        assert (device.spec.low.tolist(), device.spec.high.tolist()) == ([1, 1, 1], [2, 100, 10])
        device.listener = told.append
        device.measure([[1.2, 30.0, 2.0], [2.0, 100.0, 10.0]])
        device.listener = None
    sent = [command for command in wire.written if "?" not in command]
    assert sent[:6] == ["MODE 1", "RUNG 10", "GAIN 7", "MODE 2", "RUNG 100", "GAIN 3"]
    assert sent[6:] == ["MODE 1", "RUNG 1", "GAIN 7"]  # at rest: nearest to zero
    (event,) = told
    assert event.channels == ["mode", "rung", "gain"]
    assert (event.sent, event.largest) == ([[1, 10, 1], [2, 100, 10]], 20.0)


def test_words_are_no_channel(supply):
    with pytest.raises(ValueError, match="word takes 'low', 'high': a channel of a device takes two"):
        PyMeasureDevice(supply, ["word"], ["voltage"])


def test_a_format_that_cannot_resolve_its_range_is_refused(supply):
    with pytest.raises(ValueError, match=r"nano: the format 'NANO %f' sends [12] different values"):
        PyMeasureDevice(supply, ["nano"], ["voltage"])


def test_what_a_format_leaves_of_a_value_is_told(wire, supply):
    told = []
    with PyMeasureDevice(supply, ["milli"], ["voltage"]) as device:
        device.listener = told.append
        device.measure([[0.0012345678], [0.25]])
        device.listener = None
    assert [command for command in wire.written if "?" not in command][:2] == ["MILLI 1.235", "MILLI 250.000"]
    assert told[0].sent == [[pytest.approx(0.001235, abs=1e-12)], [0.25]]


def test_a_property_that_cuts_digits_off_is_refused_before_anything_is_sent(wire, supply):
    with PyMeasureDevice(supply, ["cut"], ["voltage"]) as device:
        device.measure([[3.0]])
        wire.written.clear()
        with pytest.raises(StimulusError, match=r"cut: 3\.9 would be sent as 3"):
            device.measure([[2.0], [3.9]])
        assert not wire.written


def test_opening_asks_where_the_properties_stand(wire, supply):
    wire.state["VOLT"] = "3.25"
    device = PyMeasureDevice(supply, ["voltage"], ["voltage"])
    with device:
        assert device.position().tolist() == [3.25]
        device.measure([[1.0]])
        assert device.position().tolist() == [1.0]
    assert device.position() is None
    with PyMeasureDevice(supply, ["voltage", "blind"], ["voltage"]) as device:
        assert device.position() is None


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
    assert [command for command in wire.written if "?" not in command] == ["VOLT 0"]  # of close


def test_who_answers(supply):
    device = PyMeasureDevice(supply, ["voltage"], ["voltage"], settling_seconds=0.1)
    assert device.identify() == "Acme,Supply,7,1.0: voltage, voltage, settling 0.1 s"
