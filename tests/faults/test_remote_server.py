"""Whatever ends, client, connection or server: the device reaches its safe state, and a client can go on."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import served

import hwloop
from hwloop import DeviceSpec, open_device
from hwloop.deadline import Deadline
from hwloop.devices.remote import DeviceServer, RemoteDevice
from hwloop.devices.remote.address import Address
from hwloop.devices.retrying import Retrying

FIBRE = {"n_inputs": 4, "n_outputs": 6, "seed": 5}
ROWS = np.random.default_rng(0).random((8, 4))


def fibre():
    return open_device("optical-fibre", **FIBRE)


class Rig(hwloop.Device):
    """A row above 0.5 takes until ``go`` is set, or for ever; tells when it is measuring and when it is dark."""

    spec = DeviceSpec(1, 1)

    def __init__(self):
        self.measuring, self.dark, self.go = threading.Event(), threading.Event(), threading.Event()

    def close(self):
        self.dark.set()

    def _measure(self, inputs):
        self.dark.clear()
        self.measuring.set()
        if inputs[0, 0] > 0.5:
            self.go.wait(60)
        return inputs


@contextmanager
def rig_served():
    rigs = []

    def make():
        rigs.append(Rig())
        return rigs[-1]

    try:
        with served(make) as server:
            yield server, rigs
    finally:
        for rig in rigs:
            rig.go.set()


def measured_in_vain(device):
    with pytest.raises(hwloop.DeviceDisconnected):
        device.measure([[0.9]])


def close_without_server(device):
    """Nobody can say then whether the device is safe; said once."""
    with pytest.raises(hwloop.DeviceDisconnected, match="look after it by hand"):
        device.close()
    device.close()


def test_a_client_that_is_lost_between_rows_leaves_the_device_in_its_safe_state():
    with rig_served() as (server, rigs):
        device = RemoteDevice(str(server.address))
        device.open()
        device.measure([[0.2]])
        assert not rigs[-1].dark.is_set()
        device._link._channel._stream.close()
        assert rigs[-1].dark.wait(10)


def test_a_client_that_is_lost_in_the_middle_of_a_row_leaves_the_device_in_its_safe_state():
    """Although the driver does not come back from its call."""
    with rig_served() as (server, rigs):
        code = (
            "import sys; from hwloop.devices.remote import RemoteDevice\n"
            "device = RemoteDevice(sys.argv[1]); device.open(); device.measure([[0.9]])"
        )
        client = subprocess.Popen([sys.executable, "-c", code, str(server.address)])
        try:
            deadline = Deadline.after(30)
            while len(rigs) < 2 and not deadline.expired:
                time.sleep(0.01)
            assert rigs[-1].measuring.wait(30)
        finally:
            client.kill()
            client.wait()
        assert rigs[-1].dark.wait(10)
        assert not rigs[-1].go.is_set()
        rigs[-1].go.set()


def test_closing_from_another_thread_reaches_the_safe_state_before_it_returns(monkeypatch):
    """As the second Ctrl-C does it."""
    monkeypatch.setattr("hwloop.devices.remote.exclusive_access.RELEASE_SECONDS", 0.5)
    with rig_served() as (server, rigs):
        device = RemoteDevice(str(server.address))
        device.open()
        thread = threading.Thread(target=lambda: measured_in_vain(device))
        thread.start()
        assert rigs[-1].measuring.wait(10)
        device.close()
        assert rigs[-1].dark.is_set()
        assert not rigs[-1].go.is_set()  # although the driver has not come back
        with pytest.raises(hwloop.DeviceError, match="has not come back from a call yet"):
            device.open()
        rigs[-1].go.set()
        thread.join(10)


def test_an_answer_that_does_not_come_is_a_timeout_and_the_device_can_be_had_again():
    with rig_served() as (server, rigs):
        device = RemoteDevice(str(server.address), deadline_seconds=0.2)
        device.open()
        with pytest.raises(hwloop.DeviceTimeout, match="did not answer in time"):
            device.measure([[0.9]])
        rigs[-1].go.set()
        device.deadline_seconds = 20.0
        device.close()
        assert rigs[-1].dark.is_set()
        with device:
            np.testing.assert_array_equal(device.measure([[0.3]]), [[0.3]])


def test_a_server_that_ends_finishes_the_row_in_flight():
    answers = []
    with rig_served() as (server, rigs):
        device = RemoteDevice(str(server.address))
        device.open()
        thread = threading.Thread(target=lambda: answers.append(device.measure([[0.9]])))
        thread.start()
        assert rigs[-1].measuring.wait(10)
        threading.Timer(0.1, rigs[-1].go.set).start()
        server.close()
        assert rigs[-1].dark.is_set()
        thread.join(10)
        close_without_server(device)
    np.testing.assert_array_equal(answers, [[[0.9]]])


def test_a_row_that_does_not_end_does_not_keep_a_server_from_its_safe_state(monkeypatch):
    monkeypatch.setattr("hwloop.devices.remote.server.FINISH_SECONDS", 0.2)
    with rig_served() as (server, rigs):
        device = RemoteDevice(str(server.address))
        device.open()
        thread = threading.Thread(target=lambda: measured_in_vain(device))
        thread.start()
        assert rigs[-1].measuring.wait(10)
        server.close()
        assert rigs[-1].dark.is_set()
        rigs[-1].go.set()
        thread.join(10)
        close_without_server(device)


def test_retrying_goes_on_after_the_server_was_started_again():
    """With the noise of the rows that come then, as if nothing had happened."""
    expected = fibre()
    server = DeviceServer(fibre, Address("127.0.0.1", 0))
    server.open()
    address = server.address
    with Retrying(RemoteDevice(str(address)), backoff_seconds=0.01) as device:
        np.testing.assert_array_equal(device.measure(ROWS), expected.measure(ROWS))
        server.close()
        with DeviceServer(fibre, address):
            np.testing.assert_array_equal(device.measure(ROWS), expected.measure(ROWS))
            device.close()


@contextmanager
def command(*arguments, **options):
    """``hwloop serve`` in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from hwloop.cli import main; main()", "serve", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield process, json.loads(process.stdout.readline())["device"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_retrying_goes_on_after_the_server_was_killed():
    expected = fibre()
    settings = [word for name, value in FIBRE.items() for word in ("--set", f"{name}={value}")]
    with command("optical-fibre", "--listen", "127.0.0.1:0", *settings) as (process, name):
        device = Retrying(open_device(name), backoff_seconds=0.01)
        device.open()
        np.testing.assert_array_equal(device.measure(ROWS), expected.measure(ROWS))
        process.kill()
        process.wait()
    port = name.rpartition(":")[2]
    with command("optical-fibre", "--listen", f"127.0.0.1:{port}", *settings) as (_, again):
        assert again == name
        np.testing.assert_array_equal(device.measure(ROWS), expected.measure(ROWS))
        device.close()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly_with_the_device_in_its_safe_state(tmp_path, end):
    mark = tmp_path / "dark"
    (tmp_path / "lab.py").write_text(
        "import hwloop, pathlib\n"
        "class Lamp(hwloop.Device):\n"
        "    spec = hwloop.DeviceSpec(1, 1)\n"
        f"    mark = pathlib.Path({str(mark)!r})\n"
        "    def close(self): self.mark.touch()\n"
        "    def _measure(self, inputs):\n"
        "        self.mark.unlink(missing_ok=True)\n"
        "        return inputs\n"
    )
    rig = tmp_path / "rig.toml"
    rig.write_text('device = "lab:Lamp"\n')
    with command(str(rig), "--listen", "127.0.0.1:0", cwd=tmp_path) as (process, name):
        device = open_device(name)
        device.open()
        np.testing.assert_array_equal(device.measure([[0.25]]), [[0.25]])
        assert not mark.exists()
        process.send_signal(end)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert mark.exists()
        assert "gave the device back after 1 rows; it is in its safe state" in errors
        with pytest.raises(hwloop.DeviceDisconnected):
            device.measure([[0.25]])
        close_without_server(device)
