"""Light through a multimode fibre or a scattering medium: modulator, complex transmission matrix, camera."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device.declared import choice, real, whole
from hwloop.device.settings import one_of, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators import optics
from hwloop.simulators.optics import MODULATIONS
from hwloop.simulators.substrate import SATURATIONS, Camera, Substrate
from hwloop.simulators.threads import each_block, single_threaded_blas

FULL_SCALE = 1.0  # of the camera: the unit of every response
MAX_CHANNELS = 1_000_000


class OpticalFibre(Substrate):
    r"""Simulated multimode fibre (or any scattering medium) between a light modulator and a camera.

    With T the complex transmission matrix, shape (n_outputs, n_inputs), E abs(T)**2 = 1, and x the stimulus
    after the DAC, the intensity at the camera is

    - ``encoding="amplitude"``: I = exposure * abs(T x)**2 / (n_inputs / 5), x in [-1, 1], a signed amplitude;
    - ``encoding="phase"``: I = exposure * abs(T exp(i x))**2 / n_inputs, x in [0, 2 pi] rad.

    So the mean speckle intensity is 1 x exposure for an amplitude stimulus with a mean square of 1/5 over its
    channels (data that fill a third of their range, and a tenth as many references at full range), and for
    every phase stimulus. (Popoff et al., PRL 104, 100601, 2010.)

    The response y is in units of the camera's full scale, 1. In the order in which the signal meets them:
    common-mode gain jitter, shot noise, saturation of the pixel (``"soft"``: y = I / (1 + I); ``"hard"``:
    min(I, 1)), read noise, the ADC over [0, 1], glitches. Drift: before its k-th row the fibre's matrix is
    T_k = sqrt(1 - e_k) T_0 + sqrt(e_k) T_1 with e_k = 1 - exp(-drift_per_row k) and T_1 drawn independently,
    so its correlation with T_0 falls as exp(-drift_per_row k / 2).

    The noise of the k-th row measured depends on the seed and k alone, and so does the drift: to continue an
    earlier run set ``rows_measured`` to the rows that it had measured. A noiseless fibre gives a row the same
    response to the last bit in every batch.

    Parameters
    ----------
    n_inputs, n_outputs
        Modulator channels and camera pixels; default 64 and 1000, or the shape of a given matrix.
    matrix
        ``"iid"`` (complex Gaussian entries), ``"unitary"`` (lossless), the path of a .npy or .npz file, or an
        array of shape (n_outputs, n_inputs). A given matrix is rescaled to a mean abs(T)**2 of 1.
    encoding
        ``"amplitude"`` or ``"phase"``.
    drift_per_row
        Rate of decorrelation, 0 to 1 a row.
    exposure
        Mean signal of a typical stimulus, in units of the camera's full scale.
    mask_bits
        A phase mask on the modulator, which turns the light of every channel: tunables ``mask``, in rad, one an
        input, with so many bits for a turn. ``None`` for no mask.
    fabrication_spread, chip
        Another piece of the same design: with a spread r chip k has the matrix sqrt(1 - r^2) T + r R_k, T that of
        the design and R_k drawn for this chip alone, so two chips correlate by 1 - r^2. 0 to 1; chips from 0.
    """

    stream_prefix: ClassVar = "optical-fibre"
    added_settings: ClassVar = frozenset({"mask_bits", "fabrication_spread", "chip"})

    n_inputs: int | None = None
    n_outputs: int | None = None
    matrix: str | Path | NDArray[Any] = "iid"
    encoding: str = choice("amplitude", MODULATIONS)
    camera: Camera = Camera()
    drift_per_row: float = real(0.0, 0.0, 1.0, quiet=0.0)
    exposure: float = real(1.0, 1e-9, 1e9)
    mask_bits: int | None = None
    fabrication_spread: float = real(0.0, 0.0, 1.0)
    chip: int = whole(0, 0)

    def _set_up(self) -> None:
        light = MODULATIONS[self.encoding]
        if self.mask_bits is not None:
            light = optics.MaskedModulation(light)
        self._chain = self.camera.chain((light.low, light.high), (0.0, FULL_SCALE), self._stream)
        if not _is_drawn(self.matrix):
            # As it is now: a file or an array that changes later shall not change noiseless().
            self._settings["matrix"] = optics.as_given(self.matrix)
        states = self._matrices()
        self.transmission_matrix = states[0]
        self._intensity_gain = self.exposure / light.typical_power(states[0].shape[1])
        self._saturation = SATURATIONS[self.camera.saturation or "soft"](FULL_SCALE)
        self._propagators = [ExactProduct(light.propagator(state)) for state in states]
        self.spec = self._spec(
            *states[0].T.shape,
            still=self.drift_per_row == 0,
            input_low=light.low,
            input_high=light.high,
            input_unit=light.unit,
            output_unit="of full scale",
            tunables=optics.mask_tunables(states[0].shape[1], self.mask_bits),
        )

    @property
    def _modulation(self) -> optics.Modulation:
        light = MODULATIONS[self.encoding]
        return light if self.mask_bits is None else optics.MaskedModulation(light, self.tuning)

    @cached_property
    def _pulled_back(self) -> NDArray[np.float32]:
        return self._modulation.propagator(self.transmission_matrix).astype(np.float32)

    @classmethod
    def from_file(cls, path: str | Path, index: int = 0, **settings: Any) -> Self:
        """A fibre with one of the matrices that a file holds (a .npz under the name ``matrices``)."""
        return cls(matrix=optics.read_matrix(path, index), **settings)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`; of the fibre before any drift.

        With u the field at the camera and I = abs(u)**2 times its gain: dI = 2 gain Re(u* du), and behind it the
        slope of the saturation.
        """
        drive = self._chain.drive(stimuli)
        return self._modulation.pull_back(drive, self._by_quadratures(drive, gradients))

    def pull_back_tuning(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.TunableDifferentiable`; of the fibre before any drift."""
        drive, light = self._chain.drive(stimuli), self._modulation
        if not isinstance(light, optics.MaskedModulation):
            return np.zeros(0)
        return light.pull_back_mask(drive, self._by_quadratures(drive, gradients))

    def _by_quadratures(self, drive: Float64Array, gradients: Float64Array) -> Float64Array:
        # Single precision does: nothing that is measured or predicted depends on these products.
        propagator = self._pulled_back
        field = self._modulation.quadratures(drive).astype(np.float32) @ propagator
        real, imaginary = np.split(field, 2, axis=1)
        signal = self._intensity_gain * (real * real + imaginary * imaginary)
        slope = 2 * self._intensity_gain * self._saturation.slope(signal) * gradients
        by_field = field * np.hstack([slope, slope]).astype(np.float32)
        return np.asarray((by_field @ propagator.T).astype(np.float64))

    def _named_settings(self) -> dict[str, Any]:
        """All settings; a given matrix is named by its SHA-256."""
        shown = {**self._settings, "n_inputs": self.spec.n_inputs, "n_outputs": self.spec.n_outputs}
        if not isinstance(shown["matrix"], str):
            shown["matrix"] = f"sha256:{hashlib.sha256(self.transmission_matrix.tobytes()).hexdigest()[:16]}"
        unsaid = self.added_settings & self._unsaid_settings()
        return {name: value for name, value in shown.items() if name not in unsaid}

    def _matrices(self) -> list[optics.Matrix]:
        """The matrix before any drift and, where there is drift, the one that it drifts to."""
        matrix, n_inputs, n_outputs = (self._settings[name] for name in ("matrix", "n_inputs", "n_outputs"))
        draw: optics.Draw = optics.gaussian
        if isinstance(matrix, str):
            draw = optics.DRAWN[one_of("matrix", matrix, optics.DRAWN)]
            columns = whole_number("n_inputs", 64 if n_inputs is None else n_inputs, 1, MAX_CHANNELS)
            rows = whole_number("n_outputs", 1000 if n_outputs is None else n_outputs, 1, MAX_CHANNELS)
            first = draw(rows, columns, self._stream("matrix").at_row(0))
        else:
            first = optics.normalised(matrix)
            for name, asked, has in zip(
                ("n_outputs", "n_inputs"), (n_outputs, n_inputs), first.shape, strict=True
            ):
                if asked is not None and asked != has:
                    raise ValueError(f"{name} is {asked!r}, but the given matrix has {has}; leave {name} out")
        if self.fabrication_spread > 0:
            own = draw(first.shape[0], first.shape[1], self._stream("fabrication").at_row(self.chip))
            design = np.sqrt(1 - self.fabrication_spread**2) * first
            first = optics.normalised(design + self.fabrication_spread * own)
        if self.drift_per_row == 0:
            return [first]
        second = draw(first.shape[0], first.shape[1], self._stream("drifted-matrix").at_row(0))
        return [first, second]

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        each_block(work, starts, single_threaded_blas)

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        field = self._field(self._modulation.quadratures(drive), first_row)
        real, imaginary = np.split(np.square(field, out=field), 2, axis=1)
        intensity = real + imaginary
        intensity *= self._intensity_gain
        return np.asarray(intensity)

    def _field(self, quadratures: Float64Array, first_row: int) -> Float64Array:
        """Real parts, then imaginary parts of the field at the camera, shape (rows, 2 n_outputs)."""
        if self.drift_per_row == 0:
            return self._propagators[0](quadratures)
        age = np.arange(first_row, first_row + len(quadratures), dtype=np.float64)[:, np.newaxis]
        kept = np.exp(-self.drift_per_row * age)
        before, after = (propagate(quadratures) for propagate in self._propagators)
        return np.asarray(np.sqrt(kept) * before + np.sqrt(1.0 - kept) * after)


def _is_drawn(matrix: Any) -> bool:
    """Whether the setting names a kind of matrix to draw, not a file or an array."""
    return isinstance(matrix, str) and not matrix.endswith((".npy", ".npz"))
