"""Sessions of other kinds than sockets: PyVISA's own calls, its errors and its time-outs."""

import contextlib
import time

import pytest
import pyvisa
from pyvisa.constants import StatusCode

from hwloop import BadReading, DeviceDisconnected, DeviceTimeout
from hwloop.deadline import Deadline
from hwloop.devices.scpi import ScpiLink
from hwloop.devices.scpi.messages import read_block, read_blocks
from hwloop.devices.scpi.opening import open_transport, visa_library
from hwloop.devices.scpi.replies import INTEGER
from hwloop.devices.scpi.visa_transport import MessageTransport, VisaStream
from hwloop.simulators.bench.pty_peer import PtyPeer


class FakeUsb:
    """Messages with an END, as over USB; an entry of ``replies`` that is an error is raised."""

    def __init__(self, *replies, clears=True):
        self.replies = list(replies)
        self.sent = []
        self.timeout = None
        self.closed = self.cleared = 0
        self.clears = clears

    def write_raw(self, data):
        self.sent.append(data)
        if (n := data.split(b";")[0].removeprefix(b"*ESE ")).isdigit() and data.endswith(b"?\n"):
            self.replies.append(n)

    def read_raw(self, size):
        if not self.replies:
            raise pyvisa.VisaIOError(StatusCode.error_timeout)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def clear(self):
        if not self.clears:
            raise pyvisa.VisaIOError(StatusCode.error_nonsupported_operation)
        self.cleared += 1
        self.replies.clear()

    def close(self):
        self.closed += 1
        raise pyvisa.errors.InvalidSession


@pytest.fixture
def transport_to():
    return lambda *replies: MessageTransport("USB0::1::INSTR", FakeUsb(*replies))


def test_end_ends_a_message_whatever_it_holds(transport_to):
    transport = transport_to(
        b"1.5", b"2.5\r\n", b"#15ab\ncd", b"#15ab\ncd\n", b"#0any\nthing\n", b"WAVE #11x,#12yz\n"
    )
    deadline = Deadline.after(1)
    assert transport.receive_line(deadline) == b"1.5"
    assert transport.receive_line(deadline) == b"2.5"
    for _ in range(2):
        assert bytes(read_block(transport, deadline, 5)) == b"ab\ncd"
    assert bytes(read_block(transport, deadline)) == b"any\nthing"
    assert read_blocks(transport, deadline, (1, 2), header="WAVE ") == [b"x", b"yz"]
    transport.check_quiet()


@pytest.mark.parametrize("reply", [b"#19abc\n", b"#13abcXX\n", b"#13abc,#11x\n", b"#0abcd\n", b"#13abc\n3.5\n"])
def test_a_message_that_is_not_the_block_that_was_expected_is_refused(transport_to, reply):
    with pytest.raises(BadReading):
        read_block(transport_to(reply), Deadline.after(1), 3)


def test_the_time_out_of_the_session_is_what_is_left_of_the_deadline(transport_to):
    transport = transport_to(b"1\n")
    transport.send([b"A", b"?\n"], Deadline.after(2))
    assert transport._instrument.sent == [b"A?\n"]
    assert 1900 < transport._instrument.timeout <= 2000
    transport.send([b"B\n"], Deadline.after(float("inf")))
    assert transport._instrument.timeout is None
    with pytest.raises(DeviceTimeout):
        transport.receive_line(Deadline.after(0))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pyvisa.VisaIOError(StatusCode.error_timeout), DeviceTimeout),
        (TimeoutError(), DeviceTimeout),
        (pyvisa.VisaIOError(StatusCode.error_connection_lost), DeviceDisconnected),
        (pyvisa.errors.InvalidSession(), DeviceDisconnected),
        (OSError("cable"), DeviceDisconnected),
        (RuntimeError("Connection was dropped by server."), DeviceDisconnected),
    ],
)
def test_errors_of_the_session_become_ours_and_closing_a_lost_one_is_no_error(transport_to, error, kind):
    transport = transport_to(error)
    with pytest.raises(kind):
        transport.receive_line(Deadline.after(1))
    transport.close()
    transport.close()
    assert transport._instrument.closed == 1


def test_what_is_left_of_a_message_was_not_asked_for(transport_to):
    transport = transport_to(b"1\n2\n")
    transport.receive_exactly(2, Deadline.after(1))
    with pytest.raises(BadReading, match="nobody asked"):
        transport.check_quiet()


@pytest.mark.parametrize("clears", [True, False])
def test_a_doubtful_usb_link_is_cleared_and_believed_only_once_its_marker_was_answered(monkeypatch, clears):
    instrument = FakeUsb(clears=clears)
    monkeypatch.setattr(
        "hwloop.devices.scpi.link.open_transport", lambda *a: MessageTransport("USB0::1::INSTR", instrument)
    )
    link = ScpiLink("USB0::1::INSTR", timeout_seconds=0.2)
    link.open()
    with pytest.raises(DeviceTimeout):
        link.query("SLOW?", INTEGER)
    instrument.replies += [b"17\n", b"18\n"]  # late
    instrument.write_raw = answering(instrument, b"5\n")
    assert link.query("NEXT?", INTEGER) == 5
    assert instrument.cleared == (2 if clears else 0)


def answering(instrument, reply):
    plain = instrument.write_raw

    def write(data):
        plain(data)
        if data == b"NEXT?\n":
            instrument.replies.append(reply)

    return write


def test_a_serial_port_of_another_visa_is_a_stream_too():
    """The calls that a vendor's VISA offers, tried with pyvisa-py's."""
    points = bytes(range(256))
    peer = PtyPeer(lambda message: [[b"#3256" + points]] if message == b"DATA?" else [[b"12\r\n"]])
    manager = pyvisa.ResourceManager("@py")
    instrument = manager.open_resource(peer.resource_name)
    instrument.end_input = pyvisa.constants.SerialTermination.none
    instrument.read_termination = None
    transport = VisaStream(peer.resource_name, instrument, serial=True)
    with contextlib.closing(peer), contextlib.closing(transport):
        for _ in range(2):
            transport.check_quiet()
            transport.send([b"DATA?\n"], Deadline.after(1))
            assert bytes(read_block(transport, Deadline.after(2), 256)) == points
            transport.check_quiet()
            transport.send([b"A?\n"], Deadline.after(1))
            assert INTEGER.value(transport.receive_line(Deadline.after(1))) == 12
        peer.say(b"unasked\n")
        time.sleep(0.1)
        with pytest.raises(BadReading, match="unasked"):
            transport.check_quiet()
        transport.clear(Deadline.after(1))
        transport.check_quiet()
        with pytest.raises(DeviceTimeout):
            transport.receive_line(Deadline.after(0.05))


def test_an_instrument_that_is_not_there_is_disconnected_and_pyvisa_py_is_used_without_a_vendors_library():
    assert visa_library() in ("@py", "@ivi")
    for name in ("TCPIP::host.invalid::5025::SOCKET", "ASRL/dev/no_such_port::INSTR"):
        with pytest.raises(DeviceDisconnected, match="cannot be opened"):
            open_transport(name, Deadline.after(0.5), "@py")
