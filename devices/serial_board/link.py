"""One serial port, one question at a time, and every reply told from a stale one by its number."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from hwloop.deadline import Deadline
from hwloop.devices.serial_board.line_protocol import (
    SEQUENCE_MODULUS,
    ProtocolLine,
    decode_line,
    encode_line,
    frame_within,
)
from hwloop.errors import BadReading, DeviceDisconnected, DeviceError, DeviceTimeout

POLL_SECONDS = 0.05
LONGEST_LINE = 1_000_000  # bytes; what never ends is no line


class DeviceRefusal(DeviceError):
    """The board answers, and does not do what it was asked for."""


class SerialLink:
    """Lines to and from the board on ``port``, such as ``/dev/ttyACM0``, or a pyserial URL.

    Requests are numbered, from a random number on, so that not even a reply to an earlier program is taken
    for an answer to this one. ``stale_lines`` counts replies that came too late and were passed over,
    ``stray_lines`` what was no frame, such as debug prints of the firmware; ``last_stray`` is the last of them.
    """

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self.stale_lines = self.stray_lines = 0
        self.last_stray = b""
        self._sequence = secrets.randbelow(SEQUENCE_MODULUS)
        self._received = bytearray()
        try:
            import serial
        except ImportError as error:
            raise DeviceError(
                f"a serial board needs pyserial ({error}); install it with: pip install 'hwloop[serial]'"
            ) from error
        with self._failures("open"):
            self._serial: Any = serial.serial_for_url(
                port, baudrate=baud, timeout=POLL_SECONDS, write_timeout=1.0, do_not_open=True
            )
            self._serial.exclusive = True
            self._serial.open()

    def close(self) -> None:
        """Give the port back."""
        with self._failures("close"):
            self._serial.close()

    def forget(self) -> None:
        """Drop what has arrived, and end a line that the board may have received in part."""
        with self._failures("reset"):
            self._serial.reset_input_buffer()
            self._serial.write(b"\n")
        self._received.clear()

    def ask(self, *words: str, expect: str, deadline: Deadline) -> tuple[str, ...]:
        """Send one request; returns the words of its reply after the first, which must be ``expect``.

        Raises
        ------
        DeviceTimeout, DeviceDisconnected, BadReading
        DeviceError
            The board refuses.
        """
        self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
        with self._failures("write to"):
            self._serial.write(encode_line(self._sequence, words))
        while True:
            line = decode_line(self._next_frame(words[0], deadline))
            if line.sequence is None:
                raise BadReading(f"the board on {self.port} could not read a line: {' '.join(line.words)}")
            if line.sequence == self._sequence:
                return self._content(line, words[0], expect)
            self.stale_lines += 1  # an earlier request's: its number says so, and it is nobody's answer now

    def _content(self, line: ProtocolLine, request: str, expect: str) -> tuple[str, ...]:
        kind, rest = line.words[0], line.words[1:]
        if kind == "ERR":
            reason = " ".join(rest)
            if reason == "not-armed":
                raise DeviceDisconnected(
                    f"the board on {self.port} was reset since it was opened; open it again to set it up again"
                )
            raise DeviceRefusal(f"the board on {self.port} refuses {request}: {reason}; check its firmware")
        if kind != expect:
            raise BadReading(f"the board on {self.port} answers {request} with {kind}, not {expect}")
        return rest

    def _next_frame(self, request: str, deadline: Deadline) -> bytes:
        """Pass over what is no frame, and count it."""
        strays = self.stray_lines
        while True:
            try:
                line = self._next_line(request, deadline)
            except DeviceTimeout as error:
                if self.stray_lines == strays:
                    raise
                raise DeviceTimeout(
                    f"{error}; it wrote {self.stray_lines - strays} lines that are no frames, the last "
                    f"{self.last_stray[:60]!r}: it may have been reset, or the baud rate is wrong"
                ) from error
            frame = frame_within(line)
            if frame is not None:
                return frame
            if line.strip(b"\0\r\n"):  # an empty line is nothing
                self.stray_lines, self.last_stray = self.stray_lines + 1, line

    def _next_line(self, request: str, deadline: Deadline) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LONGEST_LINE:
                raise BadReading(f"{self.port} sends without end of line; check the baud rate")
            if deadline.expired:
                raise DeviceTimeout(
                    f"the board on {self.port} did not answer {request} in time; check its power and firmware"
                )
            with self._failures("read from"):
                self._received += self._serial.read(max(1, self._serial.in_waiting))
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    @contextlib.contextmanager
    def _failures(self, action: str) -> Iterator[None]:
        """What pyserial and the system raise becomes one of hwloop's errors."""
        try:
            yield
        except Exception as error:
            if type(error).__name__ == "SerialTimeoutException":
                raise DeviceTimeout(f"{self.port} takes no bytes any more; check the board's power") from error
            # Of a lost port pyserial raises SerialException, OSError, TypeError or termios.error (no OSError).
            raise DeviceDisconnected(
                f"cannot {action} {self.port} ({error}); check that the board is plugged in and that "
                "no other program uses it"
            ) from error
