"""Sound in a chaotic cavity: loudspeakers, nonlinear scatterers, microphones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from hwloop.device import Tunable
from hwloop.device.converters import Converter
from hwloop.device.declared import choice, switch, whole
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.arrangement import Resistance, Room, tone_setup
from hwloop.simulators.acoustic.phyll import Phyll
from hwloop.simulators.acoustic.readings import READOUTS, GainGlitches, GroupJitter, WanderingGain
from hwloop.simulators.acoustic.tone_field import (
    LARGEST_CHANGE,
    AccuracyDoubt,
    AccuracyWarning,
    HarmonicsCheck,
    ToneField,
    ToneSetup,
)
from hwloop.simulators.imperfections import GainJitter, ImperfectionChain, ReadNoise
from hwloop.simulators.substrate import TorchSubstrate

NO_NOISE = {
    "read_noise": 0.0,
    "gain_jitter": 0.0,
    "tone_jitter": 0.0,
    "channel_jitter": 0.0,
    "gain_drift": 0.0,
    "glitch_rate": 0.0,
}
PRESETS = {"phyll": Phyll()}
GLITCH_GAINS = (0.3, 1.3)
GLITCH_CHOICES = 64


class AcousticCavity(TorchSubstrate):
    r"""Simulated acoustic cavity with nonlinear meta-scatterers: tone amplitudes in, lines of spectra out.

    The pressure p in a two-dimensional cavity with hard walls follows
    p_tt + 2 gamma p_t - c^2 lap p = sources - sum_s strength_s F(p_t) delta(r - r_s), F bounded and rising: the
    scatterers are passive. Each input is the amplitude of a tone, a whole multiple of ``fundamental``; the steady
    state is found by harmonic balance in the cavity's modes (see :mod:`.harmonic_balance`). The shape "sinai" is
    a chaotic billiard, with the mode statistics of the Gaussian orthogonal ensemble; (Momeni et al., Science
    382, 1297 (2023), trained such a cavity).

    Pressures are in units of a tone at full drive: the rms over inputs and microphones of what is heard of one
    input at 1 without scatterers. Outputs are ordered by microphone, then line. In the order in which the signal
    meets them: gain jitter of the row, of each line, of each reading; slow drift; glitches; noise of the
    microphones (all on complex amplitudes), then ``readout``.

    A row whose iteration does not converge, or lines that twice the harmonics would change by more than 1 %
    (checked on the loudest rows so far), are told as an event, a warning, and in ``rows_not_converged`` and
    ``harmonics_error``. A noiseless cavity gives a row the same response to the last bit in every batch.

    Parameters
    ----------
    preset
        ``"phyll"``: a device with the statistics of a recorded one, which sets all below but the cavity's shape,
        size, loss and modes, ``noise``, ``seed`` and how it is computed; ``None`` for none.
    n_inputs
        Tone amplitudes, in [0, 1].
    n_tones
        Different tones; ``None`` for as few as there can be: each loudspeaker plays all of them. Input i plays
        tone i mod n_tones.
    n_loudspeakers, n_scatterers, n_microphones
        Inputs are shared out to loudspeakers in order.
    lines
        Harmonics of the fundamental that are read; ``None`` for the tones and their second harmonics.
    readout
        ``"magnitude"``, ``"power"``, ``"iq"``, or ``"waveform"`` (of these lines, ``n_samples`` a period).
    n_samples
        Readings a period of a waveform.
    fundamental, first_tone, tone_spacing
        The tones are harmonics first_tone, first_tone + tone_spacing, ... of the fundamental, in Hz; ``None`` for
        the one that takes the highest tone's second harmonic to the highest mode.
    harmonics
        How many are computed; ``None`` for four times the highest tone.
    dac_bits
        Resolution of the drive, 1 to 24; ``None`` for an ideal one.
    gain_jitter, tone_jitter, channel_jitter
        Standard deviations of gains common to a row, to a line at all microphones, of each reading.
    gain_drift, drift_rows
        Standard deviation of each reading's slow gain, and the rows in which it changes.
    glitch_rate
        Fraction of rows in which each line has another gain, 0.3 to 1.3.
    read_noise
        Standard deviation of each quadrature's noise, in units of a tone at full drive.
    noise
        False leaves out all of these but the converter.
    precision, max_steps
        ``"single"`` or ``"double"``; steps after which a row is given up.
    tuned_phases
        Whether the phase that each input's tone is played with, beside its own, is a tunable ``phases``, in rad
        within [-pi, pi]; 0 at rest.
    """

    stream_prefix = "acoustic-cavity"
    added_settings = frozenset({"tuned_phases"})
    block_rows = 1024  # enough for the solver's blocks on many threads

    preset: str | None = None
    n_inputs: int = 20
    n_tones: int | None = None
    n_loudspeakers: int = 4
    n_scatterers: int = 16
    n_microphones: int = 4
    lines: Sequence[int] | None = None
    readout: str = choice("magnitude", READOUTS)
    n_samples: int = whole(256, 1, 1_000_000)
    room: Room = Room()
    fundamental: float | None = None
    first_tone: int = 5
    tone_spacing: int = 1
    harmonics: int | None = None
    resistance: Resistance = Resistance()
    dac_bits: int | None = None
    gain_jitter: float = 0.0
    tone_jitter: float = 0.01
    channel_jitter: float = 0.01
    gain_drift: float = 0.0
    drift_rows: int = 2000
    glitch_rate: float = 0.0
    read_noise: float = 0.002
    noise: bool = switch(True, quiet=False)
    precision: str = choice("single", ("single", "double"))
    max_steps: int = whole(400, 1)
    tuned_phases: bool = switch(False)

    def _completed(self, given: dict[str, Any]) -> dict[str, Any]:
        """The settings, of which a preset makes some."""
        if given["preset"] is None:
            return given
        return given | PRESETS[one_of("preset", given["preset"], PRESETS)].settings(given)

    def _set_up(self) -> None:
        self.rows_not_converged = 0
        places, phases = (self._stream(name).at_row(0) for name in ("places", "phases"))
        setup = tone_setup(self._settings, self.room, self.resistance, places, phases)
        chosen = None if self.preset is None else PRESETS[self.preset]
        if chosen is not None:
            setup = chosen.setup(setup)
        self._readout = READOUTS[self.readout](setup.lines, len(setup.places.microphones), self.n_samples)
        self._chain = self._faults(setup) if chosen is None else chosen.imperfections(self._stream)
        if not self.noise:
            self._chain = self._chain.noiseless()
        solver: dict[str, Any] = {
            "precision": self.precision,
            "max_steps": self.max_steps,
            "torch_device": self.torch_device,
        }
        self.field = ToneField(setup, **solver)
        self._harmonics_check = HarmonicsCheck(self.field, **solver)
        count = len(setup.excitation)
        self.spec = self._spec(
            count,
            self._readout.n_outputs,
            output_unit="of a tone at full drive",
            tunables=(Tunable("phases", count, -np.pi, np.pi, "rad", rest=0.0),) if self.tuned_phases else (),
        )

    @property
    def harmonics_error(self) -> float:
        """Largest relative change of a line by twice the harmonics that was found so far."""
        return self._harmonics_check.error

    def _faults(self, setup: ToneSetup) -> ImperfectionChain:
        lines, microphones = len(setup.lines), len(setup.places.microphones)
        line_of, each = np.tile(np.arange(lines), microphones), np.arange(lines * microphones)
        std = {name: real_number(name, getattr(self, name), 0.0, 1.0) for name in NO_NOISE if name != "read_noise"}
        gains = self._stream("glitch-gains").at_row(0).uniform(*GLITCH_GAINS, (GLITCH_CHOICES, lines))
        drift_rows = whole_number("drift_rows", self.drift_rows, 1)
        loadings = std["gain_drift"] * np.eye(len(each)) if std["gain_drift"] else np.zeros((1, len(each)))
        dac = None if self.dac_bits is None else Converter(self.dac_bits, 0.0, 1.0)
        return ImperfectionChain(
            dac,
            (
                GainJitter(std["gain_jitter"], self._stream("gain-jitter")),
                GroupJitter(np.full(lines, std["tone_jitter"]), line_of, self._stream("tone-jitter")),
                GroupJitter(np.full(len(each), std["channel_jitter"]), each, self._stream("channel-jitter")),
                WanderingGain(loadings, drift_rows, self._stream("gain-drift")),
                GainGlitches(std["glitch_rate"], gains, line_of, self._stream("glitches")),
                ReadNoise(self.read_noise, self._stream("read-noise")),
            ),
        )

    def _measure(self, inputs: Float64Array) -> Float64Array:
        if self.tuned_phases:
            self.field.turn(self.tuning)
        before = self.rows_not_converged
        responses = super()._measure(inputs)
        self._say_doubts(self._chain.drive(inputs), self.rows_not_converged - before)
        return responses

    def _measure_block(self, inputs: Float64Array, first_row: int) -> Float64Array:
        return self._readout.read(super()._measure_block(inputs, first_row))

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        """Real parts of all lines at all microphones, then imaginary ones."""
        heard = self.field(drive)
        self.rows_not_converged += int(np.count_nonzero(~heard.converged))
        amplitudes = heard.pressures.swapaxes(1, 2).reshape(len(drive), -1)
        return np.concatenate([amplitudes.real, amplitudes.imag], axis=1)

    def _say_doubts(self, stimuli: Float64Array, given_up: int) -> None:
        reasons = []
        if given_up:
            reasons.append(f"{given_up} rows had not converged after {self.max_steps} steps; raise max_steps")
        change = self._harmonics_check.look_at(stimuli)
        if change is not None and change > LARGEST_CHANGE:
            reasons.append(
                f"twice the harmonics ({2 * self.field.setup.harmonics}) change a line by {change:.1%}; "
                "raise harmonics, or lower drive_level or scatterer_strength"
            )
        for reason in reasons:
            self.tell(AccuracyDoubt(reason))
            warnings.warn(f"acoustic-cavity: {reason}", AccuracyWarning, stacklevel=2)
