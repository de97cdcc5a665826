"""A serial line, which is one wire whoever opens it: late replies, dead programs, echoes, banners, two users."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hwloop import BadReading, ConfigError, ConformityError, DeviceError, DeviceTimeout
from hwloop.deadline import Deadline
from hwloop.devices.scpi import Line, ScpiInstrument, ScpiLink, control
from hwloop.devices.scpi.line import line_from
from hwloop.devices.scpi.opening import open_transport
from hwloop.devices.scpi.replies import INTEGER, NUMBER
from hwloop.simulators.bench.pty_peer import PtyPeer

TIMEOUT_SECONDS = 0.15
FAST = {"baud_rate": 115200}


class Board:
    """Answers numbers in the order of its questions; what it knows beside them is given."""

    def __init__(self, names=True, masks=True, refusal=None, end=b"\n", echo=False):
        self.names, self.masks, self.refusal, self.end, self.echo = names, masks, refusal, end, echo
        self.heard = []
        self.late_seconds = {}
        self.mask = b"0"

    def __call__(self, message):
        self.heard.append(message)
        message = message.rstrip(b"\r")
        if self.echo:
            yield [message + b"\r\n"]
        for reply in self._replies(message):
            yield [reply + self.end]

    def _replies(self, message):
        if message.startswith(b"*ESE") and self.masks:
            self.mask = message.split(b";")[0].split()[1]
            return [self.mask] * message.endswith(b"?")
        if message == b"*IDN?" and self.names:
            return [b"ACME,PSU1,7,1.0"]
        if message.startswith(b"*") or b"?" not in message:
            return [] if self.refusal is None or not message.startswith(b"*E") else [self.refusal]
        time.sleep(self.late_seconds.pop(message, 0.0))
        return [re.findall(rb"\d+", message)[0]]


@pytest.fixture
def line_to():
    with contextlib.ExitStack() as stack:

        def start(board, **settings):
            peer = stack.enter_context(contextlib.closing(PtyPeer(board)))
            options = {"timeout_seconds": TIMEOUT_SECONDS, "line": Line(**{**FAST, **settings})}
            link = ScpiLink(peer.resource_name, visa_library="@py", **options)
            stack.callback(link.close)
            return link, peer

        yield start


BOARDS = {
    "of IEEE 488.2": {},
    "that only knows its name": {"masks": False},
    "that answers what it does not know": {"masks": False, "refusal": b"ERR"},
    "that ends lines with a carriage return": {"end": b"\r\n"},
}


@pytest.mark.parametrize("kind", BOARDS)
def test_a_reply_that_comes_after_its_time_out_is_never_taken_for_another(line_to, kind):
    board = Board(**BOARDS[kind])
    link, _ = line_to(board)
    link.open()
    for number in range(1, 3):
        slow = b"SLOW? %d" % (100 + number)
        board.late_seconds[slow] = (1 + 0.5 * number) * TIMEOUT_SECONDS
        with pytest.raises(DeviceTimeout):
            link.query(slow.decode(), INTEGER)
        assert [answered(link, f"NEXT? {k}") for k in (number, number + 1)] == [number, number + 1]


def answered(link, question, attempts=10):
    for _ in range(attempts):
        try:
            return link.query(question, INTEGER)
        except DeviceError as error:
            failure = error
    raise failure


def test_an_instrument_that_answers_no_marker_is_refused_rather_than_believed(line_to):
    link, _ = line_to(Board(names=False, masks=False))
    with pytest.raises(DeviceTimeout, match=r"\*ESE.* got no answer .*marker="):
        link.open()


def test_a_marker_of_the_instruments_own_is_asked_where_it_is_named(line_to):
    board = Board(names=False, masks=False)
    link, _ = line_to(board, marker="ECHO? {n}")
    link.open()
    link.confirm()
    assert link.query("VALUE? 5", INTEGER) == 5
    assert not any(message.startswith(b"*") for message in board.heard)


PROGRAM = """
import sys
from hwloop.devices.scpi import Line, ScpiLink
from hwloop.devices.scpi.replies import INTEGER
link = ScpiLink(sys.argv[1], visa_library="@py", timeout_seconds=30, line=Line(baud_rate=115200))
link.open()
print("asked", flush=True)
link.query("SLOW? 99", INTEGER)
"""


def test_the_reply_to_a_program_that_was_killed_is_not_the_next_ones(line_to):
    board = Board()
    board.late_seconds[b"SLOW? 99"] = 1.0
    link, peer = line_to(board)
    link.timeout_seconds = 3.0
    with subprocess.Popen([sys.executable, "-c", PROGRAM, peer.resource_name], stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"asked\n"
        with pytest.raises(DeviceError, match="in use by another program"):
            link.open()
        while b"SLOW? 99" not in board.heard:
            time.sleep(0.01)
        os.kill(program.pid, signal.SIGKILL)
    for _ in range(20):
        with contextlib.suppress(DeviceTimeout):
            link.open()
            break
    assert link.query("NEXT? 3", INTEGER) == 3


def test_a_port_is_opened_by_one_program_alone_and_given_back(line_to):
    link, peer = line_to(Board())
    link.open()
    with pytest.raises(DeviceError, match="in use"):
        ScpiLink(peer.resource_name, visa_library="@py").open()
    assert link.query("A? 1", INTEGER) == 1
    link.close()
    other = ScpiLink(peer.resource_name, visa_library="@py", line=Line(**FAST))
    other.open()
    other.close()


def test_an_echo_is_read_where_it_is_said_and_named_where_it_is_not(line_to):
    link, _ = line_to(Board(echo=True), echo=True)
    link.open()
    assert [link.query(f"A? {k}", INTEGER) for k in range(5)] == list(range(5))
    link.write("OUTP ON")
    assert link.query("A? 7", INTEGER) == 7
    with pytest.raises(ConfigError, match="echo"):
        link.write_block("DATA ", b"abc")
    link.close()
    unsaid, _ = line_to(Board(echo=True))
    with pytest.raises(ConformityError, match=r"echo=True"):
        unsaid.open()


def test_a_banner_is_thrown_away(line_to):
    link, peer = line_to(Board(), banner_seconds=0.3)
    greeting = threading.Timer(0.1, peer.say, args=[b"Welcome to PSU1\r\n> 5\r\n"])
    greeting.start()
    link.open()
    greeting.join()
    assert link.query("A? 2", INTEGER) == 2


def test_terminators_are_settings_of_the_line(line_to):
    board = Board(end=b"\r")
    link, _ = line_to(board, read_termination="\r", write_termination="\r\n")
    link.open()
    assert link.query("A? 2", INTEGER) == 2
    assert b"A? 2\r" in board.heard


def test_the_port_gets_the_settings_of_the_line(line_to):
    link, peer = line_to(Board(), baud_rate=57600, stop_bits=2.0, flow_control="xon-xoff")
    link.open()
    port = link._transport._port
    assert (port.baudrate, port.stopbits, port.xonxoff, port.rtscts) == (57600, 2, True, False)
    link.close()
    with pytest.raises(DeviceError, match="cannot be set"):  # a pseudo-terminal has no parity
        open_transport(peer.resource_name, Deadline.after(1), "@py", Line(parity="even"))
    transport = open_transport(peer.resource_name, Deadline.after(1), "@py", Line(**FAST))
    transport.close()


@pytest.mark.parametrize(
    "wrong",
    [{"baud_rate": 0}, {"data_bits": 9}, {"parity": "evne"}, {"stop_bits": 3}, {"flow_control": "rts"},
     {"read_termination": ""}, {"write_termination": "\u00b5"}, {"banner_seconds": -1}, {"boud_rate": 9600}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises((ValueError, ConfigError)):
        line_from("generator_line", wrong)


def test_half_a_command_that_was_cut_is_never_executed(line_to):
    """``VOLT 1`` is what ``VOLT 1E-3`` begins with."""
    board = Board()
    link, _ = line_to(board)
    link.open()
    transport = link._transport

    def cut(waiting, deadline):
        os.write(transport._port.fd, b"VOLT 1")
        raise KeyboardInterrupt

    transport._write, whole = cut, transport._write
    with pytest.raises(KeyboardInterrupt):
        link.write("VOLT 1E-3")
    transport._write = whole
    assert link.query("A? 3", INTEGER) == 3
    assert b"VOLT 1" not in [message.strip() for message in board.heard]


def test_a_block_of_newlines_comes_whole(line_to):
    data = np.full(256, 10, dtype=np.uint8)

    def answer(message):
        return [[b"#3256" + data.tobytes() + b"\n"]] if message == b"DATA?" else Board()(message)

    link, _ = line_to(answer)
    link.open()
    for _ in range(3):
        np.testing.assert_array_equal(link.query_block("DATA?", expected_points=256), data)


class Twice(Board):
    """Sends one reply again, a moment later."""

    def __call__(self, message):
        yield from super().__call__(message)
        if message == b"TWICE? 1":
            time.sleep(0.03)
            yield [b"1\n"]


def test_a_reply_that_comes_twice_shows_before_the_next_question_is_asked(line_to):
    link, _ = line_to(Twice())
    link.open()
    for _ in range(2):
        with pytest.raises(BadReading, match="nobody asked"):
            link.query("TWICE? 1", INTEGER)
        assert link.query("A? 2", NUMBER) == 2
    link.confirm()


class Supply(ScpiInstrument):
    volts = control("VOLT", "the voltage", low=0, high=5)


def test_settings_are_asserted_again_after_a_line_was_brought_into_step(line_to):
    board = Board()

    def answer(message):
        if message.endswith(b"SYSTem:ERRor?"):
            board.heard.append(message)
            return [[b"0\n"]]
        return [[b"2.5\n"]] if message == b"VOLT?" else board(message)

    link, _ = line_to(answer)
    supply = Supply(link)
    supply.open()
    supply.set(volts=2.5)
    board.late_seconds[b"SLOW? 9"] = 2 * TIMEOUT_SECONDS
    with pytest.raises(DeviceTimeout):
        link.query("SLOW? 9", INTEGER)
    assert answered(link, "A? 1") == 1
    assert board.heard.count(b"VOLT 2.5;:SYSTem:ERRor?") == 2
