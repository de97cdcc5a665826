"""The bench over real sockets: several clients, and every fault that it can be told to make."""

import contextlib
import socket
import time

import numpy as np
import pytest

from hwloop.simulators.bench.misbehaviour import (
    AtExchanges,
    AtRandom,
    AtTimes,
    Behave,
    Delay,
    Drop,
    Garble,
    Refuse,
    Silent,
    StaleReply,
    StopReading,
    Truncate,
)
from hwloop.simulators.bench.virtual_bench import VirtualBench


class Client:
    """A bare socket: what a driver's link stands on."""

    def __init__(self, server, timeout=2.0):
        self.socket = socket.create_connection((server.host, server.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pending = b""

    def write(self, message):
        self.socket.sendall(message.encode() + b"\n")

    def read(self):
        while b"\n" not in self._pending:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def ask(self, message):
        self.write(message)
        return self.read().decode()

    def gone(self):
        with contextlib.suppress(ConnectionError):
            return self.socket.recv(1) == b""
        return True


@pytest.fixture
def bench():
    with VirtualBench("optical-fibre", substrate_settings={"n_inputs": 4, "n_outputs": 6}) as bench:
        yield bench


@pytest.fixture
def connect(bench):
    with contextlib.ExitStack() as clients:

        def connect(timeout=2.0):
            client = Client(bench.server("generator"), timeout)
            clients.callback(client.socket.close)
            return client

        yield connect


class TestSockets:
    def test_several_clients_share_the_instrument_and_not_their_replies(self, connect):
        first, second = connect(), connect()
        assert float(first.ask("FREQ 2e3;:FREQ?")) == 2e3  # executed: only now is the other to see it
        first.write("FREQ?")
        second.write("FREQ?;VOLT?")
        assert float(first.read()) == 2e3
        assert second.read().split(b";")[0] == b"+2.000000000000000E+03"

    def test_a_client_that_sends_a_line_without_end_is_hung_up_on_and_nobody_else_notices(self, connect):
        endless, other = connect(), connect()
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                endless.socket.sendall(b"A" * (1 << 16))
        assert endless.gone()
        assert other.ask("*OPC?") == "1"
        assert other.ask("SYST:ERR?").startswith("-363")

    def test_one_client_more_than_allowed_is_turned_away(self, bench, connect):
        clients = [connect() for _ in range(bench.generator_instrument.MAX_CLIENTS)]
        assert all(client.ask("*OPC?") == "1" for client in clients)
        assert connect().gone()
        clients[0].socket.close()
        time.sleep(0.1)
        assert connect().ask("*OPC?") == "1"

    def test_many_messages_in_one_packet_and_one_message_in_many(self, connect):
        client = connect()
        client.write("*OPC?\nOUTP?")
        assert [client.read(), client.read()] == [b"1", b"0"]
        for byte in b"*OPC?\n":
            client.socket.sendall(bytes([byte]))
        assert client.read() == b"1"

    def test_a_closed_bench_refuses(self, connect, bench):
        client, server = connect(), bench.server("generator")
        assert client.ask("*OPC?") == "1"
        bench.close()
        assert client.gone()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))

    def test_it_listens_on_loopback_alone(self, bench):
        assert {bench.server(name).host for name in ("generator", "oscilloscope")} == {"127.0.0.1"}

    def test_messages_take_their_time(self):
        with VirtualBench("optical-fibre", command_seconds=0.05) as bench:
            client = Client(bench.server("generator"))
            start = time.monotonic()
            for _ in range(4):
                client.ask("*OPC?")
            client.socket.close()
            assert time.monotonic() - start >= 0.2


class TestFaults:
    def at(self, bench, number, fault):
        bench.misbehave("generator", AtExchanges({number: fault}))

    def test_a_drop_before_and_after_execution(self, bench, connect):
        for executed, frequency in ((False, 1e3), (True, 5e3)):
            client = connect()
            self.at(bench, 1, Drop(executed=executed))
            assert client.ask("*OPC?") == "1"
            client.write("FREQ 5e3;:FREQ?")
            assert client.gone()
            assert float(connect().ask("FREQ?")) == frequency

    def test_a_delay(self, bench, connect):
        client = connect(timeout=0.1)
        self.at(bench, 0, Delay(0.3))
        with pytest.raises(TimeoutError):
            client.ask("*OPC?")
        client.socket.settimeout(2)
        assert client.read() == b"1"

    def test_a_garbled_reply_cannot_pass_for_one(self, bench, connect):
        client = connect()
        self.at(bench, 0, Garble())
        client.write("VOLT?")
        reply = client.read()
        assert len(reply) == len("+1.000000000000000E-01")
        assert max(reply[:4]) > 127
        assert float(client.ask("VOLT?")) == 0.1

    def test_a_truncated_reply_has_no_end(self, bench, connect):
        client = connect(timeout=0.2)
        self.at(bench, 0, Truncate())
        with pytest.raises(TimeoutError):
            client.ask("VOLT?")
        assert client._pending == b"+1.00000000"

    def test_after_a_stale_reply_the_client_is_one_behind_until_it_connects_again(self, bench, connect):
        client = connect(timeout=0.2)
        self.at(bench, 1, StaleReply())
        assert client.ask("*OPC?") == "1"
        with pytest.raises(TimeoutError):
            client.ask("FREQ?")
        assert float(client.ask("VOLT?")) == 1e3  # the frequency, late
        assert float(client.ask("*OPC?")) == 0.1
        assert float(connect().ask("VOLT?")) == 0.1

    def test_a_lost_reply(self, bench, connect):
        client = connect(timeout=0.2)
        self.at(bench, 0, Silent())
        with pytest.raises(TimeoutError):
            client.ask("FREQ 2e3;:FREQ?")
        assert float(client.ask("FREQ?")) == 2e3

    def test_an_instrument_that_stops_reading(self, bench, connect):
        client = connect(timeout=0.5)
        self.at(bench, 0, StopReading())
        client.write("*OPC?")
        with pytest.raises(TimeoutError):
            client.socket.sendall(bytes(64 << 20))
        assert connect().ask("*OPC?") == "1"  # only that connection hangs

    def test_refused_connections(self, bench, connect):
        client = connect()
        assert client.ask("*OPC?") == "1"
        bench.misbehave("generator", Refuse(2))
        assert [connect().gone() for _ in range(2)] == [True, True]
        assert connect().ask("*OPC?") == client.ask("*OPC?") == "1"

    def test_a_pulled_cable(self, bench, connect):
        clients = [connect(), connect()]
        assert [client.ask("*OPC?") for client in clients] == ["1", "1"]
        bench.server("generator").disconnect_all()
        assert all(client.gone() for client in clients)
        assert connect().ask("*OPC?") == "1"

    def test_faults_at_given_times(self, bench, connect):
        client = connect()
        bench.misbehave("generator", AtTimes({0.2: Drop()}))
        assert client.ask("*OPC?") == "1"
        time.sleep(0.25)
        client.write("*OPC?")
        assert client.gone()
        assert connect().ask("*OPC?") == "1"

    def test_seeded_faults_come_at_their_rate_and_again(self):
        plans = [AtRandom(0.1, [Silent(), Drop()], seed=3) for _ in range(2)]
        drawn = [[plan.fault() for _ in range(2000)] for plan in plans]
        assert drawn[0] == drawn[1]
        assert plans[0].count == sum(fault is not None for fault in drawn[0])
        assert np.mean([fault is not None for fault in drawn[0]]) == pytest.approx(0.1, abs=0.02)
        with pytest.raises(ValueError, match="probability"):
            AtRandom(1.5)

    def test_it_can_behave_again(self, bench, connect):
        bench.misbehave("generator", AtRandom(1.0, [Drop()]))
        client = connect()
        client.write("*OPC?")
        assert client.gone()
        bench.misbehave("generator", Behave())
        assert connect().ask("*OPC?") == "1"
