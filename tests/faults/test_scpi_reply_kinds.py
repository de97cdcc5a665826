"""Replies as instruments in the field write them, over TCP, a serial line and HiSLIP, with faults on the way.

Whatever happens to a reply, a value that is handed out is the answer to its question; and every instrument that
answers within IEEE 488.2's freedom can be driven.
"""

import contextlib
import random
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hwloop import BadReading, ConformityError, DeviceError
from hwloop.devices.scpi import Line, ScpiLink
from hwloop.devices.scpi import replies as forms
from hwloop.simulators.bench.hislip_peer import HislipPeer, Unended
from hwloop.simulators.bench.pty_peer import PtyPeer
from hwloop.simulators.bench.tcp_peer import TcpPeer

pytestmark = pytest.mark.exhaustive

TIMEOUT_SECONDS = 0.08
LATE_SECONDS = 1.3 * TIMEOUT_SECONDS
LONGEST_COPY_SECONDS = 0.1
POINTS = 20
ATTEMPTS = 30
TRANSPORTS = ("tcp", "pty", "hislip")


@dataclass(frozen=True)
class Kind:
    """How an instrument answers when it means ``k``, 1 to 250."""

    name: str
    form: Any  # of replies, or how to read blocks
    reply: Any  # k -> bytes
    means: Any  # k -> value, or the error and words of its message
    end: bytes = b"\n"


def points(k):
    """A block's bytes: newlines among them, one at the end."""
    data = np.random.default_rng(k).integers(0, 256, POINTS).astype(np.uint8)
    data[[3, 7, -1]] = 10
    return data


def block(header, k, dtype=np.uint8):
    return header + points(k).astype(dtype).tobytes()


def one_block(link, question):
    return link.query_block(question)


def counted_block(link, question):
    return link.query_block(question, expected_points=POINTS)


def word_block(link, question):
    return link.query_block(question, "<u2", expected_points=POINTS)


def two_blocks(link, question):
    return np.concatenate(link.query_blocks(question, expected_points=(POINTS, 0)))


def headed_block(link, question):
    return link.query_block(question, expected_points=POINTS, header=r":?CURVE\s+")


def number(name, text, end=b"\n"):
    return Kind(name, forms.NUMBER, lambda k: text.format(k=k, x=k / 4).encode(), lambda k: k / 4, end)


def whole(name, text):
    return Kind(name, forms.INTEGER, lambda k: text.format(k=k).encode(), lambda k: k)


def truth(name, text, value=True):
    return Kind(name, forms.BOOLEAN, lambda k: text, lambda k: value)


def word(name, text, meaning="VOLT"):
    return Kind(name, forms.KEYWORD, lambda k: text, lambda k: meaning)


def error(name, text, none=False):
    return Kind(name, forms.ERROR, lambda k: text.replace(b"%", b"%d" % -k), lambda k: 0 if none else -k)


def identity(name, text):
    return Kind(
        name, forms.IDENTITY, lambda k: text.replace("%", str(k)).encode(), lambda k: text.replace("%", str(k))
    )


def refused(name, form, text, words, kind=ConformityError, end=b"\n"):
    return Kind(name, form, lambda k: text(k) if callable(text) else text, lambda k: (kind, words), end)


FLOAT, INT = forms.NUMBER, forms.INTEGER
KINDS = [
    number("nr-two", "{x}"),
    number("signed", "{x:+}"),
    number("nr-three", "{x:+.8E}"),
    number("small-e", "{x:.8e}"),
    number("padded", "  {x} "),
    number("carriage-return", "{x}", b"\r\n"),
    number("seventeen-digits", "{x:.17g}"),
    number("leading-zeros", "000{x}"),
    Kind("bare-point", FLOAT, lambda k: b"%d." % k, lambda k: k),
    Kind("no-whole-part", FLOAT, lambda k: b".%03d" % k, lambda k: k / 1000),
    whole("nr-one", "{k}"),
    whole("whole-signed", "{k:+d}"),
    whole("whole-as-nr-two", "{k}.0"),
    whole("whole-as-nr-three", "{k:+.6E}"),
    whole("hexadecimal", "#H{k:X}"),
    whole("octal", "#Q{k:o}"),
    whole("binary", "#B{k:b}"),
    truth("one", b"1"),
    truth("plus-one", b"+1"),
    truth("one-point-nought", b"1.0"),
    truth("on", b"ON"),
    truth("on-small", b"on"),
    truth("off-quoted", b'"OFF"', False),
    truth("nought", b"+0", False),
    word("keyword", b"VOLT"),
    word("keyword-small", b"volt"),
    word("keyword-quoted", b'"VOLT"'),
    word("keyword-in-single-quotes", b"'VOLT'"),
    word("keyword-with-colon", b'"VOLT:DC"', "VOLT:DC"),
    Kind("text", forms.TEXT, lambda k: b"channel %d ready" % k, lambda k: f"channel {k} ready"),
    Kind("text-in-latin", forms.TEXT, lambda k: f"{k} \u00b5A".encode("latin1"), lambda k: f"{k} \u00b5A"),
    Kind("text-in-unicode", forms.TEXT, lambda k: f"{k} \u03a9".encode(), lambda k: f"{k} \u03a9"),
    Kind("numbers", forms.NUMBERS, lambda k: b"%d,2,3.5" % k, lambda k: (k, 2, 3.5)),
    Kind("numbers-spaced", forms.NUMBERS, lambda k: b"+1.0E+00, %d" % k, lambda k: (1, k)),
    Kind("answers", forms.ANSWERS, lambda k: b'%d;"a;b";VOLT' % k, lambda k: (f"{k}", '"a;b"', "VOLT")),
    Kind("complete", forms.COMPLETE, lambda k: b"+1", lambda k: True),
    error("error", b'%,"Data out of range"'),
    error("error-spaced", b'%, "Data out of range"'),
    error("error-unquoted", b"%,Data out of range"),
    error("error-in-single-quotes", b"%,'Data out of range'"),
    error("error-alone", b"%"),
    error("error-in-latin", b'%,"Donn\xe9es hors limites"'),
    error("error-in-unicode", '%,"Daten außerhalb"'.encode()),
    error("error-behind-words", b'"Data out of range",%'),
    error("error-after-blank", b"% Data out of range"),
    error("error-headed", b':SYST:ERR %,"Data out of range"'),
    error("no-error-spaced", b'0, "No error"', none=True),
    error("no-error-unquoted", b"+0,No error", none=True),
    error("no-error-number", b"0", none=True),
    error("no-error-in-single-quotes", b"0,'No error'", none=True),
    error("no-error-empty", b'+0,""', none=True),
    error("no-error-words", b"No error", none=True),
    identity("identity-of-one", "PSU%"),
    identity("identity-of-two", "ACME,PSU%"),
    identity("identity-of-three", "ACME,PSU1,SN%"),
    identity("identity-of-four", "ACME,PSU1,%,1.0"),
    identity("identity-of-six", "ACME,PSU1,%,1.0,opt 1,2024"),
    identity("identity-in-another-order", "%,PSU1,ACME"),
    Kind("identity-in-latin", forms.IDENTITY, lambda k: f"R\u00d6,{k}".encode("latin1"), lambda k: f"R\u00d6,{k}"),
    identity("identity-in-unicode", "Ω-Lab,PSU1,%,1"),
    Kind("block", counted_block, lambda k: block(b"#220", k), points),
    Kind("block-uncounted", one_block, lambda k: block(b"#220", k), points),
    Kind("block-without-end", counted_block, lambda k: block(b"#220", k), points, b""),
    Kind("block-with-two-ends", counted_block, lambda k: block(b"#220", k), points, b"\n\n"),
    Kind("block-with-carriage-return", counted_block, lambda k: block(b"#220", k), points, b"\r\n"),
    Kind("block-of-nine-digits", counted_block, lambda k: block(b"#9000000020", k), points),
    Kind("block-of-words", word_block, lambda k: block(b"#240", k, "<u2"), points),
    Kind("block-indefinite-counted", counted_block, lambda k: block(b"#0", k), points),
    Kind("block-indefinite", one_block, lambda k: block(b"#0", k), points),
    Kind("block-headed", headed_block, lambda k: block(b":CURVE #220", k), points),
    Kind("blocks", two_blocks, lambda k: block(b"#220", k) + b",#13\n\n\n",
         lambda k: np.append(points(k), [10, 10, 10])),
    refused("decimal-comma", FLOAT, b"1,5", "decimal comma"),
    refused("unit", FLOAT, b"1.5V", "unit 'V'"),
    refused("unit-spaced", FLOAT, b"+1.5E-3 A", "unit 'A'"),
    refused("unit-in-latin", FLOAT, b"1.5 \xb5V", "unit '\u00b5V'"),
    refused("header", FLOAT, b"VOLT 1.5", "header 'VOLT'"),
    refused("header-of-the-root", INT, b":VOLT:RANGE 2", "header ':VOLT:RANGE'"),
    refused("header-and-unit", FLOAT, b"VOLT 1.5 V", "header 'VOLT' before the number and the unit 'V'"),
    refused("number-in-quotes", FLOAT, b'"1.5"', "in quotes"),
    refused("error-without-number", forms.ERROR, b"Oops", "no error number"),
    refused("no-reading", FLOAT, b"9.91E37", "no reading", BadReading),
    refused("infinite", FLOAT, b"-9.9E+37", "no reading", BadReading),
    refused("empty", FLOAT, b"", "is no number", BadReading),
    refused("not-whole", INT, b"1.5", "not a whole number", BadReading),
    refused("block-one-short", counted_block, lambda k: block(b"#219", k), "19 .* where 20 were", BadReading),
    refused("block-one-long", counted_block, lambda k: block(b"#221", k), "21 .* where 20 were", BadReading),
    refused("block-with-more", one_block, lambda k: block(b"#210", k), "bytes follow a block of 10", BadReading),
    refused("block-of-no-digit", one_block, lambda k: block(b"#X20", k), "# and a digit", BadReading),
    refused("block-of-half-points", word_block, lambda k: block(b"#220", k), "20 .* where 40", BadReading),
]  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
FREE_TEXT = (forms.TEXT, forms.IDENTITY, forms.ERROR, forms.ANSWERS)


#: What an instrument knows of markers, the most first: several questions in a message, one of them, its name.
ABILITIES = ("compounds", "a number", "its name", "nothing")


class Instrument:
    """Answers ``NAME? k`` as its kind says, and goes wrong as it is told.

    A second copy of a reply comes a while after the first: before the next question is read, or just then.
    """

    def __init__(self, knows="compounds", rng=None):
        self.knows = knows
        self.fault = lambda: ""
        self.seconds_late = LATE_SECONDS
        self.mask = b"0"
        self.rng = rng or random.Random(knows)
        self.kept_back = []

    def __call__(self, message):
        kept_back, self.kept_back = self.kept_back, []
        yield from kept_back
        if b"!" in message:
            return
        if self.knows == "compounds":
            *common, last = message.split(b";")
            ahead = b"".join(answer + b";" for part in common if (answer := self._common(part)))
            yield from self._replies(last.lstrip(b":"), ahead)
        elif self.knows == "a number" and message.startswith(b"*ESE "):
            self._common(message.split(b";")[0])
            yield from [[self.mask + b"\n"]] * message.endswith(b"?")
        elif message != b"*IDN?" or self.knows != "nothing":
            yield from self._replies(message, b"")

    def _common(self, part):
        if part.startswith(b"*ESE "):
            self.mask = part.split()[1]
        return self.mask if part == b"*ESE?" else b""

    def _replies(self, question, ahead):
        if question == b"*IDN?":
            yield [ahead + b"ACME,PSU1,7,1.0\n"]
        elif question == b"*ESE?":
            yield [ahead + self.mask + b"\n"]
        elif b"? " in question:
            name, k = question.decode().split("? ")
            kind = BY_NAME[name.lower()]
            yield from self._with_fault(kind, kind.reply(int(k)), kind.end, ahead)

    def _with_fault(self, kind, reply, end, ahead):
        fault = self.fault()
        if fault == "late":
            time.sleep(self.seconds_late)
        if fault == "damaged":
            damage = b"\x01" if kind.form in FREE_TEXT else bytes([0x80 | (reply or b"1")[0] ^ 0x55])
            reply = damage + reply[1:]
        reply = ahead + reply
        if fault == "cut":
            # Without the newline that it may end with: a block of no stated length would be whole there.
            yield Unended([reply[: len(reply) // 2].rstrip(b"\n")])
            return
        whole = reply + end
        if fault == "split":
            pieces = [whole[start : start + 3] for start in range(0, len(whole), 3)]
            yield Slowly(pieces)
            return
        yield [whole]
        if fault == "doubled":
            when = self.rng.choice(["at once", "soon", "at the next question"])
            if when == "at the next question":
                self.kept_back = [[whole]]
                return
            time.sleep(self.rng.uniform(0, LONGEST_COPY_SECONDS) if when == "soon" else 0.0)
            yield [whole]


class Slowly(list):
    """Pieces with a pause before each but the first."""

    def __init__(self, pieces, pause_seconds=0.5e-3):
        super().__init__(pieces)
        self.pause_seconds = pause_seconds

    def __iter__(self):
        for number, piece in enumerate(super().__iter__()):
            if number:
                time.sleep(self.pause_seconds)
            yield piece


def peer_on(transport, instrument):
    if transport == "pty":
        return PtyPeer(instrument)
    return {"tcp": TcpPeer, "hislip": HislipPeer}[transport](lambda: instrument)


@contextlib.contextmanager
def link_on(transport, knows="compounds"):
    instrument = Instrument(knows)
    peer = peer_on(transport, instrument)
    link = ScpiLink(
        peer.resource_name, visa_library="@py", timeout_seconds=TIMEOUT_SECONDS, line=Line(baud_rate=115200)
    )
    try:
        for _ in range(ATTEMPTS):  # a busy machine may need more than one
            with contextlib.suppress(DeviceError):
                link.open()
                break
        yield link, instrument
    finally:
        link.close()
        peer.close()


def ask(link, kind, k):
    question = f"{kind.name.upper()}? {k}"
    value = link.query(question, kind.form) if isinstance(kind.form, forms.Form) else kind.form(link, question)
    return value[0] if kind.form is forms.ERROR else value


def ask_until_answered(link, kind, k):
    """The value, or the last error; each failure is followed by another attempt, as a driver's user would."""
    for _ in range(ATTEMPTS):
        try:
            return ask(link, kind, k)
        except DeviceError as error:
            failure = error
    return failure


def is_refused(kind):
    meant = kind.means(1)
    return isinstance(meant, tuple) and isinstance(meant[0], type)


def assert_right(kind, k, answer):
    """The value that was meant; or, of a form that is refused, an error."""
    meant = kind.means(k)
    if is_refused(kind):
        assert isinstance(answer, DeviceError), f"{kind.name}: {answer!r} was taken for a value"
        return
    assert not isinstance(answer, DeviceError), f"{kind.name}: {answer}"
    np.testing.assert_array_equal(answer, meant, err_msg=kind.name)


def test_sixty_kinds_and_more():
    assert len(BY_NAME) == len(KINDS) >= 60


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_kind_is_read_or_refused_in_words_on_every_transport(transport):
    with link_on(transport) as (link, _):
        link.timeout_seconds = 5.0  # nothing is late here, however busy the machine
        for kind in KINDS:
            meant = kind.means(7)
            if not is_refused(kind):
                assert_right(kind, 7, ask(link, kind, 7))
                continue
            with pytest.raises(meant[0], match=meant[1]) as refusal:
                ask(link, kind, 7)
            assert type(refusal.value) is meant[0]
            if meant[0] is ConformityError:
                assert "again" not in str(refusal.value)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_faults_of_every_kind_hand_out_no_wrong_value(transport):
    """A few exchanges of every kind, with one fault each; the slow test has a thousand."""
    costly, cheap = ["late", "cut"], ["split", "doubled", "damaged"]
    with link_on(transport) as (link, instrument):
        for number, kind in enumerate(KINDS):
            if is_refused(kind):
                continue
            faults = [cheap[number % 3], *([costly[number // 12 % 2]] if number % 12 == 0 else [])]
            for k, fault in enumerate(faults, start=1 + number):
                once = iter([fault])
                instrument.fault = lambda once=once: next(once, "")
                assert_right(kind, k, ask_until_answered(link, kind, k))
                assert_right(kind, k + 1, ask_until_answered(link, kind, k + 1))


COPIED = ["nr-two", "nr-one", "text", "error-alone", "identity-of-one", "block", "block-indefinite", "complete"]


@pytest.mark.parametrize("knows", ABILITIES)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_second_copy_is_never_the_next_questions_answer_whatever_the_instrument_knows(transport, knows):
    if (transport, knows) == ("pty", "nothing"):
        pytest.skip("refused where it is opened: see test_scpi_serial.py")
    with link_on(transport, knows) as (link, instrument):
        for k, name in enumerate(COPIED, start=1):
            if name == "block-indefinite" and knows in ("its name", "nothing"):
                continue  # it is refused in words, where END does not end it
            kind = BY_NAME[name]
            once = iter(["doubled"])
            instrument.fault = lambda once=once: next(once, "")
            assert_right(kind, k, ask_until_answered(link, kind, k))
            assert_right(BY_NAME["nr-one"], k + 100, ask_until_answered(link, BY_NAME["nr-one"], k + 100))


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_thousand_exchanges_of_a_kind_hand_out_no_wrong_value(name, transport):
    kind, rng = BY_NAME[name], random.Random(f"{name} {transport}")
    chances = ["late"] * 2 + ["cut"] * 2 + ["split", "doubled", "damaged"] * 10 + [""] * 366
    with link_on(transport) as (link, instrument):
        instrument.fault = lambda: rng.choice(chances)
        for number in range(20 if is_refused(kind) else 1000):
            k = 1 + number * 7 % 250 if kind.reply(1) != kind.reply(2) else 1
            assert_right(kind, k, ask_until_answered(link, kind, k))


def test_a_question_in_the_table_names_its_kind_in_letters():
    assert all(re.fullmatch("[a-z-]+", name) for name in BY_NAME)


class Pausing(Instrument):
    """Sends a block of unknown length with a long pause behind a newline in it."""

    def _replies(self, question, ahead):
        if question != b"PAUSE?":
            yield from super()._replies(question, ahead)
            return
        yield Slowly([ahead + b"#0ab\n", b"cd\n\n", b"e\n"], pause_seconds=0.12)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_block_of_unknown_length_may_pause_behind_an_inner_newline(transport):
    peer = peer_on(transport, Pausing())
    link = ScpiLink(peer.resource_name, visa_library="@py", timeout_seconds=3.0, line=Line(baud_rate=115200))
    try:
        link.open()
        for expected in (0, 8):
            assert bytes(link.query_block("PAUSE?", expected_points=expected)) == b"ab\ncd\n\ne"
        with pytest.raises(BadReading):
            link.query_block("PAUSE?", expected_points=7)
    finally:
        link.close()
        peer.close()
