"""QCoDeS parameters as the channels of a device."""

import numpy as np
import pytest

from hwloop import BadReading, LimitError
from hwloop.conformance import check_device
from hwloop.devices.adapters import QCoDeSDevice

pytest.importorskip("qcodes", reason="qcodes is not installed: pip install 'hwloop[lab]'")

from qcodes.instrument_drivers.mock_instruments import DummyInstrument
from qcodes.parameters import DelegateParameter, MultiParameter, Parameter
from qcodes.validators import Arrays, ComplexNumbers, Enum, Ints, Multiples, Numbers, PermissiveMultiples


def memory(name, **settings):
    return Parameter(name, set_cmd=None, get_cmd=None, initial_value=settings.pop("initial", 0), **settings)


@pytest.fixture
def dummy():
    instrument = DummyInstrument("source", gates=("dac1", "dac2"))
    yield instrument
    instrument.close()


def test_rows_go_in_and_come_out_with_units_and_limits(dummy):
    device = QCoDeSDevice([dummy.dac1, (dummy.dac2, -1, 1)], [dummy.dac2, dummy.dac1])
    assert (device.spec.low.tolist(), device.spec.high.tolist()) == ([-800, -1], [400, 1])  # DummyInstrument's own
    assert (device.spec.input_unit, device.spec.output_unit) == ("V", "V")
    with device:
        np.testing.assert_array_equal(device.measure([[3, 0.5], [-800, -1]]), [[0.5, 3], [-1, -800]])
        assert dummy.dac1.cache.get() == -800
    assert (dummy.dac1(), dummy.dac2()) == (0, 0)


def test_who_answers(dummy):
    identity = QCoDeSDevice([dummy.dac1], [dummy.dac2]).identify()
    assert "source" in identity
    assert "source_dac1, source_dac2, settling 0 s" in identity


def test_several_validators_hold_together():
    parameter = memory("gate", vals=Numbers(-10, 3))
    parameter.add_validator(Numbers(0, 5))
    assert QCoDeSDevice([parameter], [parameter]).spec.as_dict()["input_low"] == [0]
    assert QCoDeSDevice([parameter], [parameter]).spec.as_dict()["input_high"] == [3]


@pytest.mark.parametrize("validator", [None, Numbers(), Numbers(min_value=0)])
def test_without_finite_limits_they_must_be_given(validator):
    parameter = memory("free", vals=validator)
    with pytest.raises(ValueError, match="free states no limits"):
        QCoDeSDevice([parameter], [parameter])
    assert QCoDeSDevice([(parameter, 0, 2)], [parameter]).spec.high.tolist() == [2]


def test_given_limits_may_not_be_wider(dummy):
    with pytest.raises(ValueError, match="outside the instrument's own"):
        QCoDeSDevice([(dummy.dac1, 0, 401)], [dummy.dac2])


def test_whole_numbers_are_set_as_such():
    parameter = memory("count", vals=Ints(1, 7), initial=1)
    with QCoDeSDevice([parameter], [parameter]) as device:
        assert device.measure([[6.4], [7.0]]).tolist() == [[6], [7]]


@pytest.mark.parametrize(
    ("settings", "limits", "asked", "sent"),
    [
        ({"vals": Multiples(4, min_value=0, max_value=64)}, (0, 64), 25.9, 24),
        ({"vals": PermissiveMultiples(0.25)}, None, 0.8, 0.75),
        ({"vals": Enum(0, 1, 5)}, (0, 5), 3.5, 5),
        ({"val_mapping": {0.1: "A", 1.0: "B", 10.0: "C"}}, (0.1, 10), 4.0, 1.0),
        ({"vals": Ints(-3, 3)}, (-3, 3), -2.6, -3),
    ],
)
def test_where_only_some_values_are_allowed_the_nearest_is_sent_and_told(settings, limits, asked, sent):
    parameter = memory("knob", initial=sent, **settings)
    given = parameter if limits else (parameter, 0, 1)
    told = []
    with QCoDeSDevice([given], [parameter]) as device:
        low, high = limits or (0, 1)
        assert (device.spec.low.tolist(), device.spec.high.tolist()) == ([low], [high])
        device.listener = told.append
        assert device.measure([[asked]]).tolist() == [[pytest.approx(sent)]]
        device.listener = None
    assert told[0].sent == [[pytest.approx(sent)]]


@pytest.mark.parametrize("settings", [{"vals": Enum("on", "off")}, {"val_mapping": {"on": 1, "off": 0}}])
def test_words_are_refused_when_the_device_is_built(settings):
    with pytest.raises(ValueError, match="relay takes 'o"):
        QCoDeSDevice([memory("relay", initial="on", **settings)], [memory("read")])


def test_a_delegates_limits_are_its_sources_in_its_own_unit():
    source = memory("volts", vals=Numbers(-2, 5))
    halves = DelegateParameter("halves", source=source, scale=2, offset=1)
    flipped = DelegateParameter("flipped", source=halves, scale=-1, vals=Numbers(-1, 1))
    spec = QCoDeSDevice([halves, flipped], [source]).spec
    assert (spec.low.tolist(), spec.high.tolist()) == ([-1.5, -1], [2, 1])
    with pytest.raises(ValueError, match="outside the instrument's own"):
        QCoDeSDevice([(halves, -2, 2)], [source])


class Text(DummyInstrument):
    """Keeps the text that its commands send."""

    def __init__(self, name):
        super().__init__(name, gates=())
        self.sent = []
        self.add_parameter("level", set_cmd="LEV {:.3f}", get_cmd=False, vals=Numbers(0, 1))
        self.add_parameter("tiny", set_cmd="TINY {:f}", get_cmd=False, vals=Numbers(0, 1e-7))
        self.add_parameter("scaled", set_cmd="SCA {:.1f}", get_cmd=False, vals=Numbers(0, 1), scale=1e3)

    def write(self, cmd):
        self.sent.append(cmd)


def test_what_a_command_sends_is_told_and_one_that_cannot_resolve_is_refused():
    instrument, told = Text("text"), []
    try:
        with pytest.raises(ValueError, match=r"tiny: the format 'TINY \{:f\}'"):
            QCoDeSDevice([instrument.tiny], [instrument.level])
        with QCoDeSDevice([instrument.level, instrument.scaled], [memory("read")]) as device:
            device.listener = told.append
            device.measure([[0.12345, 0.12348]])
            device.listener = None
        assert instrument.sent[:2] == ["LEV 0.123", "SCA 123.5"] or instrument.sent[:2] == [
            "LEV 0.123",
            "SCA 123.4",
        ]
        assert told[0].sent[0][0] == pytest.approx(0.123, abs=1e-12)
    finally:
        instrument.close()


class Gate:
    """Hardware that another hand can move; a step beyond 0.25 is noted."""

    def __init__(self):
        self.volts, self.jumps = 0.0, []

    def set(self, volts):
        if abs(volts - self.volts) > 0.25 + 1e-9:
            self.jumps.append((self.volts, volts))
        self.volts = volts


@pytest.mark.parametrize("moved", ["while closed", "while open"])
def test_a_ramp_begins_where_the_hardware_stands_not_where_a_cache_believes(moved):
    gate = Gate()
    gate_volts = Parameter("gate", set_cmd=gate.set, get_cmd=lambda: gate.volts, vals=Numbers(-2, 2), step=0.25)
    device = QCoDeSDevice([gate_volts], [gate_volts])
    with device:
        device.measure([[1.0]])
    gate.volts = -1.5 if moved == "while closed" else gate.volts
    with device:
        assert device.position().tolist() == [gate.volts]
        device.measure([[0.5]])
        if moved == "while open":
            gate.volts = 1.75
    assert gate.jumps == []
    assert gate.volts == 0.0


def test_a_step_from_where_nobody_knows_is_refused_when_the_device_is_built():
    blind = Parameter("blind", set_cmd=lambda v: None, get_cmd=False, vals=Numbers(-2, 2), step=0.25)
    with pytest.raises(ValueError, match=r"blind is set in steps of 0\.25, but cannot be read"):
        QCoDeSDevice([blind], [memory("read")])


class Analyser(MultiParameter):
    """A trace and a number at once."""

    def __init__(self):
        super().__init__("analyser", names=("trace", "power"), shapes=((3,), ()), units=("V", "W"))

    def get_raw(self):
        return np.array([1.0, 2.0, 3.0]), 4.0


def test_several_readings_and_complex_ones():
    knob = memory("knob", vals=Numbers(0, 1))
    s21 = memory("s21", vals=ComplexNumbers(), initial=1 + 2j)
    sweep = memory("sweep", vals=Arrays(shape=(2,), valid_types=(complex,)), initial=np.array([1j, 2 - 1j]))
    with QCoDeSDevice([knob], [Analyser(), s21, sweep]) as device:
        assert device.measure([[0.5]]).tolist() == [[1, 2, 3, 4, 1, 2, 0, 1, 2, -1]]
        s21.set(complex(np.nan, 0))
        with pytest.raises(BadReading):
            device.measure([[0.5]])


def test_such_a_device_can_be_checked():
    codes = memory("codes", vals=Multiples(4, min_value=0, max_value=64), initial=0)
    noise = np.random.default_rng(0)
    z = Parameter("z", set_cmd=False, get_cmd=lambda: complex(codes() + 0.1 * noise.normal(), noise.normal()))

    def make():
        return QCoDeSDevice([codes], [(z, 2), Analyser()])

    report = check_device(make, rows=600)
    assert report.broken == [], [str(report[name]) for name in report.broken]


def test_scale_and_offset_of_the_parameter_come_after_the_limits():
    raw = []
    parameter = Parameter("scaled", set_cmd=raw.append, vals=Numbers(0, 2), scale=1000, get_cmd=lambda: 500)
    with QCoDeSDevice([parameter], [parameter]) as device:
        assert device.measure([[2.0]]).tolist() == [[0.5]]
        with pytest.raises(LimitError):
            device.measure([[2.5]])
    assert raw == [2000, 0]


def test_an_array_is_as_many_outputs_as_its_validator_says():
    trace = memory("trace", vals=Arrays(shape=(4,)), initial=np.arange(4.0))
    knob = memory("knob", vals=Numbers(0, 1))
    with QCoDeSDevice([knob], [trace, (trace, 4)]) as device:
        assert device.measure([[0.5]]).tolist() == [[0, 1, 2, 3] * 2]
