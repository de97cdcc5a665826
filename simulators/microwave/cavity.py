"""Microwaves in a chaotic cavity: the pixels of a metasurface in, transmission between antennas out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.device import DeviceSpec
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.blas_threads import single_threaded_blas
from hwloop.simulators.imperfections import GainJitter, ImperfectionChain, ReadNoise
from hwloop.simulators.microwave.chamber import Chamber, build_chamber
from hwloop.simulators.microwave.elimination import Eliminated, eliminate, single_flips
from hwloop.simulators.substrate import Substrate

if TYPE_CHECKING:
    from hwloop.simulators.microwave.states import BinaryStates

PORT_COUPLING = 10.0  # Gamma of an antenna: near the value at which most power gets into the chamber and out
ANTENNA_LIMIT, PIXEL_LIMIT, FREQUENCY_LIMIT = 64, 1_000, 1_000
READOUTS = ("magnitude", "iq")


class MicrowaveCavity(Substrate):
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
        Pixels of the metasurface.
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
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    torch_device
        Where the systems are solved, such as ``"cpu"`` or ``"cuda"``.
    seed
        Draws the chamber, the faulty pixels and all noise.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    quiet_settings: ClassVar = {"noise_floor": 0.0, "gain_jitter": 0.0, "drift_per_row": 0.0}
    stream_prefix: ClassVar = "microwave-cavity"

    def __init__(
        self,
        *,
        n_inputs: int = 40,
        n_transmitters: int = 1,
        n_receivers: int = 2,
        n_frequencies: int = 20,
        bandwidth: float = 0.1,
        size: float = 18.0,
        n_scatterers: int = 8,
        wall_loss: float = 0.0,
        readout: str = "magnitude",
        noise_floor: float = 1e-3,
        gain_jitter: float = 0.0,
        stuck_pixels: float = 0.0,
        dead_pixels: float = 0.0,
        drift_per_row: float = 0.0,
        row_seconds: float | None = None,
        torch_device: str = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__(locals())
        pixels = whole_number("n_inputs", n_inputs, 1, PIXEL_LIMIT)
        transmitters = whole_number("n_transmitters", n_transmitters, 1, ANTENNA_LIMIT)
        receivers = whole_number("n_receivers", n_receivers, 1, ANTENNA_LIMIT)
        self._is_iq = one_of("readout", readout, READOUTS) == "iq"
        self.frequencies = self._band()
        self._drift_per_row = real_number("drift_per_row", drift_per_row, 0.0, 1.0)
        self._chain = ImperfectionChain(
            None,
            (
                GainJitter(gain_jitter, self._stream("gain-jitter")),
                ReadNoise(real_number("noise_floor", noise_floor, 0.0, 1.0), self._stream("noise-floor")),
            ),
        )
        self._fixed_pixels = self._faulty_pixels(pixels)
        self.chambers = [self._chamber(number) for number in range(2 if self._drift_per_row else 1)]
        with single_threaded_blas():  # so that no bit depends on how many threads there are
            self._reduced = [[eliminate(c, f, PORT_COUPLING) for f in self.frequencies] for c in self.chambers]
            self._transmissions = [self._solver(reduced) for reduced in self._reduced]
        self.spec = DeviceSpec(
            n_inputs=pixels,
            n_outputs=len(self.frequencies) * receivers * transmitters * (2 if self._is_iq else 1),
            output_unit="of the wave sent",
            row_seconds=row_seconds,
            deterministic=self._chain.deterministic and self._drift_per_row == 0,
        )

    def transmission(self, stimuli: Float64Array, chamber: int = 0) -> NDArray[np.complex128]:
        """S without noise, shape (rows, frequencies, receivers, transmitters)."""
        return np.asarray(-2j * PORT_COUPLING * self._transmissions[chamber](self._states(stimuli)))

    def flip_transmissions(self, stimulus: Float64Array) -> NDArray[np.complex128]:
        """S without noise after each pixel alone is flipped: the gradient of a binary surface, at one solution.

        ``stimulus`` has shape (n_inputs,); the result (n_inputs, frequencies, receivers, transmitters). A pixel
        that cannot change is flipped all the same.
        """
        state = self._states(stimulus[np.newaxis])[0].astype(np.float64)
        flips = np.stack([single_flips(chamber, state) for chamber in self._reduced[0]], axis=1)
        transmitters = self._settings["n_transmitters"]
        return np.asarray(-2j * PORT_COUPLING * flips[:, :, transmitters:, :transmitters])

    def _states(self, stimuli: Float64Array) -> NDArray[np.bool_]:
        return np.where(np.isnan(self._fixed_pixels), stimuli > 0.5, self._fixed_pixels == 1.0)

    def _band(self) -> Float64Array:
        count = whole_number("n_frequencies", self._settings["n_frequencies"], 1, FREQUENCY_LIMIT)
        width = real_number("bandwidth", self._settings["bandwidth"], 0.0, 1.0)
        return 1.0 + width * (np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(1))

    def _chamber(self, number: int) -> Chamber:
        """The chamber before any drift (0), or the one that it drifts to (1): its scatterers stand elsewhere."""
        given = self._settings
        return build_chamber(
            real_number("size", given["size"], 2.0, 200.0),
            given["n_transmitters"] + given["n_receivers"],
            given["n_inputs"],
            whole_number("n_scatterers", given["n_scatterers"], 0, 10_000),
            real_number("wall_loss", given["wall_loss"], 0.0),
            self._stream("antennas").at_row(0),
            self._stream("scatterers").at_row(number),
        )

    def _solver(self, reduced: Sequence[Eliminated]) -> BinaryStates:
        from hwloop.simulators.microwave.states import BinaryStates  # torch, only where it is used

        transmitters = self._settings["n_transmitters"]
        antennas = transmitters + self._settings["n_receivers"]
        torch_device = self._settings["torch_device"]
        return BinaryStates(reduced, slice(0, transmitters), slice(transmitters, antennas), torch_device)

    def _faulty_pixels(self, pixels: int) -> Float64Array:
        """What each pixel is fixed to, shape (pixels,): 1 on, 0 off, NaN where it does as it is told."""
        stuck = real_number("stuck_pixels", self._settings["stuck_pixels"], 0.0, 1.0)
        dead = real_number("dead_pixels", self._settings["dead_pixels"], 0.0, 1.0 - stuck)
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
        if self._drift_per_row == 0:
            return self.transmission(inputs)
        age = np.arange(first_row, first_row + len(inputs), dtype=np.float64)
        kept = np.exp(-self._drift_per_row * age)[:, np.newaxis, np.newaxis, np.newaxis]
        before, after = (self.transmission(inputs, number) for number in (0, 1))
        return np.asarray(np.sqrt(kept) * before + np.sqrt(1.0 - kept) * after)
