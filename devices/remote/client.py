"""A device that another process serves, perhaps on another computer."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hwloop.deadline import MONOTONIC, Deadline
from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.device.plain_value import UNDESCRIBED
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.devices.hosted import answer_seconds, tuning_seconds
from hwloop.devices.remote.address import Address
from hwloop.devices.remote.link import RemoteLink
from hwloop.devices.remote.security import NONCE_BYTES, read_key
from hwloop.devices.remote.wire_format import DESCRIPTION_BYTES, Description, DeviceHeld, described
from hwloop.errors import BadReading, DeviceChanged, DeviceDisconnected, DeviceError

LONGEST_NAME = 200
TOKEN_OF_PROCESS = 8  # hexadecimal digits
HELD_POLL_SECONDS = 0.2


class RemoteDevice(Device):
    """A device that ``hwloop serve`` lends over the network, to one client at a time.

    It is the same to a session as the device itself: the server says what it is, checks every stimulus against
    its limits again, and reports its failures as the same errors. A row goes there and back in one frame each.

    The server makes the device anew for every client and every :meth:`open`; a simulated one is told how many
    rows this object has measured, so that its noise and drift go on from there, even if the server was restarted.

    Parameters
    ----------
    address
        ``HOST:PORT``.
    key_file
        Holds the key of a server that asks for one; the connection is then under TLS. Without it, the server must
        be on this computer.
    deadline_seconds
        For the answer to one question, beyond ten times the time that is stated for its rows.
    start_seconds
        For connecting to the server, and for the device to be opened there.
    wait_seconds
        How long to wait for the device while another client has it.

    Raises
    ------
    ConfigError
        The address is none, or the key file cannot be used.
    """

    settles_itself = True  # the server waits
    rests_when_left = True  # the server closes the device when its client is gone
    path_settings: ClassVar = frozenset({"key_file"})
    harmless_settings: ClassVar = {
        "address": "where the device is reached; it describes itself",
        "key_file": "opens the connection",
        "deadline_seconds": "how long an answer is waited for",
        "start_seconds": "how long the start is waited for",
        "wait_seconds": "how long the device is waited for while another client has it",
    }

    def __init__(
        self,
        address: str,
        *,
        key_file: str | Path | None = None,
        deadline_seconds: float = 60.0,
        start_seconds: float = 60.0,
        wait_seconds: float = 0.0,
    ) -> None:
        self.address = Address.parse(address)
        self._key = None if key_file is None else read_key(key_file)
        self.deadline_seconds = real_number("deadline_seconds", deadline_seconds, low=0.001)
        self.start_seconds = real_number("start_seconds", start_seconds, low=0.001)
        self.wait_seconds = real_number("wait_seconds", wait_seconds, low=0.0)
        self._token = secrets.token_hex(NONCE_BYTES)
        self._link: RemoteLink | None = None
        self._lock = threading.Lock()  # held while a question is being answered
        self._left_behind = False  # the connection over which we held the device was lost
        self._description: Description | None = None
        self._rows = 0
        self._rows_told = False
        self._served: dict[str, Any] | None = None  # how far what is served had come behind the last row

    @property
    def spec(self) -> DeviceSpec:  # type: ignore[override]
        """Channels, limits, units and pace, as the server states them; asks it the first time."""
        return self._described().spec

    def identify(self) -> str:
        """The device's own identity: where it is reached from makes it no other."""
        return self._described().identity

    def unit(self) -> str:
        return self._described().identity

    def described_settings(self) -> dict[str, Any]:
        """Where the server does not describe its device, that is said."""
        return {"device": {UNDESCRIBED: "what a server of an older version lends"}}

    def describe(self, identity: str = "") -> DeviceDescription:
        """What the device behind the server is: where it is reached from makes it no other.

        A server of a version that does not say so leaves its identity and spec.
        """
        found = self._described()
        return super().describe(identity) if found.device is None else found.device

    def continue_from(self, rows: int) -> None:
        self._rows, self._rows_told = rows, True
        if self._link is not None:
            self._go_on(self._link, {"rows": rows})

    def progress(self) -> dict[str, Any]:
        """The rows that were asked, and how far what is served has come."""
        own: dict[str, Any] = {"rows": self._rows}
        return own if self._served is None else own | {"served": self._served}

    def resume(self, progress: Mapping[str, Any]) -> None:
        self._rows, self._served = progress.get("rows", 0), progress.get("served")
        self._rows_told = self._served is None
        if self._link is not None:
            self._go_on(self._link, self._where_to_go_on())

    # -- opening and closing ---------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, and have the server open the device for us.

        Raises
        ------
        DeviceError
            Nobody answers there, another client has the device, or it cannot be opened.
        ConfigError
            The key is missing or wrong.
        """
        if self._link is not None:
            return
        link = self._connected()
        opened = False
        try:
            found = self._opened(link)
            opened = True
            self._recognise(found)
            if self._rows or self._served is not None:
                self._go_on(link, self._where_to_go_on())
        except BaseException:
            self._left_behind = opened or link.lost  # the server may be about to open it
            link.close()
            raise
        self._link, self._left_behind = link, False

    def close(self) -> None:
        """Have the device brought to its safe state; returns when the server says that it is.

        Another thread may call this while rows are measured: they are lost.

        Raises
        ------
        DeviceError
            The server does not say so: look after the device by hand.
        """
        link, self._link = self._link, None
        if link is not None and not self._given_back(link):
            self._left_behind = True
        if self._left_behind:
            self._left_behind = False
            self._take_back()

    def _given_back(self, link: RemoteLink) -> bool:
        """Whether the server says, over the connection that holds the device, that it is closed."""
        if not self._lock.acquire(blocking=False):
            link.hang_up()  # its thread waits for an answer
            return False
        try:
            link.ask("close", Deadline.after(self.deadline_seconds))
        except DeviceError:
            if not link.lost:
                raise
            return False
        finally:
            link.close()
            self._lock.release()
        return True

    def _take_back(self) -> None:
        """Have the device closed that we held over a connection that is lost."""
        try:
            with contextlib.closing(self._connected()) as link:
                link.ask("release", Deadline.after(self.deadline_seconds))
        except DeviceError as error:
            raise type(error)(
                f"whether the device at {self.address} is in its safe state cannot be known ({error}); its server "
                "closes it when it notices that the connection is gone: look after it by hand"
            ) from error

    def _connected(self) -> RemoteLink:
        token = f"{self._token[:-TOKEN_OF_PROCESS]}{os.getpid():0{TOKEN_OF_PROCESS}x}"  # a forked copy is another
        return RemoteLink(self.address, self._key, token, _own_name(), Deadline.after(self.start_seconds))

    def _opened(self, link: RemoteLink) -> Description:
        patience = Deadline.after(self.wait_seconds)
        while True:
            try:
                answer = link.ask("open", Deadline.after(self.start_seconds), longest=DESCRIPTION_BYTES)
            except DeviceHeld:
                if patience.expired:
                    raise
                MONOTONIC.sleep(min(HELD_POLL_SECONDS, patience.remaining_seconds))
            else:
                return described(*answer)

    def _where_to_go_on(self) -> dict[str, Any]:
        """What the server's device has measured; rows that were told since, as a pool does, count besides."""
        where: dict[str, Any] = {} if self._served is None else {"progress": self._served}
        return where | {"rows": self._rows} if self._rows_told or self._served is None else where

    def _go_on(self, link: RemoteLink, where: dict[str, Any]) -> None:
        with self._asking(link):
            link.ask("continue", Deadline.after(self.deadline_seconds), where)

    def _described(self) -> Description:
        if self._description is None:
            with contextlib.closing(self._connected()) as link:
                deadline = Deadline.after(self.start_seconds)
                self._description = described(*link.ask("describe", deadline, longest=DESCRIPTION_BYTES))
        return self._description

    def _recognise(self, found: Description) -> None:
        known = self._description
        if known is not None and (known.spec != found.spec or known.identity != found.identity):
            raise DeviceChanged(
                f"another device is served at {self.address} than before: {found.identity}, not {known.identity}, "
                "or with other limits; build the device anew"
            )
        device, now = None if known is None else known.device, found.device
        different = [] if device is None or now is None else device.differences(now)
        if different:
            raise DeviceChanged(
                f"another device is served at {self.address} than before, though it says {found.identity} again: "
                f"{'; '.join(different)}; build the device anew"
            )
        self._description = found

    # -- measuring -------------------------------------------------------------------------------------

    def _measure(self, inputs: Float64Array) -> Float64Array:
        link, description = self._link, self._description
        if link is None or description is None:
            raise DeviceDisconnected(f"there is no connection to the device at {self.address}; open it (again)")
        step = description.rows_a_frame
        answers = [self._asked(link, description, inputs[at : at + step]) for at in range(0, len(inputs), step)]
        return np.concatenate(answers)

    def _asked(self, link: RemoteLink, description: Description, inputs: Float64Array) -> Float64Array:
        rows = len(inputs)
        seconds = answer_seconds(self.deadline_seconds, rows, description.spec)
        deadline = Deadline.after(min(seconds, threading.TIMEOUT_MAX))
        longest = description.longest_reply(rows)
        with self._asking(link):
            header, arrays = link.ask("measure", deadline, arrays={"inputs": inputs}, longest=longest)
        outputs = arrays.get("outputs")
        if outputs is None or outputs.shape != (rows, description.spec.n_outputs):
            raise BadReading(f"the server at {self.address} answers {rows} rows with something else than rows")
        self._rows, self._rows_told = self._rows + rows, False
        self._served = served if isinstance(served := header.get("progress"), dict) else None
        return outputs

    def _tune(self, values: Float64Array) -> None:
        link, description = self._link, self._description
        if link is None or description is None:
            raise DeviceDisconnected(f"there is no connection to the device at {self.address}; open it (again)")
        seconds = tuning_seconds(self.deadline_seconds, description.spec)
        with self._asking(link):
            link.ask("tune", Deadline.after(seconds), arrays={"tuning": values})

    @contextlib.contextmanager
    def _asking(self, link: RemoteLink) -> Iterator[None]:
        """While a question is asked: nobody else asks one, and a connection that fails is used no more."""
        try:
            with self._lock:
                yield
        finally:
            if link.lost:
                self._left_behind = True
                if self._link is link:
                    self._link = None
            for event in link.take_events():
                self.tell(event)


def _own_name() -> str:
    """Who we are, for the people at the server."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.getuid()}"
    name = f"{user}@{socket.gethostname()} (process {os.getpid()})"
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_NAME]
