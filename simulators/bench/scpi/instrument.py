"""An instrument: its clock, its clients, its table of commands, and the execution of program messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from hwloop.errors import HwloopError
from hwloop.simulators.bench.scpi.command import BenchCommand, BenchSetting, CommandCall, Reply, commands_of
from hwloop.simulators.bench.scpi.messages import absolute, check_mnemonics, split_header, split_outside
from hwloop.simulators.bench.scpi.status import InstrumentStatus, ScpiError


class BenchClock:
    """Seconds since the bench was set up.

    Parameters
    ----------
    realtime
        Whether a burst of a second keeps its instruments busy for a second. Else they are done at once.
    command_seconds
        Time that an instrument takes over every message before it is executed.
    """

    def __init__(self, realtime: bool = False, command_seconds: float = 0.0) -> None:
        self.realtime = realtime
        self.command_seconds = command_seconds
        # One lock for all instruments: a trigger reaches from the generator into the oscilloscope, and an armed
        # oscilloscope asks the generator what it plays.
        self.lock = threading.RLock()
        self._start = time.monotonic()

    def now(self) -> float:
        """Seconds since the bench was set up."""
        return time.monotonic() - self._start

    def done_at(self, start: float, seconds: float) -> float:
        """When something that takes ``seconds`` is over for whoever waits for it."""
        return start + seconds if self.realtime else start

    def take_command(self) -> None:
        """Take the time of one message."""
        if self.command_seconds > 0:
            time.sleep(self.command_seconds)


TERMINATOR = b"\n"


class ClientGone(EOFError):
    """The client has hung up, or is hung up on."""


class ClientConnection:
    """A client of an instrument, with its own output queue.

    ``write`` and ``read`` follow the message exchange protocol (IEEE 488.2, chapter 6), as over GPIB: a new
    message before the reply to the last was read is a -410, reading what nobody asked for a -420. On a socket
    replies leave at once: the server uses :meth:`exchange`.

    Parameters
    ----------
    instrument
        Whom it talks to.
    gone
        Whether the client has hung up; asked while a command waits.
    """

    def __init__(self, instrument: Instrument, gone: Callable[[], bool] = lambda: False) -> None:
        self.instrument = instrument
        self.gone = gone
        self.output = b""
        self.held_back = b""  # a reply that a fault keeps for later

    def exchange(self, message: bytes) -> bytes:
        """Execute a program message; its reply with terminator, empty where there is none."""
        reply = self.instrument.execute(self, message)
        return reply + TERMINATOR if reply else b""

    def write(self, message: bytes) -> None:
        """Send a program message; its reply waits to be read."""
        if self.output:
            self.output = b""
            self.instrument.report(ScpiError(-410))
        self.output = self.exchange(message)

    def read(self) -> bytes:
        """The reply that waits; empty, and a -420, where there is none."""
        if not self.output:
            self.instrument.report(ScpiError(-420))
        reply, self.output = self.output, b""
        return reply

    def query(self, message: bytes) -> bytes:
        """Write, then read."""
        self.write(message)
        return self.read()


_POLL_SECONDS = 0.02


class Instrument:
    """What executes messages: headers are looked up, values checked, errors queued.

    A subclass names its ``SETTINGS``, and marks methods with :func:`~.command.command`.

    Parameters
    ----------
    clock
        Time of the bench.
    """

    IDENTITY: ClassVar[str]
    OPTIONS: ClassVar[str] = "0"
    SETTINGS: ClassVar[tuple[BenchSetting, ...]] = ()
    CLIPS_OUT_OF_RANGE: ClassVar[bool] = False  # whether a value out of range is clipped (and reported) or refused
    MAX_CLIENTS: ClassVar[int] = 4

    def __init__(self, clock: BenchClock) -> None:
        self.clock = clock
        self.lock = clock.lock
        self.changed = threading.Condition(self.lock)
        self.status = InstrumentStatus()
        self._commands = commands_of(type(self))
        self._known: dict[bytes, tuple[BenchSetting | BenchCommand, tuple[int, ...], bool]] = {}
        self._values: dict[tuple[BenchSetting, int], Any] = {}

    # State

    def get(self, setting: BenchSetting, suffix: int = 1) -> Any:
        """Value of a setting."""
        return self._values.get((setting, suffix), setting.default)

    def number(self, setting: BenchSetting, suffix: int = 1) -> float:
        """Value of a setting that is a number."""
        return float(self.get(setting, suffix))

    def put(self, setting: BenchSetting, value: Any, suffix: int = 1) -> None:
        """Keep the value of a setting."""
        self._values[setting, suffix] = value

    def reset(self) -> None:
        """``*RST``: every setting to its default."""
        self._values.clear()

    def report(self, error: ScpiError) -> None:
        """Put an error into the queue."""
        with self.lock:
            self.status.report(error)

    # Messages

    def execute(self, session: ClientConnection, message: bytes) -> bytes:
        """Execute a program message; the replies of its queries, joined by ``;``."""
        with self.lock:
            replies: list[bytes] = []
            try:
                self._execute_units(session, message, replies)
            except ScpiError as error:
                self.status.report(error)
            except HwloopError as error:  # what is wired to the instrument has failed
                self.status.report(ScpiError(-310, str(error)))
            return b";".join(replies)

    def _execute_units(self, session: ClientConnection, message: bytes, replies: list[bytes]) -> None:
        path, indefinite = "", False
        for unit in split_outside(message, b";"):
            if not unit:
                continue
            header, tokens = split_header(unit)
            entry, suffixes, is_query, path = self._find(header, path)
            if is_query and indefinite:
                raise ScpiError(-440)
            indefinite |= header.upper() == b"*IDN?"
            session.output = replies[0] if replies else b""  # what *STB? in the same message sees
            try:
                self.before(session, entry)
                reply = self._dispatch(entry, CommandCall(session, suffixes, tuple(tokens)), is_query)
            except ScpiError as error:
                if error.ends_message:
                    raise
                self.status.report(error)
                continue
            if reply is not None:
                replies.append(reply if isinstance(reply, bytes) else reply.encode("latin-1"))

    def _dispatch(self, entry: BenchSetting | BenchCommand, call: CommandCall, is_query: bool) -> Reply:
        if isinstance(entry, BenchCommand):
            return entry.run(self, call)
        if is_query:
            return entry.query(self, call)
        entry.execute(self, call)
        return None

    def _find(self, header: bytes, path: str) -> tuple[BenchSetting | BenchCommand, tuple[int, ...], bool, str]:
        """What executes a header, its numeric suffixes, whether it is a query, and the path that it leaves."""
        try:
            whole, path = absolute(header.decode("ascii").upper(), path)
        except UnicodeDecodeError:
            raise ScpiError(-101) from None
        key = whole.encode()
        if key not in self._known:
            check_mnemonics(whole)
            self._known[key] = self._look_up(whole)
        return *self._known[key], path

    def _look_up(self, header: str) -> tuple[BenchSetting | BenchCommand, tuple[int, ...], bool]:
        is_query = header.endswith("?")
        for entry in self._commands:
            if (suffixes := entry.header.match(header)) is not None:
                return entry, suffixes, is_query
        for setting in self.SETTINGS:
            if (suffixes := setting.header.match(header.rstrip("?"))) is not None:
                return setting, suffixes, is_query
        raise ScpiError(-113)

    def before(self, session: ClientConnection, entry: BenchSetting | BenchCommand) -> None:
        """Called before a unit is executed; an instrument that is busy waits here."""

    def session_closed(self, session: ClientConnection) -> None:
        """Called when a client has gone."""

    def wait(self, session: ClientConnection, seconds: float | None = None) -> None:
        """Let others use the instrument until something changes, or for some seconds.

        Raises
        ------
        ClientGone
            The client has hung up meanwhile.
        """
        self.changed.wait(_POLL_SECONDS if seconds is None else min(seconds, _POLL_SECONDS))
        if session.gone():
            raise ClientGone

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the instrument, and wake who waits for it."""
        with self.lock:
            yield
            self.changed.notify_all()
