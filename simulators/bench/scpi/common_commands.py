"""What every instrument understands: IEEE 488.2's common commands and SCPI-99's required ones."""

from __future__ import annotations

from hwloop.simulators.bench.scpi.command import CommandCall, command
from hwloop.simulators.bench.scpi.instrument import BenchClock, ClientConnection, Instrument
from hwloop.simulators.bench.scpi.status import OPERATION_COMPLETE, ScpiError
from hwloop.simulators.bench.scpi.values import Integer, Text

_BYTE, _WORD = Integer(low=0, high=255), Integer(low=0, high=65535)


class CommonCommands(Instrument):
    """An instrument with a name, a status and operations that take time.

    Parameters
    ----------
    clock
        Time of the bench.
    """

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

    # IEEE 488.2

    @command("*IDN?")
    def _identify(self, call: CommandCall) -> str:
        """Manufacturer, model, serial number, firmware."""
        return self.IDENTITY

    @command("*OPT?")
    def _options(self, call: CommandCall) -> str:
        """Installed options."""
        return self.OPTIONS

    @command("*CLS")
    def _clear_status(self, call: CommandCall) -> None:
        """Clear events and errors."""
        self.status.clear()
        self._completes = None

    @command("*ESE", parameters=(_BYTE,))
    def _enable_events(self, call: CommandCall) -> None:
        """Enable bits of the standard event register."""
        self.status.event_enable = _within(call, 255)

    @command("*ESE?")
    def _enabled_events(self, call: CommandCall) -> str:
        """Enabled bits of the standard event register."""
        return f"{self.status.event_enable:+d}"

    @command("*ESR?")
    def _events(self, call: CommandCall) -> str:
        """Standard event register, which reading clears."""
        self._settle()
        return f"{self.status.take_events():+d}"

    @command("*SRE", parameters=(_BYTE,))
    def _enable_service(self, call: CommandCall) -> None:
        """Enable bits of the status byte."""
        self.status.service_enable = _within(call, 255)

    @command("*SRE?")
    def _enabled_service(self, call: CommandCall) -> str:
        """Enabled bits of the status byte."""
        return f"{self.status.service_enable:+d}"

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

    @command("*TST?")
    def _self_test(self, call: CommandCall) -> str:
        """Self-test; +0 is passed."""
        return "+0"

    # SCPI-99

    @command("SYSTem:ERRor[:NEXT]?", parameters=(Text(unquoted=True),), required=0)
    def _next_error(self, call: CommandCall) -> str:
        """Oldest error, taken out of the queue."""
        return self.status.next_error()

    @command("SYSTem:VERSion?")
    def _scpi_version(self, call: CommandCall) -> str:
        """Version of SCPI."""
        return "1999.0"

    @command("STATus:PRESet")
    def _preset_status(self, call: CommandCall) -> None:
        """Clear the enable registers of operation and questionable status."""
        self.status.operation.enable = self.status.questionable.enable = 0

    @command("STATus:OPERation[:EVENt]?")
    def _operation_event(self, call: CommandCall) -> str:
        """Operation event register, which reading clears."""
        return f"{self.status.operation.take_event():+d}"

    @command("STATus:OPERation:CONDition?")
    def _operation_condition(self, call: CommandCall) -> str:
        """Operation condition register."""
        return f"{self.status.operation.condition:+d}"

    @command("STATus:OPERation:ENABle", parameters=(_WORD,))
    def _enable_operation(self, call: CommandCall) -> None:
        """Enable bits of the operation register."""
        self.status.operation.enable = _within(call, 65535)

    @command("STATus:OPERation:ENABle?")
    def _enabled_operation(self, call: CommandCall) -> str:
        """Enabled bits of the operation register."""
        return f"{self.status.operation.enable:+d}"

    @command("STATus:QUEStionable[:EVENt]?")
    def _questionable_event(self, call: CommandCall) -> str:
        """Questionable event register, which reading clears."""
        return f"{self.status.questionable.take_event():+d}"

    @command("STATus:QUEStionable:CONDition?")
    def _questionable_condition(self, call: CommandCall) -> str:
        """Questionable condition register."""
        return f"{self.status.questionable.condition:+d}"

    @command("STATus:QUEStionable:ENABle", parameters=(_WORD,))
    def _enable_questionable(self, call: CommandCall) -> None:
        """Enable bits of the questionable register."""
        self.status.questionable.enable = _within(call, 65535)

    @command("STATus:QUEStionable:ENABle?")
    def _enabled_questionable(self, call: CommandCall) -> str:
        """Enabled bits of the questionable register."""
        return f"{self.status.questionable.enable:+d}"


def _within(call: CommandCall, high: int) -> int:
    if not 0 <= call.arguments[0] <= high:
        raise ScpiError(-222)
    return int(call.arguments[0])
