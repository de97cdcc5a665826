"""The client's side of one connection: greet the server, then ask one question at a time."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from hwloop.deadline import Deadline
from hwloop.devices.remote.address import Address, is_loopback, resolve
from hwloop.devices.remote.channel import CONTROL_BYTES, PROTOCOL, Arrays, Channel, Header, prepare
from hwloop.devices.remote.security import CLIENT, SERVER, client_context, is_nonce, is_proof, new_nonce, proof
from hwloop.devices.remote.wire_format import error_in, events_in
from hwloop.devices.worker.served import LONGEST_HEADER, FrameError
from hwloop.errors import ConfigError, DeviceDisconnected, DeviceError, DeviceTimeout
from hwloop.events import Event

CONNECT_SECONDS = 10.0  # for one of the host's addresses


class RemoteLink:
    """A connection to a server that knows who we are, and has shown that it has the key if there is one.

    After a failure of the connection itself, Ctrl-C among them, no further question is asked on it: the answer to
    the one before might still come.

    Parameters
    ----------
    address
        Of the server.
    key
        Shared with it; without one it must be on this computer.
    token, name
        A number that stays with this client, and its name for people.
    deadline
        For connecting and greeting.

    Raises
    ------
    DeviceDisconnected, DeviceTimeout
        Nobody answers, or no such server.
    ConfigError
        The key is missing, superfluous or wrong.

    Attributes
    ----------
    lost
        Whether the connection has failed.
    """

    def __init__(self, address: Address, key: bytes | None, token: str, name: str, deadline: Deadline) -> None:
        self.address = address
        self.lost = False
        self._number = 0
        self._events: list[Event] = []
        self._channel = Channel(_connected(address, key is not None, deadline))
        try:
            self._greet(key, token, name, deadline)
        except TimeoutError as error:
            self.close()
            raise DeviceTimeout(
                f"the server at {address} is silent; check that hwloop serve runs there"
            ) from error
        except ssl.SSLError as error:
            self.close()
            raise DeviceDisconnected(
                f"the server at {address} speaks no TLS ({error.reason or error}); "
                "leave out key_file if it has no key"
            ) from error
        except (EOFError, OSError) as error:
            self.close()
            raise DeviceDisconnected(
                f"the server at {address} hangs up ({error}); if it asks for a key, give key_file"
            ) from error
        except FrameError as error:
            self.close()
            raise DeviceError(f"what answers at {address} is no hwloop serve ({error})") from error
        except BaseException:
            self.close()
            raise

    def ask(
        self,
        op: str,
        deadline: Deadline,
        values: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Any] | None = None,
        longest: int = LONGEST_HEADER,
    ) -> tuple[Header, Arrays]:
        """Ask one question; the answer's header and arrays.

        Parameters
        ----------
        op, values, arrays
            What the server is to do, and with what.
        deadline
            For the answer.
        longest
            Bytes that it may have.

        Raises
        ------
        DeviceHeld
            Another client has the device.
        HwloopError
            The device failed; the error is the one that it raised, where that is known.
        DeviceTimeout, DeviceDisconnected
            The connection failed; it is closed.
        """
        self._number += 1
        try:
            self._channel.send({**(values or {}), "op": op, "number": self._number}, arrays)
            header, results = self._channel.receive(longest, deadline)
            if header.get("number") != self._number and header["op"] != "error":
                raise FrameError("it answers another question")
        except (FrameError, EOFError, OSError) as error:
            self._lose()
            raise self._explained(op, error) from error
        except BaseException:
            self._lose()
            raise
        self._events += events_in(header)
        if header["op"] != "error":
            return header, results
        if header.get("number") != self._number:  # said before it hangs up
            self._lose()
        raise error_in(header)

    def take_events(self) -> list[Event]:
        """What the device told since this was called the last time."""
        told, self._events = self._events, []
        return told

    def hang_up(self) -> None:
        """End the connection from another thread than the one that asks."""
        self._channel.hang_up()

    def close(self) -> None:
        """End the connection; safe to call twice."""
        self._channel.close()

    def _lose(self) -> None:
        self.lost = True
        self.close()

    def _explained(self, op: str, error: Exception) -> DeviceError:
        what = f"the server at {self.address}"
        if isinstance(error, TimeoutError):
            return DeviceTimeout(f"{what} did not answer in time when asked to {op}; check the device there")
        if isinstance(error, FrameError):
            return DeviceError(
                f"{what} and we do not understand each other ({error}); use the same hwloop on both"
            )
        return DeviceDisconnected(f"the connection to {what} is lost ({error}); check that it runs")

    def _greet(self, key: bytes | None, token: str, name: str, deadline: Deadline) -> None:
        channel, certificate = self._channel, b""
        if key is not None:
            certificate = channel.secure(client_context(), deadline.remaining_seconds, server=False)
        welcome, _ = channel.receive(CONTROL_BYTES, deadline)
        nonce, ours = welcome.get("nonce"), new_nonce()
        if welcome["op"] != "welcome" or welcome.get("protocol") != PROTOCOL or not is_nonce(nonce):
            raise FrameError(f"it does not speak protocol {PROTOCOL}; use the same hwloop on both sides")
        hello: Header = {"op": "hello", "protocol": PROTOCOL, "client": token, "name": name}
        if key is not None:
            hello |= {"nonce": ours, "proof": proof(key, CLIENT, nonce, ours, certificate)}
        channel.send(hello)
        reply, _ = channel.receive(CONTROL_BYTES, deadline)
        if reply["op"] == "error":
            raise error_in(reply)
        if key is not None and not is_proof(reply.get("proof"), proof(key, SERVER, nonce, ours, certificate)):
            raise ConfigError(f"the server at {self.address} does not have our key; do not trust it")


def _connected(address: Address, secured: bool, deadline: Deadline) -> socket.socket:
    try:
        places = resolve(address)
    except ConfigError as error:  # a name server that is out of order is no mistake of the user's
        raise DeviceDisconnected(str(error)) from error
    failure: OSError = TimeoutError("no time is left")
    for _, host in places:
        if not (secured or is_loopback(host)):
            raise ConfigError(
                f"{address} is another computer; give key_file, the key that its server has, so that nobody else "
                "can pretend to be the device"
            )
        seconds = min(CONNECT_SECONDS, deadline.remaining_seconds)
        if seconds <= 0:
            break
        try:
            stream = socket.create_connection((host, address.port), timeout=seconds)
            prepare(stream)
        except OSError as error:
            failure = error
        else:
            return stream
    kind = DeviceTimeout if isinstance(failure, TimeoutError) else DeviceDisconnected
    raise kind(
        f"no server answers at {address} ({failure}); start one there with hwloop serve, and check host, port and "
        "firewall"
    ) from failure
