"""Waveforms through the chaotic cavity: samples in, samples at the microphones out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hwloop.device.converters import Converter
from hwloop.device.declared import choice, real, switch, whole
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.arrangement import Resistance, Room, places_in
from hwloop.simulators.acoustic.medium import Medium, Resistor
from hwloop.simulators.acoustic.shapes import Places
from hwloop.simulators.imperfections import GainJitter, ImperfectionChain, ReadNoise
from hwloop.simulators.substrate import TorchSubstrate

if TYPE_CHECKING:
    from hwloop.simulators.acoustic.modal_stepping import ModalStepping

BAND = (0.05, 0.45)  # of the sampling rate: where levels are taken


class WaveformCavity(TorchSubstrate):
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

    Raises
    ------
    ValueError
        A setting that is not allowed, with the reason and the nearest allowed value; too few substeps for the
        scatterers are refused with the longest step that is stable.
    """

    stream_prefix = "acoustic-waveform"
    block_rows = 256

    n_inputs: int = whole(64, 2, 1_000_000)
    n_loudspeakers: int = 1
    n_scatterers: int = 16
    n_microphones: int = 2
    sampling_rate: float = real(8000.0, 1e-3)
    substeps: int = whole(12, 1, 10_000)
    readout: str = choice("waveform", ("waveform", "magnitude"))
    room: Room = Room()
    resistance: Resistance = Resistance(scatterer_strength=0.3)
    dac_bits: int | None = None
    gain_jitter: float = 0.0
    read_noise: float = 0.002
    noise: bool = switch(True, quiet=False)

    def _set_up(self) -> None:
        self._is_spectrum = self.readout == "magnitude"
        self.samples = self._samples()
        self._stepping, self._source_unit, self._pressure_unit = self._cavity()
        chain = ImperfectionChain(
            None if self.dac_bits is None else Converter(self.dac_bits, -1.0, 1.0),
            (
                GainJitter(self.gain_jitter, self._stream("gain-jitter")),
                ReadNoise(self.read_noise, self._stream("read-noise")),
            ),
        )
        self._chain = chain if self.noise else chain.noiseless()
        self.spec = self._spec(
            self.n_inputs,
            self.n_microphones * (self.samples // 2 + 1 if self._is_spectrum else self.samples),
            input_low=-1.0,
            output_unit="of all loudspeakers at full drive",
        )

    def _samples(self) -> int:
        """Samples of a loudspeaker's waveform."""
        inputs = self.n_inputs
        loudspeakers = whole_number("n_loudspeakers", self.n_loudspeakers, 1, inputs // 2)
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

        medium, rate = self.room.medium(), self._settings["sampling_rate"]
        places = places_in(self._settings, medium.shape, self._stream("places").at_row(0))
        matched = 4 * medium.speed**2 / (2 * np.pi * rate / 4)
        stepping = ModalStepping(
            medium,
            places,
            Resistor(self.resistance.asymmetry),
            self.resistance.scatterer_strength * matched,
            1 / (rate * self.substeps),
            self.torch_device,
        )
        felt, heard = _levels(medium, places, rate)
        unit = self.resistance.drive_level / felt
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
        share = np.arange(1, self.substeps + 1) / self.substeps
        between = padded[..., :-1, np.newaxis] * (1 - share) + padded[..., 1:, np.newaxis] * share
        signals = np.pad(between.reshape(*drive.shape[:2], -1), ((0, 0), (0, 0), (1, 0)))
        pressures = self._stepping(signals.swapaxes(1, 2))[:, self.substeps :: self.substeps]
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
