"""A layer of leaky integrate-and-fire neurons in torch, for many rows at once.

Every step is a handful of element-wise operations in place, on arrays of shape (neurons, rows) that stay in the
processor's cache. Masks are kept as numbers 1.0 and 0.0 in the type of the potentials: torch compares into that
type, and multiplies by it, with vector units, which it does not with booleans. Products and sums are taken one by
one, never fused, and matrix products are exact (:mod:`hwloop.simulators.spiking.layer`): so no bit of a row
depends on its batch-mates or on the number of threads. Where currents are constant, those neurons that they cannot
bring to the threshold are left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.torch_devices import torch_device
from hwloop.torch_state import own_torch_state

CELLS_IN_CACHE = 2**15  # neurons times rows that are stepped together
STEPS_PER_PRODUCT = 16
PRECISIONS = {"double": torch.float64, "single": torch.float32}


@dataclass(frozen=True)
class Constants:
    """What a step multiplies with, adds and compares to: numbers, or columns (neurons, 1), or one a cell."""

    keep_u: Tensor
    keep_v: Tensor
    bias: Tensor
    threshold: Tensor

    def of_cells(self, shape: tuple[int, int], chosen: Tensor) -> Constants:
        """Those of chosen cells of (neurons, rows), by their place in it."""
        parts = (self.keep_u, self.keep_v, self.bias, self.threshold)
        return Constants(*(part if part.ndim == 0 else part.expand(shape).flatten()[chosen] for part in parts))


class TorchLIF:
    """The engine of ``spiking-lif``: see :class:`~hwloop.simulators.spiking.engine.Engine`.

    Parameters
    ----------
    layer, window
        What runs, and for how long.
    device
        Where, such as ``"cpu"`` or ``"cuda"``.
    precision
        Of currents and potentials: ``"double"``, as :class:`~hwloop.simulators.spiking.neuron.DiscreteLIF` says,
        or ``"single"``. Synaptic sums are exact in both, and in single precision rounded then.
    """

    @own_torch_state()
    def __init__(
        self, layer: SpikingLayer, window: Window, device: str = "cpu", precision: str = "double"
    ) -> None:
        self.layer, self.window = layer, window
        self._device, self._type = torch_device(device), PRECISIONS[precision]
        neuron = layer.neuron
        self._weights = self._exact(layer.weights.T)
        self._recurrent = None if layer.recurrent is None else self._exact(layer.recurrent.T)
        self._constants = Constants(
            self._per_neuron(1.0 - np.asarray(neuron.du)),
            self._per_neuron(1.0 - np.asarray(neuron.dv)),
            self._per_neuron(neuron.bias),
            self._per_neuron(neuron.threshold),
        )
        self._biased = bool(np.any(neuron.bias))

    @own_torch_state()
    def run(self, drive: NDArray[Any], activity: Iterable[str]) -> dict[str, NDArray[Any]]:
        """As :meth:`hwloop.simulators.spiking.engine.Engine.run`."""
        names, rows = list(activity), len(drive)
        together = rows
        if self._device.type == "cpu":
            together = max(1, CELLS_IN_CACHE // self.layer.n_neurons)
        with torch.inference_mode():
            parts = [self._run_rows(drive[start : start + together], names) for start in range(0, rows, together)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _run_rows(self, drive: NDArray[Any], names: list[str]) -> dict[str, NDArray[Any]]:
        shape = (self.layer.n_neurons, len(drive))
        if drive.ndim == 3 or self._recurrent is not None or "membrane" in names:
            found = self._run_cells(self._currents(drive), shape, self._constants, names)
        else:
            found = self._run_those_that_may_fire(next(self._currents(drive)), shape, names)
        return {name: rows_first(result).cpu().numpy() for name, result in found.items()}

    def _run_those_that_may_fire(
        self, current: Tensor, shape: tuple[int, int], names: list[str]
    ) -> dict[str, Tensor]:
        """With constant currents some neurons stay below the threshold for ever: they are not stepped."""
        chosen = torch.nonzero(self._may_fire(current).flatten()).squeeze(1)
        constants = self._constants.of_cells(shape, chosen)
        currents = repeat(current.flatten()[chosen], self.window.total_steps)
        found = self._run_cells(currents, chosen.shape, constants, names)
        for name, result in found.items():
            cells = result.new_full(
                (*result.shape[:-1], shape[0] * shape[1]), RECORDS[name].of_silence(self.window)
            )
            cells[..., chosen] = result
            found[name] = cells.reshape(*result.shape[:-1], *shape)
        return found

    def _may_fire(self, current: Tensor) -> Tensor:
        """False where v <= (max(W x, 0) / du + max(bias, 0)) / dv, its bound, lies clearly below the threshold."""
        du, dv = 1.0 - self._constants.keep_u, 1.0 - self._constants.keep_v
        highest = current.clamp(min=0.0) / du + self._constants.bias.clamp(min=0.0)
        # Rounding in every step adds up over the time constants.
        slack = 1e-4 + 4 * torch.finfo(self._type).eps * (1.0 / du + 1.0 / dv)
        needed = self._constants.threshold * dv * (1.0 - slack)
        return ~(highest < needed)  # so that a NaN, of du = 0 or dv = 0, is stepped

    def _run_cells(
        self, currents: Iterable[Tensor], shape: Sequence[int], constants: Constants, names: list[str]
    ) -> dict[str, Tensor]:
        potentials = torch.zeros(tuple(shape), dtype=self._type, device=self._device)
        records: dict[str, ActivityRecord] = {name: RECORDS[name](potentials, self.window) for name in names}
        watching, settling = list(records.values()), self.window.settle_steps
        for step, silent in enumerate(self._steps(currents, constants, potentials)):
            if step >= settling:
                for record in watching:
                    record.see(step - settling, silent)
        return {name: record.result(potentials) for name, record in records.items()}

    def _currents(self, drive: NDArray[Any]) -> Iterator[Tensor]:
        """W x in every step, (neurons, rows); for constant currents it is computed once."""
        if drive.ndim == 2:
            yield from repeat(self._driven(drive.T), self.window.total_steps)
            return
        for start in range(0, drive.shape[1], STEPS_PER_PRODUCT):
            yield from self._driven(drive[:, start : start + STEPS_PER_PRODUCT].transpose(1, 2, 0))

    def _driven(self, stimuli: NDArray[Any]) -> Tensor:
        """W x, still exact where R s will be added to it."""
        product = self._weights @ self._exact(stimuli)
        return product if self._recurrent is not None else product.to(self._type)

    def _steps(self, currents: Iterable[Tensor], constants: Constants, v: Tensor) -> Iterator[Tensor]:
        """Moves the potentials ``v`` on, and yields after every step where no neuron fired (1.0, else 0.0)."""
        u, silent = torch.zeros_like(v), torch.ones_like(v)
        keep_u, keep_v, bias, threshold = constants.keep_u, constants.keep_v, constants.bias, constants.threshold
        held = self.layer.neuron.refractory_steps
        hold = RefractoryHold(v, held) if held else None
        for current in currents:
            if self._recurrent is not None:
                fired = (1.0 - silent).to(torch.float64)
                current = torch.addmm(current, self._recurrent, fired).to(self._type)
            u.mul_(keep_u).add_(current)
            v.mul_(keep_v).add_(u)
            if self._biased:
                v.add_(bias)
            if hold:
                hold.silence(v)
            torch.le(v, threshold, out=silent)
            if self.layer.neuron.subtract:
                # A threshold is infinite only where nothing fires; 0 times infinity must not get there.
                v.sub_((1.0 - silent).mul_(threshold.nan_to_num(posinf=0.0)))
            else:
                v.mul_(silent)
            if hold:
                hold.restart(silent)
            yield silent

    def _per_neuron(self, values: Any) -> Tensor:
        """A number, or a column (neurons, 1)."""
        numbers = self._exact(np.asarray(values)).to(self._type)
        return numbers if numbers.ndim == 0 else numbers[:, None]

    def _exact(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float64, order="C")).to(self._device)


class RefractoryHold:
    """Holds the potentials of neurons at 0 for ``steps`` steps after each spike."""

    def __init__(self, potentials: Tensor, steps: int) -> None:
        self._steps = steps
        self._since = torch.full_like(potentials, steps)  # steps since the last spike: long enough ago
        self._free = torch.empty_like(potentials)

    def silence(self, potentials: Tensor) -> None:
        """Set those to 0 whose last spike is too recent."""
        torch.gt(self._since.add_(1.0), self._steps, out=self._free)
        potentials.mul_(self._free)

    def restart(self, silent: Tensor) -> None:
        """Begin anew where a neuron fired."""
        self._since.mul_(silent)


# -- what is kept while it runs -----------------------------------------------------------------------------------
#
# ``silent`` is 1.0 where a neuron did not fire in a step and 0.0 where it did, shape (neurons, rows), or (cells,)
# where some neurons of some rows are left out.


class ActivityRecord(ABC):
    """One kind of activity during a window."""

    def __init__(self, potentials: Tensor, window: Window) -> None:
        self.window = window

    def see(self, step: int, silent: Tensor) -> None:
        """Called after every step of the window, numbered from 0."""

    @abstractmethod
    def result(self, potentials: Tensor) -> Tensor:
        """The record, of the shape of ``potentials``, which are those at the end, behind that of time."""

    @staticmethod
    def of_silence(window: Window) -> int:
        """The record of a neuron that never fires."""
        return 0


class CountRecord(ActivityRecord):
    """Number of spikes."""

    def __init__(self, potentials: Tensor, window: Window) -> None:
        super().__init__(potentials, window)
        self._silences = torch.zeros_like(potentials)

    def see(self, step: int, silent: Tensor) -> None:
        """Counts the steps without a spike: one addition."""
        self._silences.add_(silent)

    def result(self, potentials: Tensor) -> Tensor:
        return (self.window.steps - self._silences).to(torch.int32)


class FirstSpikeRecord(ActivityRecord):
    """Steps before the first spike."""

    def __init__(self, potentials: Tensor, window: Window) -> None:
        super().__init__(potentials, window)
        self._steps, self._never = torch.zeros_like(potentials), torch.ones_like(potentials)

    def see(self, step: int, silent: Tensor) -> None:
        """Counts on while there was no spike."""
        self._steps.add_(self._never.mul_(silent))

    def result(self, potentials: Tensor) -> Tensor:
        return self._steps.to(torch.int32)

    @staticmethod
    def of_silence(window: Window) -> int:
        return window.steps


class SpikeTrainRecord(ActivityRecord):
    """Every spike."""

    def __init__(self, potentials: Tensor, window: Window) -> None:
        super().__init__(potentials, window)
        self._fired = torch.empty((window.steps, *potentials.shape), dtype=torch.uint8, device=potentials.device)

    def see(self, step: int, silent: Tensor) -> None:
        torch.eq(silent, 0.0, out=self._fired[step])

    def result(self, potentials: Tensor) -> Tensor:
        return self._fired


class MembraneRecord(ActivityRecord):
    """Potentials at the end: nothing is kept on the way."""

    def result(self, potentials: Tensor) -> Tensor:
        return potentials.to(torch.float64)


RECORDS: dict[str, type[ActivityRecord]] = {
    "counts": CountRecord,
    "first_spike": FirstSpikeRecord,
    "membrane": MembraneRecord,
    "spikes": SpikeTrainRecord,
}


def rows_first(record: Tensor) -> Tensor:
    """A record of shape (..., neurons, rows) as (rows, ..., neurons)."""
    return record.movedim(-1, 0)
