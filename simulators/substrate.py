"""What all simulated substrates share: declared settings, seed, streams, the row counter, and blocks of rows.

A substrate's own file declares its settings and holds its equations; see :class:`Substrate`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from hwloop.blocks import BLOCK_ROWS
from hwloop.device import DeviceSpec, Tunable
from hwloop.device.converters import Converter
from hwloop.device.declared import DeclaredDevice, SettingsGroup, choice, noise, whole
from hwloop.device.description import plain_settings
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.device.tunables import Tunables
from hwloop.simulators.imperfections import (
    ADC,
    GainJitter,
    Glitches,
    HardSaturation,
    Imperfection,
    ImperfectionChain,
    ReadNoise,
    SaturatingDetector,
    ShotNoise,
    SoftSaturation,
)
from hwloop.simulators.threads import each_block

Range = tuple[float, float]
SATURATIONS: dict[str, type[SaturatingDetector]] = {"soft": SoftSaturation, "hard": HardSaturation}


class Camera(SettingsGroup):
    """Converters, saturation and noise of an optical set-up, in the order in which the signal meets them.

    Parameters
    ----------
    dac_bits, adc_bits
        Resolution of what drives the physics and of the detector, 1 to 24; ``None`` for an ideal one, which does
        not clip either.
    saturation
        Of a pixel, at full scale: ``"soft"`` or ``"hard"``.
    read_noise
        Standard deviation of the additive noise, as a fraction of full scale.
    full_well_electrons
        Photo-electrons of a signal of full scale: Poisson shot noise, whose variance in electrons equals its mean;
        ``None`` for none.
    gain_jitter
        Standard deviation of a gain common to all readings of a row (source power), 0 to 1.
    glitch_rate
        Fraction of rows lost, their readings replaced by uniform numbers over full scale.
    """

    dac_bits: int | None = 10
    adc_bits: int | None = 10
    saturation: str | None = choice("soft", SATURATIONS)
    read_noise: float = noise(0.01)
    full_well_electrons: float | None = noise(None, quiet=None)
    gain_jitter: float = noise()
    glitch_rate: float = noise()

    def chain(
        self, drive_range: Range, full_range: Range, stream: Callable[[str], NoiseStream]
    ) -> ImperfectionChain:
        """The steps around the physics.

        Parameters
        ----------
        drive_range
            Range of the DAC, in the unit of the stimulus.
        full_range
            Range of the ADC and of glitches; the signal saturates at its upper end.
        stream
            Gives the random numbers of a step by its name.
        """
        detector: list[Imperfection] = [GainJitter(self.gain_jitter, stream("gain-jitter"))]
        if self.full_well_electrons is not None:
            detector.append(ShotNoise(self.full_well_electrons, stream("shot-noise")))
        if self.saturation is not None:
            # A pixel saturates before it is read: read noise is a fraction of full scale at every brightness.
            detector.append(SATURATIONS[self.saturation](full_range[1]))
        detector.append(ReadNoise(self.read_noise, stream("read-noise")))
        if self.adc_bits is not None:
            detector.append(ADC(Converter(self.adc_bits, *full_range)))
        detector.append(Glitches(self.glitch_rate, stream("glitches"), *full_range))
        dac = None if self.dac_bits is None else Converter(self.dac_bits, *drive_range)
        return ImperfectionChain(dac, tuple(detector))


class Detector(Camera):
    """Converters and noise of readings with a sign, which neither saturate nor count photons."""

    without = ("saturation", "full_well_electrons")
    saturation = None
    full_well_electrons = None


def resting_at(tunable: Tunable, values: Float64Array, name: str = "") -> Tunable:
    """The tunable, under another name if one is given, at rest at the values nearest to these, shape (count,)."""
    return replace(tunable, name=name or tunable.name, rest=Tunables((tunable,)).nearest(values))


class Substrate(DeclaredDevice, shared=True):
    """Base of the simulated substrates: a subclass declares its settings and computes a signal.

    Between the stimulus and the response stand the chain's DAC, :meth:`_signal` (the physics with its drift),
    and the chain's detector. Rows are handled in blocks, so memory is bounded however many rows a call brings.
    The noise and the drift of the k-th row measured depend on the seed and k alone: to continue an earlier run
    set ``rows_measured`` to the rows that it had measured.

    The settings are declared as :class:`~hwloop.device.declared.DeclaredDevice` says; identity and quiet settings
    follow from the declarations.

    Parameters
    ----------
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    seed
        Draws what is random in the physics, and all noise.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.

    Attributes
    ----------
    quiet_settings
        The settings that :meth:`noiseless` puts in place of those given.
    harmless_settings
        Are no part of the identity either.
    added_settings
        Came after rows had been recorded. At its default such a setting stands in neither identity nor
        description, so that those rows are still of the same device: the default must change no answer.
    stream_prefix
        Names the streams of the subclass.
    block_rows
        Rows that are computed together.
    """

    simulated = True

    reproducible = True
    harmless_settings: ClassVar[Mapping[str, str]] = {
        "torch_device": "the same equations in the same precision; only rounding may differ, far below any noise"
    }
    quiet_settings: ClassVar[Mapping[str, Any]] = {}
    added_settings: ClassVar[frozenset[str]] = frozenset()
    stream_prefix: ClassVar[str]
    block_rows: ClassVar[int] = BLOCK_ROWS
    identity_states_settings: ClassVar[bool] = True
    rows_together: ClassVar[int | None] = 8 * BLOCK_ROWS
    _chain: ImperfectionChain

    row_seconds: float | None = None
    seed: int = whole(0, 0)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "quiet_settings" not in cls.__dict__:
            cls.quiet_settings = cls.declarations.quiet

    @abstractmethod
    def _set_up(self) -> None:
        """Make the physics, ``_chain`` and ``spec`` of the settings, which are attributes now."""

    def noiseless(self) -> Self:
        """A new device, at rest, with the same physics and converters, without noise, jitter, glitches, drift."""
        return type(self)(**{**self._settings, **self.quiet_settings})

    def continue_from(self, rows: int) -> None:
        """Noise and drift go on as after ``rows`` rows."""
        self.rows_measured = rows

    def identify(self) -> str:
        """The simulator and all its settings that have a say in a response."""
        shown = ", ".join(f"{name}={value}" for name, value in self._named_settings().items())
        return f"simulated {type(self).__name__}({shown})"

    def _named_settings(self) -> dict[str, Any]:
        """The settings as the identity shows them."""
        unsaid = self._unsaid_settings()
        return {name: value for name, value in self._settings.items() if name not in unsaid}

    def unit(self) -> str:
        """The simulator: what else makes it one of its kind is among its settings."""
        return f"simulated {type(self).__name__}"

    def described_settings(self) -> dict[str, Any]:
        """Those that were given, and the defaults of all others."""
        unsaid = self._unsaid_settings()
        described = {**plain_settings(self._settings, self.path_settings, unsaid), **super().described_settings()}
        return {name: value for name, value in described.items() if name not in unsaid}

    def _unsaid_settings(self) -> set[str]:
        """Those that change no answer, and those added later that have their default."""
        defaults = self.declarations.settings
        added = (name for name in self.added_settings if self._settings[name] == defaults[name].default)
        return {*self.all_harmless_settings(), *added}

    def _stream(self, name: str) -> NoiseStream:
        return NoiseStream(self.seed, f"{self.stream_prefix}/{name}")

    def _spec(self, n_inputs: int, n_outputs: int, *, still: bool = True, **more: Any) -> DeviceSpec:
        """The spec of a substrate whose physics is ``still``, without drift and noise of its own."""
        return DeviceSpec(
            n_inputs,
            n_outputs,
            row_seconds=self._settings["row_seconds"],
            deterministic=self._chain.deterministic and still,
            **more,
        )

    def _measure(self, inputs: Float64Array) -> Float64Array:
        # Which rows share a block does not alter any of them.
        responses = np.empty((len(inputs), self.spec.n_outputs))

        def measure_block(start: int) -> None:
            rows = slice(start, start + self.block_rows)
            responses[rows] = self._measure_block(inputs[rows], self.rows_measured + start)

        self._each_block(measure_block, range(0, len(inputs), self.block_rows))
        self.rows_measured += len(inputs)
        return responses

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        """Call ``work`` with the first row of every block, here one after the other."""
        for start in starts:
            work(start)

    def _measure_block(self, inputs: Float64Array, first_row: int) -> Float64Array:
        return self._chain.detect(self._signal(self._chain.drive(inputs), first_row), first_row)

    @abstractmethod
    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        """The signal at the detector, shape (rows, channels), of a drive of shape (rows, n_inputs)."""


class TorchSubstrate(Substrate, shared=True):
    """A substrate that torch computes.

    Parameters
    ----------
    torch_device
        Where, such as ``"cpu"`` or ``"cuda"``.
    """

    torch_device: str = "cpu"

    @property
    def _on_cpu(self) -> bool:
        return self.torch_device == "cpu"


class BlockSubstrate(TorchSubstrate, shared=True):
    """A substrate that always computes full blocks, so that no arithmetic sees the batch.

    Vector units and transforms may round otherwise at any number of rows; in a full block, with rows along
    vectors that they fill, every place is computed alike. On a CPU a few rows get a small block, which is full in
    the same sense, and blocks are shared among threads.

    Attributes
    ----------
    few_rows
        Rows of the small block, a multiple of what any vector unit holds.
    """

    few_rows: ClassVar[int] = 32

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        # torch, only where it is used
        from hwloop.simulators.torch_devices import single_threaded_torch
        from hwloop.torch_state import own_torch_state

        if self._on_cpu:
            each_block(work, starts, single_threaded_torch)
            return
        with own_torch_state():
            super()._each_block(work, starts)

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        rows = len(drive)
        full = self.few_rows if rows <= self.few_rows and self._on_cpu else self.block_rows
        if rows < full:
            drive = np.concatenate([drive, np.zeros((full - rows, drive.shape[1]))])
        return self._block_signal(drive, first_row)[:rows]

    @abstractmethod
    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        """As :meth:`_signal`, for a full block; some rows at the end may be nobody's."""
