"""The device ``spiking-lif``: a reservoir of leaky integrate-and-fire neurons, simulated in torch."""

from __future__ import annotations

from typing import Any

from hwloop.device.settings import one_of
from hwloop.simulators.spiking.engine import Engine
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.spiking.reservoir import LIFReservoir, takes_settings_of


@takes_settings_of(LIFReservoir)
class SpikingLIF(LIFReservoir):
    """Simulated reservoir of leaky integrate-and-fire neurons, all rows at once in torch.

    Parameters
    ----------
    precision
        ``"double"``, in which it agrees with Brian2 and Lava spike by spike, or ``"single"``, which is faster.
    torch_device
        Where it is computed, such as ``"cpu"`` or ``"cuda"``.
    reservoir
        Everything else is a setting of :class:`~hwloop.simulators.spiking.reservoir.LIFReservoir`.
    """

    def __init__(self, *, precision: str = "double", torch_device: str = "cpu", **reservoir: Any) -> None:
        one_of("precision", precision, ("double", "single"))
        super().__init__(precision=precision, torch_device=torch_device, **reservoir)

    def _engine_of(self, layer: SpikingLayer) -> Engine:
        from hwloop.simulators.spiking.lif import TorchLIF  # torch, only where it is used

        return TorchLIF(layer, self.window, self._settings["torch_device"], self._settings["precision"])
