"""Light in a mesh of Mach-Zehnder interferometers: amplitudes in, intensities out, every phase can be set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device import Tunable
from hwloop.device.declared import choice, real, whole
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.mach_zehnder.circuit import Chip, Complex, Layout
from hwloop.simulators.mach_zehnder.clements import ideal_settings
from hwloop.simulators.substrate import SATURATIONS, Camera, Substrate, resting_at
from hwloop.simulators.threads import each_block, single_threaded_blas

FULL_SCALE = 1.0  # of a detector: the unit of every response


class MachZehnderMesh(Substrate):
    r"""Simulated rectangular mesh of Mach-Zehnder interferometers, whose phases are tuned.

    Light goes through n_modes columns of interferometers on neighbouring waveguides (Clements et al., Optica 3,
    1460 (2016)). Each is a phase phi on its upper waveguide, a splitter [[cos a, i sin a], [i sin a, cos a]], a
    phase theta on the upper waveguide, and another splitter; a = pi / 4 splits in half. With U the matrix of the
    whole mesh and u the amplitudes sent, the intensity at output j is I_j = exposure * 5 * abs((U u)_j)**2:
    ``exposure`` on average for amplitudes with a mean square of 1/5, without loss. An ideal mesh makes U any
    unitary matrix (:meth:`ideal_tuning`).

    A stimulus x in [-1, 1] is u itself, one signed amplitude a waveguide (``encoding="amplitude"``), or all real
    parts of u and then all imaginary parts (``"quadratures"``).

    Tunables are ``theta`` and ``phi``, in rad within [-2 pi, 2 pi], column after column and from mode 0 up. At
    rest they are random: a mesh with nothing set would be a mere permutation.

    Imperfections of the chip (Fang et al., Optics Express 27, 14009 (2019)): splitting angles and phases off by
    normal errors; every phase shifter warms those beside it, which get ``crosstalk`` of its phase; loss in each
    interferometer. In the order in which the signal meets them: gain jitter, shot noise, saturation, read noise,
    the ADC over [0, 1], glitches.

    An intensity is a sinusoid of every phase, of frequency 1, so that two measurements half a turn apart tell its
    derivative (``tuning_frequencies``): exactly without cross-talk, else to about 1.4 times
    the cross-talk, and as long as no reading is clipped.

    Parameters
    ----------
    n_modes
        Waveguides.
    encoding
        ``"amplitude"`` or ``"quadratures"``.
    phase_bits
        Resolution of the phases over their range, 4 to 24; ``None`` for any value.
    splitter_error, phase_error
        Standard deviations of the splitting angles and of the phases with nothing set, in rad. Of a splitting
        angle 0.1 rad is 10 % of the power.
    crosstalk
        Share of a phase that its neighbours get.
    loss_db
        Loss of one interferometer, in dB.
    exposure
        Mean signal of a typical stimulus, in units of a detector's full scale.

    Attributes
    ----------
    tuning_frequencies
        Frequency, in periods of 2 pi, of the sinusoid that an intensity is of each tunable, shape (n_tunables,);
        ``None`` where the detectors saturate softly.
    """

    stream_prefix: ClassVar = "mach-zehnder-mesh"

    n_modes: int = whole(16, 2, 512)
    encoding: str = choice("amplitude", ("amplitude", "quadratures"))
    phase_bits: int | None = 12
    splitter_error: float = real(0.0, 0.0, 1.0)
    phase_error: float = real(0.0, 0.0, 10.0)
    crosstalk: float = real(0.0, 0.0, 0.2)
    loss_db: float = real(0.0, 0.0, 20.0)
    camera: Camera = Camera(saturation="hard")
    exposure: float = real(0.2, 1e-9, 1e9)

    def _set_up(self) -> None:
        self._chain = self.camera.chain((-1.0, 1.0), (0.0, FULL_SCALE), self._stream)
        self._saturation = SATURATIONS[str(self.camera.saturation)](FULL_SCALE)
        self.layout = Layout(self.n_modes)
        self.chip = self._fabricated()
        self._intensity_gain = 5 * self.exposure
        self._made: tuple[Float64Array, ExactProduct] | None = None
        tunables = self._tunables()
        self.spec = self._spec(
            self.n_modes * (2 if self.encoding == "quadratures" else 1),
            self.n_modes,
            input_low=-1.0,
            output_unit="of full scale",
            tunables=tunables,
        )
        is_sinusoid = self.camera.saturation != "soft"
        self.tuning_frequencies = np.ones(2 * self.layout.count) if is_sinusoid else None

    def _fabricated(self) -> Chip:
        count = self.layout.count
        splitters, offsets = (self._stream(name).at_row(0) for name in ("splitters", "offsets"))
        heat = self.crosstalk * self.layout.neighbours()
        return Chip(
            self.layout,
            np.pi / 4 + self.splitter_error * splitters.standard_normal((2, count)),
            self.phase_error * offsets.standard_normal(2 * count),
            np.eye(2 * count) + heat if self.crosstalk else None,
            10 ** (-self.loss_db / 20),
        )

    def _tunables(self) -> tuple[Tunable, ...]:
        low, high, step, count = -2 * np.pi, 2 * np.pi, None, self.layout.count
        if self.phase_bits is not None:
            step = 4 * np.pi / 2 ** whole_number("phase_bits", self.phase_bits, 4, 24)
        plain = Tunable("theta", count, low, high, "rad", step=step)
        drawn = self._stream("rest").at_row(0).uniform(-np.pi, np.pi, (2, count))
        return tuple(resting_at(plain, phases, name) for name, phases in zip(("theta", "phi"), drawn, strict=True))

    def ideal_tuning(self, unitary: Any) -> Float64Array:
        """What makes an ideal mesh of this size a unitary matrix, but for phases at its outputs.

        Takes a complex matrix of shape (n_modes, n_modes); gives a flat tuning, on the steps. See
        :func:`hwloop.simulators.mach_zehnder.clements.ideal_settings`.
        """
        tuning, _ = ideal_settings(unitary)
        if len(tuning) != self.spec.n_tunables:
            raise ValueError(f"the matrix has {len(unitary)} modes, this mesh {self.n_modes}")
        return self.spec.nearest_tuning(tuning)

    def transfer_matrix(self, tuning: Float64Array) -> Complex:
        """U of this chip, shape (n_modes, n_modes), for a flat tuning of shape (n_tunables,)."""
        return self.chip.matrix(tuning)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`; under what is set now."""
        matrix, sent = self.transfer_matrix(self.tuning), self._sent(stimuli)
        by_sent = self._by_field(sent, matrix, gradients) @ matrix.conj()
        if self.encoding == "amplitude":
            return np.asarray(by_sent.real)
        return np.concatenate([by_sent.real, by_sent.imag], axis=1)

    def pull_back_tuning(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative of a loss by what is set now, shape (n_tunables,), summed over the rows.

        From that by the responses, shape (rows, n_outputs).
        """
        sent = self._sent(stimuli)
        by_field = self._by_field(sent, self.transfer_matrix(self.tuning), gradients)
        return self.chip.pull_back(self.tuning, by_field.T @ sent.conj())

    def _sent(self, stimuli: Float64Array) -> Complex:
        drive = self._chain.drive(stimuli)
        if self.encoding == "amplitude":
            return drive.astype(np.complex128)
        real, imaginary = np.split(drive, 2, axis=1)
        return np.asarray(real + 1j * imaginary)

    def _by_field(self, sent: Complex, matrix: Complex, gradients: Float64Array) -> Complex:
        """Derivative by the real part of the field at the detectors + i that by its imaginary part."""
        field = sent @ matrix.T
        slope = self._saturation.slope(self._intensity_gain * (field.real**2 + field.imag**2))
        return np.asarray(2 * self._intensity_gain * slope * gradients * field)

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        self._propagator()  # made by this thread, before others use it
        each_block(work, starts, single_threaded_blas)

    def _propagator(self) -> ExactProduct:
        """Stimulus to [Re, Im] of the field at the detectors."""
        tuning = self.tuning
        if self._made is None or not np.array_equal(self._made[0], tuning):
            matrix = self.transfer_matrix(tuning)
            real, imaginary = matrix.real.T, matrix.imag.T
            quadratures = np.hstack([real, imaginary])
            if self.encoding == "quadratures":
                quadratures = np.vstack([quadratures, np.hstack([-imaginary, real])])
            self._made = tuning.copy(), ExactProduct(quadratures)
        return self._made[1]

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        real, imaginary = np.split(np.square(self._propagator()(drive)), 2, axis=1)
        return np.asarray(self._intensity_gain * (real + imaginary))
