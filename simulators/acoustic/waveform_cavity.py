"""Waveforms through the chaotic cavity: samples in, samples at the microphones out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.converters import Converter
from hwloop.device.settings import flag, one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.arrangement import cavity_shape, places_in
from hwloop.simulators.acoustic.medium import Medium
from hwloop.simulators.acoustic.places import Places
from hwloop.simulators.acoustic.scatterers import Resistor
from hwloop.simulators.imperfections import GainJitter, ImperfectionChain, ReadNoise
from hwloop.simulators.substrate import Substrate

if TYPE_CHECKING:
    from hwloop.simulators.acoustic.modal_stepping import ModalStepping

BAND = (0.05, 0.45)  # of the sampling rate: where levels are taken


class WaveformCavity(Substrate):
    r"""Simulated acoustic cavity with nonlinear scatterers, driven by waveforms and read as waveforms.

    The cavity is that of ``acoustic-cavity``; every row begins at rest. A row is the samples of the first
    loudspeaker's waveform, then those of the next; between samples the drive runs straight. Each mode follows
    its exact recursion, scatterers an implicit step (see :mod:`.modal_stepping`), in double precision. Outputs are
    the pressures at the sampling instants, microphone by microphone, or the lines of their spectra.

    A pressure of 1 is the rms of what is heard, in a steady state without scatterers, of all loudspeakers at
    full drive at one frequency (over microphones, and frequencies of 0.05 to 0.45 of the sampling rate).

    Parameters
    ----------
    n_inputs
        Samples of a row, in [-1, 1]; a multiple of the number of loudspeakers.
    sampling_rate
        In Hz.
    substeps
        Steps of the computation between two samples.
    readout
        ``"waveform"``, or ``"magnitude"``: abs of the discrete Fourier transform over half the samples.
    drive_level
        rms of p_t at the scatterers in that steady state, in units of the rate at which they saturate.
    scatterer_strength
        1 takes the most power from a free wave of a quarter of the sampling rate; 0 to 100.
    dac_bits
        Resolution of the drive, 1 to 24; ``None`` for an ideal one.
    gain_jitter, read_noise
        Standard deviations: of a gain common to a row, and of each sample's noise.
    n_loudspeakers, n_scatterers, n_microphones, shape, width, height, n_modes, speed, loss, asymmetry, positions
        As ``acoustic-cavity`` takes them.
    noise
        False leaves out jitter and noise.
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    seed
        Draws places and noise.

    Raises
    ------
    ValueError
        A setting that is not allowed, with the reason and the nearest allowed value; too few substeps for the
        scatterers are refused with the longest step that is stable.
    """

    quiet_settings: ClassVar[Mapping[str, Any]] = {"noise": False}
    stream_prefix = "acoustic-waveform"
    block_rows = 256

    def __init__(
        self,
        *,
        n_inputs: int = 64,
        n_loudspeakers: int = 1,
        n_scatterers: int = 16,
        n_microphones: int = 2,
        sampling_rate: float = 8000.0,
        substeps: int = 12,
        readout: str = "waveform",
        shape: str = "sinai",
        width: float = 1.0,
        height: float = 0.7,
        n_modes: int = 300,
        speed: float = 343.0,
        loss: float = 40.0,
        drive_level: float = 1.0,
        scatterer_strength: float = 0.3,
        asymmetry: float = 0.5,
        positions: dict[str, Any] | None = None,
        dac_bits: int | None = None,
        gain_jitter: float = 0.0,
        read_noise: float = 0.002,
        noise: bool = True,
        torch_device: str = "cpu",
        row_seconds: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(locals())
        self._substeps = whole_number("substeps", substeps, 1, 10_000)
        self._is_spectrum = one_of("readout", readout, ("waveform", "magnitude")) == "magnitude"
        real_number("sampling_rate", sampling_rate, 1e-3)
        self.samples = self._samples()
        self._stepping, self._source_unit, self._pressure_unit = self._cavity()
        chain = ImperfectionChain(
            None if dac_bits is None else Converter(dac_bits, -1.0, 1.0),
            (
                GainJitter(gain_jitter, self._stream("gain-jitter")),
                ReadNoise(read_noise, self._stream("read-noise")),
            ),
        )
        self._chain = chain if flag("noise", noise) else chain.noiseless()
        self.spec = DeviceSpec(
            n_inputs=n_inputs,
            n_outputs=n_microphones * (self.samples // 2 + 1 if self._is_spectrum else self.samples),
            input_low=-1.0,
            output_unit="of all loudspeakers at full drive",
            row_seconds=row_seconds,
            deterministic=self._chain.deterministic,
        )

    def _samples(self) -> int:
        """Samples of a loudspeaker's waveform."""
        inputs = whole_number("n_inputs", self._settings["n_inputs"], 2, 1_000_000)
        loudspeakers = whole_number("n_loudspeakers", self._settings["n_loudspeakers"], 1, inputs // 2)
        if inputs % loudspeakers:
            near = round(inputs / loudspeakers) * loudspeakers
            raise ValueError(
                f"n_inputs must be a multiple of n_loudspeakers, {loudspeakers}, not {inputs}; "
                f"the nearest allowed value is {near}"
            )
        return inputs // loudspeakers

    def _cavity(self) -> tuple[ModalStepping, float, float]:
        """The cavity in time, and the units of its sources and of its pressures."""
        from hwloop.simulators.acoustic.modal_stepping import ModalStepping  # torch, only where it is used

        given = self._settings
        shape = cavity_shape(given)
        medium = Medium.filled(
            shape, whole_number("n_modes", given["n_modes"], 2, 2000), given["speed"], given["loss"]
        )
        places = places_in(given, shape, self._stream("places").at_row(0))
        rate = given["sampling_rate"]
        strength = real_number("scatterer_strength", given["scatterer_strength"], 0.0, 100.0)
        matched = 4 * medium.speed**2 / (2 * np.pi * rate / 4)
        stepping = ModalStepping(
            medium,
            places,
            Resistor(given["asymmetry"]),
            strength * matched,
            1 / (rate * self._substeps),
            given["torch_device"],
        )
        felt, heard = _levels(medium, places, rate)
        unit = real_number("drive_level", given["drive_level"], 1e-6, 1e6) / felt
        return stepping, unit, unit * heard

    def _measure_block(self, inputs: Float64Array, first_row: int) -> Float64Array:
        readings = super()._measure_block(inputs, first_row)
        if not self._is_spectrum:
            return readings
        spectra = np.fft.rfft(readings.reshape(len(inputs), -1, self.samples), axis=2)
        return np.asarray(np.abs(spectra).reshape(len(inputs), -1) * 2 / self.samples)

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        """Pressures at the sampling instants, microphone by microphone."""
        rows = len(drive)
        drive = drive.reshape(rows, -1, self.samples) * self._source_unit
        # Straight between samples, which are at substeps, 2 substeps, ...; before the first there is silence.
        padded = np.pad(drive, ((0, 0), (0, 0), (1, 0)))
        share = np.arange(1, self._substeps + 1) / self._substeps
        between = padded[..., :-1, np.newaxis] * (1 - share) + padded[..., 1:, np.newaxis] * share
        signals = np.pad(between.reshape(*drive.shape[:2], -1), ((0, 0), (0, 0), (1, 0)))
        pressures = self._stepping(signals.swapaxes(1, 2))[:, self._substeps :: self._substeps]
        return np.asarray(pressures.swapaxes(1, 2) / self._pressure_unit).reshape(rows, -1)


def _levels(medium: Medium, places: Places, sampling_rate: float) -> tuple[float, float]:
    """Rms of p_t at the scatterers and of p at the microphones, for loudspeakers at 1, over :data:`BAND`."""
    angular = 2 * np.pi * sampling_rate * np.linspace(*BAND, 200)
    rms = []
    for points, rates in ((places.scatterers, angular), (places.microphones, np.ones_like(angular))):
        if len(points) == 0:
            rms.append(1.0)
            continue
        green = rates[:, np.newaxis, np.newaxis] * medium.green(points, places.loudspeakers, angular)
        rms.append(float(np.sqrt(np.mean(np.sum(np.abs(green) ** 2, axis=2)) / 2)))
    return rms[0], rms[1]
