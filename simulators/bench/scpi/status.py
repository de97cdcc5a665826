"""Status reporting: errors, registers and queue of IEEE 488.2, chapter 11, and SCPI-99 (volume 1, 9; 2, 21)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MESSAGES = {
    0: "No error",
    -100: "Command error",
    -101: "Invalid character",
    -102: "Syntax error",
    -103: "Invalid separator",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -112: "Program mnemonic too long",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -120: "Numeric data error",
    -121: "Invalid character in number",
    -123: "Exponent too large",
    -124: "Too many digits",
    -128: "Numeric data not allowed",
    -131: "Invalid suffix",
    -138: "Suffix not allowed",
    -141: "Invalid character data",
    -148: "Character data not allowed",
    -151: "Invalid string data",
    -158: "String data not allowed",
    -161: "Invalid block data",
    -168: "Block data not allowed",
    -178: "Expression data not allowed",
    -200: "Execution error",
    -211: "Trigger ignored",
    -213: "Init ignored",
    -220: "Parameter error",
    -221: "Settings conflict",
    -222: "Data out of range",
    -223: "Too much data",
    -224: "Illegal parameter value",
    -225: "Out of memory",
    -230: "Data corrupt or stale",
    -240: "Hardware error",
    -241: "Hardware missing",
    -310: "System error",
    -350: "Queue overflow",
    -363: "Input buffer overrun",
    -400: "Query error",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
    -430: "Query DEADLOCKED",
    -440: "Query UNTERMINATED after indefinite response",
    # The generator's own.
    781: "Not enough memory to store new arb waveform",
    785: "Specified arb waveform does not exist",
    786: "Specified arb waveform already exists",
    787: "Cannot delete the currently selected active arb waveform",
    800: "Block length must be even",
}


class ScpiError(Exception):
    """What a command did wrong; it ends in the error queue, never on the wire.

    Parameters
    ----------
    number
        As in ``MESSAGES``; negative numbers are SCPI's own, positive ones the instrument's.
    detail
        Follows the message after a semicolon.
    """

    def __init__(self, number: int, detail: str = "") -> None:
        super().__init__(number, detail)
        self.number = number
        self.detail = detail

    @property
    def ends_message(self) -> bool:
        """Whether the rest of the program message is discarded: after a command error its parse is in doubt."""
        return -200 < self.number <= -100

    def __str__(self) -> str:
        message = MESSAGES[self.number]
        return f'{self.number:+d},"{message}{";" + self.detail if self.detail else ""}"'


OPERATION_COMPLETE, QUERY_ERROR, DEVICE_ERROR, EXECUTION_ERROR, COMMAND_ERROR, POWER_ON = 1, 4, 8, 16, 32, 128
ERROR_QUEUE, QUESTIONABLE, MESSAGE_AVAILABLE, EVENT_SUMMARY, MASTER_SUMMARY, OPERATION = 4, 8, 16, 32, 64, 128


def event_bit(number: int) -> int:
    """The bit of the standard event register that an error sets, by its number's hundred."""
    if -200 < number <= -100:
        return COMMAND_ERROR
    if -300 < number <= -200:
        return EXECUTION_ERROR
    return QUERY_ERROR if -500 < number <= -400 else DEVICE_ERROR


@dataclass
class Register:
    """A condition register with its event and enable registers; an event is a bit of the condition rising."""

    condition: int = 0
    event: int = 0
    enable: int = 0

    def set(self, bit: int, on: bool) -> None:
        """Set or clear one bit of the condition."""
        if on and not self.condition & bit:
            self.event |= bit
        self.condition = self.condition | bit if on else self.condition & ~bit

    def take_event(self) -> int:
        """The event register, which reading clears."""
        event, self.event = self.event, 0
        return event

    @property
    def summary(self) -> bool:
        """Whether an enabled event has happened."""
        return bool(self.event & self.enable)


@dataclass
class InstrumentStatus:
    """What an instrument knows of itself.

    Parameters
    ----------
    queue_length
        Errors that the queue holds; one more replaces the last by -350.
    """

    queue_length: int = 20
    events: int = POWER_ON
    event_enable: int = 0
    service_enable: int = 0
    operation: Register = field(default_factory=Register)
    questionable: Register = field(default_factory=Register)
    errors: deque[ScpiError] = field(default_factory=deque)

    def report(self, error: ScpiError) -> None:
        """Put an error into the queue and set its event bit."""
        self.events |= event_bit(error.number)
        if len(self.errors) < self.queue_length:
            self.errors.append(error)
        else:
            self.errors[-1] = ScpiError(-350)

    def next_error(self) -> str:
        """The oldest error, taken out of the queue; +0 when there is none."""
        return str(self.errors.popleft() if self.errors else ScpiError(0))

    def take_events(self) -> int:
        """The standard event register, which reading clears."""
        events, self.events = self.events, 0
        return events

    def byte(self, message_available: bool) -> int:
        """The status byte with the master summary bit, as ``*STB?`` answers."""
        value = ERROR_QUEUE * bool(self.errors) + QUESTIONABLE * self.questionable.summary
        value |= MESSAGE_AVAILABLE * message_available + OPERATION * self.operation.summary
        value |= EVENT_SUMMARY * bool(self.events & self.event_enable)
        return value | MASTER_SUMMARY * bool(value & self.service_enable & ~MASTER_SUMMARY)

    def clear(self) -> None:
        """``*CLS``: events and errors, not the enable registers."""
        self.events = self.operation.event = self.questionable.event = 0
        self.errors.clear()
