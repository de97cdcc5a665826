"""Execution, status and errors of an instrument, message by message (IEEE 488.2, chapters 6 and 11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.simulators.bench.generator.keysight_33500 import VirtualKeysight33500
from hwloop.simulators.bench.oscilloscope.infiniivision import InfiniiVisionDSO
from hwloop.simulators.bench.scpi.instrument import BenchClock, ClientConnection

TOKENS = [
    b"1",
    b"-3.5e-3",
    b"2 V",
    b"1e300",
    b"ON",
    b"INF",
    b"MIN",
    b"CHAN1",
    b"SIN",
    b"PNG",
    b"'text'",
    b"#12ab",
    b"#0x",
]


def plain(pattern):
    """A header that a pattern stands for: channel 2, nothing else that may be left out."""
    header = pattern.replace("<1:2>", "2").replace("[SOURce2:]", "SOURce2:")
    while "[" in header:
        header = header[: header.index("[")] + header[header.index("]") + 1 :]
    return header


@pytest.fixture
def generator():
    session = ClientConnection(VirtualKeysight33500(BenchClock()))
    assert session.query(b"*ESR?") == b"+128\n"  # power on
    return session


def errors(session):
    found = []
    while (error := session.query(b"SYST:ERR?").decode().strip()) != '+0,"No error"':
        found.append(error)
    return found


class TestMessages:
    def test_replies_of_one_message_are_joined(self, generator):
        assert generator.query(b"FREQ 2 kHz;VOLT:OFFS 0.5;:FREQ?;VOLT:OFFS?;UNIT?;*ESE?") == (
            b"+2.000000000000000E+03;+5.000000000000000E-01;VPP;+0\n"
        )
        assert errors(generator) == []

    def test_the_rest_of_a_message_after_a_command_error_is_discarded(self, generator):
        generator.write(b"FREQ 2e3;FREK 3e3;:FREQ 4e3")
        assert errors(generator) == ['-113,"Undefined header"']
        assert float(generator.query(b"FREQ?")) == 2e3

    def test_after_an_execution_error_it_is_not(self, generator):
        generator.write(b"PHAS 400;:FREQ 4e3")
        assert errors(generator) == ['-222,"Data out of range;value clipped to upper limit"']
        assert float(generator.query(b"FREQ?")) == 4e3

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            (b"SYST:ERR? ;FOO", "-113"),
            (b"SOUR7:FREQ 1", "-114"),
            (b"FREQ", "-109"),
            (b"FREQ 1,2", "-108"),
            (b"FREQ 1 V", "-131"),
            (b"OUTP PERHAPS", "-224"),
            (b"FUNC TRIANGULAR", "-224"),
            (b"*TRG", "-211"),
            (b"DISP:TEXT hello", "-148"),
            (b"DISP:TEXT 'hello", "-151"),
            (b"DATA:ARB x,#15ab", "-161"),
            (b"FUNC:ARB NOTHING", "+785"),
            (b"*ESE 256", "-222"),
            (b"*IDN?;*OPC?", "-440"),
            (b"OUTP?;OUTP:SYNC?;*SRE", "-109"),
        ],
    )
    def test_errors_have_the_published_numbers(self, generator, message, error):
        generator.write(message)
        generator.output = b""
        assert [found.partition(",")[0] for found in errors(generator)] == [error]

    @given(st.binary(max_size=60))
    def test_whatever_comes_the_instrument_answers_afterwards(self, message):
        for instrument in (VirtualKeysight33500(BenchClock()), InfiniiVisionDSO(BenchClock())):
            session = ClientConnection(instrument)
            session.exchange(message)
            instrument._armed_by = None  # what came may have been a DIGitize
            assert session.exchange(b"*CLS;*OPC?").startswith(b"1")

    @given(st.data())
    def test_any_header_takes_any_parameters_or_says_what_is_wrong(self, data):
        """Nothing but an error in the queue may come of parameters that a command does not expect."""
        instrument = data.draw(st.sampled_from([VirtualKeysight33500, InfiniiVisionDSO]))(BenchClock())
        session = ClientConnection(instrument)
        headers = [plain(entry.pattern) for entry in (*instrument._commands, *instrument.SETTINGS)]
        for _ in range(4):
            tokens = data.draw(st.lists(st.sampled_from(TOKENS), max_size=3))
            header = data.draw(st.sampled_from(headers)) + data.draw(st.sampled_from(["", "?"]))
            instrument._armed_by = None
            session.exchange(header.replace("??", "?").encode() + b" " + b",".join(tokens))
        instrument._armed_by = None
        assert session.exchange(b"*CLS;*OPC?").startswith(b"1")


class TestMessageExchange:
    def test_a_message_before_the_reply_was_read(self, generator):
        generator.write(b"*OPC?")
        generator.write(b"VOLT?")
        assert float(generator.read()) == 0.1
        assert errors(generator) == ['-410,"Query INTERRUPTED"']

    def test_reading_what_nobody_asked_for(self, generator):
        assert generator.read() == b""
        assert errors(generator) == ['-420,"Query UNTERMINATED"']


class TestStatus:
    def test_each_class_of_error_sets_its_bit(self, generator):
        for message, bit in ((b"FOO", 32), (b"PHAS 400", 16), (b"FUNC:ARB NONE", 8)):
            generator.write(message)
            assert int(generator.query(b"*ESR?")) == bit
            assert int(generator.query(b"*ESR?")) == 0

    def test_the_status_byte_sums_up(self, generator):
        assert int(generator.query(b"*STB?")) == 0
        generator.write(b"*ESE 32;*SRE 32")
        generator.write(b"FOO")
        assert int(generator.query(b"*STB?")) == 4 + 32 + 64  # error queue, event summary, master summary
        generator.write(b"*CLS")
        assert int(generator.query(b"*STB?")) == 0
        assert generator.query(b"*ESE?;*SRE?") == b"+32;+32\n"
        assert generator.query(b"OUTP?;*STB?") == b"0;+16\n"  # a reply is waiting

    def test_operation_complete(self, generator):
        generator.write(b"*OPC")
        assert int(generator.query(b"*ESR?")) == 1
        assert generator.query(b"*OPC?") == b"1\n"

    def test_a_full_queue_ends_with_an_overflow(self, generator):
        for _ in range(25):
            generator.write(b"FOO")
        found = errors(generator)
        assert len(found) == 20
        assert found[-1] == '-350,"Queue overflow"'

    def test_reset_keeps_status_and_errors(self, generator):
        generator.write(b"*ESE 60;FREQ 5e3;:FOO")
        generator.write(b"*RST")
        assert float(generator.query(b"FREQ?")) == 1e3
        assert generator.query(b"*ESE?") == b"+60\n"
        assert errors(generator) == ['-113,"Undefined header"']

    def test_operation_and_questionable_registers(self, generator):
        generator.write(b"STAT:OPER:ENAB 9;:STAT:QUES:ENAB 3")
        assert generator.query(b"STAT:OPER:ENAB?;:STAT:QUES:ENAB?;:STAT:OPER?;OPER:COND?") == b"+9;+3;+0;+0\n"
        generator.write(b"STAT:PRES")
        assert generator.query(b"STAT:OPER:ENAB?;:STAT:QUES:ENAB?") == b"+0;+0\n"


@pytest.mark.parametrize("kind", [VirtualKeysight33500, InfiniiVisionDSO])
def test_every_entry_of_the_table_is_described_and_reached(kind):
    """Every setting answers its query, every number its limits, and takes back what it answered."""
    instrument = kind(BenchClock())
    session = ClientConnection(instrument)
    instrument.stopped = True
    for setting in instrument.SETTINGS:
        assert setting.doc.endswith("."), setting.pattern
        if setting.set_only:
            continue
        header = plain(setting.pattern)
        value = session.query(f"{header}?".encode()).strip()
        assert value, header
        session.write(header.encode() + b" " + value)
        assert errors(session) == [], header
        assert session.query(f"{header}?".encode()).strip() == value, header
    for command in instrument._commands:
        assert command.doc.endswith("."), command.pattern
