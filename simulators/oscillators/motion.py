"""The motion of a ring of oscillators as arrays in and readings out: what the device asks of torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.simulators.oscillators.lattice import Duffing, Lattice, Pendulum, Potential
from hwloop.simulators.oscillators.verlet import Verlet
from hwloop.simulators.torch_devices import torch_device
from hwloop.torch_state import own_torch_state

__all__ = ["Duffing", "Motion", "Pendulum"]

READINGS: dict[str, Callable[[Lattice, Tensor, Tensor], Tensor]] = {
    "angle": lambda lattice, angles, velocities: angles,
    "velocity": lambda lattice, angles, velocities: velocities,
    "energy": Lattice.energy,
}


class Motion:
    """Readings of a ring that starts at rest.

    Parameters
    ----------
    potential
        Of a single oscillator.
    springs
        Shape (neighbours, oscillators).
    step, damping, drive_frequency
        As :class:`hwloop.simulators.oscillators.verlet.Verlet` takes them.
    steps_per_read, n_reads
        When to read.
    readout
        ``"angle"``, ``"velocity"`` or ``"energy"``.
    device
        torch's name of where to compute.
    dtype
        Of the motion; single precision leaves errors of a few 1e-5 rad after some periods.
    """

    @own_torch_state()
    def __init__(
        self,
        potential: Potential,
        springs: Float64Array,
        *,
        step: float,
        damping: float,
        drive_frequency: float,
        steps_per_read: int,
        n_reads: int,
        readout: str,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._device, self._dtype = torch_device(device), dtype
        self._potential, self._springs = potential, self._tensor(springs[:, :, np.newaxis])
        self._step, self._damping, self._drive_frequency = step, damping, drive_frequency
        self._steps_per_read, self._n_reads = steps_per_read, n_reads
        self._reading = READINGS[readout]

    @own_torch_state()
    def __call__(self, angles: Float64Array, drive: Float64Array | None, stiffness: Float64Array) -> Float64Array:
        """Readings of shape (rows, n_reads * oscillators).

        ``angles`` and ``drive`` have shape (rows, oscillators), ``stiffness`` (oscillators, rows) or
        (oscillators, 1).
        """
        # Rows last: neighbours are then whole lines, and rows fill the vector units.
        lattice = Lattice(self._potential, self._tensor(stiffness), self._springs)
        method = Verlet(lattice, self._step, self._damping, self._drive_frequency)
        pushed = None if drive is None else self._tensor(drive.T)
        states = method.states(self._tensor(angles.T), pushed, self._steps_per_read, self._n_reads)
        readings = torch.cat([self._reading(lattice, q, v) for q, v in states])
        return np.ascontiguousarray(readings.T.cpu().numpy(), dtype=np.float64)

    def _tensor(self, values: Float64Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=self._dtype, device=self._device)
