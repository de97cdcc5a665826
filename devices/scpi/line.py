"""What a link must know of the line that it runs on, beside its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hwloop.device.settings import nearest, one_of, real_number, whole_number
from hwloop.errors import ConfigError

PARITIES = ("none", "even", "odd", "mark", "space")
FLOW_CONTROLS = ("none", "xon-xoff", "rts-cts", "dtr-dsr")
STOP_BITS = (1.0, 1.5, 2.0)
BITS_A_BYTE = 10  # with start and stop bit
RANDOM_MARKER = "*ESE {n};*ESE?"
NAME_MARKER = "*IDN?"


@dataclass(frozen=True)
class Line:
    """Settings of a link.

    Parameters
    ----------
    baud_rate, data_bits, parity, stop_bits, flow_control
        Of a serial port; parity ``"none"``, ``"even"``, ``"odd"``, ``"mark"`` or ``"space"``, flow control
        ``"none"``, ``"xon-xoff"``, ``"rts-cts"`` or ``"dtr-dsr"``. Without a meaning elsewhere.
    write_termination, read_termination
        What ends a message to the instrument and a line from it. A link that signals the end of a message itself
        (USB, GPIB, VXI-11, HiSLIP) needs no ``read_termination``: ``None`` is a newline on serial ports and
        sockets, and nothing elsewhere.
    echo
        Whether the instrument sends back every line that it gets before it answers.
    banner_seconds
        For so long after connecting, whatever comes unasked is thrown away: a greeting, a board that starts anew.
    marker
        The question that brings a doubtful link into step, and goes with every question: ``{n}`` stands for a
        number, 1 to 255, that the reply must be. ``None`` for ``"*ESE {n};*ESE?"``, and where that is not
        answered ``"*IDN?"``; a marker that is named here must be answered on every link that is opened anew. An
        empty one is never asked: then nothing tells a second copy of a reply from the answer to the next
        question.
    error_query
        The question for the oldest entry of the error queue; empty for an instrument that has none.

    Raises
    ------
    ValueError, ConfigError
        A setting makes no sense.
    """

    baud_rate: int = 9600
    data_bits: int = 8
    parity: str = "none"
    stop_bits: float = 1.0
    flow_control: str = "none"
    write_termination: str = "\n"
    read_termination: str | None = None
    echo: bool = False
    banner_seconds: float = 0.0
    marker: str | None = None
    error_query: str = "SYSTem:ERRor?"

    def __post_init__(self) -> None:
        whole_number("baud_rate", self.baud_rate, low=1)
        whole_number("data_bits", self.data_bits, low=5, high=8)
        one_of("parity", self.parity, PARITIES)
        one_of("flow_control", self.flow_control, FLOW_CONTROLS)
        real_number("banner_seconds", self.banner_seconds, low=0.0)
        if self.stop_bits not in STOP_BITS:
            raise ValueError(f"stop_bits must be 1, 1.5 or 2, not {self.stop_bits!r}")
        for name in ("write_termination", "read_termination", "marker", "error_query"):
            text = getattr(self, name)
            if not (isinstance(text, str) and text.isascii()) and not (
                text is None and name != "write_termination"
            ):
                raise ConfigError(f"{name} must be ASCII text, not {text!r}")
        if self.read_termination == "":
            raise ConfigError("read_termination cannot be empty; leave it out for the link's own end of message")

    @property
    def markers(self) -> tuple[str, ...]:
        """The markers to try, the surest first."""
        if self.marker is None:
            return (RANDOM_MARKER, NAME_MARKER)
        return (self.marker,) if self.marker else ()

    @property
    def bytes_a_second(self) -> float:
        """What a serial port carries."""
        return self.baud_rate / BITS_A_BYTE


def line_from(name: str, settings: Mapping[str, Any] | None) -> Line:
    """A line from a table of settings, as a device file has one.

    Raises
    ------
    ValueError, ConfigError
        A setting is unknown or makes no sense; the message names the table.
    """
    known = [field.name for field in fields(Line)]
    for key in settings or {}:
        if key not in known:
            raise ConfigError(f"unknown setting {key!r} of {name}: {nearest(key, known)}")
    return Line(**(settings or {}))
