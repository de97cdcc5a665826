"""Parsers of replies and blocks: what is well-formed comes back exactly, all else is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import BadReading, DeviceTimeout
from hwloop.deadline import Deadline
from hwloop.devices.scpi.messages import as_array, block_header, compound, read_block
from hwloop.devices.scpi.replies import ANSWERS, BOOLEAN, ERROR, IDENTITY, INTEGER, KEYWORD, NUMBER, NUMBERS, TEXT
from hwloop.devices.scpi.transport import StreamTransport
from hwloop.devices.waveform.keysight_infiniivision import Preamble

FORMS = (ANSWERS, BOOLEAN, ERROR, IDENTITY, INTEGER, KEYWORD, NUMBER, NUMBERS, TEXT)
LIMIT = 9.89e37


class Bytes(StreamTransport):
    """A message that has arrived whole, and nothing more to come."""

    def __init__(self, data):
        super().__init__("bytes")
        self._buffer = bytearray(data)

    def _write(self, waiting, deadline):
        raise NotImplementedError

    def _read(self, wanted, deadline, what):
        self.timed_out(what)

    def _read_now(self):
        return b""

    def _waiting(self, seconds):
        return False

    def close(self):
        pass


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back_exactly_unless_it_means_none(value):
    for text in (f"{value!r}", f"{value:+.17E}", f" {value:.17g} "):
        if abs(value) >= LIMIT:
            with pytest.raises(BadReading, match="no reading"):
                NUMBER.read(text.encode(), "?", "rig")
        else:
            assert NUMBER.read(text.encode(), "?", "rig") == value


@given(st.binary(max_size=40))
def test_no_bytes_crash_a_parser_and_no_number_is_made_of_nothing(reply):
    for form in FORMS:
        try:
            value = form.read(reply, "?", "rig")
        except BadReading:
            continue
        if form is NUMBER:
            assert math.isfinite(value)
            assert any(48 <= byte <= 57 for byte in reply)


@given(st.integers(-32768, 32767), st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_every_entry_of_an_error_queue_is_read(number, text):
    quoted = text.replace('"', '""')
    assert ERROR.read(f'{number:+d},"{quoted}"'.encode(), "?", "rig") == (number, text)


@given(st.binary(max_size=3000))
def test_blocks_of_both_kinds_come_back(data):
    deadline = Deadline.after(1)
    definite = Bytes(block_header(len(data)) + data + b"\n")
    assert bytes(read_block(definite, deadline)) == data
    definite.check_quiet()
    for end in (b"", b"\n", b"\n\n", b"\r\n"):
        assert bytes(read_block(Bytes(block_header(len(data)) + data + end), deadline)) == data
    if data:
        assert bytes(read_block(Bytes(b"#0" + data + b"\n"), deadline, len(data))) == data


@given(st.binary(min_size=1, max_size=60), st.integers(0, 59), st.integers(1, 255))
def test_a_damaged_block_header_is_refused_or_leaves_the_length_wrong(data, place, flip):
    message = bytearray(block_header(len(data)) + data + b"\n")
    header = len(message) - len(data) - 1
    place %= header
    message[place] ^= flip
    try:
        read = read_block(Bytes(message), Deadline.after(1))
    except (BadReading, DeviceTimeout):
        return
    assert len(read) != len(data)


def test_a_block_that_is_no_whole_number_of_points_is_refused():
    np.testing.assert_array_equal(as_array(b"\x01\x00\x02\x00", "<i2", "rig"), [1, 2])
    with pytest.raises(BadReading, match="3 bytes are no whole number of points of 2 bytes"):
        as_array(b"abc", "<i2", "rig")
    with pytest.raises(ValueError, match="999,999,999"):
        block_header(10**9)


def test_a_compound_message_starts_every_command_at_the_root():
    assert compound(["A:B 1", "C?", ":D:E", "*OPC?"]) == "A:B 1;:C?;:D:E;*OPC?"


def test_a_preamble_tells_time_and_voltage_of_every_code():
    preamble = Preamble.parse("0,0,500,1,+2.0E-07,-1.0E-05,0,+7.8125E-03,+5.0E-01,128")
    record = preamble.record(np.zeros(500, dtype=np.uint8))
    assert record.start_seconds == pytest.approx(-1e-5)
    volts = (200 - record.zero_code) * record.volts_per_code
    assert volts == pytest.approx((200 - 128) * 7.8125e-3 + 0.5)


@pytest.mark.parametrize(
    "reply",
    ["", "0,0,500", "7,0,500,1,2E-7,0,0,1,0,128", "0,0,0,1,2E-7,0,0,1,0,128", "0,0,5,1,-2E-7,0,0,1,0,128",
     "0,0,5.5,1,2E-7,0,0,1,0,128", "0,0,5,1,9.91E37,0,0,1,0,128"],
)  # fmt: skip
def test_a_preamble_that_makes_no_sense_is_refused(reply):
    with pytest.raises(BadReading):
        Preamble.parse(reply)
