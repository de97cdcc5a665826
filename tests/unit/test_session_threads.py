"""One thread owns the device; several may use the session; the device is closed whatever happens."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hwloop
from hwloop.session import Session

PATIENCE = 20.0  # seconds until a test that hangs fails


class Threaded(hwloop.Device):
    """Notes which thread called what."""

    spec = hwloop.DeviceSpec(1, 1, 0.0, 1e6, max_rows=4)

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def _note(self, what: str) -> None:
        self.calls.append((what, threading.get_ident()))

    def open(self) -> None:
        self._note("open")

    def close(self) -> None:
        self._note("close")

    def identify(self) -> str:
        self._note("identify")
        return "rig 7"

    def _measure(self, inputs):
        self._note("measure")
        return inputs + 1

    @property
    def names(self) -> list[str]:
        """Without the questions who it is, which may be asked at any time."""
        return [name for name, _ in self.calls if name != "identify"]


class Gated(Threaded):
    """Answers a block only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def _measure(self, inputs):
        self.entered.release()
        assert self.gate.acquire(timeout=PATIENCE)
        return super()._measure(inputs)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float).reshape(-1, 1)


def test_one_thread_that_is_not_the_caller_opens_measures_and_closes():
    device = Threaded()
    with Session(device) as session:
        session.measure(column(1, 2))
        session.measure(column(3))
    assert device.names == ["open", "measure", "measure", "close"]
    (owner,) = {thread for _, thread in device.calls}
    assert owner != threading.get_ident()
    assert session.identity == "rig 7"


def test_a_single_call_opens_and_closes_the_device():
    device = Threaded()
    Session(device).measure(column(1))
    assert device.names == ["open", "measure", "close"]


def test_an_opened_session_stays_open_through_calls_and_with_blocks_until_it_is_closed():
    device = Threaded()
    session = Session(device)
    session.open()
    session.open()
    session.measure(column(1))
    with session:
        session.measure(column(2))
    session.measure(column(3))
    assert device.names.count("open") == 1
    assert "close" not in device.names
    session.close()
    session.close()
    assert device.names.count("close") == 1


def test_nested_with_blocks_close_with_the_outermost():
    device = Threaded()
    session = Session(device)
    with session:
        with session:
            session.measure(column(1))
        assert "close" not in device.names
    assert device.names[-1] == "close"


def test_concurrent_callers_get_their_own_rows_and_the_device_is_never_shared_by_threads():
    device = Threaded()
    session = Session(device)

    def call(number: int) -> bool:
        rows = column(*(100 * number + k for k in range(17)))
        return bool((session.measure(rows) == rows + 1).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(40), timeout=PATIENCE))
    assert session.ledger.total == 40 * 17
    owner, is_open = None, False  # between an open and its close there is one thread only
    for name, thread in device.calls:
        if name == "open":
            assert not is_open
            owner, is_open = thread, True
        assert thread == owner
        if name == "close":
            is_open = False
    assert not is_open


def test_leading_rows_are_there_while_the_rest_is_being_measured():
    device = Gated()
    with Session(device) as session:
        measurement = session.submit(column(*range(10)))
        assert device.entered.acquire(timeout=PATIENCE)
        assert measurement.rows_ready == 0
        device.gate.release()
        np.testing.assert_array_equal(measurement.wait_for(4), column(1, 2, 3, 4))
        assert measurement.rows_ready == 4
        device.gate.release(2)
        np.testing.assert_array_equal(measurement.result(), column(*range(10)) + 1)


def test_leading_rows_wait_for_a_gap_that_memory_left():
    device = Gated()
    with Session(device) as session:
        device.gate.release()
        session.measure(column(1, 3))
        assert device.entered.acquire(timeout=PATIENCE)
        measurement = session.submit(column(1, 2, 3))
        assert device.entered.acquire(timeout=PATIENCE)
        assert measurement.rows_ready == 1
        device.gate.release()
        np.testing.assert_array_equal(measurement.result(), column(2, 3, 4))


def test_more_rows_than_were_submitted_cannot_be_waited_for():
    with Session(Threaded()) as session, pytest.raises(ValueError, match="only 1 are being measured"):
        session.submit(column(1)).wait_for(2)


def test_rows_before_a_failure_can_be_used_and_rows_after_it_tell_why():
    class Failing(Threaded):
        def _measure(self, inputs):
            if inputs[0, 0] >= 4:
                raise ConnectionResetError("cable")
            return inputs

    with Session(Failing()) as session:
        measurement = session.submit(column(*range(12)))
        np.testing.assert_array_equal(measurement.wait_for(4), column(0, 1, 2, 3))
        with pytest.raises(hwloop.DeviceDisconnected, match="cable"):
            measurement.result()


def test_an_abandoned_measurement_stops_after_the_block_in_flight_and_the_session_goes_on():
    device = Gated()
    with Session(device) as session:
        with session.submit(column(*range(100))) as measurement:
            assert device.entered.acquire(timeout=PATIENCE)
        device.gate.release(2)
        session.measure(column(1000))
        assert session.ledger.total == 5  # the block in flight, and the row asked for later
        with pytest.raises(hwloop.DeviceError, match="cancelled"):
            measurement.result()


def test_closing_while_rows_are_outstanding_stops_after_the_block_in_flight():
    device = Gated()
    session = Session(device)
    session.open()
    measurement = session.submit(column(*range(100)))
    assert device.entered.acquire(timeout=PATIENCE)
    closing = threading.Thread(target=session.close)
    closing.start()
    while not session._measurer.stopping:
        closing.join(0.001)
    device.gate.release()
    closing.join(PATIENCE)
    assert device.names == ["open", "measure", "close"]
    with pytest.raises(hwloop.DeviceError, match="closed while rows"):
        measurement.result()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_the_device_is_closed_whatever_ends_the_with_block(error):
    device = Threaded()

    def ended() -> None:
        with Session(device) as session:
            session.measure(column(1))
            raise error

    with pytest.raises(error):
        ended()
    assert device.names[-1] == "close"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_of_a_session_is_closed_and_remembers(duplicate):
    with Session(Threaded(), budget=10) as session:
        session.measure(column(1, 2))
        twin = duplicate(session)
    assert twin.ledger["train"] == 2
    np.testing.assert_array_equal(twin.measure(column(2)), [[3.0]])
    assert (twin.ledger["train"], twin.rows_left) == (2, 8)
    twin.measure(column(5))
    assert twin.device.names[-1] == "close"


def test_a_listener_may_read_the_ledger_while_rows_are_measured():
    totals: list[int] = []
    session = Session(Threaded(), listeners=[lambda event: totals.append(session.ledger.total)])
    session.measure(column(*range(10)))
    assert totals == [4, 8, 10]
