"""Devices that fail to open, to answer or to close: one clear error each, and always the safe state."""

from __future__ import annotations

import pytest

import hwloop
from hwloop.session import Session


class Fragile(hwloop.Device):
    """Fails where it is told to."""

    spec = hwloop.DeviceSpec(1, 1, max_rows=2)

    def __init__(self, **failures: BaseException) -> None:
        self.failures = failures
        self.closed = 0

    def _step(self, name: str) -> None:
        if name in self.failures:
            raise self.failures[name]

    def open(self) -> None:
        self._step("open")

    def identify(self) -> str:
        self._step("identify")
        return "fragile"

    def close(self) -> None:
        self.closed += 1
        self._step("close")

    def _measure(self, inputs):
        self._step("measure")
        return inputs


@pytest.mark.parametrize("where", ["open", "identify"])
def test_a_device_that_does_not_open_is_closed_and_named(where):
    device = Fragile(**{where: OSError("no route to host")})
    session = Session(device)
    with pytest.raises(hwloop.DeviceError, match=r"Fragile could not be opened \(OSError: no route to host\)"):
        session.measure([[0.5]])
    assert device.closed == 1
    device.failures.clear()
    assert session.measure([[0.5]])[0, 0] == 0.5  # and it can be opened later


def test_an_error_of_hwloop_while_opening_passes_unchanged():
    error = hwloop.DeviceTimeout("the cavity did not answer")
    with pytest.raises(hwloop.DeviceTimeout) as caught:
        Session(Fragile(open=error)).open()
    assert caught.value is error


def test_the_error_that_came_first_is_raised_and_a_failing_close_is_noted_on_it():
    device = Fragile(open=OSError("no power"), close=OSError("no power either"))
    with pytest.raises(hwloop.DeviceError, match="no power") as caught:
        Session(device).open()
    assert "may not be in its safe state" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (TimeoutError("5 s"), hwloop.DeviceTimeout),
        (ConnectionResetError("peer"), hwloop.DeviceDisconnected),
        (EOFError(), hwloop.DeviceDisconnected),
        (ValueError("bad register"), hwloop.DeviceError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
    ],
)
def test_whatever_a_driver_raises_reaches_the_caller_and_the_device_is_closed(raised, expected):
    device = Fragile(measure=raised)
    with pytest.raises(expected):
        Session(device).measure([[0.5]])
    assert device.closed == 1


def test_a_device_that_does_not_close_says_so():
    with pytest.raises(hwloop.DeviceError, match=r"could not be closed .* may not be in its safe state"):
        Session(Fragile(close=OSError("stuck relay"))).measure([[0.5]])


def test_a_failing_close_does_not_hide_why_the_block_ended():
    device = Fragile(close=OSError("stuck relay"))
    with pytest.raises(KeyboardInterrupt) as caught, Session(device):
        raise KeyboardInterrupt
    assert "stuck relay" in caught.value.__notes__[0]


def test_a_listener_that_fails_stops_the_measurement_with_its_error():
    def broken(event: object) -> None:
        raise RuntimeError("progress bar")

    device = Fragile()
    with pytest.raises(RuntimeError, match="progress bar"):
        Session(device, listeners=[broken]).measure([[0.1], [0.2], [0.3]])
    assert device.closed == 1


@pytest.mark.parametrize("reply", [float("nan"), float("inf"), 9.91e37])
def test_a_reply_that_is_no_reading_is_neither_remembered_nor_counted(reply):
    class Broken(Fragile):
        def _measure(self, inputs):
            return inputs * 0 + reply

    session = Session(Broken())
    with pytest.raises(hwloop.BadReading):
        session.measure([[0.5]])
    assert len(session.memory) == 0
