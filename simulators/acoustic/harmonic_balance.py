"""The steady state of nonlinear scatterers in a cavity that tones drive, by harmonic balance, in torch.

The rates v = p_t at the scatterers are unknown, as harmonics of one fundamental. The cavity is linear in each
harmonic, v = v_free - Z F(v), with Z the impedance between scatterers (passive: its Hermitian part is positive);
the force F is computed in time, by fast Fourier transforms (alternating frequency and time: Cameron and Griffin,
J. Appl. Mech. 56, 149 (1989)). F rises with slopes between 0 and s. A slope k of it is put on the linear side,

    v = (1 + k Z)^-1 (v_free - Z (F(v) - k v)),

and with k >= s / 2 this map brings any two fields nearer to each other: F(v) - k v changes by at most k times the
change of v (Parseval), and the matrix in front is smaller than 1 / k (Z is passive). So the iteration converges
from anywhere to the one steady state there is, though slowly where scatterers are strong and loud; the truncation
to a number of harmonics and the sampling in time are projections and change nothing of this. The k >= s / 2
nearest to 1, the slope of F at rest, is taken: a soft drive meets its answer in the first step.
Anderson's acceleration (J. ACM 12, 547 (1965)) with one step of memory makes it faster.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from hwloop.simulators.acoustic.medium import Complex, Resistor
from hwloop.simulators.threads import Alone, each_block
from hwloop.simulators.torch_devices import single_threaded_torch
from hwloop.torch_state import own_torch_state

BLOCK_ROWS = 32  # solved together, always so many: no row's rounding depends on its neighbours; stays in the cache
PRECISIONS = {"single": torch.float32, "double": torch.float64}
COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
TOLERANCES = {"single": 1.5e-6, "double": 1e-11}  # of the change by a step, relative to the drive


@dataclass(frozen=True)
class SteadyState:
    """Forces F(v), amplitudes of cos, complex (rows, lines read, scatterers); the steps that a row took."""

    forces: Complex
    converged: NDArray[np.bool_]
    steps: NDArray[np.int64]


class HarmonicBalance:
    """Solves v = v_free - Z F(v) for many rows.

    Parameters
    ----------
    impedances
        Z at harmonics 1, 2, ..., of the fundamental, shape (harmonics, scatterers, scatterers).
    law
        F.
    driven, read
        Harmonics at which there is a v_free, and at which the forces are wanted: whole numbers from 1 up.
    precision
        ``"single"`` or ``"double"``.
    max_steps
        After which a row is given up, and said to be not converged.
    torch_device
        Where it is solved, such as ``"cpu"`` or ``"cuda"``.
    """

    @own_torch_state()
    def __init__(
        self,
        impedances: Complex,
        law: Resistor,
        driven: NDArray[np.int64],
        read: NDArray[np.int64],
        precision: str = "single",
        max_steps: int = 400,
        torch_device: str = "cpu",
    ) -> None:
        self.harmonics, self.scatterers, _ = impedances.shape
        self._law, self._max_steps, self._device = law, max_steps, torch_device
        self._dtype, self._tolerance = PRECISIONS[precision], TOLERANCES[precision]
        self._driven, self._read = (torch.from_numpy(lines - 1).to(torch_device) for lines in (driven, read))
        # Beyond what the harmonics need, so that the products nearest to them do not alias onto them.
        self.times = 16 * next_fast_len(-(-self.harmonics // 6), real=True)
        self._slope = max(1.0, law.steepest / 2)
        dressed: Complex = np.linalg.inv(np.eye(self.scatterers) + impedances * self._slope).astype(np.complex128)
        self._dress = self._real_form(dressed[driven - 1])
        self._answer = self._real_form(-dressed @ impedances)
        self._idle: list[_Workspace] = []

    @own_torch_state()
    def __call__(self, free: Complex) -> SteadyState:
        """Solve for free rates, amplitudes of cos in units of the law, shape (rows, lines driven, scatterers)."""
        rows = len(free)
        found = SteadyState(
            np.empty((rows, len(self._read), self.scatterers), dtype=np.complex128),
            np.empty(rows, dtype=np.bool_),
            np.empty(rows, dtype=np.int64),
        )
        # Rows that are equally loud take about equally many steps: they wait little for each other.
        order = np.argsort(np.square(np.abs(free)).sum(axis=(1, 2)), kind="stable")
        blocks = [order[start : start + BLOCK_ROWS] for start in range(0, rows, BLOCK_ROWS)]
        # A block is too small to be worth several threads: each is one thread's, whose vectors it fills.
        alone: Alone = single_threaded_torch if self._device == "cpu" else lambda: nullcontext(1)
        each_block(lambda block: self._solve_block(free, blocks[block], found), range(len(blocks)), alone)
        return found

    def _solve_block(self, free: Complex, part: NDArray[np.intp], into: SteadyState) -> None:
        count = len(part)
        block = np.zeros((free.shape[1], BLOCK_ROWS, self.scatterers), dtype=np.complex128)
        block[:, :count] = free[part].swapaxes(0, 1) / 2
        work = self._idle.pop() if self._idle else self._workspace()
        forces, done, taken = self._solved(torch.from_numpy(block.view(np.float64)), work)
        self._idle.append(work)
        into.forces[part] = 2 * forces.cpu().double().numpy().view(np.complex128)[:, :count].swapaxes(0, 1)
        into.converged[part], into.steps[part] = done[:count], taken[:count]

    def _solved(self, free: Tensor, work: _Workspace) -> tuple[Tensor, NDArray[np.bool_], NDArray[np.int64]]:
        """Forces (lines read, rows, 2 scatterers), which rows converged, and after how many steps.

        In and out as coefficients of a two-sided series, half the amplitudes of cos.
        """
        rows = free.shape[1]
        constant, field, scratch = work.constant.zero_(), work.field, work.scratch
        old, new, old_change, change = work.old, work.new, work.old_change, work.change
        constant.index_copy_(0, self._driven, torch.bmm(free.to(self._device, self._dtype), self._dress))
        field.copy_(constant)
        open_to = self._tolerance**2 * _row_sums(constant, constant, scratch)
        old_size = torch.zeros_like(open_to)
        forces = torch.empty((len(self._read), *field.shape[1:]), dtype=self._dtype, device=self._device)
        done = torch.zeros(rows, dtype=torch.bool, device=self._device)
        steps = torch.full((rows,), self._max_steps, dtype=torch.int64, device=self._device)
        for step in range(self._max_steps):
            old, new, old_change, change = new, old, change, old_change
            excess = self._excess(field, work)
            torch.baddbmm(constant, excess, self._answer, out=new)
            torch.sub(new, field, out=change)
            size = _row_sums(change, change, scratch)
            arrived, last = size <= open_to, step + 1 == self._max_steps
            if last or bool(arrived.any()):
                # What a row is when it arrives is its answer, whatever the others in its block still do.
                leaving = ~done if last else arrived
                forces[:, leaving] = (excess[self._read] + field[self._read] * self._slope)[:, leaving]
                done, steps[arrived] = done | arrived, step
                if last or bool(done.all()):
                    break
                open_to.masked_fill_(arrived, -1.0)
            if step == 0:
                field.copy_(new)
            else:
                # Anderson's step with a memory of one, for each row by itself.
                along = size - _row_sums(change, old_change, scratch)
                turn = old_size - size + 2 * along
                share = along / turn.clamp_(min=torch.finfo(self._dtype).tiny)
                torch.lerp(new, old, share[:, None].expand(field.shape[1:]).contiguous(), out=field)
            old_size = size
        return forces, done.cpu().numpy(), steps.cpu().numpy()

    def _excess(self, field: Tensor, work: _Workspace) -> Tensor:
        """Harmonics of F(v) - k v, shape (harmonics, rows, 2 scatterers), for those of v."""
        spectrum, beyond = work.spectrum, self.harmonics + 1
        harmonics = torch.view_as_complex(field.view(*field.shape[:2], self.scatterers, 2))
        spectrum[:, :, 0] = 0.0
        spectrum[:, :, 1:beyond] = harmonics.permute(1, 2, 0)
        spectrum[:, :, beyond:] = 0.0
        bounded = torch.fft.irfft(spectrum, n=self.times, norm="forward", out=work.rates).tanh_()
        force = bounded.div_(torch.mul(bounded, self._law.offset, out=work.divisor).add_(1.0))
        torch.fft.rfft(force, norm="forward", out=spectrum)
        work.excess.copy_(spectrum[:, :, 1:beyond].permute(2, 0, 1))
        return torch.view_as_real(work.excess).flatten(2).sub_(field, alpha=self._slope)

    def _workspace(self) -> _Workspace:
        return _Workspace(self.harmonics, self.scatterers, self.times, self._dtype, self._device)

    def _real_form(self, matrices: Complex) -> Tensor:
        """Complex matrices M as real ones that take rows (re, im, re, im, ...) of x to those of M x."""
        count = self.scatterers
        form = np.empty((len(matrices), count, 2, count, 2))
        transposed = matrices.swapaxes(1, 2)
        form[:, :, 0, :, 0] = form[:, :, 1, :, 1] = transposed.real
        form[:, :, 0, :, 1] = transposed.imag
        form[:, :, 1, :, 0] = -transposed.imag
        return torch.from_numpy(form.reshape(len(matrices), 2 * count, 2 * count)).to(self._device, self._dtype)


class _Workspace:
    """Arrays that every block is solved in: fresh ones would cost more than the arithmetic."""

    def __init__(self, harmonics: int, scatterers: int, times: int, dtype: torch.dtype, device: str) -> None:
        def array(*shape: int, kind: torch.dtype = dtype) -> Tensor:
            return torch.zeros(shape, dtype=kind, device=device)

        field = (harmonics, BLOCK_ROWS, 2 * scatterers)
        self.constant, self.field, self.new, self.old = (array(*field) for _ in range(4))
        self.change, self.old_change = (array(*field) for _ in range(2))
        self.excess = array(harmonics, BLOCK_ROWS, scatterers, kind=COMPLEX[dtype])
        self.spectrum = array(BLOCK_ROWS, scatterers, times // 2 + 1, kind=COMPLEX[dtype])
        self.rates, self.divisor = (array(BLOCK_ROWS, scatterers, times) for _ in range(2))
        # Free again when it is wanted, and still in the cache.
        self.scratch = self.rates.view(-1)[: self.field.numel()].view(field)


def _row_sums(one: Tensor, other: Tensor, scratch: Tensor) -> Tensor:
    """Sum of products of each row."""
    return torch.mul(one, other, out=scratch).sum(dim=0).sum(dim=1)
