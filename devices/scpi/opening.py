"""Open a connection by its VISA name."""

from __future__ import annotations

import functools
import socket
from typing import Any

from hwloop.deadline import Deadline
from hwloop.devices.scpi.line import Line
from hwloop.devices.scpi.own_streams import SerialTransport, SocketTransport, refuse_if_in_use
from hwloop.devices.scpi.transport import Transport
from hwloop.devices.scpi.visa_transport import MessageTransport, VisaStream
from hwloop.errors import ConfigError, DeviceDisconnected

OWN_LIBRARY = "@py"
VENDOR_LIBRARY = "@ivi"
PARITY_NAMES = {"none": "none", "even": "even", "odd": "odd", "mark": "mark", "space": "space"}
FLOW_NAMES = {"none": "none", "xon-xoff": "xon_xoff", "rts-cts": "rts_cts", "dtr-dsr": "dtr_dsr"}
STOP_NAMES = {1.0: "one", 1.5: "one_and_a_half", 2.0: "two"}


@functools.cache  # looking for libraries starts processes: 30 ms
def visa_library() -> str:
    """``"@ivi"`` where a vendor's VISA is installed, else ``"@py"``, which pyvisa-py provides."""
    from pyvisa.ctwrapper.highlevel import IVIVisaLibrary

    return VENDOR_LIBRARY if IVIVisaLibrary.get_library_paths() else OWN_LIBRARY


def open_transport(
    resource: str, deadline: Deadline, library: str | None = None, line: Line | None = None
) -> Transport:
    """Connect to an instrument.

    Parameters
    ----------
    resource
        A VISA name, such as ``"TCPIP::192.168.1.20::5025::SOCKET"``, ``"USB0::0x0957::0x2807::MY001::INSTR"`` or
        ``"ASRL/dev/ttyUSB0::INSTR"``.
    deadline
        For the connection to stand.
    library
        What PyVISA is to use: ``"@py"``, ``"@ivi"`` or the path of a library; ``None`` for :func:`visa_library`.
    line
        Settings of the line; ``None`` for their defaults.

    Raises
    ------
    ConfigError
        The name cannot be read, or the library is not there.
    DeviceDisconnected
        Nothing answers at that address.
    DeviceError
        Another program holds the port.
    """
    import pyvisa

    line = Line() if line is None else line
    library = visa_library() if library is None else library
    try:
        kind = pyvisa.rname.parse_resource_name(resource)
        manager = pyvisa.ResourceManager(library)
    except pyvisa.rname.InvalidResourceName as error:
        raise ConfigError(f"{resource!r} is no VISA resource name ({error})") from error
    except (ValueError, OSError, pyvisa.Error) as error:
        raise ConfigError(
            f"PyVISA cannot load {library!r} ({error}); leave visa_library out for its choice"
        ) from error
    if library == OWN_LIBRARY:
        _look_before_opening(resource, kind)
    milliseconds = max(1, int(min(deadline.remaining_seconds, 3600.0) * 1e3))
    try:
        instrument: Any = manager.open_resource(resource, open_timeout=milliseconds)
    except Exception as error:  # pyvisa-py raises bare Exception
        raise DeviceDisconnected(
            f"{resource}: cannot be opened ({error}); check address, power and cable, "
            "and that nobody else holds it"
        ) from error
    try:
        return _transport(resource, kind, instrument, _session_of(manager, instrument, library), line)
    except BaseException:
        instrument.close()
        raise


def _session_of(manager: Any, instrument: Any, library: str) -> Any:
    """pyvisa-py's own session, whose connection is moved here; ``None`` with another library."""
    return manager.visalib.sessions[instrument.session] if library == OWN_LIBRARY else None


def _transport(resource: str, kind: Any, instrument: Any, session: Any, line: Line) -> Transport:
    import pyvisa

    serial = isinstance(kind, pyvisa.rname.ASRLInstr)
    if not serial and not isinstance(kind, pyvisa.rname.TCPIPSocket):
        return _message_transport(resource, kind, instrument, session, line)
    terminations = {
        "read_termination": (line.read_termination or "\n").encode("ascii"),
        "write_termination": line.write_termination.encode("ascii"),
    }
    if session is not None and not serial:
        return SocketTransport(resource, session.interface, instrument, **terminations)
    if session is not None and isinstance(getattr(session.interface, "fd", None), int):
        return SerialTransport(resource, session.interface, instrument, line, **terminations)
    if serial:
        instrument.baud_rate, instrument.data_bits = line.baud_rate, line.data_bits
        instrument.parity = pyvisa.constants.Parity[PARITY_NAMES[line.parity]]
        instrument.stop_bits = pyvisa.constants.StopBits[STOP_NAMES[line.stop_bits]]
        instrument.flow_control = pyvisa.constants.ControlFlow[FLOW_NAMES[line.flow_control]]
        instrument.end_input = pyvisa.constants.SerialTermination.none
    instrument.read_termination = None
    return VisaStream(resource, instrument, serial, **terminations)


def _message_transport(resource: str, kind: Any, instrument: Any, session: Any, line: Line) -> MessageTransport:
    """END ends a message; a terminator only where the line names one."""
    import pyvisa

    hislip = isinstance(kind, pyvisa.rname.TCPIPInstr) and kind.lan_device_name.lower().startswith("hislip")
    if line.read_termination is not None:
        instrument.read_termination = line.read_termination
    wire = getattr(getattr(session, "interface", None), "_sync", None)
    return MessageTransport(resource, instrument, wire if hislip else None, fresh=hislip)


def _look_before_opening(resource: str, kind: Any) -> None:
    """What opening would spoil, or hide."""
    import pyvisa

    if isinstance(kind, pyvisa.rname.TCPIPSocket):
        _resolve(resource, kind.host_address)
    elif isinstance(kind, pyvisa.rname.ASRLInstr) and kind.board.startswith("/"):
        refuse_if_in_use(resource, kind.board)


def _resolve(resource: str, host: str) -> None:
    """A host that has no address is said so; pyvisa-py 0.8.1 would leave a socket open."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise DeviceDisconnected(f"{resource}: cannot be opened, host {host!r} is not known ({error})") from error
