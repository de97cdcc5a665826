"""SCPI-99 and IEEE 488.2 as published: where messages end, which headers are one, what a value means."""

import contextlib
import math

import numpy as np
import pytest
from examples import each_row
from hypothesis import given
from hypothesis import strategies as st

from hwloop.simulators.bench.scpi.messages import (
    LONGEST_MESSAGE,
    EndlessMessage,
    HeaderPattern,
    MessageStream,
    absolute,
    check_mnemonics,
    split_header,
    split_outside,
)
from hwloop.simulators.bench.scpi.status import ScpiError
from hwloop.simulators.bench.scpi.values import Block, Boolean, Integer, Keyword, Number, Text, block

VOLTAGE = HeaderPattern("[SOURce<1:2>:]VOLTage[:LEVel][:IMMediate][:AMPLitude]")


def number_of(error):
    return error.value.number


class TestMessages:
    @given(st.lists(st.binary(max_size=50), min_size=1), st.integers(1, 7))
    def test_blocks_survive_any_cut_of_the_stream(self, payloads, step):
        messages = [b"DATA " + block(payload) for payload in payloads]
        wire = b"".join(message + b"\n" for message in messages)
        stream, found = MessageStream(), []
        for start in range(0, len(wire), step):
            found += stream.feed(wire[start : start + step])
        assert found == messages

    @given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
    def test_units_are_not_cut_inside_blocks(self, payloads):
        units = [b"A " + block(payload) for payload in payloads]
        found = split_outside(b";".join(units), b";")
        assert [Block().parse(split_header(unit)[1][0]) for unit in found] == payloads

    @given(st.text(st.characters(codec="latin-1", exclude_characters="\n"), max_size=30), st.sampled_from("\"'"))
    def test_strings_hide_separators(self, text, quote):
        token = (quote + text.replace(quote, 2 * quote) + quote).encode("latin-1")
        header, tokens = split_header(split_outside(b"TEXT " + token + b",5;NEXT", b";")[0])
        assert (header, tokens[1:]) == (b"TEXT", [b"5"])
        assert Text().parse(tokens[0]) == text

    @pytest.mark.parametrize(
        "piece",
        each_row(
            [
                b"A" * 1000,
                b'"' + b"a" * 999,
                b"'",
                b"#" * 1000,
                b"#10",
                b"#0abc",
                b"#9999999999" + b"a" * 989,
                b"a\r",
            ],
            *(b"A" * 1000, b"'", b"#10"),
        ),
    )
    def test_a_message_without_end_is_refused_before_it_fills_the_memory(self, piece):
        stream, chunk = MessageStream(), piece * (100_000 // len(piece))
        for _ in range(10):
            assert stream.feed(chunk) == []
        with pytest.raises(EndlessMessage):
            stream.feed(chunk)
        assert stream.feed(b"*IDN?\n") == [b"*IDN?"]

    def test_a_line_that_ends_too_late_is_refused_too(self):
        with pytest.raises(EndlessMessage):
            MessageStream().feed(b"A" * (LONGEST_MESSAGE + 1) + b"\n")

    def test_a_long_block_that_is_announced_is_waited_for_but_no_endless_row_of_them(self):
        payload = bytes(3 * LONGEST_MESSAGE)
        (message,) = MessageStream().feed(b"DATA " + block(payload) + b"\n")
        assert len(message) > 3 * LONGEST_MESSAGE
        stream = MessageStream()
        assert stream.feed(b"DATA #9200000000") == []
        assert stream.feed(b"a" * 2 * LONGEST_MESSAGE) == []
        row = MessageStream()
        row.feed(b"DATA #9268000000")
        row._scanned = len(row._buffer)  # as if the data had come
        with pytest.raises(EndlessMessage):
            row.feed(b",#9268000000")

    def test_a_newline_ends_a_message_with_an_open_string(self):
        assert MessageStream().feed(b'TEXT "open\n*IDN?\n') == [b'TEXT "open', b"*IDN?"]
        with pytest.raises(ScpiError) as error:
            split_outside(b'TEXT "open', b";")
        assert number_of(error) == -151

    def test_an_indefinite_block_lasts_to_the_end_of_the_message(self):
        (message,) = MessageStream().feed(b"DATA #0a;b,c\n")
        assert message == b"DATA #0a;b,c"
        assert Block().parse(split_header(split_outside(message, b";")[0])[1][0]) == b"a;b,c"

    def test_a_carriage_return_before_the_newline_is_white_space(self):
        (message,) = MessageStream().feed(b"FREQ 1e3;:OUTP?\r\n")
        assert split_outside(message, b";") == [b"FREQ 1e3", b":OUTP?"]

    @pytest.mark.parametrize("token", [b"#15abcd", b"#1xabc", b"#", b"#13abcd"])
    def test_a_block_whose_length_is_wrong(self, token):
        with pytest.raises(ScpiError) as error:
            Block().parse(token)
        assert number_of(error) == -161


class TestHeaders:
    @pytest.mark.parametrize(
        ("header", "suffixes"),
        [
            ("VOLT", (1,)),
            ("SOUR2:VOLT", (2,)),
            ("SOURCE2:VOLTAGE:LEVEL:IMMEDIATE:AMPLITUDE", (2,)),
            ("SOUR:VOLT:AMPL", (1,)),
            ("VOLTA", None),
            ("SOURC:VOLT", None),
            ("VOLT:OFFS", None),
            ("SOUR2:VOLT:IMM:LEV", None),
        ],
    )
    def test_short_or_long_and_nothing_between(self, header, suffixes):
        assert VOLTAGE.match(header) == suffixes

    def test_a_suffix_out_of_range(self):
        with pytest.raises(ScpiError) as error:
            VOLTAGE.match("SOUR3:VOLT")
        assert number_of(error) == -114

    def test_a_digit_may_belong_to_a_mnemonic(self):
        choice = Keyword("CHANnel1", "WMEMory2", "EXTernal")
        assert [choice.parse(token) for token in (b"chan1", b"WMEMory2", b"ext")] == ["CHAN1", "WMEM2", "EXT"]

    def test_the_path_of_the_tree(self):
        """SCPI-99 volume 1, 6.2.4: FREQ:STARt 1;STOP 2 reaches STOP beside STARt; a colon goes to the root."""
        path = ""
        reached = []
        for header in ("FREQ:STAR", "STOP", "*WAI", "MODE", ":FREQ:SPAN", ":VOLT", "OFFS"):
            whole, path = absolute(header, path)
            reached.append(whole)
        assert reached == ["FREQ:STAR", "FREQ:STOP", "*WAI", "FREQ:MODE", "FREQ:SPAN", "VOLT", "OFFS"]

    @pytest.mark.parametrize(
        ("header", "number"), [("A::B", -102), ("A?B", -102), ("VOLT#", -101), ("THIRTEENCHARS", -112), ("", -101)]
    )
    def test_what_is_no_header(self, header, number):
        with pytest.raises(ScpiError) as error:
            check_mnemonics(header)
        assert number_of(error) == number


class TestValues:
    @pytest.mark.parametrize(
        ("token", "unit", "value"),
        [
            (b"1 kHz", "HZ", 1e3),
            (b"1MHZ", "HZ", 1e6),  # M is mega in front of HZ and OHM alone
            (b"2.5MV", "V", 2.5e-3),
            (b"2.5MAV", "V", 2.5e6),
            (b"10 MOHM", "OHM", 1e7),
            (b"-.5e-3", "V", -0.5e-3),
            (b"3.E2US", "S", 3e-4),
            (b"#H1F", "V", 31.0),
            (b"#B101", "V", 5.0),
            (b"#Q17", "V", 15.0),
            (b"50 PCT", "PCT", 50.0),
        ],
    )
    def test_numbers_with_units(self, token, unit, value):
        assert Number(unit).parse(token) == pytest.approx(value, rel=1e-12)

    @pytest.mark.parametrize(
        ("parameter", "token", "number"),
        [
            (Number("HZ"), b"1 V", -131),
            (Number(), b"1 V", -138),
            (Number("V"), b"1..2", -121),
            (Number("V"), b"1e99999", -123),
            (Number("V"), b'"1"', -158),
            (Number("V"), b"#11a", -168),
            (Number("V"), b"INF", -148),
            (Number("V"), b"", -109),
            (Boolean(), b"MAYBE", -224),
            (Keyword("SINusoid"), b"SINU", -224),
            (Keyword("SINusoid"), b"3", -128),
            (Text(), b"bare", -148),
            (Text(), b"'a'b'", -151),
        ],
    )
    def test_what_is_refused_and_with_which_number(self, parameter, token, number):
        with pytest.raises(ScpiError) as error:
            parameter.parse(token)
        assert number_of(error) == number

    @given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30))
    def test_a_number_comes_back(self, value):
        assert Number().parse(Number().print(value).encode()) == pytest.approx(value, rel=1e-15)

    @given(st.binary(max_size=40))
    def test_whatever_comes_is_a_value_or_an_error_of_scpi(self, token):
        for parameter in (Number("V"), Integer(), Boolean(), Keyword("ON"), Text(), Block()):
            with contextlib.suppress(ScpiError):
                parameter.parse(token)

    def test_booleans_and_infinity(self):
        assert [Boolean().parse(token) for token in (b"ON", b"off", b"1", b"0.4", b"-3")] == [1, 0, 1, 0, 1]
        infinite = Number("OHM", infinite=True)
        assert infinite.parse(b"INFinity") == 9.9e37
        assert infinite.print(math.inf) == "+9.9E+37"

    def test_blocks_of_numbers(self):
        values = np.arange(5, dtype=">f4")
        assert block(values.tobytes())[:4] == b"#220"
        assert block(b"", digits=8) == b"#800000000"
