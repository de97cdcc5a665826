"""The field for many states of a metasurface at once, in torch, on a CPU or another device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwloop.simulators.microwave.chamber import Complex, Eliminated
from hwloop.torch_state import own_torch_state

BLOCK_BYTES = 4 << 20  # of the systems that are solved together: they stay in the processor's cache


class BinaryStates:
    """W^-1 between transmitters and receivers for any binary state, from two reference states.

    Few pixels differ from either *all off* or *all on*, at most half. With K the inverse of the reference's
    Schur complement and b the pixels that differ, by c each (Woodbury):
    S^-1 = K - K[:, b] (diag(1 / c) + K[b, b])^-1 K[b, :]. So a row is a system of at most pixels / 2 unknowns
    a frequency. All systems have that size, so that no row's result depends on its neighbours.

    Parameters
    ----------
    frequencies
        The chamber at each frequency.
    transmitters, receivers
        Numbers of antennas.
    torch_device
        Where the systems are solved, such as ``"cpu"`` or ``"cuda"``.
    """

    @own_torch_state()
    def __init__(
        self, frequencies: Sequence[Eliminated], transmitters: slice, receivers: slice, torch_device: str = "cpu"
    ) -> None:
        self.n_pixels = len(frequencies[0].change)
        self._size = max(1, self.n_pixels // 2)
        self._torch_device = torch_device
        off = [_Reference.of(f, f.off, f.change, transmitters, receivers) for f in frequencies]
        on = [_Reference.of(f, f.off + np.diag(f.change), -f.change, transmitters, receivers) for f in frequencies]
        self._direct = self._table([[r.direct for r in row] for row in (off, on)])
        self._kernels = self._table([[r.kernel for r in row] for row in (off, on)]).flatten(2)
        self._inverse_changes = self._table([[r.inverse_changes for r in row] for row in (off, on)])
        self._sent = self._table([[r.sent for r in row] for row in (off, on)])
        self._heard = self._table([[r.heard for r in row] for row in (off, on)])

    @own_torch_state()
    def __call__(self, states: NDArray[np.bool_]) -> Complex:
        """Shape (rows, frequencies, receivers, transmitters), for states (rows, pixels)."""
        rows = max(1, BLOCK_BYTES // (self._direct.shape[1] * self._size**2 * 16))
        blocks = [self._block(states[start : start + rows]) for start in range(0, len(states), rows)]
        return np.asarray(torch.cat(blocks).cpu().numpy())

    def _block(self, states: NDArray[np.bool_]) -> Tensor:
        reference, places = (torch.from_numpy(a).to(self._torch_device) for a in self._differing(states))
        frequency = torch.arange(self._direct.shape[1], device=self._torch_device)
        at = (reference[:, None, None], frequency[None, :, None])
        pairs = (places[:, :, None] * (self.n_pixels + 1) + places[:, None, :]).flatten(1)
        systems = self._kernels[(*at, pairs[:, None, :])]
        systems = systems.reshape(*systems.shape[:2], self._size, self._size)
        systems.diagonal(dim1=2, dim2=3).add_(self._inverse_changes[(*at, places[:, None, :])])
        sent, heard = (table[(*at, places[:, None, :])] for table in (self._sent, self._heard))
        solved: Tensor = torch.linalg.solve(systems, sent)
        return self._direct[reference] - heard.mT @ solved

    def _differing(self, states: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The nearer reference of each row (0: all off, 1: all on), and the pixels that differ from it.

        Places that are left over hold ``n_pixels``, which stands for no pixel.
        """
        on = states.sum(axis=1) > self.n_pixels // 2
        differs = states ^ on[:, np.newaxis]
        order = np.argsort(~differs, axis=1, kind="stable")[:, : self._size]
        places = np.where(np.take_along_axis(differs, order, axis=1), order, self.n_pixels)
        return on.astype(np.int64), places

    def _table(self, entries: list[list[Complex]]) -> Tensor:
        return torch.from_numpy(np.array(entries, dtype=np.complex128)).to(self._torch_device)


@dataclass(frozen=True)
class _Reference:
    """A reference state at one frequency; pixel number n_pixels is added, which couples to nothing.

    ``direct`` is W^-1 from transmitters to receivers, ``kernel`` K, ``sent`` K U at the transmitters and
    ``heard`` K U at the receivers.
    """

    direct: Complex
    kernel: Complex
    inverse_changes: Complex
    sent: Complex
    heard: Complex

    @classmethod
    def of(
        cls, chamber: Eliminated, complement: Complex, changes: Complex, transmitters: slice, receivers: slice
    ) -> _Reference:
        kernel = np.linalg.inv(complement)
        filled = kernel @ chamber.coupling
        between = chamber.direct + chamber.coupling.T @ filled
        return cls(
            direct=between[receivers, transmitters],
            kernel=np.pad(kernel, ((0, 1), (0, 1))),
            inverse_changes=1 / np.pad(changes, (0, 1), constant_values=1.0),
            sent=np.pad(filled[:, transmitters], ((0, 1), (0, 0))),
            heard=np.pad(filled[:, receivers], ((0, 1), (0, 0))),
        )
