"""A ring of damped oscillators that static forces push out of place: forces in, displacements at rest out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpbsv

from hwloop.device.declared import real, whole
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.oscillators.network import Disorder, Ring
from hwloop.simulators.substrate import Detector, Substrate

TOLERANCE = 1e-11  # of the net force left on any oscillator, in units of 1 or of the largest force on its row
MOST_STEPS = 100  # never needed: the energy is strictly convex
DECREASE = 1e-4  # share of the decrease that the slope promises, below which a step is halved (Armijo)


class Equilibrium:
    r"""The minimum over q of an energy that is strictly convex, so that there is one, however it is reached.

    E(q) = sum_i (s_i q_i^2 / 2 + hardening q_i^4 / 4 - f_i q_i) + sum over springs of k_ij (q_i - q_j)^2 / 2

    Newton's method with halved steps where a whole one would not lower E (Boyd and Vandenberghe, Convex
    Optimization, 2004, section 9.5). Every row goes its own way: no row's result depends on those beside it.

    Parameters
    ----------
    springs
        ``springs[d - 1, i]`` ties oscillator i to i + d, shape (reach, oscillators), at least 0.
    hardening
        At least 0.
    """

    def __init__(self, springs: Float64Array, hardening: float) -> None:
        self._springs, self._hardening = springs, hardening
        self._order = folded(springs.shape[1])
        self._band = _banded(_laplacian(springs)[np.ix_(self._order, self._order)], 2 * len(springs))

    def energy(self, q: Float64Array, forces: Float64Array, stiffness: Float64Array) -> Float64Array:
        """E of each row, shape (rows,), for displacements, forces and stiffness of shape (rows, oscillators)."""
        squares = q * q
        own = squares * (stiffness / 2 + self._hardening / 4 * squares) - forces * q
        for distance, spring in enumerate(self._springs, start=1):
            stretched = np.roll(q, -distance, axis=1) - q
            own += spring / 2 * stretched * stretched
        return np.asarray(own.sum(axis=1))

    def gradient(self, q: Float64Array, forces: Float64Array, stiffness: Float64Array) -> Float64Array:
        """Derivative of E by q, minus the net force on each oscillator; shapes (rows, oscillators)."""
        found = q * (stiffness + self._hardening * (q * q)) - forces
        for distance, spring in enumerate(self._springs, start=1):
            tension = spring * (np.roll(q, -distance, axis=1) - q)
            found += np.roll(tension, distance, axis=1) - tension
        return np.asarray(found)

    def response(self, q: Float64Array, forces: Float64Array, stiffness: Float64Array) -> Float64Array:
        """What small forces add to displacements q, by the inverse of E's second derivative.

        Shapes (rows, oscillators).
        """
        bands = np.repeat(self._band[np.newaxis], len(q), axis=0)
        bands[:, :, 0] += (stiffness + 3 * self._hardening * (q * q))[:, self._order]
        found = np.empty_like(q)
        for row, (band, force) in enumerate(zip(bands, forces[:, self._order], strict=True)):
            found[row, self._order] = dpbsv(band.T, force, lower=1, overwrite_ab=1)[1]
        return found

    def settled(self, forces: Float64Array, stiffness: Float64Array) -> Float64Array:
        """Displacements at rest under forces, both (rows, oscillators)."""
        q = np.zeros_like(forces)
        allowed = TOLERANCE * np.maximum(1.0, np.abs(forces).max(axis=1))
        moving = np.arange(len(q))
        for _ in range(MOST_STEPS):
            slope = self.gradient(q[moving], forces[moving], stiffness[moving])
            held = np.abs(slope).max(axis=1) <= allowed[moving]
            moving, slope = moving[~held], slope[~held]
            if not len(moving):
                return q
            q[moving] = self._stepped(q[moving], slope, forces[moving], stiffness[moving])
        raise ArithmeticError(f"{len(moving)} rows did not come to rest in {MOST_STEPS} steps of Newton's method")

    def _stepped(
        self, q: Float64Array, slope: Float64Array, forces: Float64Array, stiffness: Float64Array
    ) -> Float64Array:
        """One step of every row, halved until it lowers the energy."""
        step = -self.response(q, slope, stiffness)
        promised = (slope * step).sum(axis=1)
        before = self.energy(q, forces, stiffness)
        rounding = 1e-14 * (1.0 + np.abs(before))  # near the minimum E cannot tell, and the whole step is right
        length = np.ones(len(q))
        for _ in range(60):
            after = self.energy(q + length[:, np.newaxis] * step, forces, stiffness)
            too_long = after > before + DECREASE * length * promised + rounding
            if not too_long.any():
                break
            length[too_long] /= 2
        return np.asarray(q + length[:, np.newaxis] * step)


def folded(count: int) -> NDArray[np.intp]:
    """A ring's places in the order 0, count - 1, 1, count - 2, …: neighbours are at most twice as far apart."""
    return np.stack([np.arange(count), np.arange(count)[::-1]], axis=1).ravel()[:count]


def _laplacian(springs: Float64Array) -> Float64Array:
    """The springs' part of the second derivative of E, (oscillators, oscillators)."""
    count = springs.shape[1]
    found, here = np.zeros((count, count)), np.arange(count)
    for distance, spring in enumerate(springs, start=1):
        there = (here + distance) % count
        np.add.at(found, (here, here), spring)
        np.add.at(found, (there, there), spring)
        np.add.at(found, (here, there), -spring)
        np.add.at(found, (there, here), -spring)
    return found


def _banded(matrix: Float64Array, below: int) -> Float64Array:
    """The diagonals of a symmetric matrix from the main one down: ``[j, k]`` is that of row j + k, column j."""
    count = len(matrix)
    found = np.zeros((count, min(below, count - 1) + 1))
    for k in range(found.shape[1]):
        found[: count - k, k] = np.diagonal(matrix, -k)
    return found


class SettledOscillators(Substrate):
    r"""Simulated ring of coupled, damped Duffing oscillators under constant forces, read when they have settled.

    The motion q_i'' = -V'(q_i) - 2 damping q_i' + sum over neighbours of k_ij (q_j - q_i) + f_i, with
    V' = s_i q + hardening q^3, ends where the net force on every oscillator is zero: in the minimum of the energy

    E(q; f) = sum_i (s_i q_i^2 / 2 + hardening q_i^4 / 4 - f_i q_i) + sum over springs of k_ij (q_i - q_j)^2 / 2,

    which is strictly convex (s_i > 0, hardening >= 0): there is one, whatever the damping and whatever came
    before. So no row remembers another, and the response to a small force is reciprocal, dq_i/df_j = dq_j/df_i,
    the inverse of E's second derivative.

    The first ``n_inputs`` inputs, x in [-1, 1], push on as many oscillators, spread evenly over the ring, with
    amplitude x; the others are hidden. The last ``n_oscillators`` inputs are nudges: the k-th pushes in the same
    way on the oscillator that output k reads (``DeviceSpec.n_nudges``). f_i is the sum of these and a preload.
    Outputs are the displacements as a fraction of ``full_scale``, first of the driven oscillators, then of the
    hidden ones. Learning with such nudges: Scellier and Bengio, Frontiers in Computational Neuroscience 11, 24
    (2017); in coupled oscillators Wang, Wanjura and Marquardt, Neuromorphic Computing and Engineering 4, 034014
    (2024).

    In the order in which the signal meets them: gain jitter, read noise, the ADC over [-1, 1], glitches. Drift: as
    of :class:`hwloop.simulators.oscillators.network.Oscillators`.

    Parameters
    ----------
    n_inputs
        Driven oscillators.
    n_oscillators
        All of them; ``None`` for twice as many.
    amplitude
        Force in omega_0^2 rad of a stimulus of 1, of drives and nudges alike.
    hardening
        In omega_0^2 / rad^2; at least 0.
    preload
        Standard deviation of a constant force on each oscillator, in omega_0^2 rad: without it the device is odd,
        and as encoders centre what they send, no bias could come from anywhere else.
    full_scale
        Reading of 1, in rad.
    drift_per_row
        Rate at which the disorder goes over into another, 0 to 1 a row.
    """

    stream_prefix: ClassVar = "settled-oscillators"
    block_rows: ClassVar = 128

    n_inputs: int = whole(32, 1, 2048)
    n_oscillators: int | None = None
    amplitude: float = real(15.0, 1e-6, 1000.0)
    hardening: float = real(1.0, 0.0, 1000.0)
    ring: Ring = Ring(coupling=1.0, disorder=0.3)
    preload: float = real(5.0, 0.0, 1000.0)
    full_scale: float = real(3.0, 1e-9, 1e9)
    detector: Detector = Detector()
    drift_per_row: float = real(0.0, 0.0, 1.0, quiet=0.0)

    def _set_up(self) -> None:
        driven, count = self.n_inputs, 2 * self.n_inputs
        if self.n_oscillators is not None:
            count = whole_number("n_oscillators", self.n_oscillators, driven, 4096)
        self._chain = self.detector.chain((-1.0, 1.0), (-1.0, 1.0), self._stream)
        self._disorder = Disorder(count, self.ring, self.drift_per_row, self._stream)
        self._equilibrium = Equilibrium(self._disorder.springs, self.hardening)
        self._preload = self.preload * self._stream("preload").at_row(0).standard_normal(count)
        first = np.arange(driven) * count // driven
        self._places = np.concatenate([first, np.setdiff1d(np.arange(count), first)])  # on the ring, by output
        self.spec = self._spec(
            driven + count,
            count,
            still=self.drift_per_row == 0,
            input_low=-1.0,
            input_unit="of the amplitude",
            output_unit="of full scale",
            n_nudges=count,
        )

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`; of the ring before any drift.

        With H the second derivative of E at rest, dq = H^-1 df, and H is symmetric.
        """
        pulled = np.empty_like(stimuli)
        for start in range(0, len(stimuli), self.block_rows):
            rows = slice(start, start + self.block_rows)
            forces = self._forces(self._chain.drive(stimuli[rows]))
            stiffness = np.broadcast_to(self._disorder.stiffness(0, 1).T, forces.shape)
            pushes = np.empty_like(forces)
            pushes[:, self._places] = gradients[rows] / self.full_scale
            settled = self._equilibrium.settled(forces, stiffness)
            answers = self.amplitude * self._equilibrium.response(settled, pushes, stiffness)[:, self._places]
            pulled[rows] = np.hstack([answers[:, : self.spec.n_drives], answers])
        return pulled

    def _forces(self, drive: Float64Array) -> Float64Array:
        """By place on the ring, (rows, oscillators)."""
        drives, nudges = np.split(drive, [self.spec.n_drives], axis=1)
        by_output = nudges.copy()
        by_output[:, : self.spec.n_drives] += drives
        forces = np.empty_like(by_output)
        forces[:, self._places] = self.amplitude * by_output
        forces += self._preload
        return forces

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        forces = self._forces(drive)
        stiffness = np.broadcast_to(self._disorder.stiffness(first_row, len(drive)).T, forces.shape)
        settled = self._equilibrium.settled(forces, stiffness)
        return np.asarray(settled[:, self._places] / self.full_scale)
