"""A shaped pulse doubles its frequency in a crystal: spectral amplitudes or phases in, a spectrum out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device import DeviceSpec
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.substrate import BlockSubstrate

if TYPE_CHECKING:
    from hwloop.simulators.frequency_doubling.coupled_waves import CoupledWaves

FULL_SCALE = 1.0  # of the spectrometer: the unit of every response
ENCODINGS = {"amplitude": (0.0, 1.0, ""), "phase": (0.0, 2 * np.pi, "rad")}
READOUTS = ("harmonic", "both")
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
    dac_bits, adc_bits, saturation, read_noise, full_well_electrons, gain_jitter, glitch_rate
        As of the device ``optical-fibre``.
    mismatch_drift_per_row
        In rad a row.
    exposure
        Mean reading of the harmonic, see above.
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    torch_device
        Where the waves are computed, such as ``"cpu"`` or ``"cuda"``.
    seed
        Draws all noise, and the stimuli that the exposure is set with.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    quiet_settings: ClassVar = {
        "read_noise": 0.0,
        "full_well_electrons": None,
        "gain_jitter": 0.0,
        "glitch_rate": 0.0,
        "mismatch_drift_per_row": 0.0,
    }
    stream_prefix: ClassVar = "second-harmonic"

    def __init__(
        self,
        *,
        n_inputs: int = 64,
        encoding: str = "amplitude",
        readout: str = "harmonic",
        bandwidth: float = 0.7,
        coupling: float = 2.0,
        mismatch: float = 0.0,
        walk_off: float = 0.1,
        dispersion: float = 0.002,
        harmonic_dispersion: float = 0.004,
        steps: int = 24,
        dac_bits: int | None = 10,
        adc_bits: int | None = 10,
        saturation: str = "soft",
        read_noise: float = 0.01,
        full_well_electrons: float | None = None,
        gain_jitter: float = 0.0,
        glitch_rate: float = 0.0,
        mismatch_drift_per_row: float = 0.0,
        exposure: float = 1.0,
        row_seconds: float | None = None,
        torch_device: str = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__(locals())
        low, high, unit = ENCODINGS[one_of("encoding", encoding, ENCODINGS)]
        self._reads_both = one_of("readout", readout, READOUTS) == "both"
        self._chain = self._imperfections((low, high), (0.0, FULL_SCALE))
        count = whole_number("n_inputs", n_inputs, 2, 4096)
        self.lines = np.arange(count) - count // 2
        self._envelope = self._gaussian(real_number("bandwidth", bandwidth, 1e-3, 1e3))
        self._mismatch = real_number("mismatch", mismatch, -1e3, 1e3)
        self._drift_per_row = real_number("mismatch_drift_per_row", mismatch_drift_per_row, -1.0, 1.0)
        self._waves = self._coupled_waves()
        exposure = real_number("exposure", exposure, 1e-9, 1e9)
        self._gain = 1.0
        typical = self._stream("typical").at_row(0).uniform(low, high, (self.block_rows, count))
        harmonic = self._powers(typical, np.full(self.block_rows, self._mismatch))[:, : 2 * count - 1]
        self._gain = exposure / float(harmonic.mean())
        self.spec = DeviceSpec(
            n_inputs=count,
            n_outputs=2 * count - 1 + (count if self._reads_both else 0),
            input_low=low,
            input_high=high,
            input_unit=unit,
            output_unit="of full scale",
            row_seconds=row_seconds,
            deterministic=self._chain.deterministic and self._drift_per_row == 0,
        )

    @property
    def harmonic_lines(self) -> NDArray[np.int64]:
        """Frequencies of the harmonic's outputs, in lines from twice the fundamental, shape (2 n_inputs - 1,)."""
        return np.arange(2 * self.lines[0], 2 * self.lines[-1] + 1)

    def _gaussian(self, bandwidth: float) -> Float64Array:
        width = bandwidth * len(self.lines)
        field = np.exp(-2 * np.log(2) * (self.lines / width) ** 2)
        return np.asarray(field / field.sum())

    def _coupled_waves(self) -> CoupledWaves:
        from hwloop.simulators.frequency_doubling.coupled_waves import CoupledWaves  # torch, only where it is used

        given = self._settings
        waves = CoupledWaves(
            coupling=real_number("coupling", given["coupling"], 1e-6, 100.0),
            walk_off=real_number("walk_off", given["walk_off"], -1e3, 1e3),
            dispersion=(
                real_number("dispersion", given["dispersion"], -1e3, 1e3),
                real_number("harmonic_dispersion", given["harmonic_dispersion"], -1e3, 1e3),
            ),
            steps=whole_number("steps", given["steps"], 1, 100_000),
        )
        first, second = waves.linear_phases(self.lines), waves.linear_phases(self.harmonic_lines)
        largest = max(np.ptp(first[0]), np.abs(second[1] - self._mismatch).max())
        for what, whole, limit in (
            ("the conversion of a step", waves.coupling, ANGLE_OF_A_STEP),
            ("the linear phase of a step", largest, PHASE_OF_A_STEP),
        ):
            fewest = math.ceil(whole / limit - 1e-9)
            if waves.steps < fewest:
                raise ValueError(
                    f"steps must be at least {fewest}, not {waves.steps}: {what} must not exceed {limit:.3g} rad; "
                    f"the nearest allowed value is {fewest}"
                )
        return waves

    def _spectra(self, drive: Float64Array) -> NDArray[np.complex128]:
        """Spectra of the shaped pulses, ordered as a transform wants them, with room for what mixing adds."""
        points = 1 << (4 * len(self.lines) - 1).bit_length()
        shaped = drive if self._settings["encoding"] == "amplitude" else np.exp(1j * drive)
        spectra = np.zeros((len(drive), points), dtype=np.complex128)
        spectra[:, self.lines] = self._envelope * shaped
        return spectra

    def _powers(self, drive: Float64Array, mismatch: Float64Array) -> Float64Array:
        """Readings without noise, of exactly ``block_rows`` rows."""
        waves = self._waves.propagate(self._spectra(drive), mismatch, self._settings["torch_device"])
        seen = [waves[1][:, self.harmonic_lines]]
        if self._reads_both:
            seen.append(waves[0][:, self.lines])
        field = np.concatenate(seen, axis=1)
        return np.asarray(self._gain * (field.real**2 + field.imag**2))

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        rows = np.arange(first_row, first_row + len(drive), dtype=np.float64)
        return self._powers(drive, self._mismatch + self._drift_per_row * rows)
