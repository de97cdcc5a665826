"""``hwloop bench``: virtual instruments with a substrate between them, until it is told to end."""

from __future__ import annotations

import ipaddress
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, Protocol, Self

import typer

from hwloop.cli.command import json_option, reporting, set_option
from hwloop.errors import ConfigError

BENCH = "waveform"


@reporting
def bench(
    substrate: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="What is wired between the instruments.")
    ] = "optical-fibre",
    settings: Annotated[list[str] | None, set_option("Change a setting of the substrate or of the bench.")] = None,
    toml: Annotated[
        Path | None,
        typer.Option(help="Write the device TOML here.", metavar="FILE", show_default="a temporary file"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback opens the bench to others.")
    ] = "127.0.0.1",
    as_json: Annotated[bool, json_option("Print one line of JSON when both instruments listen.")] = False,
) -> None:
    """Serve a virtual generator and oscilloscope over TCP; Ctrl-C ends it."""
    _serve(substrate, settings or [], toml, host, as_json)


class Bench(Protocol):
    """What an entry point of the group ``hwloop.benches`` builds."""

    def open(self) -> None:
        """Listen; safe to call twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def generator(self) -> str:
        """VISA resource name of the generator."""

    @property
    def oscilloscope(self) -> str:
        """VISA resource name of the oscilloscope."""

    def device_toml(self, path: Path) -> Path:
        """Write the TOML from which ``hwloop.open_device`` builds the device."""


def _serve(substrate: str, settings: Sequence[str], toml: Path | None, host: str, as_json: bool) -> None:
    """Serve a bench until SIGINT or SIGTERM comes.

    Standard output carries the resource names and the path of the device TOML, or with ``as_json`` one JSON
    object; both once the instruments listen.

    Raises
    ------
    ConfigError
        An unknown substrate or setting, or an address or file that cannot be used.
    """
    from hwloop.registry import BENCHES
    from hwloop.toml_text import parse_setting

    values = {".".join(path): value for path, value in map(parse_setting, settings)}
    if not is_loopback(host):
        print(
            f"hwloop: warning: listening on {host}: everyone who reaches this computer there can use the "
            "instruments, which ask for no password",
            file=sys.stderr,
        )
    bench: Bench = BENCHES.load(BENCH)(substrate, values, host=host)
    with told_to_end() as ended, place_for(toml) as path:
        try:
            bench.open()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} ({error.strerror or error}); choose another --host"
            ) from error
        with bench:
            written = _write(bench, path)
            _announce(bench.generator, bench.oscilloscope, str(written), as_json)
            ended.wait()


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; before and after, they do what they did."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def place_for(toml: Path | None) -> Iterator[Path]:
    """Where the TOML goes: a given path, or a temporary one that goes with the bench, whose ports it names."""
    if toml is not None:
        yield toml
        return
    with tempfile.TemporaryDirectory(prefix="hwloop-bench-") as folder:
        yield Path(folder) / "waveform.toml"


def _write(bench: Bench, path: Path) -> Path:
    try:
        return bench.device_toml(path).absolute()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another --toml") from error


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this computer alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _announce(generator: str, oscilloscope: str, toml: str, as_json: bool) -> None:
    if as_json:
        found = {"generator": generator, "oscilloscope": oscilloscope, "device_toml": toml}
        print(json.dumps(found), flush=True)
        return
    print(f"generator     {generator}")
    print(f"oscilloscope  {oscilloscope}")
    print(f"device        {toml}", flush=True)
    print("Ctrl-C ends the bench.", file=sys.stderr)
