"""A worker that crashes, hangs or complains: three different errors, the rows measured again, nothing left."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE_SECONDS, wait_until

import hwloop
from hwloop import DeviceError, DeviceTimeout, Session
from hwloop.devices.worker import WorkerDevice
from hwloop.errors import DeviceCrashed
from hwloop.events import DeviceFault, RowsMeasured
from hwloop.layers import PhysicalNetwork, Stage

RIG = f"{Path(__file__).parent / 'worker_rig.py'}:Rig"
STIMULI = np.random.default_rng(1).uniform(-1, 1, (5, 4))
RESPONSES = STIMULI @ (2.0 * np.random.default_rng(0).normal(size=(4, 6)))


class Lab:
    """A folder in which the rig says what it does, and a mark by which its processes are known."""

    def __init__(self, folder):
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.events = []
        self.device = self.with_deadline(1.0)

    def with_deadline(self, seconds):
        variables = {"HWLOOP_TEST_MARK": self.mark}
        device = WorkerDevice(target=RIG, folder=str(self.folder), deadline_seconds=seconds, variables=variables)
        device.listener = self.events.append
        return device

    def next_call(self, fault):
        (self.folder / "fault").write_text(fault)

    @property
    def said(self):
        return (self.folder / "said").read_text().split()

    def processes(self):
        return processes_with(self.mark)


def processes_with(mark):
    """Numbers of the live processes whose environment holds a text."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            alive = (
                folder.name.isdigit() and (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            )
            if alive and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a log that was named in an error is kept
    lab = Lab(tmp_path)
    yield lab
    lab.device.close()
    wait_until(lambda: not lab.processes())


def assert_measured_again(lab, fault):
    lab.next_call(fault)
    np.testing.assert_array_equal(lab.device.measure(STIMULI), RESPONSES)
    assert not (lab.folder / "fault").exists()
    (event,) = lab.events
    assert isinstance(event, DeviceFault)
    assert event.rows == len(STIMULI)
    return event.error


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("kill", "DeviceCrashed: .*died of SIGKILL .signal 9. when it was asked to measure"),
        pytest.param("segfault", "DeviceCrashed: .*died of SIGSEGV .signal 11.", marks=pytest.mark.slow),
        pytest.param(
            "leave", "DeviceCrashed: .*ended with exit code 3.*the licence has expired", marks=pytest.mark.slow
        ),
        ("stop", "DeviceTimeout: .*did not answer measure within 1 s and is killed"),
        pytest.param("children_and_kill", "DeviceCrashed: .*died of SIGKILL", marks=pytest.mark.slow),
        pytest.param("children_and_sleep", "DeviceTimeout: ", marks=pytest.mark.slow),
        pytest.param("hold_lock", "DeviceTimeout: ", marks=pytest.mark.slow),
    ],
)
def test_rows_are_measured_once_more_after(lab, fault, told):
    with lab.device:
        first = lab.device._worker.process.pid
        error = assert_measured_again(lab, fault)
        assert re.search(told, error, re.DOTALL), error
        assert lab.device._worker.process.pid != first
        assert [word for word in lab.said if word in ("built", "open")] == ["built", "open"] * 2


@pytest.mark.slow
def test_message_names_the_log_and_its_end(lab):
    with lab.device:
        error = assert_measured_again(lab, "leave")
    log = Path(re.search(r"/\S+\.log", error).group())
    assert "the licence has expired" in log.read_text()


@pytest.mark.slow
def test_death_between_two_calls_is_told_too(lab):
    with lab.device:
        os.kill(lab.device._worker.process.pid, signal.SIGKILL)
        np.testing.assert_array_equal(lab.device.measure(STIMULI), RESPONSES)
        assert [event.error.partition(":")[0] for event in lab.events] == ["DeviceCrashed"]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("complain", DeviceError, "RuntimeError: the shutter is stuck"),
        ("time_out", DeviceTimeout, "TimeoutError: the camera sent no frame"),
    ],
)
def test_an_exception_has_the_worker_traceback_and_costs_no_restart(lab, fault, kind, words):
    with lab.device:
        before = lab.device._worker.process
        lab.next_call(fault)
        with pytest.raises(DeviceError, match=words) as caught:
            lab.device.measure(STIMULI)
        assert type(caught.value) is kind
        assert f"in {fault}" in str(caught.value)
        assert lab.device._worker.process is before
        np.testing.assert_array_equal(lab.device.measure(STIMULI), RESPONSES)
    assert not lab.events


@pytest.mark.slow
def test_a_second_crash_is_raised_and_the_third_call_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fragile = tmp_path / "fragile.py"
    fragile.write_text(
        "import os\n"
        "class Fragile:\n"
        "    spec = {'n_inputs': 1, 'n_outputs': 1}\n"
        "    def measure(self, inputs):\n"
        f"        deaths = {str(tmp_path / 'deaths')!r}\n"
        "        with open(deaths, 'a+') as file:\n"
        "            file.write('x')\n"
        "        if os.path.getsize(deaths) <= 2:\n"
        "            os.abort()\n"
        "        return inputs\n"
    )
    device = WorkerDevice(target=f"{fragile}:Fragile")
    with device:
        with pytest.raises(DeviceCrashed, match="SIGABRT") as caught:
            device.measure([[0.5]])
        assert "second attempt" in caught.value.__notes__[0]
        assert device.measure([[0.5]]) == 0.5


@pytest.mark.slow
def test_nothing_is_left_of_twenty_crashes(lab):
    with lab.device:
        lab.device.measure(STIMULI)
        descriptors = len(os.listdir("/proc/self/fd"))
        shared = set(os.listdir("/dev/shm"))
        for _ in range(20):
            lab.next_call("kill")
            np.testing.assert_array_equal(lab.device.measure(STIMULI), RESPONSES)
        assert len(lab.events) == 20
        assert len(os.listdir("/proc/self/fd")) == descriptors
        wait_until(lambda: len(lab.processes()) == 2)  # one worker and its guardian
    assert not {name for name in set(os.listdir("/dev/shm")) - shared if "hwloop" in name}


@pytest.mark.slow
def test_twenty_stopped_workers(lab):
    with lab.with_deadline(0.3) as device:
        for _ in range(20):
            lab.next_call("stop")
            np.testing.assert_array_equal(device.measure(STIMULI), RESPONSES)
        wait_until(lambda: len(lab.processes()) == 2)
    assert len(lab.events) == 20


def test_the_owner_closes_a_hung_worker_from_another_thread(lab):
    failures = []

    def measure():
        with pytest.raises(DeviceError, match="closed by its owner") as caught:
            device.measure(STIMULI)
        failures.append(caught.value)

    with lab.with_deadline(600.0) as device:
        lab.next_call("sleep")
        thread = threading.Thread(target=measure)
        thread.start()
        wait_until(lambda: "asleep" in lab.said)
        device.close()
        assert lab.said[-1] == "safe"
        thread.join(PATIENCE_SECONDS)
    assert failures
    assert not lab.events


def trained(device, disturb=lambda session: None):
    rng = np.random.default_rng(2)
    inputs, labels = rng.uniform(-1, 1, (120, 6)), rng.integers(0, 3, 120)
    with Session(device) as session:
        session.listeners.append(lambda event: isinstance(event, RowsMeasured) and disturb(device))
        network = PhysicalNetwork(session, [Stage(width=8), Stage(width=8)], seed=0)
        hwloop.trainer("local", epochs=2).fit(network, inputs, labels)
        return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.slow
def test_training_ends_bit_identical_although_the_worker_is_killed(lab):
    target = "hwloop.simulators.optical_fibre:OpticalFibre"
    settings = {"n_inputs": 8, "n_outputs": 10, "seed": 3, "read_noise": 0.05, "drift_per_row": 1e-3}
    settings["row_seconds"] = 0.03  # so that a call carries 8 rows
    rng = np.random.default_rng(4)
    kills = []

    def disturb(device):
        if rng.random() < 0.5 and len(kills) < 8 and device._worker.process is not None:
            os.kill(device._worker.process.pid, signal.SIGKILL)
            kills.append(True)

    undisturbed = trained(hwloop.open_device("optical-fibre", **settings))
    device = WorkerDevice(target=target, deadline_seconds=5.0, **settings)
    disturbed = trained(device, disturb)
    assert len(kills) >= 3
    assert undisturbed.keys() == disturbed.keys()
    for name, value in undisturbed.items():
        assert value.equal(disturbed[name]), name
