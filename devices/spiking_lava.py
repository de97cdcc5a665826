"""The device ``spiking-lava``: leaky integrate-and-fire neurons in Intel's Lava, which lives in another Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from typing import ClassVar

from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.devices.worker.environments import environment_python
from hwloop.devices.worker.target import Target
from hwloop.devices.worker.worker import WorkerEngine
from hwloop.errors import DeviceError
from hwloop.events import DeviceFault
from hwloop.simulators.spiking.device import LIFReservoir
from hwloop.simulators.spiking.engine import Engine, Window
from hwloop.simulators.spiking.lava.loihi.fixed_point import fixed_point
from hwloop.simulators.spiking.lava.loihi.twin import FixedPointTwin, FloatingTwin
from hwloop.simulators.spiking.layer import SpikingLayer

OF_THE_ENGINE = ("precision", "engine", "hardware", "message_bits", "batch_rows", "python", "deadline_seconds")
PRECISIONS = ("floating", "fixed")
ENGINES = ("lava", "twin")
HARDWARE = ("simulation", "loihi2")
LARGEST_MESSAGE_BITS = 12
LARGEST_BATCH_ROWS = 65_536


class SpikingLava(LIFReservoir):
    """Reservoir of leaky integrate-and-fire neurons as processes of Lava, streamed batch by batch.

    Parameters
    ----------
    precision, engine, hardware, message_bits, batch_rows, python, deadline_seconds
        See :func:`lava_engine`.
    reservoir
        Everything else is a setting of :class:`~hwloop.simulators.spiking.device.LIFReservoir`.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    ConfigError
        There is no environment with Lava.
    """

    path_settings: ClassVar = frozenset({"python"})
    harmless_settings: ClassVar = {
        "batch_rows": "rows do not see each other, however many share a batch",
        "python": "Lava's version is pinned; where its interpreter lies changes nothing",
        "deadline_seconds": "how long an answer is waited for",
    }

    precision: str = "floating"
    engine: str = "lava"
    hardware: str = "simulation"
    message_bits: int = 7
    batch_rows: int = 256
    python: str | os.PathLike[str] | None = None
    deadline_seconds: float = 60.0

    def _set_up(self) -> None:
        self._faults = self._rows_asked = 0
        if self.hardware == "loihi2" and self.coding.output == "membrane":
            raise ValueError(
                "hardware 'loihi2' shows no membranes; the nearest allowed value of output is 'counts'"
            )
        super()._set_up()

    def close(self) -> None:
        """End the worker; the next row starts another."""
        if isinstance(self._engine, WorkerEngine):
            self._engine.close()

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        self._rows_asked = len(drive)
        return super()._signal(drive, first_row)

    def _engine_of(self, layer: SpikingLayer) -> Engine:
        return lava_engine(
            layer, self.window, **{name: getattr(self, name) for name in OF_THE_ENGINE}, lost=self._lost
        )

    def _lost(self, error: DeviceError) -> None:
        self._faults += 1
        action = "worker started again; the same rows are measured once more"
        self.tell(DeviceFault(self._faults, f"{type(error).__name__}: {error}", self._rows_asked, action))


def lava_engine(
    layer: SpikingLayer,
    window: Window,
    *,
    precision: str = "floating",
    engine: str = "lava",
    hardware: str = "simulation",
    message_bits: int = 7,
    batch_rows: int = 256,
    python: str | os.PathLike[str] | None = None,
    deadline_seconds: float = 60.0,
    lost: Callable[[DeviceError], None] = lambda error: None,
) -> Engine:
    """An engine that runs a layer for a window with Lava's arithmetic.

    Parameters
    ----------
    precision
        ``"floating"``: doubles, and every spike as the other engines have it; ``"fixed"``: Loihi's integers, by
        Lava's bit-accurate models.
    engine
        ``"lava"``, in a worker; or ``"twin"``, the same arithmetic in this process, which needs no Lava.
    hardware
        ``"simulation"`` on the processor, or ``"loihi2"`` on a chip (fixed precision, one row at a time).
    message_bits
        Bits of a stimulus in fixed precision, without its sign.
    batch_rows
        Rows that Lava's network holds and runs at once.
    python
        An interpreter with Lava, by default that of ``hwloop worker install lava``.
    deadline_seconds
        For one call; after it the worker is killed and the rows are run once more.
    lost
        Called with the error of a worker that crashed or hung.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    ConfigError
        There is no environment with Lava.
    """
    one_of("precision", precision, PRECISIONS)
    one_of("engine", engine, ENGINES)
    whole_number("message_bits", message_bits, 1, LARGEST_MESSAGE_BITS)
    whole_number("batch_rows", batch_rows, 1, LARGEST_BATCH_ROWS)
    real_number("deadline_seconds", deadline_seconds, 0.1, 86_400.0)
    on_chip = one_of("hardware", hardware, HARDWARE) == "loihi2"
    for name, value, allowed in (("precision", precision, "fixed"), ("engine", engine, "lava")):
        if on_chip and value != allowed:
            raise ValueError(f"hardware 'loihi2' goes with {name} {allowed!r} alone, not {value!r}")
    arrays, time = layer.arrays(), {"steps": window.steps, "settle_steps": window.settle_steps}
    if precision == "fixed":
        fixed_point(arrays, message_bits)  # refused here, not in the worker
    if engine == "twin":
        return (
            FloatingTwin(arrays, **time)
            if precision == "floating"
            else FixedPointTwin(arrays, message_bits, **time)
        )
    layout = "loihi2" if on_chip else precision
    return WorkerEngine(
        Target(
            name="loihi.engine:LavaEngine",
            settings={"layout": layout, "message_bits": message_bits, "batch_rows": batch_rows, **time},
            arrays=arrays,
            python=str(environment_python("lava") if python is None else python),
            path=[str(files("hwloop.simulators.spiking.lava"))],
            deadline_seconds=deadline_seconds,
        ),
        lost,
    )
