"""One instrument's connection: opened, dropped, brought into step, and how its replies are told from others."""

from __future__ import annotations

from collections.abc import Callable

from hwloop.deadline import Deadline
from hwloop.devices.scpi.line import Line
from hwloop.devices.scpi.marker import CheckAfterwards, CheckInMessage, LinkMarker, ReplyCheck
from hwloop.devices.scpi.transport import StreamTransport, Transport
from hwloop.errors import DeviceDisconnected, DeviceTimeout


class LinkConnection:
    """The transport of a link, and what was found out about the instrument behind it.

    Parameters
    ----------
    connect
        Opens a transport.
    line
        Its banner and its markers.
    patience
        For how many seconds to wait for one answer, asked anew each time.

    Attributes
    ----------
    transport
        ``None`` while there is no connection.
    check
        How a reply is told from another question's.
    asked
        Whether a question was answered on this connection.
    """

    def __init__(self, connect: Callable[[], Transport], line: Line, patience: Callable[[], float]) -> None:
        self._open = connect
        self._line = line
        self._patience = patience
        self.transport: Transport | None = None
        self.marker = LinkMarker(line, patience)
        self.check = ReplyCheck()
        self.asked = False
        self._check_known = False
        self._reconnects = False  # it takes no marker: each question has a connection of its own

    def drop(self) -> None:
        """Hang up; does nothing where there is no connection."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close()

    def drop_unless_lasting(self) -> None:
        """Hang up, but not on what stays as it is when it is opened anew."""
        if self.transport is not None and not self.transport.lasting:
            self.drop()

    def for_exchange(self) -> Transport:
        """The transport for one exchange, in step."""
        if self.transport is None or (self._reconnects and self.asked):
            return self._connect()
        return self.transport

    def resynchronise(self) -> None:
        """From nothing, or from a doubtful exchange, to a connection whose next reply is its question's.

        What may hold replies to earlier questions is emptied; then a sign is asked for that none can come any
        more. At first also find out how a marker can go with every question.

        Raises
        ------
        DeviceDisconnected, DeviceTimeout, ConfigError, DeviceError
        """
        self.drop_unless_lasting()
        transport = self.transport or self._connect()
        self.asked = False
        if not transport.fresh:
            transport.clear(Deadline.after(self._patience()))
        needed = not transport.fresh or bool(self._line.marker)
        if not self._line.markers or (self._check_known and not needed):
            return
        try:
            self.marker.resynchronise(transport)
            if not self._check_known:
                self.check, self._check_known = self._find_check(transport), True
            self._reconnects = False
        except (DeviceTimeout, DeviceDisconnected):
            if needed:
                raise
            self._reconnects = True
            self._connect()

    def _connect(self) -> Transport:
        self.drop()
        self.transport = self._open()
        self.asked = False
        if self._line.banner_seconds and isinstance(self.transport, StreamTransport):
            self.transport.discard_for(self._line.banner_seconds)
        return self.transport

    def _find_check(self, transport: Transport) -> ReplyCheck:
        """How this instrument takes a marker with every question; the link is in step before and after."""
        if self.marker.has_number:
            if self.marker.answers_compounds(transport):
                return CheckInMessage(self.marker)
            self.marker.resynchronise(transport)
        return CheckAfterwards(self.marker)
