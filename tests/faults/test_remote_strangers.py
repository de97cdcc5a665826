"""Strangers at the server of a device: nonsense, too much of it, too slowly, and in crowds."""

import resource
import socket
import struct

import numpy as np
import pytest
from helpers import served

from hwloop import open_device
from hwloop.devices.remote import RemoteDevice
from hwloop.devices.worker.served import encode_frame

FIBRE = {"n_inputs": 4, "n_outputs": 6, "seed": 5}
ROWS = np.random.default_rng(0).random((8, 4))
HELLO = {"op": "hello", "protocol": 1, "client": "ab" * 32, "name": "a stranger"}


def fibre():
    return open_device("optical-fibre", **FIBRE)


def connection(server):
    stream = socket.create_connection((server.address.host, server.address.port), timeout=20)
    # Closing resets, so that a hundred thousand connections leave no port occupied.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return stream


def framed(frame):
    return struct.pack("<I", len(frame)) + frame


def is_served(server):
    with RemoteDevice(str(server.address), wait_seconds=30.0) as device:  # until a stranger is known to have left
        np.testing.assert_array_equal(device.measure(ROWS), fibre().measure(ROWS))


def send_and_leave(server, data, greeted):
    with connection(server) as stream:
        stream.recv(4096)
        try:
            stream.sendall((framed(encode_frame(HELLO)) if greeted else b"") + data)
            stream.settimeout(5)
            if data and len(data) % 16 == 0:  # now and then wait until the server has had enough
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(65536):
                    pass
        except OSError:  # it has hung up: that is its right
            pass


def stranger(rng, valid):
    """Bytes that are no conversation: noise, noise in a frame, and sound frames with a few bytes altered."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.bytes(int(rng.integers(200)))
    if kind == 1:
        return framed(rng.bytes(int(rng.integers(300))))
    data = bytearray(valid[int(rng.integers(len(valid)))])
    for _ in range(int(rng.integers(1, 5))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    return bytes(data) if kind == 2 else framed(bytes(data[4:]))


@pytest.mark.parametrize(
    "frames", [300, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_random_frames_cost_nobody_but_who_sends_them(frames):
    rng = np.random.default_rng(frames)
    asked = [
        encode_frame({"op": "open", "number": 1}),
        encode_frame({"op": "measure", "number": 2}, {"inputs": ROWS}),
        encode_frame({"op": "describe", "number": 3}),
        encode_frame({"op": "continue", "number": 4, "rows": 10**30}),
        encode_frame({"op": "release", "number": 5}),
        encode_frame(HELLO),
    ]
    valid = [framed(asked[0]) + framed(asked[1]), *map(framed, asked)]
    with served(fibre) as server:
        warm = min(frames // 10, 2000)
        for number in range(frames):
            if number == warm:
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            send_and_leave(server, stranger(rng, valid), greeted=bool(rng.integers(2)))
            if number % (frames // 10) == 0:
                is_served(server)
        is_served(server)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        assert grown < 20_000, f"{grown} KiB more than after {warm} frames"


@pytest.mark.parametrize("length", [2**32 - 1, 70_000])
def test_a_frame_that_is_too_long_is_refused_when_its_length_is_known(length):
    with served(fibre) as server, connection(server) as stream:
        stream.recv(4096)
        stream.sendall(struct.pack("<I", length))
        answer = stream.recv(4096)
        assert b"at most" in answer
        assert stream.recv(4096) == b""


def test_who_is_too_slow_loses_his_connection_and_others_do_not_wait_for_him(monkeypatch):
    monkeypatch.setattr("hwloop.devices.remote.channel.FRAME_SECONDS", 0.3)
    monkeypatch.setattr("hwloop.devices.remote.conversation.GREETING_SECONDS", 0.3)
    monkeypatch.setattr("hwloop.devices.remote.conversation.IDLE_SECONDS", 0.3)
    hello = framed(encode_frame(HELLO))
    with served(fibre) as server:
        slow = []
        for sent in (b"", hello[:2], hello[:-1], hello, hello + struct.pack("<I", 100)):
            stream = connection(server)
            stream.sendall(sent)
            slow.append(stream)
        is_served(server)
        for stream in slow:
            while stream.recv(4096):  # until the server hangs up; the socket's own time-out is an error
                pass
            stream.close()


def test_a_crowd_does_not_keep_others_out():
    with served(fibre) as server, RemoteDevice(str(server.address)) as holder:
        crowd = [connection(server) for _ in range(80)]
        np.testing.assert_array_equal(holder.measure(ROWS), fibre().measure(ROWS))
        assert RemoteDevice(str(server.address)).spec == fibre().spec
        for stream in crowd:
            stream.close()
