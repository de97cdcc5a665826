"""The bench: two virtual instruments, the cables between them, a substrate, its settings and device file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from hwloop.device import Device, DeviceSpec
from hwloop.device.settings import one_of
from hwloop.registry import open_device
from hwloop.simulators.bench.fixture import Fixture, FixtureWiring
from hwloop.simulators.bench.generator.keysight_33500 import VirtualKeysight33500
from hwloop.simulators.bench.generator.outputs import Burst
from hwloop.simulators.bench.misbehaviour import Misbehaviour
from hwloop.simulators.bench.oscilloscope.infiniivision import InfiniiVisionDSO
from hwloop.simulators.bench.scpi.instrument import BenchClock
from hwloop.simulators.bench.server import LINKS, Server, serve
from hwloop.simulators.bench.signals import OutputLog, Voltage
from hwloop.simulators.bench.tcp_peer import LOOPBACK

DRIVING_CHANNEL = 1


class BenchCables:
    """Generator channel 1 drives the fixture, whose output lies on the oscilloscope's channel 1.

    The oscilloscope's channel 2 looks at the fixture's input, and its external trigger at the generator's sync.

    Parameters
    ----------
    clock, generator, oscilloscope, fixture
        What is connected.
    """

    def __init__(
        self, clock: BenchClock, generator: VirtualKeysight33500, oscilloscope: InfiniiVisionDSO, fixture: Fixture
    ) -> None:
        self._clock = clock
        self._generator = generator
        self._oscilloscope = oscilloscope
        self._fixture = fixture
        generator.on_burst = self._played
        oscilloscope.lines = self._lines
        oscilloscope.on_armed = self._armed

    def _lines(self) -> Mapping[str, Voltage]:
        return {"CHAN1": self._fixture.output, "CHAN2": self._generator.output(DRIVING_CHANNEL)}

    def _played(self, burst: Burst) -> None:
        lines = dict(self._lines())
        stop = burst.start + burst.seconds
        if burst.channel == DRIVING_CHANNEL:
            self._fixture.receive(burst.signal, burst.start, stop)
            lines = {"CHAN1": self._fixture.output, "CHAN2": burst.signal}
        self._oscilloscope.sync_edge(burst.start, stop, lines, burst.synced)

    def _armed(self) -> None:
        """A generator that triggers itself plays on while the oscilloscope waits."""
        burst = self._generator.next_burst(self._clock.now(), DRIVING_CHANNEL)
        if burst is not None:
            self._played(burst)


DRIVER = "waveform"
_KNOWN_TO_THE_BENCH_ALONE = ("latency_seconds", "rise_seconds")


def device_table(generator: str, oscilloscope: str, spec: DeviceSpec, wiring: FixtureWiring) -> dict[str, Any]:
    """Device and settings. What a driver has to measure, the latency, is not among them."""
    settings: dict[str, Any] = {"generator": generator, "oscilloscope": oscilloscope}
    settings |= {"n_inputs": spec.n_inputs, "n_outputs": spec.n_outputs}
    settings |= {name: np.asarray(getattr(spec, name)).tolist() for name in ("input_low", "input_high")}
    settings |= {"input_unit": spec.input_unit, "output_unit": spec.output_unit}
    settings |= {name: value for name, value in wiring.as_dict().items() if name not in _KNOWN_TO_THE_BENCH_ALONE}
    return {"device": DRIVER, "settings": settings}


def toml_document(table: Mapping[str, Any], substrate: str) -> str:
    """The table as a TOML document."""
    lines = [f"# Two virtual instruments, and between them: {substrate!r}".replace("\n", " ")]
    lines += [f"device = {json.dumps(table['device'])}", "", "[settings]"]
    # JSON's text, numbers and lists are TOML's too.
    lines += [f"{name} = {json.dumps(value)}" for name, value in table["settings"].items()]
    return "\n".join(lines) + "\n"


class VirtualBench:
    """A virtual generator and a virtual oscilloscope, with a substrate wired between them::

        with VirtualBench("optical-fibre", substrate_settings={"n_outputs": 20}) as bench:
            rig = hwloop.open_device(bench.device_toml(folder / "rig.toml"))

    Parameters
    ----------
    substrate
        A device, or the name that ``hwloop.open_device`` builds it from.
    substrate_settings
        Settings of a substrate that is given by name.
    host
        Address to listen on; loopback by default. Anyone who reaches the port can use the instruments.
    dac_bits
        Of the generator, 14 or 16 in the real ones.
    noise_of_range
        Noise of one sample of the oscilloscope, as a fraction of its screen's height.
    realtime
        Whether bursts and records take the time that they would take.
    command_seconds
        Time that an instrument takes over every message.
    load_ohms
        Input resistance of the fixture.
    seed
        Of the instruments' noise; the substrate has its own.
    link
        How the instruments are reached: ``"tcp"``, ``"serial"`` (pseudo-terminals) or ``"hislip"``.
    wiring
        Parameters of :class:`~.fixture.FixtureWiring`; the rest is made to fit the substrate.

    Raises
    ------
    ConfigError
        The substrate is unknown or refuses its settings.
    ValueError
        A parameter of the bench that makes no sense.
    OSError
        The address cannot be listened on.
    """

    def __init__(
        self,
        substrate: Device | str | Path,
        *,
        substrate_settings: dict[str, Any] | None = None,
        host: str = LOOPBACK,
        dac_bits: int = 16,
        noise_of_range: float = 0.002,
        realtime: bool = False,
        command_seconds: float = 0.0,
        load_ohms: float = float("inf"),
        seed: int = 0,
        link: str = "tcp",
        **wiring: float,
    ) -> None:
        if isinstance(substrate, Device):
            self.substrate = substrate
        else:
            self.substrate = open_device(substrate, **(substrate_settings or {}))
        self.clock = BenchClock(realtime, command_seconds)
        self.log = OutputLog()
        self.fixture = Fixture(self.substrate, FixtureWiring.suited_to(self.substrate, **wiring))
        self.generator_instrument = VirtualKeysight33500(self.clock, self.log, load_ohms, dac_bits, seed)
        self.oscilloscope_instrument = InfiniiVisionDSO(self.clock, noise_of_range, seed)
        BenchCables(self.clock, self.generator_instrument, self.oscilloscope_instrument, self.fixture)
        self.host = host
        self.link = one_of("link", link, LINKS)
        self._servers: dict[str, Server] = {}

    def open(self) -> None:
        """Open the substrate and listen; safe to call twice."""
        if self._servers:
            return
        self.substrate.open()
        try:
            self._servers["generator"] = serve(self.generator_instrument, self.link, self.host)
            self._servers["oscilloscope"] = serve(self.oscilloscope_instrument, self.link, self.host)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up on everybody and close the substrate; safe to call twice."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            server.close()
        self.substrate.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def generator(self) -> str:
        """VISA resource name of the generator."""
        return self.server("generator").resource_name

    @property
    def oscilloscope(self) -> str:
        """VISA resource name of the oscilloscope."""
        return self.server("oscilloscope").resource_name

    def server(self, instrument: str) -> Server:
        """The server of ``"generator"`` or ``"oscilloscope"``, to hang up or to look at its port.

        Raises
        ------
        RuntimeError
            The bench is not open.
        """
        if instrument not in self._servers:
            raise RuntimeError(f"the bench serves no {instrument}; use it as 'with VirtualBench(...) as bench:'")
        return self._servers[instrument]

    def misbehave(self, instrument: str, misbehaviour: Misbehaviour) -> None:
        """Let ``"generator"`` or ``"oscilloscope"`` make faults on its wire from now on."""
        self.server(instrument).misbehaviour = misbehaviour

    def device_table(self) -> dict[str, Any]:
        """What :meth:`device_toml` writes, as a dictionary."""
        return device_table(self.generator, self.oscilloscope, self.substrate.spec, self.fixture.wiring)

    def device_toml(self, path: str | Path) -> Path:
        """Write the TOML from which ``hwloop.open_device`` builds the two instruments as one device."""
        path = Path(path)
        path.write_text(toml_document(self.device_table(), self.substrate.identify()), encoding="utf-8")
        return path
