"""A ring of coupled nonlinear oscillators: angles or drives in, their motion at a few moments out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hwloop.device import Tunable
from hwloop.device.declared import SettingsGroup, choice, real, switch, whole
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.simulators.substrate import BlockSubstrate, Detector

if TYPE_CHECKING:
    from hwloop.simulators.oscillators.motion import Motion


SOFTEST = 0.1  # no disorder makes an oscillator softer than this, or a spring weaker than 0


class Ring(SettingsGroup):
    """Springs between neighbours on a ring, and how unlike the oscillators are.

    Parameters
    ----------
    coupling, neighbours
        Strength of a spring in omega_0^2, and to how many oscillators on each side there is one.
    disorder
        Relative standard deviation of the stiffness of oscillators and of springs.
    """

    coupling: float = real(0.5, 0.0, 100.0)
    neighbours: int = 2
    disorder: float = real(0.1, 0.0, 1.0)


class Disorder:
    """Stiffness s_i = 1 + spread g_i of the oscillators, and springs strength (1 + spread h), g and h normal.

    Parameters
    ----------
    count
        Oscillators.
    ring
        Spread and strength.
    drift_per_row
        Rate at which g goes over into an independent draw.
    stream
        Gives the random numbers for g and h by name.

    Attributes
    ----------
    springs
        ``springs[d - 1, i]`` ties oscillator i to i + d on the ring, shape (reach, count).
    extent
        What drift can add to a stiffness at most, both draws together, shape (count,).
    """

    def __init__(self, count: int, ring: Ring, drift_per_row: float, stream: Callable[[str], NoiseStream]) -> None:
        reach = whole_number("neighbours", ring.neighbours, 0, max(0, (count - 1) // 2))
        self._drift_per_row = drift_per_row
        normals = np.stack([stream("stiffness").at_row(k).standard_normal(count) for k in (0, 1)])
        self._draws = ring.disorder * normals
        springs = 1 + ring.disorder * stream("springs").at_row(0).standard_normal((reach, count))
        self.springs: Float64Array = ring.coupling * np.maximum(springs, 0.0)
        self.extent: Float64Array = np.abs(self._draws).sum(axis=0)

    def stiffness(self, first_row: int, rows: int) -> Float64Array:
        """Squares of the frequencies, shape (count, rows), or (count, 1) without drift."""
        before, after = self._draws[:, :, np.newaxis]
        if self._drift_per_row:
            kept = np.exp(-self._drift_per_row * np.arange(first_row, first_row + rows, dtype=np.float64))
            before = np.sqrt(kept) * before + np.sqrt(1.0 - kept) * after
        return np.asarray(np.maximum(1.0 + before, SOFTEST), dtype=np.float64)


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
    damping
        Decay rate of an amplitude in omega_0: a quality factor of 1 / (2 damping).
    drive_frequency
        In omega_0.
    steps_per_period
        Of the integrator; refused where the fastest motion would be near its limit of stability.
    full_scale
        Reading of 1, in rad, omega_0 rad or omega_0^2 rad^2.
    drift_per_row
        Rate at which the disorder goes over into another, 0 to 1 a row.
    tuned_springs
        Whether the springs are tunables ``springs``, in omega_0^2 within 0 and twice ``coupling``: of oscillator i
        to i + 1 for every i, then to i + 2, and so on. At rest they are what disorder makes of them.
    """

    stream_prefix: ClassVar = "oscillators"
    added_settings: ClassVar = frozenset({"tuned_springs"})
    block_rows: ClassVar = 256

    n_inputs: int = whole(64, 1, 4096)
    model: str = choice("pendulum", ("pendulum", "duffing"))
    encoding: str = choice("angle", ("angle", "drive"))
    readout: str = choice("angle", ("angle", "velocity", "energy"))
    amplitude: float = 2.0
    n_reads: int = whole(4, 1, 1000)
    duration_periods: float = real(4.0, 0.01, 1000.0)
    hardening: float = real(1.0, 0.0, 1000.0)
    ring: Ring = Ring(coupling=0.5, disorder=0.1)
    damping: float = real(0.01, 0.0, 10.0)
    drive_frequency: float = real(1.0, 0.0, 10.0)
    steps_per_period: int = whole(64, 1, 1_000_000)
    full_scale: float = real(math.pi, 1e-9, 1e9)
    detector: Detector = Detector()
    drift_per_row: float = real(0.0, 0.0, 1.0, quiet=0.0)
    tuned_springs: bool = switch(False)

    def _set_up(self) -> None:
        real_number("amplitude", self.amplitude, 1e-6, 3.1 if self.encoding == "angle" else 100.0)
        self._duration = 2 * np.pi * self.duration_periods
        self._chain = self.detector.chain((-1.0, 1.0), (-1.0, 1.0), self._stream)
        self._disorder = Disorder(self.n_inputs, self.ring, self.drift_per_row, self._stream)
        self._steps_per_read = self._checked_steps()
        self._motion = self._built_motion(self._disorder.springs)
        self._moved_with = self._disorder.springs
        self.spec = self._spec(
            self.n_inputs,
            self.n_inputs * self.n_reads,
            still=self.drift_per_row == 0,
            input_low=-1.0,
            input_unit="of the amplitude",
            output_unit="of full scale",
            tunables=self._tunables(),
        )

    @property
    def read_times(self) -> Float64Array:
        """The moments that are read, in units of 1 / omega_0, shape (n_reads,)."""
        return self._duration * np.arange(1, self.n_reads + 1) / self.n_reads

    @property
    def _stiffest(self) -> Float64Array:
        """The strongest that each spring can be, shape (reach, oscillators)."""
        springs = self._disorder.springs
        return np.maximum(springs, 2 * self.ring.coupling) if self.tuned_springs else springs

    def _tunables(self) -> tuple[Tunable, ...]:
        if not self.tuned_springs:
            return ()
        springs = self._disorder.springs
        if not springs.size or not self.ring.coupling:
            raise ValueError("tuned_springs needs springs: neighbours of at least 1, and coupling above 0")
        return (Tunable("springs", springs.size, 0.0, self._stiffest.ravel(), "omega_0^2", rest=springs.ravel()),)

    def _checked_steps(self) -> int:
        """Steps between two readings; a step at which the fastest motion is poorly resolved is refused."""
        steps, largest = self.steps_per_period, 0.0
        if self.model == "duffing":
            linear = 1.0 if self.encoding == "angle" else self._duration / 2  # a resonance grows no faster
            if self.encoding == "drive" and self.damping:
                linear = min(linear, 1 / (2 * self.damping))
            largest = 3 * self.hardening * (self.amplitude * linear) ** 2
        stiffest = 1.0 + self._disorder.extent.max()
        stiffest += 4 * self._stiffest.max(axis=1, initial=0.0).sum()
        fastest = math.sqrt(stiffest + largest)
        needed = math.ceil(2 * np.pi * fastest)
        if steps < needed:
            raise ValueError(
                f"steps_per_period must be at least {needed}, not {steps}: a motion of {fastest:.3g} omega_0 is "
                f"possible, and beyond half the limit of stability (a step of 2 / {fastest:.3g}) it is wrong; "
                f"the nearest allowed value is {needed}"
            )
        return math.ceil(steps * self._duration / (2 * np.pi) / self.n_reads)

    def _built_motion(self, springs: Float64Array) -> Motion:
        from hwloop.simulators.oscillators import motion  # torch, only where it is used

        return motion.Motion(
            motion.Pendulum() if self.model == "pendulum" else motion.Duffing(self.hardening),
            springs,
            step=self._duration / (self._steps_per_read * self.n_reads),
            damping=self.damping,
            drive_frequency=self.drive_frequency,
            steps_per_read=self._steps_per_read,
            n_reads=self.n_reads,
            readout=self.readout,
            device=self.torch_device,
        )

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        if self.tuned_springs:  # set by this thread, before others use them
            springs = self.tuning.reshape(self._disorder.springs.shape).copy()
            if not np.array_equal(springs, self._moved_with):
                self._motion, self._moved_with = self._built_motion(springs), springs
        super()._each_block(work, starts)

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        stiffness, still = self._disorder.stiffness(first_row, len(drive)), np.zeros_like(drive)
        amplitudes = self.amplitude * drive
        if self.encoding == "angle":
            readings = self._motion(amplitudes, None, stiffness)
        else:
            readings = self._motion(still, amplitudes, stiffness)
        return readings / self.full_scale
