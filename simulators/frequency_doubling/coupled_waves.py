"""Coupled-wave equations of second-harmonic generation with dispersion, for many rows at once in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.simulators.torch_devices import torch_device
from hwloop.torch_state import own_torch_state

Complex = NDArray[np.complex128]
# Complex numbers as real and imaginary parts: products of two numbers, and sums of two, are each rounded once and
# so the same at every place, which a complex product in one go (vector or scalar, fused or not) is not.
Wave = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CoupledWaves:
    """A fundamental A and a second harmonic B over a crystal of length 1, in the time of the fundamental.

    dA/dz = i coupling A* B + i dispersion[0] / 2 Omega^2 A,
    dB/dz = i coupling A^2 + i (-mismatch + walk_off Omega + dispersion[1] / 2 Omega^2) B (Boyd, Nonlinear Optics,
    section 2.7, and Weiner, Ultrafast Optics, chapter 5; B holds the factor exp(-i mismatch z)). abs(A)^2 +
    abs(B)^2, summed over time, is constant.

    Strang split-step: the linear parts are exact for every frequency. The nonlinear part is a rotation of (A, B)
    by a Hermitian matrix that depends on A; it is taken at the middle of the step and as a Cayley transform, so
    the power at every moment is conserved to rounding whatever the step is, and the order is 2.

    Attributes
    ----------
    coupling
        For amplitudes of 1: without mismatch and dispersion the conversion is tanh(coupling)^2.
    walk_off
        Delay of the harmonic over the length, in units of 1 / Omega.
    dispersion
        Group-delay dispersion of fundamental and harmonic over the length, in 1 / Omega^2.
    steps
        Split-steps.
    """

    coupling: float
    walk_off: float = 0.0
    dispersion: tuple[float, float] = (0.0, 0.0)
    steps: int = 16

    def linear_phases(self, lines: NDArray[np.int64]) -> Float64Array:
        """Phases of both waves over the length at frequencies Omega, without mismatch, shape (2, lines)."""
        square = lines.astype(np.float64) ** 2 / 2
        return np.stack([self.dispersion[0] * square, self.walk_off * lines + self.dispersion[1] * square])

    @own_torch_state()
    def propagate(
        self,
        spectra: Complex,
        mismatch: Float64Array,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Complex, Complex]:
        """Spectra of both waves behind the crystal, each (rows, points), ordered as :func:`numpy.fft.fftfreq`.

        Parameters
        ----------
        spectra
            Of the fundamental before it, (rows, points): A(t) is the sum of A_m exp(i m t).
        mismatch
            Phase mismatch over the length, in rad, shape (rows,).
        """
        where, points = torch_device(device), spectra.shape[1]
        lines = np.rint(np.fft.fftfreq(points, 1 / points)).astype(np.int64)
        first, second = self.linear_phases(lines)[:, np.newaxis, :] / self.steps
        phases = (first, second - mismatch[:, np.newaxis] / self.steps)

        def parts(values: Complex) -> Wave:
            real, imaginary = (np.ascontiguousarray(part) for part in (values.real, values.imag))
            return _as(real, where, dtype), _as(imaginary, where, dtype)

        whole, half = ([parts(np.exp(share * phase)) for phase in phases] for share in (1j, 0.5j))
        a = _times(parts(spectra), half[0])
        b = (torch.zeros_like(a[0]), torch.zeros_like(a[1]))
        for step in range(self.steps):
            a, b = self._mixed(_transformed(a, torch.fft.ifft), _transformed(b, torch.fft.ifft))
            after = half if step == self.steps - 1 else whole
            a = _times(_transformed(a, torch.fft.fft), after[0])
            b = _times(_transformed(b, torch.fft.fft), after[1])
        return _joined(a), _joined(b)

    def _mixed(self, a: Wave, b: Wave) -> tuple[Wave, Wave]:
        """Both waves at every moment after the nonlinear part of a step."""
        step = self.coupling / self.steps
        middle, _ = _rotated(a, b, a, step / 2)
        return _rotated(a, b, middle, step)


def _rotated(a: Wave, b: Wave, at: Wave, angle: float) -> tuple[Wave, Wave]:
    """Cayley transform of exp(i angle [[0, at*], [at, 0]]) applied to (a, b): unitary at every moment."""
    real, imaginary = at[0] * (angle / 2), at[1] * (angle / 2)
    square = real * real + imaginary * imaginary
    shrunk = 1 / (1 + square)
    kept = (1 - square) * shrunk
    mixed = (-2 * imaginary * shrunk, 2 * real * shrunk)
    given, taken = _times(mixed, a), _times((-mixed[0], mixed[1]), b)
    return (
        (kept * a[0] + taken[0], kept * a[1] + taken[1]),
        (kept * b[0] + given[0], kept * b[1] + given[1]),
    )


def _times(one: Wave, other: Wave) -> Wave:
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def _transformed(wave: Wave, transform: Callable[..., Tensor]) -> Wave:
    result = transform(torch.complex(*wave), norm="forward")
    return result.real.contiguous(), result.imag.contiguous()


def _as(values: Float64Array, where: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(values, dtype=dtype, device=where)


def _joined(wave: Wave) -> Complex:
    real, imaginary = (part.cpu().numpy().astype(np.float64) for part in wave)
    return np.asarray(real + 1j * imaginary)
