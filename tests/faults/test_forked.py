"""What is open when a process forks belongs to the parent: the child is told so at once, and harms nothing."""

import os
import signal
import sys
import threading

import numpy as np
import pytest
from helpers import in_forked_process

import hwloop
from hwloop.devices.averaged import Averaged
from hwloop.devices.pool import Pool
from hwloop.devices.retrying import Retrying
from hwloop.devices.worker.device import WorkerDevice
from hwloop.journal import DiskJournal, Note, Record

X = np.array([[0.5, 0.25], [0.125, 0.5]])
PATIENCE = 30  # seconds after which a child that hangs is killed


class Rig(hwloop.Device):
    """Notes in a file what is done to it, by which process."""

    spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)

    def __init__(self, diary):
        self.diary = diary
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def _note(self, what):
        with self.diary.open("a") as stream:
            stream.write(f"{os.getpid()} {what}\n")

    def identify(self):
        return "rig 7"

    def open(self):
        self._note("open")

    def close(self):
        self._note("close")

    def _measure(self, inputs):
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        return 2 * inputs


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path / "diary")


def in_child(work):
    """What ``work`` says in a forked process: its value, or its error, as text."""

    def in_time():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        return f"fine: {work()}"

    text, status = in_forked_process(in_time)
    assert status == 0, "the child hung"
    return text


def is_refused(text, error="DeviceError"):
    assert text.startswith(f"{error}: "), text
    assert f"process {os.getpid()}" in text
    return True


SESSION_CALLS = {
    "measure": lambda s: s.measure(X * 0.5),
    "measure what is remembered": lambda s: s.measure(X),
    "submit": lambda s: s.submit(X * 0.5).result(),
    "open": lambda s: s.open(),
    "with": lambda s: s.__enter__(),
    "forget": lambda s: s.forget(),
    "reference": lambda s: s.measure_reference(),
    "another session on the same device": lambda s: hwloop.Session(s.device).measure(X),
    "the device itself": lambda s: s.device.measure(X),
    "opening the device": lambda s: s.device.open(),
    "asking the device": lambda s: s.device.identify(),
}


@pytest.mark.parametrize("call", SESSION_CALLS)
@pytest.mark.parametrize(
    "around", [lambda d: d, lambda d: Retrying(Averaged(d, 1), plausible=[]), lambda d: Pool([d])]
)
def test_an_open_session_is_refused_in_the_child_and_goes_on_in_the_parent(rig, call, around):
    session = hwloop.Session(around(rig), reference=hwloop.Reference(every_rows=0))
    with session:
        session.measure(X)
        assert is_refused(in_child(lambda: SESSION_CALLS[call](session)))
        np.testing.assert_array_equal(session.measure(X * 0.25), X * 0.5)
    whose = {line.split()[0] for line in rig.diary.read_text().splitlines()}
    assert whose == {str(os.getpid())}


def test_the_child_closes_nothing_of_the_parents(rig):
    session = hwloop.Session(rig)
    with session:
        session.measure(X)
        before = rig.diary.read_text()

        def leave():
            session.__exit__(None, None, None)
            session.close()
            rig.close()
            from hwloop.deadline import Deadline
            from hwloop.shutdown import OPEN_DEVICES

            return session.abort(Deadline.after(5.0)), OPEN_DEVICES.abort(Deadline.after(5.0))

        assert in_child(leave) == "fine: ([], [])"
        assert rig.diary.read_text() == before


def test_a_session_that_is_closed_can_be_opened_in_the_child(rig):
    session = hwloop.Session(rig)
    session.measure(X)
    assert in_child(lambda: session.measure(X * 0.5).tolist()) == f"fine: {X.tolist()}"
    np.testing.assert_array_equal(session.measure(X * 0.25), X * 0.5)


def test_a_call_in_flight_holds_nothing_up_in_the_child(rig):
    rig.gate.clear()
    session = hwloop.Session(rig)
    measurement = session.submit(X)
    assert rig.entered.wait(PATIENCE)
    try:
        assert is_refused(in_child(lambda: measurement.result()))
        assert is_refused(in_child(lambda: measurement.wait_for(1)))
        assert is_refused(in_child(lambda: session.measure(X)))
        assert is_refused(in_child(lambda: rig.measure(X)))
        assert in_child(lambda: session.close()) == "fine: None"
    finally:
        rig.gate.set()
    np.testing.assert_array_equal(measurement.result(), 2 * X)
    assert in_child(lambda: measurement.result().tolist()) == f"fine: {(2 * X).tolist()}"
    session.close()


def test_a_device_that_is_open_without_a_session_is_refused_too(rig):
    with rig:
        assert is_refused(in_child(lambda: rig.measure(X)))
    assert in_child(lambda: rig.measure(X).tolist()) == f"fine: {(2 * X).tolist()}"


JOURNAL_CALLS = {
    "note": lambda j: j.note(Note("event", {})),
    "append": lambda j: j.append(Record("train", "", j.rows, 0.0, 0.0, X, X)),
    "sync": lambda j: j.sync(),
    "begin_sync": lambda j: j.begin_sync(),
    "read": lambda j: j.read_rows(np.arange(2)),
    "records": lambda j: list(j.records()),
    "notes": lambda j: list(j.notes()),
}


@pytest.mark.parametrize("call", JOURNAL_CALLS)
def test_an_open_journal_is_refused_in_the_child(rig, tmp_path, call):
    journal = DiskJournal(tmp_path / "journal")
    session = hwloop.Session(rig, journal=journal)
    with session:
        session.measure(X)
    assert is_refused(in_child(lambda: JOURNAL_CALLS[call](journal)), "JournalError")
    assert in_child(lambda: journal.close()) == "fine: None"
    session.measure(X * 0.5)
    journal.close()
    again = DiskJournal(tmp_path / "journal")
    assert (again.rows, again.damage) == (4, [])
    again.close()


SERVED = """
class Rig:
    spec = {"n_inputs": 2, "n_outputs": 2}
    def measure(self, inputs):
        return 2 * inputs
"""


@pytest.fixture
def worker(tmp_path):
    (tmp_path / "rig.py").write_text(SERVED)
    device = WorkerDevice(target=f"{tmp_path / 'rig.py'}:Rig", python=sys.executable)
    yield device
    device.close()


def test_an_open_worker_is_refused_in_the_child_and_answers_the_parent(worker):
    worker.open()
    assert is_refused(in_child(lambda: worker.measure(X)))
    assert is_refused(in_child(lambda: worker._worker.process.call("identify")))
    assert in_child(lambda: worker.close()) == "fine: None"
    assert in_child(lambda: worker._worker.stop()) == "fine: None"
    np.testing.assert_array_equal(worker.measure(X), 2 * X)


def test_a_worker_that_was_only_asked_for_its_spec_gets_a_process_of_its_own_in_the_child(worker):
    assert worker.spec.n_inputs == 2

    def measured():
        with worker:
            return worker.measure(X).tolist()

    assert in_child(measured) == f"fine: {(2 * X).tolist()}"
    with worker:
        np.testing.assert_array_equal(worker.measure(X), 2 * X)
