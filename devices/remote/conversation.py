"""The server's side of one connection: greet the client, then answer one request after the other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import hwloop
from hwloop.deadline import Deadline
from hwloop.devices.remote.channel import CONTROL_BYTES, PROTOCOL, Arrays, Channel, Header
from hwloop.devices.remote.exclusive_access import RELEASE_SECONDS, Client, DeviceLease, ExclusiveAccess
from hwloop.devices.remote.security import CLIENT, SERVER, ServerSecurity, is_nonce, is_proof, new_nonce, proof
from hwloop.devices.remote.wire_format import error_header, events_header, progress_header
from hwloop.devices.worker.served import FrameError
from hwloop.errors import ConfigError, DeviceError, HwloopError

GREETING_SECONDS = 10.0
IDLE_SECONDS = 30.0  # without the device
LONGEST_NAME = 200
MOST_ROWS = 1 << 62

Reply = tuple[Header, Arrays]
NEVER = Deadline(math.inf)


class ProtocolError(Exception):
    """The other side does not keep to the protocol; its connection ends."""


class Conversation:
    """Answers one client until it hangs up, breaks the protocol, or keeps silent without holding the device.

    Parameters
    ----------
    channel
        The connection.
    access
        Where the device is to be had.
    security
        Key and certificate; ``None`` if everybody who connects is welcome.
    """

    def __init__(self, channel: Channel, access: ExclusiveAccess, security: ServerSecurity | None) -> None:
        self._channel = channel
        self._access = access
        self._security = security
        self._lease: DeviceLease | None = None

    def run(self) -> None:
        """Greet and answer; returns when the conversation is over and the device, if it was lent, is closed.

        Raises
        ------
        ConfigError
            The client does not have the key.
        """
        try:
            client = self._greet()
            while True:
                self._answer(client)
        except (FrameError, ProtocolError) as error:
            with contextlib.suppress(OSError, FrameError):
                self._channel.send(error_header(DeviceError(f"the server ends the connection: {error}")))
        except (EOFError, OSError):
            pass
        finally:
            if self._lease is not None:
                self._lease.close()

    def _greet(self) -> Client:
        nonce = new_nonce()
        welcome = {"protocol": PROTOCOL, "hwloop": hwloop.__version__, "nonce": nonce}
        self._channel.send({"op": "welcome", "key": self._security is not None, **welcome})
        header, _ = self._channel.receive(CONTROL_BYTES, Deadline.after(GREETING_SECONDS))
        token, name = header.get("client"), header.get("name")
        if header["op"] != "hello" or header.get("protocol") != PROTOCOL:
            raise ProtocolError(f"it speaks protocol {PROTOCOL}; use the same version of hwloop on both sides")
        if not (is_nonce(token) and isinstance(name, str) and len(name) <= LONGEST_NAME and name.isprintable()):
            raise ProtocolError("the client does not say who it is")
        reply: Header = {"op": "hello"}
        if self._security is not None:
            reply["proof"] = self._proved(self._security, nonce, header)
        self._channel.send(reply)
        return Client(token, name)

    def _proved(self, security: ServerSecurity, nonce: str, header: Header) -> str:
        """Our own proof, if the client's holds."""
        theirs = header.get("nonce")
        if not is_nonce(theirs):
            raise ProtocolError("the client gives no number for the proof of the key")
        numbers = (nonce, theirs, security.certificate_bytes)
        if not is_proof(header.get("proof"), proof(security.key, CLIENT, *numbers)):
            refused = ConfigError("the server's key is another one; give the key file that the server has")
            with contextlib.suppress(OSError):
                self._channel.send(error_header(refused))
            raise refused
        return proof(security.key, SERVER, *numbers)

    def _answer(self, client: Client) -> None:
        if self._lease is None:
            longest, deadline = CONTROL_BYTES, Deadline.after(IDLE_SECONDS)
        else:
            longest, deadline = self._access.description.longest_request, NEVER
        header, arrays = self._channel.receive(longest, deadline)
        requests: dict[str, Callable[[Client, Header, Arrays], Reply]] = {
            "describe": self._describe,
            "open": self._open,
            "continue": self._continue,
            "measure": self._measure,
            "tune": self._tune,
            "close": self._close,
            "release": self._release,
        }
        request = requests.get(header["op"])
        number = header.get("number")
        if request is None or type(number) is not int:
            raise ProtocolError("there is no such request, or it has no number")
        try:
            reply, results = request(client, header, arrays)
        except HwloopError as error:
            reply, results = error_header(error), {}
        if self._lease is not None:
            reply["events"] = events_header(self._lease.take_events())
        self._channel.send({**reply, "number": number}, results)

    def _describe(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        spoken, limits = self._access.description.frame()
        return {"op": "described", **spoken}, limits

    def _open(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        if self._lease is not None:
            raise ProtocolError("the device is open already")
        self._lease = self._access.take(client, self._channel)
        return self._describe(client, header, arrays)

    def _continue(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        rows, progress = header.get("rows"), header.get("progress")
        if progress is not None:
            if not isinstance(progress, dict):
                raise ProtocolError("the progress is no table")
            self._held().resume(progress)
        if rows is not None:
            if type(rows) is not int or not 0 <= rows <= MOST_ROWS:
                raise ProtocolError("the number of rows is none")
            self._held().continue_from(rows)
        return {"op": "continued"}, {}

    def _measure(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        inputs: Any = arrays.get("inputs")
        if inputs is None or len(arrays) != 1:
            raise ProtocolError("a request to measure brings one array, the inputs")
        outputs = self._held().measure(inputs)
        return {"op": "measured", **progress_header(self._held().progress())}, {"outputs": outputs}

    def _tune(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        values: Any = arrays.get("tuning")
        if values is None or len(arrays) != 1:
            raise ProtocolError("a request to tune brings one array, the tuning")
        self._held().tune(values)
        return {"op": "tuned"}, {}

    def _close(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        lease, self._lease = self._held(), None
        lease.close()
        return {"op": "closed"}, {}

    def _release(self, client: Client, header: Header, arrays: Arrays) -> Reply:
        if self._lease is None:
            self._access.release(client, Deadline.after(RELEASE_SECONDS))
        return {"op": "released"}, {}

    def _held(self) -> DeviceLease:
        if self._lease is None:
            raise ProtocolError("the device has not been opened on this connection")
        return self._lease
