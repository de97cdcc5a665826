"""A session that nobody closed, and one that is closed at once: the device reaches its safe state all the same."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.deadline import Deadline
from hwloop.events import DeviceFault
from hwloop.session import Session
from hwloop.shutdown import OPEN_DEVICES

PATIENCE = 20
SCRIPT = """
import os, sys, threading, time
import hwloop

def say(words):
    os.write(1, f"{{words}}\\n".encode())  # whole lines, whoever writes beside it

class Rig(hwloop.Device):
    spec = hwloop.DeviceSpec(2, 2)
    def open(self):
        self.thread = threading.current_thread()
    def close(self):
        say(f"safe {{threading.current_thread() is self.thread}}")
    def _measure(self, inputs):
        say("measuring")
        time.sleep({call_seconds})
        return inputs

session = hwloop.Session(Rig())
job = session.submit([[0.5, 0.5]])
{ending}
"""


class Blocking(hwloop.Device):
    """Blocks in the first call until it is closed, then answers what is no reading."""

    spec = hwloop.DeviceSpec(1, 1, max_rows=4)

    def __init__(self):
        self.log = []
        self.blocked = threading.Event()
        self.closed = threading.Event()

    def open(self):
        self.log.append("open")

    def close(self):
        self.log.append("close")
        self.closed.set()

    def _measure(self, inputs):
        self.log.append(len(inputs))
        self.blocked.set()
        assert self.closed.wait(PATIENCE)
        return np.zeros((len(inputs), 1))


def script(ending, call_seconds=0.0):
    text = SCRIPT.format(ending=ending, call_seconds=call_seconds)
    return subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "ending", each_row(["job.result()", "raise ValueError", "sys.exit(3)", "del session, job"], "raise ValueError")
)
def test_a_script_that_closes_nothing_leaves_the_device_safe(ending):
    process = script(ending)
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.split()[-2:] == ["safe", "True"]  # closed by the thread that opened it


def test_a_script_that_ends_waits_for_the_rows_in_flight():
    process = script("time.sleep(0.2)", call_seconds=0.5)
    out, error = process.communicate(timeout=PATIENCE)
    assert out.split() == ["measuring", "safe", "True"]
    assert error == ""


def test_ctrl_c_while_a_script_waits_for_them_closes_the_device_at_once():
    process = script("say('ending')", call_seconds=30)
    for _ in range(2):
        assert process.stdout.readline().strip() in ("measuring", "ending")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=10)
    assert out.split() == ["safe", "False"], error


def test_a_forked_copy_leaves_the_devices_of_its_parent_alone():
    process = script("job.result(); import os\nif os.fork(): os.wait()")
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.split().count("safe") == 1


def test_a_session_that_nobody_refers_to_closes_its_device():
    device = Blocking()
    device.closed.set()
    session = Session(device)
    session.open()
    session.measure([[0.5]])
    del session
    gc.collect()
    limit = time.monotonic() + PATIENCE
    while device.log[-1] != "close":
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert device.log == ["open", 1, "close"]


def test_sessions_that_come_and_go_leave_nothing_behind():
    device = Blocking()
    device.closed.set()
    session = Session(device)
    before = threading.active_count()
    for _ in range(50):
        session.measure([[0.5]], fresh=True)
    assert not OPEN_DEVICES._open
    assert threading.active_count() <= before + 1
    assert session._left_open is not None
    assert not session._left_open.alive


WRAPPERS = {
    "bare": lambda device: device,
    "averaged": lambda device: hwloop.Averaged(device, n=2),
    "quantized": lambda device: hwloop.Quantized(device, dac_bits=8),
    "drifting": lambda device: hwloop.Drifting(device, gain_per_row=1e-3),
    "faulty": lambda device: hwloop.Faulty(device, {"timeout": 0.0}),
    "retrying": lambda device: hwloop.Retrying(device, plausible=[]),
    "all": lambda device: hwloop.Retrying(
        hwloop.Averaged(hwloop.Quantized(device, dac_bits=8), n=2), plausible=[], backoff_seconds=0.0
    ),
}


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_aborting_closes_a_blocked_device_through_every_wrapper_and_records_no_row_in_flight(wrap):
    device = Blocking()
    session = Session(WRAPPERS[wrap](device))
    measurement = session.submit([[0.5], [0.25]])
    assert device.blocked.wait(PATIENCE)
    assert session.abort(Deadline.after(5)) == []
    assert device.log[2] == "close"
    assert device.log.count("open") == 1
    with pytest.raises(hwloop.DeviceError, match="closed"):
        measurement.result()
    assert session.journal.rows == 0
    assert session.ledger.total in (0, 2)
    session.close()
    with pytest.raises(hwloop.DeviceError, match="closed at once"):
        session.measure([[0.5]])
    assert session.journal.rows == 0


def test_retrying_does_not_open_again_what_was_closed_in_its_pause():
    class Failing(Blocking):
        def _measure(self, inputs):
            raise TimeoutError("no reply")

    device = Failing()
    session = Session(hwloop.Retrying(device, backoff_seconds=0.3, retries=3))
    failed = threading.Event()
    session.listeners.append(lambda event: failed.set() if isinstance(event, DeviceFault) else None)
    measurement = session.submit([[0.5]])
    assert failed.wait(PATIENCE)
    assert session.abort(Deadline.after(5)) == []
    with pytest.raises(hwloop.DeviceError, match="closed by its owner"):
        measurement.result()
    session.close()
    assert device.log.count("open") == 1
    assert device.log[-1] == "close"


def test_an_abort_returns_by_its_deadline_and_says_what_is_wrong():
    class Hanging(Blocking):
        def close(self):
            assert release.wait(PATIENCE)

    release = threading.Event()
    session = Session(Hanging())
    session.submit([[0.5]])
    began = time.monotonic()
    problems = session.abort(Deadline.after(0.3))
    assert time.monotonic() - began < 1.5
    assert problems == ["Hanging did not close in time"]
    with pytest.raises(hwloop.DeviceError, match=r"did not close in time; check by hand"):
        session.close()
    release.set()
    session.device.closed.set()


def test_nothing_to_abort_is_no_error():
    session = Session(Blocking())
    assert session.abort(Deadline.after(1)) == []
