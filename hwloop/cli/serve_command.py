"""``hwloop serve``: lends a device over the network, until it is told to end."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwloop.cli.bench_command import told_to_end
from hwloop.cli.command import DeviceTarget, device_settings, json_option, reporting, set_option
from hwloop.errors import ConfigError

if TYPE_CHECKING:
    from hwloop.devices.remote.address import Address
    from hwloop.devices.remote.security import ServerSecurity

SecurityFiles = tuple[Path | None, Path | None, Path | None]


@reporting
def serve(
    target: DeviceTarget,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address; any but loopback needs a key and a certificate.")
    ] = "127.0.0.1:4780",
    settings: Annotated[
        list[str] | None, set_option("A setting of the device, such as port=/dev/ttyUSB0.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that clients must have; asks for TLS too.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate for TLS (PEM); a self-signed one will do.")
    ] = None,
    certificate_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's private key (PEM).")
    ] = None,
    as_json: Annotated[bool, json_option("Print one line of JSON when the server listens.")] = False,
) -> None:
    """Lend a device to one client at a time, who opens it as remote:HOST:PORT; Ctrl-C ends it.

    The device is in its safe state whenever nobody has it, and when the server ends.
    """
    _serve(target, settings or [], listen, (key_file, certificate, certificate_key), as_json)


def _serve(target: str, settings: Sequence[str], listen: str, files: SecurityFiles, as_json: bool) -> None:
    """Serve a device until SIGINT or SIGTERM comes.

    Standard output carries the name by which clients open the device, or with ``as_json`` an object with that
    name, the device's identity and its channels, once the server listens. Standard error carries who comes and
    goes.

    Parameters
    ----------
    target, settings
        The device, as ``hwloop check`` takes it.
    listen
        ``HOST:PORT``.
    files
        Key file, certificate and the certificate's key; all or none.
    as_json
        For programs.

    Raises
    ------
    ConfigError
        The device, the address or a file cannot be used.
    DeviceError
        The device cannot be opened, or has not reached its safe state in the end.
    """
    from hwloop.devices.remote.address import Address
    from hwloop.devices.remote.server import DeviceServer
    from hwloop.registry import device_factory

    server = DeviceServer(
        device_factory(target, device_settings(settings)), Address.parse(listen), _security(files), _say
    )
    with told_to_end() as ended:
        try:
            description = server.open()
        except OSError as error:
            raise ConfigError(f"cannot listen on {listen} ({error.strerror or error}); choose another") from error
        with server:
            name = f"remote:{_reached_at(server.address)}"
            spec = description.spec
            if as_json:
                channels = {"n_inputs": spec.n_inputs, "n_outputs": spec.n_outputs}
                print(json.dumps({"device": name, "identity": description.identity, **channels}), flush=True)
            else:
                print(name, flush=True)
                _say(f"{description.identity}: {spec.n_inputs} inputs, {spec.n_outputs} outputs; Ctrl-C ends it")
            ended.wait()
            _say("ending; the device goes to its safe state")


def _security(files: SecurityFiles) -> ServerSecurity | None:
    from hwloop.devices.remote.security import ServerSecurity

    key_file, certificate, certificate_key = files
    if key_file is not None and certificate is not None and certificate_key is not None:
        return ServerSecurity(key_file, certificate, certificate_key)
    if any(file is not None for file in files):
        raise ConfigError("--key-file, --certificate and --certificate-key go together; give all three or none")
    return None


def _reached_at(address: Address) -> Address:
    """The address as others write it: every address of this computer is its name."""
    from hwloop.devices.remote.address import Address

    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address.host).is_unspecified:
            return Address(socket.gethostname(), address.port)
    return address


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)
