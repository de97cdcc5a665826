"""A ring of coupled nonlinear oscillators: angles or drives in, their motion at a few moments out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.oscillators.disorder import Disorder
from hwloop.simulators.substrate import BlockSubstrate

if TYPE_CHECKING:
    from hwloop.simulators.oscillators.motion import Motion

MODELS = ("pendulum", "duffing")
ENCODINGS = ("angle", "drive")
READOUTS = ("angle", "velocity", "energy")


class Oscillators(BlockSubstrate):
    r"""Simulated ring of coupled nonlinear pendula or Duffing oscillators, set off or driven by the stimulus.

    For oscillator i, with time in units of 1 / omega_0 and angles in rad,

    q_i'' = -V'(q_i) - 2 damping q_i' + sum over neighbours of k_ij (q_j - q_i) + f_i cos(drive_frequency t),

    V' = s_i sin q (``model="pendulum"``) or s_i q + hardening q^3 (``"duffing"``). The stimulus x in [-1, 1] gives
    the angles q_i(0) = amplitude x_i (``encoding="angle"``, no drive) or the drives f_i = amplitude x_i
    (``"drive"``, from rest). A small physical network of this kind is among those trained through by Wright et
    al., Nature 601, 549 (2022).

    Outputs are ordered by moment, then oscillator, and given as a fraction of ``full_scale``. In the order in
    which the signal meets them: gain jitter, read noise, the ADC over [-1, 1], glitches. Every row begins at
    rest: no row remembers another. Drift: the disorder of the oscillators s_i goes over into an independent one,
    g_k = sqrt(1 - e_k) g_0 + sqrt(e_k) g_1 before the k-th row with e_k = 1 - exp(-drift_per_row k).

    Parameters
    ----------
    n_inputs
        Oscillators.
    model, encoding, readout
        See above; ``readout`` is ``"angle"``, ``"velocity"`` or ``"energy"`` (its own and half of its springs').
    amplitude
        Angle in rad, or drive in omega_0^2 rad, of a stimulus of 1.
    n_reads, duration_periods
        Moments that are read, evenly spaced up to this time, in periods of a lone small oscillation.
    hardening
        Of a Duffing oscillator, in omega_0^2 / rad^2; at least 0, so that the potential holds.
    coupling, neighbours
        Strength of a spring in omega_0^2, and to how many oscillators on each side there is one.
    disorder
        Relative standard deviation of the s_i and of the springs.
    damping
        Decay rate of an amplitude in omega_0: a quality factor of 1 / (2 damping).
    drive_frequency
        In omega_0.
    steps_per_period
        Of the integrator; refused where the fastest motion would be near its limit of stability.
    full_scale
        Reading of 1, in rad, omega_0 rad or omega_0^2 rad^2.
    dac_bits, adc_bits
        1 to 24; ``None`` for ideal converters.
    read_noise, gain_jitter, glitch_rate
        Fractions: of full scale, of the signal (one draw a row), of the rows.
    drift_per_row
        Rate of decorrelation of the disorder, 0 to 1 a row.
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    torch_device
        Where the motion is computed, such as ``"cpu"`` or ``"cuda"``.
    seed
        Draws the disorder and all noise.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    quiet_settings: ClassVar = {"read_noise": 0.0, "gain_jitter": 0.0, "glitch_rate": 0.0, "drift_per_row": 0.0}
    stream_prefix: ClassVar = "oscillators"
    block_rows: ClassVar = 256

    def __init__(
        self,
        *,
        n_inputs: int = 64,
        model: str = "pendulum",
        encoding: str = "angle",
        readout: str = "angle",
        amplitude: float = 2.0,
        n_reads: int = 4,
        duration_periods: float = 4.0,
        hardening: float = 1.0,
        coupling: float = 0.5,
        neighbours: int = 2,
        disorder: float = 0.1,
        damping: float = 0.01,
        drive_frequency: float = 1.0,
        steps_per_period: int = 64,
        full_scale: float = math.pi,
        dac_bits: int | None = 10,
        adc_bits: int | None = 10,
        read_noise: float = 0.01,
        gain_jitter: float = 0.0,
        glitch_rate: float = 0.0,
        drift_per_row: float = 0.0,
        row_seconds: float | None = None,
        torch_device: str = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__(locals())
        one_of("model", model, MODELS)
        one_of("encoding", encoding, ENCODINGS)
        one_of("readout", readout, READOUTS)
        count = whole_number("n_inputs", n_inputs, 1, 4096)
        self._n_reads = whole_number("n_reads", n_reads, 1, 1000)
        self._amplitude = real_number("amplitude", amplitude, 1e-6, 3.1 if encoding == "angle" else 100.0)
        self._full_scale = real_number("full_scale", full_scale, 1e-9, 1e9)
        self._damping = real_number("damping", damping, 0.0, 10.0)
        self._drive_frequency = real_number("drive_frequency", drive_frequency, 0.0, 10.0)
        self._duration = 2 * np.pi * real_number("duration_periods", duration_periods, 0.01, 1000.0)
        self._hardening = real_number("hardening", hardening, 0.0, 1000.0)
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
        self._steps_per_read = self._checked_steps()
        self._motion = self._built_motion()
        self.spec = DeviceSpec(
            n_inputs=count,
            n_outputs=count * self._n_reads,
            input_low=-1.0,
            input_high=1.0,
            input_unit="of the amplitude",
            output_unit="of full scale",
            row_seconds=row_seconds,
            deterministic=self._chain.deterministic and drift_per_row == 0,
        )

    @property
    def read_times(self) -> Float64Array:
        """The moments that are read, in units of 1 / omega_0, shape (n_reads,)."""
        return self._duration * np.arange(1, self._n_reads + 1) / self._n_reads

    def _checked_steps(self) -> int:
        """Steps between two readings; a step at which the fastest motion is poorly resolved is refused."""
        given = self._settings
        steps = whole_number("steps_per_period", given["steps_per_period"], 1, 1_000_000)
        largest = 0.0
        if given["model"] == "duffing":
            linear = 1.0 if given["encoding"] == "angle" else self._duration / 2  # a resonance grows no faster
            if given["encoding"] == "drive" and self._damping:
                linear = min(linear, 1 / (2 * self._damping))
            largest = 3 * self._hardening * (self._amplitude * linear) ** 2
        stiffest = 1.0 + self._disorder.extent.max()
        stiffest += 4 * self._disorder.springs.max(axis=1, initial=0.0).sum()
        fastest = math.sqrt(stiffest + largest)
        needed = math.ceil(2 * np.pi * fastest)
        if steps < needed:
            raise ValueError(
                f"steps_per_period must be at least {needed}, not {steps}: a motion of {fastest:.3g} omega_0 is "
                f"possible, and beyond half the limit of stability (a step of 2 / {fastest:.3g}) it is wrong; "
                f"the nearest allowed value is {needed}"
            )
        return math.ceil(steps * self._duration / (2 * np.pi) / self._n_reads)

    def _built_motion(self) -> Motion:
        from hwloop.simulators.oscillators import motion  # torch, only where it is used

        is_pendulum = self._settings["model"] == "pendulum"
        return motion.Motion(
            motion.Pendulum() if is_pendulum else motion.Duffing(self._hardening),
            self._disorder.springs,
            step=self._duration / (self._steps_per_read * self._n_reads),
            damping=self._damping,
            drive_frequency=self._drive_frequency,
            steps_per_read=self._steps_per_read,
            n_reads=self._n_reads,
            readout=self._settings["readout"],
            device=self._settings["torch_device"],
        )

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        stiffness, still = self._disorder.stiffness(first_row, len(drive)), np.zeros_like(drive)
        amplitudes = self._amplitude * drive
        if self._settings["encoding"] == "angle":
            readings = self._motion(amplitudes, None, stiffness)
        else:
            readings = self._motion(still, amplitudes, stiffness)
        return readings / self._full_scale
