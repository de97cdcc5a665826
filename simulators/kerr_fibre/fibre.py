"""Intense light through a multimode fibre with a Kerr nonlinearity, between a modulator and a camera."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.device.declared import choice, real, whole
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators import optics
from hwloop.simulators.kerr_fibre.medium import Complex, ModalFibre, graded, measured, propagators, quadrature_form
from hwloop.simulators.optics import MODULATIONS, PhaseWalk
from hwloop.simulators.substrate import BlockSubstrate, Camera

if TYPE_CHECKING:
    from hwloop.simulators.kerr_fibre.split_step import Propagation

FULL_SCALE = 1.0  # of the camera: the unit of every response
MAX_SIDE = 32  # modes and camera pixels along each direction
PHASE_OF_A_STEP = 0.25  # rad of nonlinear phase that one step may bring at the mean intensity


class NonlinearFibre(BlockSubstrate):
    r"""Simulated multimode fibre with a Kerr nonlinearity: light changes the index that it meets.

    The amplitudes a of M modes, and the field U a at M points of the cross-section, obey

    da/dz = i B a + i nonlinear_phase U^+ (rho abs(U a)^2 U a), z in [0, 1],

    B the propagation constants, rho the local density of points. At the end of each of ``n_segments`` segments a
    random unitary matrix couples the modes. Solved by the Strang split-step method (Agrawal, Nonlinear Fiber
    Optics, section 2.4). The camera sees I = exposure * abs(C a)**2; its mean over pixels and stimuli is the
    exposure. Encodings, camera and noise are those of the device ``optical-fibre``.

    The modes are those of a graded-index fibre, products of n by n Hermite-Gauss functions, in groups that part by
    2 pi ``pitches`` over the length. With a given matrix T, square and in any mode basis, the linear limit is T;
    see :func:`hwloop.simulators.kerr_fibre.medium.measured`.

    Drift, of two kinds. ``drift_per_row``: the field at the camera before the k-th row is sqrt(1 - e_k) of this
    fibre's and sqrt(e_k) of another one's, e_k = 1 - exp(-drift_per_row k). ``phase_walk``: the phases of the mode
    groups at launch walk at random, independently.

    Parameters
    ----------
    n_inputs
        Modulator channels; default 64, or the size of a given matrix.
    n_modes, n_outputs
        Modes (default 64) and camera pixels (default 256), squares of whole numbers; or a given matrix's size.
    matrix
        ``None`` for graded index, or a .npy or .npz file, or an array of shape (n, n).
    encoding
        ``"amplitude"`` or ``"phase"``.
    nonlinear_phase
        Kerr phase over the length, in rad, of a power of 1 spread evenly: that of every phase stimulus, and of an
        amplitude stimulus with a mean square of 1/5. 0 for linear light.
    n_segments, steps_per_segment
        Segments, and split-steps in each.
    mixing
        Coupling of a mode to all others at the end of a segment, in rad; 0 with a given matrix.
    pitches
        Periods of self-imaging over the length.
    drift_per_row
        Rate of decorrelation, 0 to 1 a row.
    phase_walk
        Standard deviation of the step of each mode group's phase, in rad a row.
    exposure
        Mean signal of a typical stimulus, in units of the camera's full scale.
    mask_bits
        A phase mask on the modulator: see the device ``optical-fibre``.
    """

    stream_prefix: ClassVar = "multimode-fibre-nonlinear"
    added_settings: ClassVar = frozenset({"mask_bits"})

    n_inputs: int | None = None
    n_modes: int | None = None
    n_outputs: int | None = None
    matrix: str | Path | NDArray[Any] | None = None
    encoding: str = choice("amplitude", MODULATIONS)
    nonlinear_phase: float = real(1.0, 0.0, 1000.0)
    n_segments: int = whole(8, 1, 10_000)
    steps_per_segment: int = whole(16, 1, 10_000)
    mixing: float = real(1.0, 0.0, 100.0)
    pitches: float = real(1.0, 0.0, 1000.0)
    camera: Camera = Camera()
    drift_per_row: float = real(0.0, 0.0, 1.0, quiet=0.0)
    phase_walk: float = real(0.0, 0.0, 10.0, quiet=0.0)
    exposure: float = real(1.0, 1e-9, 1e9)
    mask_bits: int | None = None

    def _set_up(self) -> None:
        light = MODULATIONS[self.encoding]
        self._chain = self.camera.chain((light.low, light.high), (0.0, FULL_SCALE), self._stream)
        if self.matrix is not None:
            # As it is now: a file or an array that changes later shall not change noiseless().
            self._settings["matrix"] = optics.as_given(self.matrix)
        self.media = [self._medium(number) for number in range(2 if self.drift_per_row else 1)]
        self._refuse_long_steps(self.media[0])
        self._walk = self._phase_walk(self.media[0])
        self._propagations = [self._propagation(medium) for medium in self.media]
        self.spec = self._spec(
            self.media[0].launch.shape[1],
            self.media[0].exit.shape[0],
            still=self.drift_per_row == 0 and self._walk is None,
            input_low=light.low,
            input_high=light.high,
            input_unit=light.unit,
            output_unit="of full scale",
            tunables=optics.mask_tunables(self.media[0].launch.shape[1], self.mask_bits),
        )

    def _modulation(self, phases: Float64Array | None = None) -> optics.Modulation:
        light = MODULATIONS[self.encoding]
        return light if self.mask_bits is None else optics.MaskedModulation(light, phases)

    @classmethod
    def from_file(cls, path: str | Path, index: int = 0, **settings: Any) -> Self:
        """A fibre with one of the square matrices that a file holds (a .npz under the name ``matrices``)."""
        return cls(matrix=optics.read_matrix(path, index), **settings)

    @property
    def transmission_matrix(self) -> Complex:
        """The linear limit before any drift, shape (n_outputs, n_inputs)."""
        product = self.media[0].launch
        for linear in propagators(self.media[0], self.steps_per_segment):
            product = linear @ product
        return product

    def _named_settings(self) -> dict[str, Any]:
        """All settings that have a say; a given matrix is named by its SHA-256."""
        shown = super()._named_settings()
        if shown["matrix"] is not None:
            digest = hashlib.sha256(np.ascontiguousarray(shown["matrix"]).tobytes()).hexdigest()
            shown["matrix"] = f"sha256:{digest[:16]}"
        return shown

    def _medium(self, number: int) -> ModalFibre:
        """The fibre before any drift (0), or the one that it drifts to (1)."""
        given = self._settings
        coupling_rng = self._stream("coupling").at_row(number)
        if given["matrix"] is None:
            return graded(
                side=_side("n_modes", 64 if given["n_modes"] is None else given["n_modes"], 2),
                pixels=_side("n_outputs", 256 if given["n_outputs"] is None else given["n_outputs"], 1),
                n_inputs=whole_number(
                    "n_inputs", 64 if given["n_inputs"] is None else given["n_inputs"], 1, 10_000
                ),
                n_segments=self.n_segments,
                mixing=self.mixing,
                pitches=self.pitches,
                launch_rng=self._stream("launch").at_row(0),
                coupling_rng=coupling_rng,
            )
        matrix = optics.normalised(given["matrix"])
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(
                f"the given matrix has shape {matrix.shape}, but light that acts on itself inside the fibre needs "
                f"as many modes out as in; the nearest allowed shape is ({min(matrix.shape)}, {min(matrix.shape)})"
            )
        for name in ("n_inputs", "n_modes", "n_outputs"):
            if given[name] not in (None, len(matrix)):
                raise ValueError(
                    f"{name} is {given[name]!r}, but the given matrix has {len(matrix)}; leave {name} out"
                )
        if number:
            matrix = optics.gaussian(len(matrix), len(matrix), coupling_rng)
        return measured(matrix, self.n_segments, self._stream("points").at_row(0))

    def _refuse_long_steps(self, medium: ModalFibre) -> None:
        """Too few split-steps would give modes a spurious resonance, or too much phase at once."""
        steps = self.steps_per_segment
        if self.nonlinear_phase == 0:
            return
        for what, angle, limit in (
            ("the nonlinear phase of a step", self.nonlinear_phase, PHASE_OF_A_STEP),
            ("the linear phase between two modes in a step", np.ptp(medium.phases), np.pi),
        ):
            fewest = math.ceil(angle / (limit * self.n_segments) - 1e-9)
            if steps < fewest:
                raise ValueError(
                    f"steps_per_segment must be at least {fewest}, not {steps}: {what} must not exceed "
                    f"{limit:.3g} rad; the nearest allowed value is {fewest}"
                )

    def _phase_walk(self, medium: ModalFibre) -> PhaseWalk | None:
        if self.phase_walk == 0:
            return None
        if medium.groups is None:
            raise ValueError(
                f"phase_walk moves groups of modes, but {len(medium.launch)} modes do not fill groups of 2, 4, 6 "
                "...: which belong together is not known; the nearest allowed value is 0"
            )
        return PhaseWalk(self._stream("phase-walk"), int(medium.groups.max()) + 1, self.phase_walk)

    def _propagation(self, medium: ModalFibre) -> Propagation:
        from hwloop.simulators.kerr_fibre.split_step import Propagation  # torch, only where it is used

        chain = propagators(medium, self.steps_per_segment)
        forms = {id(matrix): quadrature_form(matrix) for matrix in chain}
        light = self._modulation()
        launch = medium.launch / np.sqrt(light.typical_power(medium.launch.shape[1]))
        modes = len(medium.density)
        kerr = self.nonlinear_phase / (self.n_segments * self.steps_per_segment) * modes * medium.density
        return Propagation(
            light.propagator(launch),
            [forms[id(m)] for m in chain],
            kerr,
            self._settings["torch_device"],
        )

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        if self._walk is None:
            super()._each_block(work, starts)
            return
        for start in starts:  # a walk goes from row to row
            work(start)

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        quadratures, phases = self._modulation(self.tuning).quadratures(drive), None
        if self._walk is not None:
            phases = self._walk.at(first_row, len(drive))[:, self.media[0].groups]
        fields = [propagate(quadratures, phases) for propagate in self._propagations]
        field = fields[0]
        if len(fields) == 2:
            age = np.arange(first_row, first_row + len(drive), dtype=np.float64)[:, np.newaxis]
            kept = np.exp(-self.drift_per_row * age)
            field = np.sqrt(kept) * fields[0] + np.sqrt(1.0 - kept) * fields[1]
        real, imaginary = np.split(np.square(field), 2, axis=1)
        return np.asarray(self.exposure * (real + imaginary))


def _side(name: str, count: Any, least: int) -> int:
    """The whole square root of a number of modes or pixels."""
    number = whole_number(name, count, least**2, MAX_SIDE**2)
    side = round(math.sqrt(number))
    if side**2 != number:
        raise ValueError(f"{name} must be a square, not {number}; the nearest allowed value is {side**2}")
    return side
