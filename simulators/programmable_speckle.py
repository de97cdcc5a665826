"""Light through programmable pixels to a saturating camera: what mixes the light can be tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device import Tunable
from hwloop.device.declared import choice, real, whole
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators import optics
from hwloop.simulators.substrate import SATURATIONS, Camera, Substrate, resting_at
from hwloop.simulators.threads import each_block, single_threaded_blas

FULL_SCALE = 1.0  # of the camera: the unit of every response
REST_SPREAD = 1 / 8  # standard deviation of the transmissions at rest: room to grow eightfold
Complex = NDArray[np.complex128]
Draw = Callable[[str], np.random.Generator]


class OwnPixels:
    """Every output has pixels of its own: an optical vector-matrix multiplier with coherent light.

    The pixel between input i and output j transmits T_ji, of which real and imaginary part are set, each within
    [-1, 1]. So a tunable acts on one output (Goodman, Dias and Woody, Optics Letters 2, 1 (1978), there with
    incoherent light). At rest the pixels show a random pattern.
    """

    def __init__(self, shape: tuple[int, int], bits: int | None, rng: Draw) -> None:
        self._shape = shape
        step = None if bits is None else 2.0 / (2**bits - 2)  # 0 is a level, and both ends are
        plain = Tunable("real", shape[0] * shape[1], -1.0, 1.0, step=step)
        self.tunables = tuple(
            resting_at(plain, REST_SPREAD * rng(name).standard_normal(plain.count), name)
            for name in ("real", "imaginary")
        )
        self.acts_on = np.tile(np.repeat(np.arange(shape[0]), shape[1]), 2)
        self.drifted = self.matrix(REST_SPREAD * rng("drifted").standard_normal(2 * plain.count))

    def matrix(self, tuning: Float64Array) -> Complex:
        """T as set, shape (n_outputs, n_inputs)."""
        real, imaginary = tuning.reshape(2, *self._shape)
        return np.asarray(real + 1j * imaginary)

    def matrices(self, tuning: Float64Array) -> tuple[Complex, Complex]:
        """T as set, and what it drifts to: other light that finds its way, whatever the pixels show."""
        return self.matrix(tuning), self.drifted

    def pull_back(self, tuning: Float64Array, gradients: Complex) -> Float64Array:
        """Derivative by the tuning, from that by Re T + i that by Im T."""
        return np.concatenate([gradients.real.ravel(), gradients.imag.ravel()])


class SharedPixels:
    """All outputs share the pixels: phases between two scattering media, T = B diag(exp(i phi)) A / norm.

    A and B are complex Gaussian. So every tunable acts on every output. At rest all phases are 0.
    """

    acts_on = None

    def __init__(self, shape: tuple[int, int], n_pixels: int, bits: int | None, rng: Draw) -> None:
        n_outputs, n_inputs = shape
        # Entries of T have the mean square that those of OwnPixels have at rest.
        self._before = optics.gaussian(n_pixels, n_inputs, rng("before")).astype(np.complex128)
        self._behind, self._behind_later = (
            optics.gaussian(n_outputs, n_pixels, rng(name)) * (REST_SPREAD * np.sqrt(2 / n_pixels))
            for name in ("behind", "drifted-behind")
        )
        step = None if bits is None else 2 * np.pi / 2**bits
        high = 2 * np.pi - (step or 0.0)
        self.tunables = (Tunable("phases", n_pixels, 0.0, high, "rad", step=step),)

    def matrices(self, tuning: Float64Array) -> tuple[Complex, Complex]:
        """T as set, and with the medium behind the pixels drifted; shape (n_outputs, n_inputs)."""
        pixels = np.exp(1j * tuning)[:, np.newaxis] * self._before
        return self._behind @ pixels, self._behind_later @ pixels

    def pull_back(self, tuning: Float64Array, gradients: Complex) -> Float64Array:
        """Derivative by the phases, from that by Re T + i that by Im T."""
        turned = 1j * np.exp(1j * tuning)[:, np.newaxis] * self._before
        return np.asarray(((self._behind.conj().T @ gradients).conj() * turned).sum(axis=1).real)


class ProgrammableSpeckle(Substrate):
    r"""Simulated light through programmable pixels to a saturating camera: the matrix that mixes it is tuned.

    With T the complex matrix of transmissions, shape (n_outputs, n_inputs), and x in [-1, 1] the stimulus after
    the DAC, a signed field amplitude, the intensity at output j is

    I_j = exposure * abs(sum_i T_ji x_i)**2 / (n_inputs / 5 * 2 / 64),

    which for an amplitude stimulus with a mean square of 1/5 over its channels is ``exposure`` on average at rest,
    where real and imaginary parts of T have a standard deviation of 1/8. Hold one input at 1 or more as a
    reference (an encoder does), else no sign of x is seen.

    What is tuned, for ``pixels``:

    - ``"own"``: every output has pixels of its own. Tunables ``real`` and ``imaginary`` are the parts of T, each
      within [-1, 1], output after output; each acts on one output (``tunable_outputs``).
    - ``"shared"``: ``n_pixels`` phases between two scattering media, T = B diag(exp(i phi)) A. Tunable ``phases``,
      in rad; each acts on all outputs.

    In the order in which the signal meets them: common-mode gain jitter, shot noise, saturation of a pixel of the
    camera (``"soft"``: y = I / (1 + I); ``"hard"``: min(I, 1)), read noise, the ADC over [0, 1], glitches. Drift:
    before the k-th row T_k = sqrt(1 - e_k) T + sqrt(e_k) T_1 with e_k = 1 - exp(-drift_per_row k), T_1 being
    independent of T (``"own"``) or with another medium behind the pixels (``"shared"``).

    Parameters
    ----------
    n_inputs, n_outputs
        Channels of the modulator that takes the stimulus, and pixels of the camera.
    pixels
        ``"own"`` or ``"shared"``.
    n_pixels
        Shared pixels; ``None`` for two an input times one an output. Own pixels are n_inputs times n_outputs.
    pixel_bits
        Resolution of what is tuned, 2 to 24; ``None`` for any value within the limits.
    drift_per_row
        Rate of decorrelation, 0 to 1 a row.
    exposure
        Mean signal of a typical stimulus at rest, in units of the camera's full scale.

    Attributes
    ----------
    tunable_outputs
        The output that each tunable acts on, shape (n_tunables,); ``None`` where they act on several.
    """

    stream_prefix: ClassVar = "programmable-speckle"

    n_inputs: int = whole(44, 1, 10_000)
    n_outputs: int = whole(40, 1, 10_000)
    pixels: str = choice("own", ("own", "shared"))
    n_pixels: int | None = None
    pixel_bits: int | None = 10
    camera: Camera = Camera()
    drift_per_row: float = real(0.0, 0.0, 1.0, quiet=0.0)
    exposure: float = real(1.0, 1e-9, 1e9)

    def _set_up(self) -> None:
        if self.pixel_bits is not None:
            whole_number("pixel_bits", self.pixel_bits, 2, 24)
        self._chain = self.camera.chain((-1.0, 1.0), (0.0, FULL_SCALE), self._stream)
        self._saturation = SATURATIONS[str(self.camera.saturation)](FULL_SCALE)
        self._geometry = self._built_geometry()
        self.tunable_outputs = self._geometry.acts_on
        self._intensity_gain = self.exposure / (self.n_inputs / 5 * 2 * REST_SPREAD**2)
        self._made: tuple[Float64Array, list[ExactProduct]] | None = None
        self.spec = self._spec(
            self.n_inputs,
            self.n_outputs,
            still=self.drift_per_row == 0,
            input_low=-1.0,
            output_unit="of full scale",
            tunables=self._geometry.tunables,
        )

    def _built_geometry(self) -> OwnPixels | SharedPixels:
        shape = self.n_outputs, self.n_inputs

        def rng(name: str) -> np.random.Generator:
            return self._stream(name).at_row(0)

        if self.pixels == "own":
            if self.n_pixels is not None:
                raise ValueError("n_pixels is for shared pixels; own ones are n_inputs * n_outputs: leave it out")
            return OwnPixels(shape, self.pixel_bits, rng)
        count = 2 * self.n_inputs * self.n_outputs if self.n_pixels is None else self.n_pixels
        return SharedPixels(shape, whole_number("n_pixels", count, 1, 1_000_000), self.pixel_bits, rng)

    def transmission_matrix(self, tuning: Float64Array) -> Complex:
        """T before any drift, shape (n_outputs, n_inputs), for a flat tuning of shape (n_tunables,)."""
        return self._geometry.matrices(tuning)[0]

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`; under what is set now, before any drift."""
        drive, matrix = self._chain.drive(stimuli), self.transmission_matrix(self.tuning)
        return np.asarray((self._by_field(drive, matrix, gradients) @ matrix.conj()).real)

    def pull_back_tuning(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative of a loss by what is set now, shape (n_tunables,), summed over the rows.

        From that by the responses, shape (rows, n_outputs). See :meth:`pull_back`.
        """
        drive, tuning = self._chain.drive(stimuli), self.tuning
        by_field = self._by_field(drive, self.transmission_matrix(tuning), gradients)
        return self._geometry.pull_back(tuning, by_field.T @ drive)

    def _by_field(self, drive: Float64Array, matrix: Complex, gradients: Float64Array) -> Complex:
        """Derivative by the real part of the field at the camera + i that by its imaginary part."""
        field = drive @ matrix.T
        slope = self._saturation.slope(self._intensity_gain * (field.real**2 + field.imag**2))
        return np.asarray(2 * self._intensity_gain * slope * gradients * field)

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        self._propagators()  # made by this thread, before others use them
        each_block(work, starts, single_threaded_blas)

    def _propagators(self) -> list[ExactProduct]:
        """Drive to [Re, Im] of the field, before any drift and, where there is drift, after all of it."""
        tuning = self.tuning
        if self._made is None or not np.array_equal(self._made[0], tuning):
            states = self._geometry.matrices(tuning)[: 1 if self.drift_per_row == 0 else 2]
            made = [ExactProduct(np.hstack([state.real.T, state.imag.T])) for state in states]
            self._made = tuning.copy(), made
        return self._made[1]

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        fields = [propagate(drive) for propagate in self._propagators()]
        field = fields[0]
        if len(fields) == 2:
            age = np.arange(first_row, first_row + len(drive), dtype=np.float64)[:, np.newaxis]
            kept = np.exp(-self.drift_per_row * age)
            field = np.sqrt(kept) * fields[0] + np.sqrt(1.0 - kept) * fields[1]
        real, imaginary = np.split(np.square(field), 2, axis=1)
        return np.asarray(self._intensity_gain * (real + imaginary))
