"""A microcontroller board as a device: voltages out of its DACs, voltages read by its ADCs."""

from __future__ import annotations

import contextlib
import time
from typing import ClassVar

import numpy as np

from hwloop.deadline import Deadline
from hwloop.device import Device, DeviceSpec
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.serial_board.line_protocol import (
    CHARACTERS_PER_CODE,
    FULL_CODE,
    PROTOCOL,
    BoardDescription,
    decode_codes,
    encode_codes,
)
from hwloop.devices.serial_board.link import DeviceRefusal, SerialLink
from hwloop.errors import BadReading, DeviceChanged, DeviceDisconnected, DeviceError, DeviceTimeout
from hwloop.events import StrayLines

BITS_PER_CHARACTER = 10  # start bit, 8 data bits, stop bit
HELLO_SECONDS = 0.5  # a board that boots answers nothing; then it is asked again


class SerialBoard(Device):
    """A microcontroller with DACs and ADCs on a serial port, several rows a line.

    The board says how many channels it has and what their limits are, so ``spec`` asks it, which opens the
    port. Values travel as 16-bit codes between those limits: no line can say a value beyond them. The board
    mutes its outputs on :meth:`close`, when it is reset, and when no sound line comes for its watchdog's time.

    A lost, late, stale or garbled line is noticed and raises; rows are never asked for again on the same
    connection. That is left to ``Retrying``. What is no frame, such as a debug print of the firmware, is passed
    over and counted (:class:`hwloop.events.StrayLines`).

    Parameters
    ----------
    port
        ``/dev/ttyACM0``, ``COM3``, or a pyserial URL.
    baud
        Bits a second; of no meaning where the port is USB itself.
    settling_seconds
        From setting a row to reading it, 0 to 1 s, in steps of 1 us.
    averages
        Readings of each ADC that the board averages, 1 to 256.
    reply_seconds
        How much longer than its expected time a reply may take.
    boot_seconds
        How long the board may be silent after the port was opened; many are reset by that.

    Raises
    ------
    ValueError
        A setting that is not allowed.
    """

    harmless_settings: ClassVar = {
        "port": "where the board is plugged in; it says its model and serial number itself",
        "baud": "the pace of the line; every line carries a checksum",
        "reply_seconds": "how long a reply is waited for",
        "boot_seconds": "how long the board may be silent after the port was opened",
    }

    def __init__(
        self,
        port: str,
        *,
        baud: int = 115_200,
        settling_seconds: float = 0.0,
        averages: int = 1,
        reply_seconds: float = 1.0,
        boot_seconds: float = 5.0,
    ) -> None:
        self.port = str(port)
        self.baud = whole_number("baud", baud, low=300)
        self.settling_seconds = real_number("settling_seconds", settling_seconds, low=0.0, high=1.0)
        self.averages = whole_number("averages", averages, low=1, high=256)
        self.reply_seconds = real_number("reply_seconds", reply_seconds, low=0.001)
        self.boot_seconds = real_number("boot_seconds", boot_seconds, low=0.001)
        self._link: SerialLink | None = None
        self._board: BoardDescription | None = None
        self._spec: DeviceSpec | None = None
        self._identity = ""
        self._strays_told = 1

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """Channels, limits, units and pace, as the board states them; opens the port the first time."""
        if self._spec is None:
            self.open()
        if self._spec is None:
            raise DeviceError(f"the board on {self.port} has not said what it is; open it again")
        return self._spec

    def open(self) -> None:
        """Connect, ask the board who and what it is, and set it up; its outputs stay mute until the first row.

        Raises
        ------
        DeviceError
            No board answers there, or another one than before.
        """
        if self._link is not None:
            return
        self._link, self._strays_told = SerialLink(self.port, self.baud), 1
        try:
            self._greet(self._link)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Mute the outputs and give the port back.

        Returns when the outputs are mute: because the board said so, or because its watchdog's time is over.
        """
        link, self._link = self._link, None
        if link is None:
            return
        try:
            link.forget()
            link.ask("MUTE", expect="MUTED", deadline=Deadline.after(self.reply_seconds))
        except DeviceError:
            self._wait_for_watchdog()
        finally:
            link.close()

    def identify(self) -> str:
        """The board's model and serial number, with what it was told: averages and settling."""
        if not self._identity:
            self.open()
        return f"{self._identity}, settling {self.settling_seconds:g} s, averages {self.averages}"

    def unit(self) -> str:
        """The board's model and serial number, once it has said so."""
        return self._identity

    # -- measuring -------------------------------------------------------------------------------------

    def _measure(self, inputs: Float64Array) -> Float64Array:
        link, board = self._link, self._board
        if link is None or board is None:
            raise DeviceDisconnected(f"the board on {self.port} is closed; open it first")
        span = board.input_high - board.input_low
        codes = np.rint((inputs - board.input_low) / span * FULL_CODE).astype(np.uint16)
        rows = len(codes)
        deadline = Deadline.after(self.reply_seconds + rows * (self.spec.row_seconds or 0.0))
        try:
            words = link.ask("ROWS", str(rows), encode_codes(codes), expect="ROWS", deadline=deadline)
        except DeviceTimeout:
            self._require_armed(link)
            raise
        finally:
            self._tell_strays(link)
        if len(words) != 2 or words[0] != str(rows):
            answer = " ".join(words[:1])
            raise BadReading(f"the board on {self.port} was asked for {rows} rows and answers {answer}")
        readings = decode_codes(words[1], (rows, len(board.output_low)))
        return board.output_low + readings / FULL_CODE * (board.output_high - board.output_low)

    def _require_armed(self, link: SerialLink) -> None:
        """A board that was reset in the middle has forgotten that it was armed, and says so; its rows never come.

        Asked with a request that sets no output: an armed board refuses a row without its codes.

        Raises
        ------
        DeviceDisconnected
            The board was reset, or is gone.
        """
        with contextlib.suppress(DeviceTimeout, BadReading, DeviceRefusal):
            link.ask("ROWS", "1", expect="ROWS", deadline=Deadline.after(self.reply_seconds))

    def _tell_strays(self, link: SerialLink) -> None:
        """Tell of the first stray line, and whenever there are twice as many: a print a row floods nobody."""
        if link.stray_lines >= self._strays_told:
            self._strays_told = 2 * link.stray_lines if link.stray_lines else 1
            if link.stray_lines:
                self.tell(StrayLines(self.port, link.stray_lines, repr(link.last_stray[:60])))

    # -- opening and closing ---------------------------------------------------------------------------

    def _greet(self, link: SerialLink) -> None:
        identity = self._identity_when_booted(link)
        if self._identity and identity != self._identity:
            raise DeviceChanged(
                f"another board answers on {self.port}: {identity}, not {self._identity}; plug the first one in "
                "again, or build the device anew"
            )
        words = link.ask("SPEC", expect="SPEC", deadline=Deadline.after(self.reply_seconds))
        board = BoardDescription.from_words(words)
        spec = self._spec_of(board)
        if self._spec is not None and spec != self._spec:
            raise DeviceError(f"the board on {self.port} states other limits than before; build the device anew")
        settings = (f"settle_us={round(self.settling_seconds * 1e6)}", f"averages={self.averages}")
        link.ask("ARM", *settings, expect="ARMED", deadline=Deadline.after(self.reply_seconds))
        self._identity, self._board, self._spec = identity, board, spec

    def _identity_when_booted(self, link: SerialLink) -> str:
        deadline = Deadline.after(self.boot_seconds)
        while True:
            try:
                link.forget()
                attempt = deadline.earlier(Deadline.after(HELLO_SECONDS))
                words = link.ask("HELLO", expect="BOARD", deadline=attempt)
            except (DeviceTimeout, BadReading) as error:  # a boot loader's chatter is no line either
                if not deadline.expired:
                    continue
                raise DeviceTimeout(
                    f"no board of {PROTOCOL} answered on {self.port} within {self.boot_seconds:g} s ({error}); "
                    "check port, baud rate and firmware"
                ) from error
            if words[:1] != (PROTOCOL,):
                raise DeviceError(
                    f"the board on {self.port} speaks {' '.join(words[:1])}, not {PROTOCOL}; renew its firmware"
                )
            return " ".join(words[1:])

    def _spec_of(self, board: BoardDescription) -> DeviceSpec:
        n_inputs, n_outputs = len(board.input_low), len(board.output_low)
        characters = CHARACTERS_PER_CODE * (n_inputs + n_outputs)
        reading = self.averages * n_outputs * board.conversion_seconds
        return DeviceSpec(
            n_inputs,
            n_outputs,
            input_low=board.input_low,
            input_high=board.input_high,
            input_unit=board.input_unit,
            output_unit=board.output_unit,
            max_rows=board.max_rows,
            row_seconds=characters * BITS_PER_CHARACTER / self.baud + self.settling_seconds + reading,
        )

    def _wait_for_watchdog(self) -> None:
        if self._board is not None:
            time.sleep(self._board.watchdog_seconds)
