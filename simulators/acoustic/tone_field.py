"""What microphones hear of tones in a cavity: straight from the loudspeakers, and from what the scatterers add."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.events import Event
from hwloop.simulators.acoustic.medium import Complex, Medium, Resistor
from hwloop.simulators.acoustic.shapes import Places
from hwloop.simulators.threads import single_threaded_blas

if TYPE_CHECKING:
    from hwloop.simulators.acoustic.harmonic_balance import HarmonicBalance


@dataclass(frozen=True)
class ToneSetup:
    """Everything that decides the field of a tone drive.

    Parameters
    ----------
    medium, places, law
        The cavity, who stands where, and the scatterers' law.
    strength
        Of each scatterer, in m^2/s: its force is -strength F(v).
    fundamental
        In Hz; all tones and all lines are whole multiples of it.
    harmonics
        How many of them are computed.
    driven
        The harmonics at which the loudspeakers play, ascending, shape (driven,).
    excitation
        Amplitudes of cos of each loudspeaker for a unit of each input, shape (n_inputs, driven, loudspeakers).
    lines
        The harmonics that are read, shape (lines,).
    drive_level
        Root mean square of v at the scatterers, in units of their saturation rate, with every input at 1 and
        the scatterers silent.
    loudness
        The pressure that is called 1, for sources as in ``excitation``; ``None`` for a tone at full drive.
    """

    medium: Medium
    places: Places
    law: Resistor
    strength: float
    fundamental: float
    harmonics: int
    driven: NDArray[np.int64]
    excitation: Complex
    lines: NDArray[np.int64]
    drive_level: float
    loudness: float | None = None

    def with_harmonics(self, count: int) -> ToneSetup:
        """The same with another number of harmonics."""
        return replace(self, harmonics=count)

    def angular(self, harmonics: NDArray[np.int64]) -> Float64Array:
        """Angular frequencies of harmonics, rad/s."""
        return np.asarray(2 * np.pi * self.fundamental * harmonics)


@dataclass(frozen=True)
class HeardTones:
    """Pressures at the microphones, amplitudes of cos, complex (rows, lines, microphones); a row's convergence."""

    pressures: Complex
    converged: NDArray[np.bool_]
    steps: NDArray[np.int64]


class ToneField:
    """The steady state of a tone drive.

    Pressures are in units of a tone at full drive: the root mean square over inputs and microphones of what
    is heard of one input at 1, without scatterers.

    Parameters
    ----------
    setup
        What is computed.
    precision, max_steps, torch_device
        As :class:`HarmonicBalance` takes them.
    """

    def __init__(
        self, setup: ToneSetup, precision: str = "single", max_steps: int = 400, torch_device: str = "cpu"
    ) -> None:
        self.setup = setup
        # A second thread of the BLAS would gain nothing here, and spin on in the way of the solver's.
        with single_threaded_blas():
            self._prepare(precision, max_steps, torch_device)

    def _prepare(self, precision: str, max_steps: int, torch_device: str) -> None:
        setup = self.setup
        medium, places = setup.medium, setup.places
        driven, read = setup.angular(setup.driven), setup.angular(setup.lines)
        excitation = setup.excitation
        to_microphones = np.einsum(
            "fml,ifl->ifm", medium.green(places.microphones, places.loudspeakers, driven), excitation
        )
        loudness = setup.loudness
        if loudness is None:
            loudness = float(np.sqrt(np.mean(np.sum(np.abs(to_microphones) ** 2, axis=1))))
        self._n_free = len(driven) * len(places.scatterers)
        free = np.einsum(
            "f,fsl,ifl->ifs",
            1j * driven,
            medium.green(places.scatterers, places.loudspeakers, driven),
            excitation,
        )
        rate = float(np.sqrt(np.mean(np.sum(np.abs(free) ** 2, axis=(0, 1))) / 2)) if free.size else 1.0
        unit = setup.drive_level / rate
        self.source_unit = unit
        """Amplitude of a source for an input of 1, where the scatterers saturate at a rate of 1."""
        self.pressure_unit = unit * loudness
        """Pressure that is called 1, with the same scatterers."""
        self._at_phase_0 = (
            free.reshape(len(free), self._n_free) * unit,
            self._straight(to_microphones / loudness).reshape(len(free), -1),
        )
        self.phases = np.zeros(len(free))
        self._free, self._direct = (_complex_product(each) for each in self._at_phase_0)
        # What a scatterer's force of 1 is at the microphones, in the unit of the response.
        radiated = -setup.strength / self.pressure_unit * medium.green(places.microphones, places.scatterers, read)
        self._radiated = [_complex_matrix(line.T) for line in radiated if line.size]
        self._balance = self._solver(precision, max_steps, torch_device) if len(places.scatterers) else None

    def turn(self, phases: Float64Array) -> None:
        """Play each input's tone with a phase beside its own, shape (n_inputs,), in rad."""
        if np.array_equal(phases, self.phases):
            return
        self.phases, turned = phases.copy(), np.exp(1j * phases)[:, np.newaxis]
        self._free, self._direct = (_complex_product(turned * each) for each in self._at_phase_0)

    def __call__(self, stimuli: Float64Array) -> HeardTones:
        """For stimuli of shape (rows, n_inputs)."""
        with single_threaded_blas():
            return self._heard(stimuli)

    def _heard(self, stimuli: Float64Array) -> HeardTones:
        rows, lines = len(stimuli), len(self.setup.lines)
        direct = self._direct(stimuli).view(np.complex128).reshape(rows, lines, -1)
        if self._balance is None:
            return HeardTones(direct, np.ones(rows, dtype=np.bool_), np.zeros(rows, dtype=np.int64))
        free = self._free(stimuli).view(np.complex128).reshape(rows, len(self.setup.driven), -1)
        state = self._balance(free)
        for line, radiate in enumerate(self._radiated):
            direct[:, line] += radiate(state.forces[:, line].copy().view(np.float64)).view(np.complex128)
        return HeardTones(direct, state.converged, state.steps)

    def _straight(self, to_microphones: Complex) -> Complex:
        """What is heard at the lines that are read, (n_inputs, lines, microphones), of the tones played."""
        found = np.zeros((len(to_microphones), len(self.setup.lines), to_microphones.shape[2]), dtype=complex)
        for place, harmonic in enumerate(self.setup.lines):
            found[:, place] = to_microphones[:, self.setup.driven == harmonic].sum(axis=1)
        return found

    def _solver(self, precision: str, max_steps: int, torch_device: str) -> HarmonicBalance:
        from hwloop.simulators.acoustic.harmonic_balance import HarmonicBalance  # torch, only where it is used

        setup = self.setup
        angular = setup.angular(np.arange(1, setup.harmonics + 1))
        scatterers = setup.places.scatterers
        impedances = 1j * angular[:, np.newaxis, np.newaxis] * setup.medium.green(scatterers, scatterers, angular)
        return HarmonicBalance(
            setup.strength * impedances, setup.law, setup.driven, setup.lines, precision, max_steps, torch_device
        )


def _complex_product(matrix: Complex) -> ExactProduct:
    """Real rows times a complex matrix: (re, im, re, im, ...)."""
    return ExactProduct(np.ascontiguousarray(matrix).view(np.float64))


def _complex_matrix(matrix: Complex) -> ExactProduct:
    """Complex rows, as (re, im, re, im, ...), times a complex matrix."""
    form = np.empty((len(matrix), 2, matrix.shape[1], 2))
    form[:, 0, :, 0] = form[:, 1, :, 1] = matrix.real
    form[:, 0, :, 1] = matrix.imag
    form[:, 1, :, 0] = -matrix.imag
    return ExactProduct(form.reshape(2 * len(matrix), -1))


# -- whether it can be trusted ------------------------------------------------------------------------------------

LARGEST_CHANGE = 0.01  # of a line, by twice the harmonics
NEGLIGIBLE = 3e-4  # of the strongest line read: weaker ones are not judged
ROWS_CHECKED = 2


class HarmonicsCheck:
    """Compares lines with those from twice the harmonics, on the loudest rows so far.

    Parameters
    ----------
    field
        With the harmonics that the device uses.
    settings
        What a field takes beside its setup.

    Attributes
    ----------
    error
        Largest relative change of a line that was found, 0 before the first row.
    """

    def __init__(self, field: ToneField, **settings: Any) -> None:
        self._field, self._settings = field, settings
        self._fine: ToneField | None = None
        self._loudest = self.error = 0.0

    def look_at(self, stimuli: Float64Array) -> float | None:
        """Check the loudest rows if they are louder than all before; their largest change, ``None`` if not."""
        loudness = np.square(stimuli).sum(axis=1)
        order = np.argsort(-loudness, kind="stable")[:ROWS_CHECKED]
        if loudness[order[0]] <= 1.05 * self._loudest:
            return None
        self._loudest = float(loudness[order[0]])
        if self._fine is None:
            setup = self._field.setup.with_harmonics(2 * self._field.setup.harmonics)
            self._fine = ToneField(setup, **self._settings)
        self._fine.turn(self._field.phases)
        change = largest_change(self._field(stimuli[order]).pressures, self._fine(stimuli[order]).pressures)
        self.error = max(self.error, change)
        return change


def largest_change(coarse: Complex, fine: Complex) -> float:
    """Largest relative difference of an amplitude that is not negligible, shape (rows, lines, microphones)."""
    size = np.abs(fine)
    judged = size > NEGLIGIBLE * size.max(initial=0.0)
    return float(np.max(np.abs(coarse - fine)[judged] / size[judged], initial=0.0))


class AccuracyWarning(UserWarning):
    """A simulated response is less accurate than the simulator promises."""


@dataclass(frozen=True)
class AccuracyDoubt(Event):
    """Rows of a simulation are in doubt: the solver gave up, or the lines need more harmonics."""

    reason: str
