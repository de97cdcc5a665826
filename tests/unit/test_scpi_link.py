"""The SCPI link against small servers that do what instruments and networks do."""

import contextlib
import re
import socket
import threading
import time

import numpy as np
import pytest
from examples import each_row

from hwloop import BadReading, ConfigError, DeviceDisconnected, DeviceError, DeviceTimeout
from hwloop.devices.scpi import ScpiLink
from hwloop.devices.scpi.replies import INTEGER, NUMBER
from hwloop.simulators.bench.generator.keysight_33500 import VirtualKeysight33500
from hwloop.simulators.bench.scpi.instrument import BenchClock
from hwloop.simulators.bench.server import InstrumentServer
from hwloop.simulators.bench.tcp_peer import TcpPeer


class Server(TcpPeer):
    """Answers each line with ``answer(line)``: bytes to send, ``None`` for nothing, or closes at ``EOFError``."""

    def __init__(self, answer):
        self.answer = answer
        self.lines = []
        self.connections = 0
        super().__init__(self._connected)

    def _connected(self):
        self.connections += 1
        return self._replies

    def _replies(self, message):
        self.lines.append(message.decode("latin1"))
        reply = self.answer(self.lines[-1])
        return [] if reply is None else [[reply]]


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def link_to(serve):
    links = []

    def start(answer, **options):
        server = serve(answer)
        link = ScpiLink(server.resource_name, visa_library="@py", **{"timeout_seconds": 0.3, **options})
        links.append(link)
        link.open()
        return link, server

    yield start
    for link in links:
        link.close()


def echo_number(line):
    return re.findall(r"\d+", line)[0].encode() + b"\n" if line.endswith("?") else None


def test_four_threads_never_get_each_others_replies(link_to):
    link, _ = link_to(echo_number, timeout_seconds=10)
    wrong = []

    def ask(thread):
        for k in range(300):
            number = thread * 1000 + k
            if link.query(f"VALUE{number}?", INTEGER) != number:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_reply_that_came_too_late_is_never_taken_for_the_next(link_to):
    def slow_first(line):
        if line == "SLOW1?":
            time.sleep(0.4)
        return echo_number(line)

    link, server = link_to(slow_first)
    with pytest.raises(DeviceTimeout):
        link.query("SLOW1?", INTEGER)
    time.sleep(0.3)
    assert link.query("NEXT2?", INTEGER) == 2
    assert server.connections == 2


def test_an_interrupt_inside_a_query_makes_the_next_use_open_the_link_again(link_to, monkeypatch):
    link, server = link_to(echo_number)
    transport = link._transport

    def interrupted(deadline):
        raise KeyboardInterrupt

    monkeypatch.setattr(transport, "receive_line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        link.query("FIRST1?", INTEGER)
    assert link.query("NEXT2?", INTEGER) == 2
    assert server.connections == 2


def test_a_closed_port_is_an_error_at_once(serve):
    server = serve(echo_number)
    resource = server.resource_name
    server.close()
    link = ScpiLink(resource, visa_library="@py")
    began = time.monotonic()
    with pytest.raises(DeviceDisconnected, match="refused"):
        link.open()
    assert time.monotonic() - began < 1


def test_a_dropped_peer_is_an_error_at_once_and_the_next_use_connects_again(link_to):
    def drop(line):
        if line == "DROP?":
            raise EOFError
        return echo_number(line)

    link, _ = link_to(drop, timeout_seconds=5)
    began = time.monotonic()
    with pytest.raises(DeviceDisconnected):
        link.query("DROP?", INTEGER)
    assert time.monotonic() - began < 0.5
    assert link.query("NEXT2?", INTEGER) == 2


def test_a_peer_that_never_reads_is_bounded_by_the_deadline(monkeypatch):
    monkeypatch.setattr("hwloop.devices.scpi.link.SLOWEST_BYTES_A_SECOND", 1e12)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = ScpiLink(f"TCPIP::127.0.0.1::{listener.getsockname()[1]}::SOCKET", timeout_seconds=0.3)
        link.open()
        began = time.monotonic()
        with pytest.raises(DeviceTimeout, match="no more data"):
            link.write_block("DATA ", bytes(50_000_000))
        assert 0.2 < time.monotonic() - began < 1
        link.close()


def test_clear_returns_at_once_also_when_the_peer_is_gone_or_never_stops_talking(link_to):
    def chatter(line):
        return b"x" * 1_000_000 if line == "TALK" else b"0\n"

    link, server = link_to(chatter)
    link.write("TALK")
    began = time.monotonic()
    link.clear()
    server.close()
    with pytest.raises(DeviceDisconnected):
        link.clear()
    assert time.monotonic() - began < 1


def test_more_than_the_reply_is_refused_before_its_value_is_handed_out(link_to):
    link, _ = link_to(lambda line: b"1\n2\n" if line == "TWICE?" else echo_number(line))
    with pytest.raises(BadReading, match="nobody asked"):
        link.query("TWICE?", INTEGER)
    assert link.query("NEXT3?", INTEGER) == 3


def test_a_left_over_reply_makes_the_next_question_fail_rather_than_lie(link_to):
    def late_again(line):
        if line == "TWICE?":
            threading.Timer(0.05, lambda: next(iter(server._clients)).sendall(b"2\n")).start()
            return b"1\n"
        return echo_number(line)

    link, server = link_to(late_again)
    assert link.query("TWICE?", INTEGER) == 1
    time.sleep(0.15)
    with pytest.raises(BadReading, match="nobody asked"):
        link.query("NEXT3?", INTEGER)
    assert link.query("NEXT3?", INTEGER) == 3


@pytest.mark.parametrize("reply", [b"9.91E37", b"-9.9E37", b"ON", b"", b"1.0,2.0", b"nan", b"\xff1", b"1_0"])
def test_what_is_no_number_is_refused_and_not_trusted_after(link_to, reply):
    link, server = link_to(lambda line: reply + b"\n" if line == "BAD?" else echo_number(line))
    with pytest.raises(BadReading):
        link.query("BAD?", NUMBER)
    assert link.query("NEXT2?", INTEGER) == 2
    assert server.connections == 2


def test_errors_in_the_queue_come_with_the_instruments_own_words(link_to):
    queue = ['-222,"Data out of range; said ""no"""', '-113,"Undefined header"']
    link, server = link_to(
        lambda line: ((queue.pop(0) if queue and "ERRor" in line else '+0,"No error"') + "\n").encode()
    )
    with pytest.raises(DeviceError, match=r'-222 Data out of range; said "no"; -113 Undefined header'):
        link.check_errors()
    link.check_errors()
    assert server.connections == 1  # an error of the instrument is a good exchange


def test_a_queue_that_never_empties_ends(link_to):
    link, _ = link_to(lambda line: b'-350,"Queue overflow"\n')
    with pytest.raises(DeviceError, match="Queue overflow"):
        link.check_errors()


@pytest.mark.parametrize("header", [b"#48000", b"#9000008000", b"#0"])
def test_blocks_of_both_kinds_hold_any_byte(link_to, header):
    points = np.arange(2000, dtype="<i4")
    points[:4] = int.from_bytes(b"\n\n\n\n", "little")
    link, _ = link_to(lambda line: echo_number(line) if "*ESE" in line else header + points.tobytes() + b"\n")
    for _ in range(2):
        np.testing.assert_array_equal(link.query_block("DATA?", "<i4"), points)


@pytest.mark.parametrize(
    "reply", each_row([b"12345\n", b"#15abcdeXX\n", b"#13abc\n", b"#3\n120000\n"], b"#13abc\n")
)
def test_what_is_no_block_is_refused(link_to, reply):
    link, _ = link_to(lambda line: reply)
    with pytest.raises(BadReading):
        link.query_block("DATA?", "<i2")


def test_a_block_that_ends_early_is_an_error_within_the_deadline(link_to):
    link, _ = link_to(lambda line: b"#3100abc")
    with pytest.raises(DeviceTimeout, match="3 of 100"):
        link.query_block("DATA?")


def test_a_closed_link_refuses_and_a_name_that_cannot_be_read_is_named(link_to):
    link, _ = link_to(echo_number)
    link.close()
    link.close()
    for use in (lambda: link.query("X1?", INTEGER), link.clear):
        with pytest.raises(DeviceDisconnected, match="open it first"):
            use()
    assert not link.is_open
    with pytest.raises(ConfigError, match="TCPI"):
        ScpiLink("TCPI::x").open()


def test_commands_and_their_error_query_are_one_message_and_completion_is_waited_for(link_to):
    queue = ['-222,"Data out of range"']

    def answer(line):
        if line.endswith("SYSTem:ERRor?"):
            return (queue.pop(0) if queue else '+0,"No error"').encode() + b"\n"
        return b"1\n" if line == "*OPC?" else echo_number(line)

    link, server = link_to(answer)
    server.lines.clear()
    with pytest.raises(DeviceError, match="-222 Data out of range"):
        link.execute("VOLT 99", "OUTP ON")
    link.execute("VOLT 1")
    link.wait_until_complete()
    asked = [line for line in server.lines if not line.startswith("*ESE")]
    assert asked[0] == "VOLT 99;:OUTP ON;:SYSTem:ERRor?"
    assert asked[-2:] == ["VOLT 1;:SYSTem:ERRor?", "*OPC?"]


def test_on_open_is_called_at_every_connection_and_its_failure_leaves_no_open_link(serve):
    server = serve(echo_number)
    asked = []
    link = ScpiLink(
        server.resource_name, timeout_seconds=0.3, on_open=lambda link: asked.append(link.query("W7?", INTEGER))
    )
    link.open()
    link.open()
    link.clear()
    assert asked == [7, 7]
    link.on_open = lambda link: link.query("nothing", INTEGER)
    with pytest.raises(DeviceTimeout):
        link.clear()
    link.on_open = None
    assert link.query("NEXT2?", INTEGER) == 2
    link.close()


@pytest.fixture
def generator():
    with contextlib.closing(InstrumentServer(VirtualKeysight33500(BenchClock()))) as server:
        link = ScpiLink(server.resource_name, visa_library="@py", timeout_seconds=5.0)
        link.open()
        yield link, server.instrument
        link.close()


def test_the_event_mask_of_a_driver_stays_as_it_was_set(generator):
    link, instrument = generator
    assert link.query("*ESE?", INTEGER) == 0
    link.write("*ESE 32")
    link.check_errors()
    link.confirm()
    assert link.query("*ESE?", INTEGER) == 32
    assert instrument.status.event_enable == 32


def test_a_question_that_is_not_understood_is_known_without_a_wait(generator):
    link, instrument = generator
    with pytest.raises(DeviceTimeout, match=r"NO:SUCH\? was not answered"):
        link.query("NO:SUCH?", NUMBER)
    assert [error.number for error in instrument.status.errors] == [-113]
    assert link.query("FREQ?", NUMBER) == 1000
