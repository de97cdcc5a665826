"""Lines, codes and the board's description: what is garbled is refused, never read as something else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.devices.serial_board.line_protocol import (
    BoardDescription,
    ProtocolLine,
    checksum,
    decode_codes,
    decode_line,
    encode_codes,
    encode_line,
)
from hwloop.errors import BadReading
from hwloop.simulators.emulated_board import crc16

WORDS = st.lists(st.text("abcXYZ019=,.-/", min_size=1, max_size=8), min_size=1, max_size=6)
GOOD = {
    "n_inputs": "3",
    "n_outputs": "2",
    "low": "-1.5",
    "high": "1,2,3.5",
    "output_low": "0",
    "output_high": "5",
    "input_unit": "V",
    "output_unit": "mA",
    "max_rows": "8",
    "conversion_us": "20",
    "watchdog_ms": "500",
}


def words_of(table):
    return [f"{name}={value}" for name, value in table.items()]


def test_the_published_check_value():
    assert checksum(b"123456789") == b"29B1"  # Williams, catalogue of CRC algorithms: CRC-16/CCITT-FALSE


@given(st.binary(max_size=100))
def test_two_ways_to_compute_the_checksum_agree(data):
    assert checksum(data) == b"%04X" % crc16(data)


@given(st.integers(0, 2**32 - 1), WORDS)
def test_a_line_comes_back_as_it_was(sequence, words):
    assert decode_line(encode_line(sequence, words)) == ProtocolLine(sequence, tuple(words))


@given(st.integers(0, 2**32 - 1), WORDS, st.data())
def test_no_burst_of_16_bits_goes_unnoticed(sequence, words, data):
    sound = bytearray(encode_line(sequence, words))
    place = data.draw(st.integers(0, len(sound) - 1))
    burst = data.draw(st.integers(1, 0xFFFF))
    sound[place] ^= burst & 0xFF
    if place + 1 < len(sound):
        sound[place + 1] ^= burst >> 8
    elif not burst & 0xFF:
        return
    if bytes(sound) != encode_line(sequence, words):
        with pytest.raises(BadReading):
            decode_line(bytes(sound))


@given(st.integers(0, 2**32 - 1), WORDS, st.data())
def test_a_line_cut_short_is_refused(sequence, words, data):
    sound = encode_line(sequence, words)
    with pytest.raises(BadReading):
        decode_line(sound[: data.draw(st.integers(0, len(sound) - 1))])


@given(st.binary(max_size=80))
def test_anything_else_is_refused_or_sound(raw):
    try:
        line = decode_line(raw)
    except BadReading:
        return
    assert raw.rstrip(b"\r\n").endswith(checksum(raw.rpartition(b"*")[0]))
    assert line.words


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_codes_come_back_as_they_were(rows, channels, data):
    flat = data.draw(st.lists(st.integers(0, 65535), min_size=rows * channels, max_size=rows * channels))
    codes = np.array(flat, dtype=np.uint16).reshape(rows, channels)
    np.testing.assert_array_equal(decode_codes(encode_codes(codes), (rows, channels)), codes)


@pytest.mark.parametrize("text", ["", "000", "00000", "00 0", "zzzz", "+001", "０0000"])
def test_codes_of_another_length_or_alphabet_are_refused(text):
    with pytest.raises(BadReading, match="does not hold 1 x 1 readings"):
        decode_codes(text, (1, 1))


def test_a_description_is_read():
    board = BoardDescription.from_words([*words_of(GOOD), "new=thing", "word"])
    np.testing.assert_array_equal(board.input_low, [-1.5, -1.5, -1.5])
    np.testing.assert_array_equal(board.input_high, [1, 2, 3.5])
    np.testing.assert_array_equal(board.output_high, [5, 5])
    assert (board.output_unit, board.max_rows, board.watchdog_seconds) == ("mA", 8, 0.5)


@pytest.mark.parametrize("missing", GOOD)
def test_a_description_must_be_complete(missing):
    with pytest.raises(BadReading, match=missing):
        BoardDescription.from_words(words_of({name: text for name, text in GOOD.items() if name != missing}))


NUMBERS = sorted(set(GOOD) - {"input_unit", "output_unit"})


@given(st.sampled_from(NUMBERS), st.text("0123456789,.-einaf", max_size=9))
def test_a_description_is_sound_or_refused(name, text):
    try:
        board = BoardDescription.from_words(words_of({**GOOD, name: text}))
    except BadReading:
        return
    assert np.all(np.isfinite(board.input_low) & np.isfinite(board.input_high))
    assert np.all(board.input_low < board.input_high)
    assert np.all(board.output_low < board.output_high)
    assert board.max_rows >= 1
    assert board.watchdog_seconds > 0
