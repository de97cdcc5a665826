"""What every instrument understands: IEEE 488.2's common commands and SCPI-99's required ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hwloop.simulators.bench.scpi.command import BenchCommand, CommandCall, answers, command
from hwloop.simulators.bench.scpi.instrument import BenchClock, ClientConnection, Instrument
from hwloop.simulators.bench.scpi.status import OPERATION_COMPLETE, Register, ScpiError
from hwloop.simulators.bench.scpi.values import Integer, Text

BYTE, WORD = 255, 65535


def _enabled(pattern: str, highest: int, owner: Callable[[Any], Any], name: str, what: str) -> list[BenchCommand]:
    """A command that sets an enable register, and its query."""

    def enable(instrument: Any, call: CommandCall) -> None:
        if not 0 <= call.arguments[0] <= highest:
            raise ScpiError(-222)
        setattr(owner(instrument), name, int(call.arguments[0]))

    return [
        BenchCommand(pattern, enable, f"Enable bits of {what}.", (Integer(low=0, high=highest),), 1),
        answers(f"{pattern}?", f"Enabled bits of {what}.", lambda it, _: f"{getattr(owner(it), name):+d}"),
    ]


def _condition_register(pattern: str, owner: Callable[[Any], Register], what: str) -> list[BenchCommand]:
    """SCPI-99's event, condition and enable registers of one kind."""
    return [
        answers(
            f"{pattern}[:EVENt]?",
            f"{what} event register, which reading clears.",
            lambda it, _: f"{owner(it).take_event():+d}",
        ),
        answers(f"{pattern}:CONDition?", f"{what} condition register.", lambda it, _: f"{owner(it).condition:+d}"),
        *_enabled(f"{pattern}:ENABle", WORD, owner, "enable", f"the {what.lower()} register"),
    ]


class CommonCommands(Instrument):
    """An instrument with a name, a status and operations that take time.

    Parameters
    ----------
    clock
        Time of the bench.
    """

    COMMANDS: ClassVar[tuple[BenchCommand, ...]] = (
        # IEEE 488.2
        answers("*IDN?", "Manufacturer, model, serial number, firmware.", lambda it, _: it.IDENTITY),
        answers("*OPT?", "Installed options.", lambda it, _: it.OPTIONS),
        answers("*TST?", "Self-test; +0 is passed.", lambda it, _: "+0"),
        *_enabled("*ESE", BYTE, lambda it: it.status, "event_enable", "the standard event register"),
        *_enabled("*SRE", BYTE, lambda it: it.status, "service_enable", "the status byte"),
        # SCPI-99
        answers(
            "SYSTem:ERRor[:NEXT]?",
            "Oldest error, taken out of the queue.",
            lambda it, _: it.status.next_error(),
            parameters=(Text(unquoted=True),),
        ),
        answers("SYSTem:VERSion?", "Version of SCPI.", lambda it, _: "1999.0"),
        *_condition_register("STATus:OPERation", lambda it: it.status.operation, "Operation"),
        *_condition_register("STATus:QUEStionable", lambda it: it.status.questionable, "Questionable"),
    )

    def __init__(self, clock: BenchClock) -> None:
        super().__init__(clock)
        self._completes: float | None = None  # bench time of a pending *OPC

    def reset(self) -> None:
        """``*RST``: every setting to its default, and no operation pending."""
        super().reset()
        self._completes = None

    def busy_until(self) -> float:
        """Bench time at which the overlapped operations are complete."""
        return 0.0

    def _wait_until_complete(self, session: ClientConnection) -> None:
        while (left := self.busy_until() - self.clock.now()) > 0:
            self.wait(session, left)

    def _settle(self) -> None:
        """Set the operation-complete bit if its time has come."""
        if self._completes is not None and self.clock.now() >= self._completes:
            self.status.events |= OPERATION_COMPLETE
            self._completes = None

    @command("*CLS")
    def _clear_status(self, call: CommandCall) -> None:
        """Clear events and errors."""
        self.status.clear()
        self._completes = None

    @command("*ESR?")
    def _events(self, call: CommandCall) -> str:
        """Standard event register, which reading clears."""
        self._settle()
        return f"{self.status.take_events():+d}"

    @command("*STB?")
    def _status_byte(self, call: CommandCall) -> str:
        """Status byte with the master summary bit."""
        self._settle()
        return f"{self.status.byte(bool(call.session.output)):+d}"

    @command("*OPC")
    def _operation_complete(self, call: CommandCall) -> None:
        """Set the operation-complete bit when all that was started is done."""
        self._completes = self.busy_until()

    @command("*OPC?")
    def _is_operation_complete(self, call: CommandCall) -> str:
        """Answer 1 when all that was started is done."""
        self._wait_until_complete(call.session)
        return "1"

    @command("*WAI")
    def _wait_to_continue(self, call: CommandCall) -> None:
        """Execute nothing further before all that was started is done."""
        self._wait_until_complete(call.session)

    @command("*RST")
    def _reset(self, call: CommandCall) -> None:
        """Reset every setting; status and errors stay."""
        self.reset()

    @command("STATus:PRESet")
    def _preset_status(self, call: CommandCall) -> None:
        """Clear the enable registers of operation and questionable status."""
        self.status.operation.enable = self.status.questionable.enable = 0
