"""The device ``spiking-lif``: a reservoir of leaky integrate-and-fire neurons, simulated in torch."""

from __future__ import annotations

from hwloop.device.declared import choice
from hwloop.simulators.spiking.device import LIFReservoir
from hwloop.simulators.spiking.engine import Engine
from hwloop.simulators.spiking.layer import SpikingLayer


class SpikingLIF(LIFReservoir):
    """Simulated reservoir of leaky integrate-and-fire neurons, all rows at once in torch.

    Parameters
    ----------
    precision
        ``"double"``, in which it agrees with Brian2 and Lava spike by spike, or ``"single"``, which is faster.
    torch_device
        Where it is computed, such as ``"cpu"`` or ``"cuda"``.
    """

    precision: str = choice("double", ("double", "single"))
    torch_device: str = "cpu"

    def _engine_of(self, layer: SpikingLayer) -> Engine:
        from hwloop.simulators.spiking.lif import TorchLIF  # torch, only where it is used

        return TorchLIF(layer, self.window, self.torch_device, self.precision)
