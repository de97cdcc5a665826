"""A reply that comes after its time-out: drivers that take it for the next row's, each on its own transport."""

import contextlib
import os
import select
import socket
import socketserver
import threading

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.conformance import Status, check_device
from hwloop.simulators.bench.pty_peer import PtyPeer

SPEC = hwloop.DeviceSpec(n_inputs=3, n_outputs=2, input_low=-1.0, input_high=1.0)
MATRIX = np.random.default_rng(0).normal(size=(3, 2))


def answer(question):
    """``n x y z`` is answered by ``n u v``."""
    number, *values = question.decode().split()
    one, other = (np.array(values, dtype=float) @ MATRIX).tolist()
    return f"{number} {one} {other}\n".encode()


class Rig(hwloop.Device):
    """Asks and reads a line; a subclass knows how."""

    spec = SPEC
    link = None
    mends = ""
    number = 0

    def __init__(self, where):
        self.where = where

    def identify(self):
        return "rig 7"

    def close(self):
        if self.link is not None:
            self.link.close()
            self.link = None

    def ask(self, row):
        self.number += 1
        self.write(f"{self.number} {' '.join(map(repr, map(float, row)))}\n".encode())
        while True:
            number, *values = self.read_line().split()
            if self.mends != "number" or int(number) == self.number:
                return [float(value) for value in values]

    def _measure(self, inputs):
        try:
            return np.array([self.ask(row) for row in inputs])
        except Exception:
            if self.mends == "reopen":
                self.close()
                self.open()
            raise


class OnSocket(Rig):
    def open(self):
        self.close()
        self.link = socket.create_connection(self.where, timeout=0.1)
        self.buffer = b""

    def write(self, data):
        self.link.sendall(data)

    def read_line(self):
        while b"\n" not in self.buffer:
            data = self.link.recv(4096)
            if not data:
                raise ConnectionError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()


class OnSocketFile(OnSocket):
    """Python's own file of a socket reads no more after a time-out: every call fails until it is reopened."""

    file = None

    def open(self):
        super().open()
        self.file = self.link.makefile("rb")

    def close(self):
        if self.file is not None:
            self.file.close()
        super().close()

    def read_line(self):
        return self.file.readline().decode()


class OnSelect(OnSocket):
    """Looks with a time-out, and then reads a socket that would block."""

    def open(self):
        super().open()
        self.link.settimeout(None)

    def read_line(self):
        if b"\n" not in self.buffer and not select.select([self.link], [], [], 0.1)[0]:
            raise TimeoutError("no reply")
        return super().read_line()


class OnSerial(Rig):
    def open(self):
        import serial

        self.close()
        self.link = serial.Serial(self.where.path, 115200, timeout=0.1)

    def write(self, data):
        self.link.write(data)

    def read_line(self):
        line = self.link.read_until(b"\n")
        if not line.endswith(b"\n"):
            raise TimeoutError("no reply")
        return line.decode()


class OnVisaSerial(Rig):
    @property
    def resource(self):
        return self.where.resource_name

    def open(self):
        import pyvisa

        self.close()
        settings = {"read_termination": "\n", "write_termination": "\n", "timeout": 200}
        self.link = pyvisa.ResourceManager("@py").open_resource(self.resource, **settings)

    def write(self, data):
        self.link.write_raw(data)

    def read_line(self):
        return self.link.read()


class OnVisaSocket(OnVisaSerial):
    @property
    def resource(self):
        return "TCPIP::{}::{}::SOCKET".format(*self.where)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError):
            for question in self.rfile:
                self.wfile.write(answer(question))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


@pytest.fixture
def port():
    with contextlib.closing(PtyPeer(lambda question: [[answer(question)]])) as peer:
        yield peer


RIGS = {
    OnSocket: ("server", "reopen"),
    OnSocketFile: ("server", ""),
    OnSelect: ("server", "reopen"),
    OnVisaSocket: ("server", "reopen"),
    OnSerial: ("port", "number"),
    OnVisaSerial: ("port", "number"),
}


def checked(kind, request, mends):
    if kind in (OnSerial, OnVisaSerial):
        pytest.importorskip("serial")
    if kind in (OnVisaSocket, OnVisaSerial):
        pytest.importorskip("pyvisa_py")
    where = request.getfixturevalue(RIGS[kind][0])

    def make():
        rig = kind(where)
        rig.mends = mends
        return rig

    return check_device(make, only=["late-replies"])["late-replies"]


QUICK = (OnSocket, OnSerial, OnVisaSerial)


@pytest.mark.parametrize("kind", each_row([kind for kind in RIGS if kind is not OnSocketFile], *QUICK))
def test_a_driver_that_takes_a_late_reply_for_the_next_rows_is_named(kind, request):
    finding = checked(kind, request, "")
    assert finding.status is Status.FAIL, finding
    assert finding.evidence["wrong_rows"] == 4
    assert finding.next_step


@pytest.mark.parametrize("kind", each_row(RIGS, *QUICK))
def test_a_driver_that_comes_into_step_again_is_not(kind, request):
    finding = checked(kind, request, RIGS[kind][1])
    assert finding.status is Status.PASS, finding
    assert finding.evidence["late_replies"] >= 1


@pytest.mark.parametrize("kind", [OnSerial, OnVisaSerial])
def test_opening_a_wire_anew_does_not_lose_what_is_still_to_come(kind, request):
    assert checked(kind, request, "reopen").status is Status.FAIL


class AnswersWithoutReading(OnSocket):
    """What times out is nothing, and nothing is a reading."""

    def ask(self, row):
        try:
            return super().ask(row)
        except TimeoutError:
            self.close()
            self.open()
            return [0.0, 0.0]


def test_a_row_that_timed_out_is_not_made_up(server):
    make = lambda: AnswersWithoutReading(server)  # noqa: E731
    assert check_device(make, only=["late-replies"])["late-replies"].status is Status.FAIL


def test_everything_is_as_it_was_afterwards(request):
    before = [socket.socket.recv, socket.socket.sendall, os.read, os.write, select.select]
    checked(OnSocket, request, "")
    assert [socket.socket.recv, socket.socket.sendall, os.read, os.write, select.select] == before
    assert "recv" not in vars(socket.socket)


def test_a_simulation_has_nothing_to_be_late():
    finding = check_device(lambda: hwloop.open_device("relu-layer"), only=["late-replies"])["late-replies"]
    assert finding.status is Status.NOTE
    assert "not tried" in finding.summary
