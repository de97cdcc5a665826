"""Microwaves in a chaotic cavity: the pixels of a metasurface in, transmission between antennas out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device import Tunable
from hwloop.device.declared import choice, noise, real, whole
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.imperfections import GainJitter, ImperfectionChain, ReadNoise
from hwloop.simulators.microwave.chamber import Chamber, Eliminated, build_chamber, eliminate, single_flips
from hwloop.simulators.substrate import TorchSubstrate
from hwloop.simulators.threads import single_threaded_blas

if TYPE_CHECKING:
    from hwloop.simulators.microwave.states import BinaryStates

PORT_COUPLING = 10.0  # Gamma of an antenna: near the value at which most power gets into the chamber and out


class MicrowaveCavity(TorchSubstrate):
    r"""Simulated chaotic microwave cavity with a programmable metasurface, read by a network analyser.

    Antennas, walls, scatterers and pixels are dipoles p in two dimensions (PhysFad: Faqiri et al., IEEE Trans.
    Wireless Commun. 22, 580 (2023)): W p = E with W_ij = (i k^2 / 4) H0^(2)(k r_ij) and W_ii = 1 / alpha_i. A
    pixel has two states, which differ in its resonance frequency. Between the antennas' cables
    S = 1 - 2 i Gamma (W^-1), measured at ``n_frequencies`` frequencies for every pair of a transmitter and a
    receiver. The response is nonlinear in the pixels, because waves that reverberate meet several of them.

    Outputs are ordered by frequency, then receiver, then transmitter: abs(S) (``readout="magnitude"``), or all
    real parts and then all imaginary parts (``"iq"``). In the order in which the signal meets them: gain jitter,
    the analyser's noise floor (complex white noise), detection.

    A stimulus is rounded to a state: a pixel is on where it is above 0.5. Drift: scatterers elsewhere,
    S_k = sqrt(1 - e_k) S_0 + sqrt(e_k) S_1 before the k-th row with e_k = 1 - exp(-drift_per_row k).

    Parameters
    ----------
    n_inputs
        Pixels of the metasurface, those that are tuned included.
    n_transmitters, n_receivers
        Antennas.
    n_frequencies, bandwidth
        Frequencies, evenly spaced over this fraction of the working frequency around it.
    size
        Length of the wall with the metasurface, in wavelengths.
    n_scatterers
        Fixed obstacles at random places.
    wall_loss
        Absorption of the walls; 0 leaves that of the pixels and the antennas.
    readout
        ``"magnitude"`` or ``"iq"``.
    noise_floor
        Standard deviation of the noise of S, in real and in imaginary part; 0.001 is -60 dB.
    gain_jitter
        Standard deviation of a gain common to all readings of a row.
    stuck_pixels, dead_pixels
        Fractions of the pixels that never change: stuck ones stay on or off at random, dead ones off.
    drift_per_row
        Rate of decorrelation, 0 to 1 a row.
    tuned_pixels
        So many of the pixels, the last ones, are no inputs but tunables ``pixels``, one bit each, off at rest.
    """

    stream_prefix: ClassVar = "microwave-cavity"
    added_settings: ClassVar = frozenset({"tuned_pixels"})

    n_inputs: int = whole(40, 1, 1_000)
    n_transmitters: int = whole(1, 1, 64)
    n_receivers: int = whole(2, 1, 64)
    n_frequencies: int = whole(20, 1, 1_000)
    bandwidth: float = real(0.1, 0.0, 1.0)
    size: float = real(18.0, 2.0, 200.0)
    n_scatterers: int = whole(8, 0, 10_000)
    wall_loss: float = real(0.0, 0.0)
    readout: str = choice("magnitude", ("magnitude", "iq"))
    noise_floor: float = real(1e-3, 0.0, 1.0, quiet=0.0)
    gain_jitter: float = noise()
    stuck_pixels: float = real(0.0, 0.0, 1.0)
    dead_pixels: float = 0.0
    drift_per_row: float = real(0.0, 0.0, 1.0, quiet=0.0)
    tuned_pixels: int = 0

    def _set_up(self) -> None:
        tuned = whole_number("tuned_pixels", self.tuned_pixels, 0, self.n_inputs - 1)
        self._is_iq = self.readout == "iq"
        self.frequencies = self._band()
        jitter = GainJitter(self.gain_jitter, self._stream("gain-jitter"))
        floor = ReadNoise(self.noise_floor, self._stream("noise-floor"))
        self._chain = ImperfectionChain(None, (jitter, floor))
        self._fixed_pixels = self._faulty_pixels()
        self.chambers = [self._chamber(number) for number in range(2 if self.drift_per_row else 1)]
        with single_threaded_blas():  # so that no bit depends on how many threads there are
            self._reduced = [[eliminate(c, f, PORT_COUPLING) for f in self.frequencies] for c in self.chambers]
            self._transmissions = [self._solver(reduced) for reduced in self._reduced]
        pairs = self.n_receivers * self.n_transmitters
        self.spec = self._spec(
            self.n_inputs - tuned,
            len(self.frequencies) * pairs * (2 if self._is_iq else 1),
            still=self.drift_per_row == 0,
            output_unit="of the wave sent",
            tunables=(Tunable("pixels", tuned, step=1.0),) if tuned else (),
        )

    def transmission(self, stimuli: Float64Array, chamber: int = 0) -> NDArray[np.complex128]:
        """S without noise, shape (rows, frequencies, receivers, transmitters)."""
        return np.asarray(-2j * PORT_COUPLING * self._transmissions[chamber](self._states(stimuli)))

    def flip_transmissions(self, stimulus: Float64Array) -> NDArray[np.complex128]:
        """S without noise after each pixel alone is flipped: the gradient of a binary surface, at one solution.

        ``stimulus`` has a value for each input; the result has shape (pixels, frequencies, receivers,
        transmitters), tuned pixels last. A pixel that cannot change is flipped all the same.
        """
        state = self._states(stimulus[np.newaxis])[0].astype(np.float64)
        flips = np.stack([single_flips(chamber, state) for chamber in self._reduced[0]], axis=1)
        return np.asarray(-2j * PORT_COUPLING * flips[:, :, self.n_transmitters :, : self.n_transmitters])

    def _states(self, stimuli: Float64Array) -> NDArray[np.bool_]:
        if self.tuned_pixels:
            tuned = np.broadcast_to(self.tuning, (len(stimuli), self.tuned_pixels))
            stimuli = np.concatenate([stimuli, tuned], axis=1)
        return np.where(np.isnan(self._fixed_pixels), stimuli > 0.5, self._fixed_pixels == 1.0)

    def _band(self) -> Float64Array:
        count = self.n_frequencies
        return 1.0 + self.bandwidth * (np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(1))

    def _chamber(self, number: int) -> Chamber:
        """The chamber before any drift (0), or the one that it drifts to (1): its scatterers stand elsewhere."""
        return build_chamber(
            self.size,
            self.n_transmitters + self.n_receivers,
            self.n_inputs,
            self.n_scatterers,
            self.wall_loss,
            self._stream("antennas").at_row(0),
            self._stream("scatterers").at_row(number),
        )

    def _solver(self, reduced: Sequence[Eliminated]) -> BinaryStates:
        from hwloop.simulators.microwave.states import BinaryStates  # torch, only where it is used

        sent = self.n_transmitters
        return BinaryStates(reduced, slice(0, sent), slice(sent, sent + self.n_receivers), self.torch_device)

    def _faulty_pixels(self) -> Float64Array:
        """What each pixel is fixed to, shape (pixels,): 1 on, 0 off, NaN where it does as it is told."""
        stuck, pixels = self.stuck_pixels, self.n_inputs
        dead = real_number("dead_pixels", self.dead_pixels, 0.0, 1.0 - stuck)
        rng = self._stream("faulty-pixels").at_row(0)
        order = rng.permutation(pixels)
        n_stuck, n_dead = round(stuck * pixels), round(dead * pixels)
        fixed = np.full(pixels, np.nan)
        fixed[order[:n_stuck]] = rng.integers(0, 2, n_stuck)
        fixed[order[n_stuck : n_stuck + n_dead]] = 0.0
        return fixed

    def _measure_block(self, inputs: Float64Array, first_row: int) -> Float64Array:
        readings = super()._measure_block(inputs, first_row)
        if self._is_iq:
            return readings
        real, imaginary = np.split(readings, 2, axis=1)
        return np.asarray(np.hypot(real, imaginary))

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        field = self._drifted(drive, first_row).reshape(len(drive), -1)
        return np.concatenate([field.real, field.imag], axis=1)

    def _drifted(self, inputs: Float64Array, first_row: int) -> NDArray[np.complex128]:
        if self.drift_per_row == 0:
            return self.transmission(inputs)
        age = np.arange(first_row, first_row + len(inputs), dtype=np.float64)
        kept = np.exp(-self.drift_per_row * age)[:, np.newaxis, np.newaxis, np.newaxis]
        before, after = (self.transmission(inputs, number) for number in (0, 1))
        return np.asarray(np.sqrt(kept) * before + np.sqrt(1.0 - kept) * after)
