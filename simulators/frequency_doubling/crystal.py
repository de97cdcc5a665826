"""A shaped pulse doubles its frequency in a crystal: spectral amplitudes or phases in, a spectrum out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device.declared import choice, real, whole
from hwloop.device.spec import Float64Array
from hwloop.simulators.substrate import BlockSubstrate, Camera

if TYPE_CHECKING:
    from hwloop.simulators.frequency_doubling.coupled_waves import CoupledWaves

FULL_SCALE = 1.0  # of the spectrometer: the unit of every response
ENCODINGS = {"amplitude": (0.0, 1.0, ""), "phase": (0.0, 2 * np.pi, "rad")}
ANGLE_OF_A_STEP = 0.25  # rad by which the strongest pulse may turn between the waves in one step
PHASE_OF_A_STEP = np.pi / 2  # rad of linear phase between two lines in one step


class SecondHarmonic(BlockSubstrate):
    r"""Simulated second-harmonic generation of a spectrally shaped pulse in a nonlinear crystal.

    A pulse shaper sets n_inputs lines of a comb around the fundamental, one a channel, under a Gaussian spectrum
    g: the field A(t) = sum_m g_m x_m exp(i m t) (``encoding="amplitude"``, x in [0, 1]) or
    sum_m g_m exp(i x_m + i m t) (``"phase"``, x in [0, 2 pi]), with sum_m g_m = 1: the pulse with all lines on and
    in phase has a peak of 1. With z in units of the crystal's length,

    dA/dz = i coupling A* B + i dispersion / 2 Omega^2 A,
    dB/dz = i coupling A^2 + i (-mismatch + walk_off Omega + harmonic_dispersion / 2 Omega^2) B

    (Boyd, Nonlinear Optics, section 2.7; Weiner, Ultrafast Optics, chapter 5). Such a device is among those
    trained through by Wright et al., Nature 601, 549 (2022).

    Outputs are the powers of the 2 n_inputs - 1 lines of the harmonic, and for ``readout="both"`` those of the
    fundamental after them. The mean reading of the harmonic over lines and uniformly random stimuli is the
    ``exposure``, in units of the spectrometer's full scale. In the order in which the signal meets them: gain
    jitter, shot noise, saturation, read noise, the ADC over [0, 1], glitches. Drift: the crystal's temperature
    creeps, and with it the mismatch, by ``mismatch_drift_per_row``.

    Parameters
    ----------
    n_inputs
        Lines of the comb that are shaped.
    encoding, readout
        See above.
    bandwidth
        Full width at half maximum of the power spectrum g^2, as a fraction of the shaped lines.
    coupling
        At the peak of 1: without mismatch and dispersion its conversion is tanh(coupling)^2.
    mismatch
        Phase mismatch over the length, in rad.
    walk_off
        Delay of the harmonic against the fundamental over the length, in rad a line.
    dispersion, harmonic_dispersion
        Group-delay dispersion over the length, in rad a line squared.
    steps
        Split-steps over the length; too few are refused.
    mismatch_drift_per_row
        In rad a row.
    exposure
        Mean reading of the harmonic, see above.
    """

    stream_prefix: ClassVar = "second-harmonic"

    n_inputs: int = whole(64, 2, 4096)
    encoding: str = choice("amplitude", ENCODINGS)
    readout: str = choice("harmonic", ("harmonic", "both"))
    bandwidth: float = real(0.7, 1e-3, 1e3)
    coupling: float = real(2.0, 1e-6, 100.0)
    mismatch: float = real(0.0, -1e3, 1e3)
    walk_off: float = real(0.1, -1e3, 1e3)
    dispersion: float = real(0.002, -1e3, 1e3)
    harmonic_dispersion: float = real(0.004, -1e3, 1e3)
    steps: int = whole(24, 1, 100_000)
    camera: Camera = Camera()
    mismatch_drift_per_row: float = real(0.0, -1.0, 1.0, quiet=0.0)
    exposure: float = real(1.0, 1e-9, 1e9)

    def _set_up(self) -> None:
        (low, high, unit), count = ENCODINGS[self.encoding], self.n_inputs
        self._reads_both = self.readout == "both"
        self._chain = self.camera.chain((low, high), (0.0, FULL_SCALE), self._stream)
        self.lines = np.arange(count) - count // 2
        self._envelope = self._gaussian()
        self._waves = self._coupled_waves()
        self._gain = 1.0
        typical = self._stream("typical").at_row(0).uniform(low, high, (self.block_rows, count))
        harmonic = self._powers(typical, np.full(self.block_rows, self.mismatch))[:, : 2 * count - 1]
        self._gain = self.exposure / float(harmonic.mean())
        self.spec = self._spec(
            count,
            2 * count - 1 + (count if self._reads_both else 0),
            still=self.mismatch_drift_per_row == 0,
            input_low=low,
            input_high=high,
            input_unit=unit,
            output_unit="of full scale",
        )

    @property
    def harmonic_lines(self) -> NDArray[np.int64]:
        """Frequencies of the harmonic's outputs, in lines from twice the fundamental, shape (2 n_inputs - 1,)."""
        return np.arange(2 * self.lines[0], 2 * self.lines[-1] + 1)

    def _gaussian(self) -> Float64Array:
        width = self.bandwidth * len(self.lines)
        field = np.exp(-2 * np.log(2) * (self.lines / width) ** 2)
        return np.asarray(field / field.sum())

    def _coupled_waves(self) -> CoupledWaves:
        from hwloop.simulators.frequency_doubling.coupled_waves import CoupledWaves  # torch, only where it is used

        waves = CoupledWaves(self.coupling, self.walk_off, (self.dispersion, self.harmonic_dispersion), self.steps)
        first, second = waves.linear_phases(self.lines), waves.linear_phases(self.harmonic_lines)
        largest = max(np.ptp(first[0]), np.abs(second[1] - self.mismatch).max())
        for what, angle, limit in (
            ("the conversion of a step", waves.coupling, ANGLE_OF_A_STEP),
            ("the linear phase of a step", largest, PHASE_OF_A_STEP),
        ):
            fewest = math.ceil(angle / limit - 1e-9)
            if waves.steps < fewest:
                raise ValueError(
                    f"steps must be at least {fewest}, not {waves.steps}: {what} must not exceed {limit:.3g} rad; "
                    f"the nearest allowed value is {fewest}"
                )
        return waves

    def _spectra(self, drive: Float64Array) -> NDArray[np.complex128]:
        """Spectra of the shaped pulses, ordered as a transform wants them, with room for what mixing adds."""
        points = 1 << (4 * len(self.lines) - 1).bit_length()
        shaped = drive if self.encoding == "amplitude" else np.exp(1j * drive)
        spectra = np.zeros((len(drive), points), dtype=np.complex128)
        spectra[:, self.lines] = self._envelope * shaped
        return spectra

    def _powers(self, drive: Float64Array, mismatch: Float64Array) -> Float64Array:
        """Readings without noise, of exactly ``block_rows`` rows."""
        waves = self._waves.propagate(self._spectra(drive), mismatch, self.torch_device)
        seen = [waves[1][:, self.harmonic_lines]]
        if self._reads_both:
            seen.append(waves[0][:, self.lines])
        field = np.concatenate(seen, axis=1)
        return np.asarray(self._gain * (field.real**2 + field.imag**2))

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        rows = np.arange(first_row, first_row + len(drive), dtype=np.float64)
        return self._powers(drive, self.mismatch + self.mismatch_drift_per_row * rows)
