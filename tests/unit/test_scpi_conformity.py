"""What no retry can mend is said at once and is not asked again; what is written is what is recorded."""

import re

import numpy as np
import pytest

import hwloop
from hwloop import BadReading, ConfigError, ConformityError, DeviceChanged, LimitError
from hwloop.devices.scpi import ScpiInstrument, ScpiLink, control
from hwloop.devices.scpi.commands import numbers_agree, same_keyword
from hwloop.devices.scpi.replies import BOOLEAN, INTEGER, KEYWORD, PATIENCE, Conformity, Misfit


class Supply(ScpiInstrument):
    models = r"PS\d+"

    volts = control("VOLT", "the voltage", unit="V", low=0, high=5)
    coarse = control("COARSE", "the voltage", unit="V", low=0, high=5, resolution=0.01)
    mode = control("MODE", "the mode", form=KEYWORD, choices=("NORM", "POS"))
    count = control("COUNT", "how many", form=INTEGER, low=0, high=9)
    remote = control("REM", "whether the panel is locked", form=BOOLEAN)


class Fake(ScpiLink):
    """An instrument that brings what it is told to its own step before it keeps it."""

    def __init__(self, step=0.01, shown="{:.2f}"):
        super().__init__("TCPIP::127.0.0.1::1::SOCKET")
        self.sent, self.values, self.step, self.shown = [], {}, step, shown
        self.identities = ["ACME,PS2,7,1.0"]
        self.errors = '0,"No error"'

    def write(self, *commands, timeout_seconds=None):
        for command in commands:
            self.sent.append(command)
            header, _, value = command.partition(" ")
            if re.fullmatch(r"[\d.E+-]+", value) and header != "COUNT":
                value = self.shown.format(round(float(value) / self.step) * self.step)
            self.values[header] = value

    def query(self, question, form, *, timeout_seconds=None):
        answers = []
        for part in re.split(r";:?", question):
            if part == "*IDN?":
                answers.append(self.identities[0])
                self.identities = self.identities[1:] or self.identities
            elif part.endswith("ERRor?"):
                answers.append(self.errors)
            elif part.endswith("?"):
                answers.append(self.values[part[:-1]])
            else:
                self.write(part)
        return form.read(";".join(answers).encode(), question, self.resource)


@pytest.fixture
def supply():
    return Supply(Fake())


@pytest.mark.parametrize("name", ["volts", "coarse"])
@pytest.mark.parametrize("shown", ["{:.2f}", "{:+.8E}", "{:g}"])
@pytest.mark.parametrize("volts", [0.0, 0.014, 0.996, 1.234, 1.2351, 4.999, 5.0])
def test_a_supply_of_ten_millivolts_survives_every_reopening(name, shown, volts):
    supply = Supply(Fake(shown=shown))
    supply.set(**{name: volts})
    for _ in range(3):
        supply.assert_settings()


def test_what_another_hand_changed_does_not_read_back_and_the_message_says_both(supply):
    supply.set(volts=2.0)
    supply.link.write = lambda *commands, **_: supply.link.sent.extend(commands)
    supply.link.values["VOLT"] = "1.99"
    with pytest.raises(ConformityError, match=r"was set to 2\.0 but reads 1\.99, twice\. If that is its step"):
        supply.assert_settings()


def test_a_reading_that_was_damaged_once_is_read_again(supply):
    supply.set(coarse=2.0)
    honest, readings = supply.link.query, iter([("1.0",)])

    def damaged(question, form, **options):
        return next(readings, None) or honest(question, form) if question == "COARSE?" else honest(question, form)

    supply.link.query = damaged
    supply.assert_settings()
    assert supply.link.sent.count("COARSE 2") == 3


@pytest.mark.parametrize(
    ("asked", "sent"), [(1.234, 1.23), (1.235001, 1.24), (4.999, 5.0), (0.004, 0.0), (5.0, 5.0), (1e-8, 0.0)]
)
def test_what_is_recorded_is_what_was_sent_on_a_step_of_the_instrument(supply, asked, sent):
    supply.coarse = asked
    assert supply.link.sent == [f"COARSE {sent:.12G}"]
    assert supply.asserted["coarse"] == sent


def test_a_step_never_leaves_the_limits():
    class Odd(ScpiInstrument):
        volts = control("VOLT", "it", low=-0.996, high=0.996, resolution=0.01)

    odd = Odd(Fake())
    for asked, sent in ((0.996, 0.99), (-0.996, -0.99)):
        odd.volts = asked
        assert odd.asserted["volts"] == sent


def test_small_numbers_are_sent_as_they_are(supply):
    supply.volts = 1e-8
    supply.volts = 1 / 3
    assert supply.link.sent == ["VOLT 1E-08", "VOLT 0.333333333333"]
    assert supply.asserted["volts"] == 0.333333333333


@pytest.mark.parametrize(
    ("name", "value"), [("remote", "OFF"), ("remote", 2), ("count", 1.5), ("volts", "much"), ("mode", "NORMAL")]
)
def test_what_would_be_sent_as_something_else_is_refused(supply, name, value):
    with pytest.raises(LimitError, match="nothing was sent"):
        setattr(supply, name, value)
    assert supply.link.sent == []


@pytest.mark.parametrize("text", ["VOLT 1\u00b5", "VOLT 1\nOUTP ON", "VOLT\r", "\u03a9"])
def test_what_is_no_ascii_on_one_line_is_our_error_and_is_not_sent(text):
    link = ScpiLink("TCPIP::127.0.0.1::1::SOCKET")
    for use in (
        lambda: link.write(text),
        lambda: link.query(text, INTEGER),
        lambda: link.execute(text),
        lambda: link.write_block(text, b"1"),
        lambda: link.query_block(text),
    ):
        with pytest.raises(ConfigError, match="nothing was sent"):
            use()


def test_another_serial_number_is_another_instrument_whatever_its_firmware(supply):
    supply.assert_settings()
    supply.link.identities = ["ACME, PS2 ,7,2.1"]
    supply.assert_settings()
    supply.link.identities = ["ACME,PS2,8,1.0", "ACME,PS2,7,1.0"]  # damaged on its way
    supply.assert_settings()
    supply.link.identities = ["ACME,PS2,8,1.0"]
    with pytest.raises(DeviceChanged, match=r"is 'ACME,PS2,8,1.0' now, but was 'ACME,PS2,7,1.0'"):
        supply.assert_settings()


@pytest.mark.parametrize(
    "identity", ["PS2", "ACME PS2", "ACME,PS2", "7,PS2,ACME", "ACME,MODEL PS2,7,1.0,x,y", "R\u00d6,PS2,7,1.0"]
)
def test_an_identity_of_any_fields_opens(identity):
    link = Fake()
    link.identities = [identity]
    Supply(link).assert_settings()


def test_an_identity_that_was_damaged_before_it_is_known_is_not_taken_for_one(supply):
    supply.link.identities = ["R\u00d6,PS2,7,1.0", "ACME,PS2,7,1.0"]
    with pytest.raises(BadReading, match="then"):
        supply.assert_settings()
    supply.assert_settings()


def test_a_question_that_was_once_answered_well_met_a_passing_fault():
    conformity, comma = Conformity(), Misfit("a decimal comma", b"1,5")
    assert conformity.lasting("VOLT?", comma)
    conformity.answered("VOLT?")
    assert [conformity.lasting("VOLT?", comma) for _ in range(PATIENCE)] == [False, False, True]
    conformity.answered("VOLT?")
    assert not conformity.lasting("VOLT?", comma)


def test_what_is_misread_alike_each_time_is_no_passing_fault_but_noise_is():
    conformity = Conformity()
    alike = [conformity.lasting("A? 1", Misfit("", b"OVLD %d" % k)) for k in range(PATIENCE)]
    assert alike == [False, False, True]
    assert not any(conformity.lasting("B?", Misfit("", bytes([0x81, k]))) for k in range(9))


class Comma(hwloop.Device):
    """One whose readings have a decimal comma; counts what it was told."""

    spec = hwloop.DeviceSpec(1, 1)

    def __init__(self):
        self.settings_sent = 0

    def _measure(self, inputs):
        self.settings_sent += 1
        raise ConformityError("a decimal comma")


def test_retrying_does_not_send_settings_again_for_what_it_cannot_mend():
    device = Comma()
    with (
        hwloop.Retrying(device, retries=5, backoff_seconds=0.0) as rig,
        pytest.raises(ConformityError, match="no further attempt can mend that"),
    ):
        rig.measure(np.zeros((1, 1)))
    assert device.settings_sent == 1


@pytest.mark.parametrize(
    ("asked", "answered", "agrees"),
    [("NORM", "NORM", True), ("NORM", "NORMAL", True), ("EXT", "EXTERNAL", True), ("EXT", "EXT5", False),
     ("CHAN1", "CHAN12", False), ("POS", "NEG", False), ("ON", "ONCE", False)],
)  # fmt: skip
def test_keywords_agree_in_short_and_long_form(asked, answered, agrees):
    assert same_keyword(asked, answered) is agrees


@pytest.mark.parametrize(
    ("asked", "answer", "resolution", "agrees"),
    [(1.234, "1.23", 0.01, True), (1.234, "1.24", 0.01, False), (1.234, "1.23", 0.001, False),
     (1.234, "1.23", 0.0, True), (2.0, "1.0", 0.0, False), (2.0, "2", 0.0, True), (1000.4, "1.000E3", 0.0, True),
     (2.0, "1.99", 0.0, False), (0.004, "0", 0.0, True), (3.0, "0", 0.0, False), (1e-9, "0.00", 0.0, True)],
)  # fmt: skip
def test_numbers_agree_within_half_a_step(asked, answer, resolution, agrees):
    assert numbers_agree(asked, float(answer), answer, resolution, 5.0) is agrees


def test_a_conformity_error_is_a_bad_reading_for_those_who_catch_that():
    assert issubclass(ConformityError, BadReading)
