"""A ring of damped oscillators that static forces push out of place: forces in, displacements at rest out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.oscillators.disorder import Disorder
from hwloop.simulators.oscillators.equilibrium import Equilibrium
from hwloop.simulators.substrate import Substrate


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
    coupling, neighbours
        Strength of a spring in omega_0^2, and to how many oscillators on each side there is one.
    disorder
        Relative standard deviation of the s_i and of the springs.
    preload
        Standard deviation of a constant force on each oscillator, in omega_0^2 rad: without it the device is odd,
        and as encoders centre what they send, no bias could come from anywhere else.
    full_scale
        Reading of 1, in rad.
    dac_bits, adc_bits
        1 to 24; ``None`` for ideal converters.
    read_noise, gain_jitter, glitch_rate
        Fractions: of full scale, of the signal (one draw a row), of the rows.
    drift_per_row
        Rate of decorrelation of the disorder, 0 to 1 a row.
    row_seconds
        Time of a row, with the settling, that the spec shall state; nothing waits for it.
    seed
        Draws the disorder and all noise.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    quiet_settings: ClassVar = {"read_noise": 0.0, "gain_jitter": 0.0, "glitch_rate": 0.0, "drift_per_row": 0.0}
    stream_prefix: ClassVar = "settled-oscillators"
    block_rows: ClassVar = 128

    def __init__(
        self,
        *,
        n_inputs: int = 32,
        n_oscillators: int | None = None,
        amplitude: float = 15.0,
        hardening: float = 1.0,
        coupling: float = 1.0,
        neighbours: int = 2,
        disorder: float = 0.3,
        preload: float = 5.0,
        full_scale: float = 3.0,
        dac_bits: int | None = 10,
        adc_bits: int | None = 10,
        read_noise: float = 0.01,
        gain_jitter: float = 0.0,
        glitch_rate: float = 0.0,
        drift_per_row: float = 0.0,
        row_seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(locals())
        driven = whole_number("n_inputs", n_inputs, 1, 2048)
        count = 2 * driven if n_oscillators is None else whole_number("n_oscillators", n_oscillators, driven, 4096)
        self._amplitude = real_number("amplitude", amplitude, 1e-6, 1000.0)
        self._full_scale = real_number("full_scale", full_scale, 1e-9, 1e9)
        self._chain = self._imperfections((-1.0, 1.0), (-1.0, 1.0))
        self._disorder = Disorder(
            count,
            spread=disorder,
            strength=coupling,
            reach=neighbours,
            drift_per_row=drift_per_row,
            stiffness_stream=self._stream("stiffness"),
            springs_stream=self._stream("springs"),
        )
        self._equilibrium = Equilibrium(self._disorder.springs, real_number("hardening", hardening, 0.0, 1000.0))
        spread = real_number("preload", preload, 0.0, 1000.0)
        self._preload = spread * self._stream("preload").at_row(0).standard_normal(count)
        first = np.arange(driven) * count // driven
        self._places = np.concatenate([first, np.setdiff1d(np.arange(count), first)])  # on the ring, by output
        self.spec = DeviceSpec(
            n_inputs=driven + count,
            n_outputs=count,
            input_low=-1.0,
            input_high=1.0,
            input_unit="of the amplitude",
            output_unit="of full scale",
            row_seconds=row_seconds,
            deterministic=self._chain.deterministic and drift_per_row == 0,
            n_nudges=count,
        )

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.differentiable.Differentiable`; of the ring before any drift.

        With H the second derivative of E at rest, dq = H^-1 df, and H is symmetric.
        """
        pulled = np.empty_like(stimuli)
        for start in range(0, len(stimuli), self.block_rows):
            rows = slice(start, start + self.block_rows)
            forces = self._forces(self._chain.drive(stimuli[rows]))
            stiffness = np.broadcast_to(self._disorder.stiffness(0, 1).T, forces.shape)
            pushes = np.empty_like(forces)
            pushes[:, self._places] = gradients[rows] / self._full_scale
            settled = self._equilibrium.settled(forces, stiffness)
            answers = self._amplitude * self._equilibrium.response(settled, pushes, stiffness)[:, self._places]
            pulled[rows] = np.hstack([answers[:, : self.spec.n_drives], answers])
        return pulled

    def _forces(self, drive: Float64Array) -> Float64Array:
        """By place on the ring, (rows, oscillators)."""
        drives, nudges = np.split(drive, [self.spec.n_drives], axis=1)
        by_output = nudges.copy()
        by_output[:, : self.spec.n_drives] += drives
        forces = np.empty_like(by_output)
        forces[:, self._places] = self._amplitude * by_output
        forces += self._preload
        return forces

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        forces = self._forces(drive)
        stiffness = np.broadcast_to(self._disorder.stiffness(first_row, len(drive)).T, forces.shape)
        settled = self._equilibrium.settled(forces, stiffness)
        return np.asarray(settled[:, self._places] / self._full_scale)
