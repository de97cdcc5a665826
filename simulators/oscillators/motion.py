"""The motion of a ring of oscillators with springs between neighbours, for many rows at once in torch.

Products and sums are taken one by one, never fused into one call: each is then rounded in the same way at every
place of a block, however it is shared between threads.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.simulators.torch_devices import torch_device
from hwloop.torch_state import own_torch_state


class Potential(ABC):
    """What pulls a single oscillator back; ``stiffness`` is the square of its small-amplitude frequency."""

    @abstractmethod
    def force(self, angles: Tensor, stiffness: Tensor) -> Tensor:
        """Minus the slope of the potential."""

    @abstractmethod
    def energy(self, angles: Tensor, stiffness: Tensor) -> Tensor:
        """The potential, zero at rest."""


@dataclass(frozen=True)
class Pendulum(Potential):
    """V = stiffness (1 - cos q)."""

    def force(self, angles: Tensor, stiffness: Tensor) -> Tensor:
        return torch.sin(angles).mul_(stiffness).neg_()

    def energy(self, angles: Tensor, stiffness: Tensor) -> Tensor:
        """V, written so that small angles keep their digits."""
        return 2 * stiffness * torch.sin(angles / 2) ** 2


@dataclass(frozen=True)
class Duffing(Potential):
    """V = stiffness q^2 / 2 + hardening q^4 / 4."""

    hardening: float

    def force(self, angles: Tensor, stiffness: Tensor) -> Tensor:
        return angles.square().mul_(self.hardening).add_(stiffness).mul_(angles).neg_()

    def energy(self, angles: Tensor, stiffness: Tensor) -> Tensor:
        squares = angles**2
        return squares * (stiffness / 2 + self.hardening * squares / 4)


class Lattice:
    """Oscillators on a ring: q_i'' = -V'(q_i) + sum over springs of k (q_j - q_i).

    Parameters
    ----------
    potential
        Of every single oscillator.
    stiffness
        Squares of their frequencies, shape (oscillators, rows) or (oscillators, 1).
    springs
        ``springs[d - 1]`` ties oscillator i to i + d, shape (neighbours, oscillators, 1).
    """

    def __init__(self, potential: Potential, stiffness: Tensor, springs: Tensor) -> None:
        self.potential, self.stiffness = potential, stiffness
        self._reach = len(springs)
        ahead = list(springs)
        behind = [torch.roll(spring, distance, 0) for distance, spring in enumerate(springs, start=1)]
        # Distances -reach to reach; the one in the middle, to the oscillator itself, takes what the others give.
        self._springs = [*reversed(behind), -springs.sum(0) - sum(behind), *ahead]

    def acceleration(self, angles: Tensor) -> Tensor:
        """Of angles of shape (oscillators, rows)."""
        total = self.potential.force(angles, self.stiffness)
        for spring, neighbour in zip(self._springs, self._neighbours(angles), strict=True):
            total.add_(spring * neighbour)
        return total

    def energy(self, angles: Tensor, velocities: Tensor) -> Tensor:
        """Energy of each oscillator, shape (oscillators, rows): its own, and half of every spring it holds."""
        total = velocities**2 / 2 + self.potential.energy(angles, self.stiffness)
        for number, (spring, neighbour) in enumerate(zip(self._springs, self._neighbours(angles), strict=True)):
            if number != self._reach:
                total += spring * (neighbour - angles) ** 2 / 4
        return total

    def _neighbours(self, angles: Tensor) -> list[Tensor]:
        """The angles of the oscillators at distances -reach to reach along the ring, without copies of each."""
        count, reach = len(angles), self._reach
        ring = torch.cat([angles[count - reach :], angles, angles[:reach]])
        return [ring[start : start + count] for start in range(2 * reach + 1)]


@dataclass(frozen=True)
class Verlet:
    """q'' = a(q) + f cos(drive_frequency t) - 2 damping q', in steps of ``step``.

    A step is damping for half of it (exact: the velocity times exp(-damping step)), kick, drift, kick, damping:
    each part is solved exactly and they are put together symmetrically, so the order is 2 and without damping
    the map is symplectic (Hairer, Lubich and Wanner, Geometric Numerical Integration, 2006, sections I.1.4 and
    II.5). Stable up to step * omega_max = 2.

    Attributes
    ----------
    lattice
        Gives the acceleration a.
    step
        In units of 1 / omega_0, as all times.
    damping
        Decay rate of an amplitude.
    drive_frequency
        Angular, in units of omega_0.
    """

    lattice: Lattice
    step: float
    damping: float = 0.0
    drive_frequency: float = 1.0

    def states(
        self, angles: Tensor, drive: Tensor | None, steps_per_read: int, n_reads: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Angles and velocities, each (oscillators, rows), at ``n_reads`` times, from rest at ``angles``.

        ``drive`` holds the amplitudes f, same shape, or is ``None`` for no drive.
        """
        angles, velocities = angles.clone(), torch.zeros_like(angles)
        half, decay = self.step / 2, math.exp(-self.damping * self.step)
        push = self._push(angles, drive, 0)
        for read in range(n_reads):
            for number in range(read * steps_per_read + 1, (read + 1) * steps_per_read + 1):
                velocities.mul_(decay).add_(half * push)
                angles.add_(self.step * velocities)
                push = self._push(angles, drive, number)
                velocities.add_(half * push).mul_(decay)
            yield angles.clone(), velocities.clone()

    def _push(self, angles: Tensor, drive: Tensor | None, number: int) -> Tensor:
        acceleration = self.lattice.acceleration(angles)
        if drive is None:
            return acceleration
        return acceleration.add_(drive * math.cos(self.drive_frequency * self.step * number))


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
        As :class:`Verlet` takes them.
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
