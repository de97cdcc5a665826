"""What all simulated substrates share: settings, seed, streams, the row counter, and blocks of rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from hwloop.blocks import BLOCK_ROWS
from hwloop.device import Device
from hwloop.device.converters import Converter
from hwloop.device.made_of import plain_settings
from hwloop.device.settings import one_of, whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.simulators.block_threads import each_block
from hwloop.simulators.imperfections import (
    ADC,
    GainJitter,
    Glitches,
    HardSaturation,
    Imperfection,
    ImperfectionChain,
    ReadNoise,
    ShotNoise,
    SoftSaturation,
)

Range = tuple[float, float]
SATURATIONS: dict[str, type[SoftSaturation] | type[HardSaturation]] = {
    "soft": SoftSaturation,
    "hard": HardSaturation,
}


class Substrate(Device):
    """Base of the simulated substrates: a subclass checks its settings, makes its chain and computes a signal.

    Between the stimulus and the response stand the chain's DAC, :meth:`_signal` (the physics with its drift),
    and the chain's detector. Rows are handled in blocks, so memory is bounded however many rows a call brings.
    The noise and the drift of the k-th row measured depend on the seed and k alone: to continue an earlier run
    set ``rows_measured`` to the rows that it had measured.

    Parameters
    ----------
    settings
        What the subclass was built with: its ``locals()``. Building it again from them gives the same device.

    Attributes
    ----------
    quiet_settings
        The settings that :meth:`noiseless` puts in place of those given.
    harmless_settings
        Are no part of the identity either.
    stream_prefix
        Names the streams of the subclass.
    block_rows
        Rows that are computed together.
    """

    simulated = True

    reproducible = True
    quiet_settings: ClassVar[Mapping[str, Any]] = {}
    harmless_settings: ClassVar[Mapping[str, str]] = {
        "torch_device": "the same equations in the same precision; only rounding may differ, far below any noise"
    }
    stream_prefix: ClassVar[str]
    block_rows: ClassVar[int] = BLOCK_ROWS
    self_described: ClassVar[frozenset[str]] = frozenset({"settings"})
    identity_states_settings: ClassVar[bool] = True
    rows_together: ClassVar[int | None] = 8 * BLOCK_ROWS
    _chain: ImperfectionChain

    def __init__(self, settings: Mapping[str, Any]) -> None:
        given = {name: value for name, value in settings.items() if name not in ("self", "__class__")}
        self._settings: dict[str, Any] = given
        self.seed = whole_number("seed", given["seed"], low=0)
        self.rows_measured = 0

    def noiseless(self) -> Self:
        """A new device with the same physics and converters, without noise, jitter, glitches and drift."""
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
        harmless = self.all_harmless_settings()
        return {name: value for name, value in self._settings.items() if name not in harmless}

    def unit(self) -> str:
        """The simulator: what else makes it one of its kind is among its settings."""
        return f"simulated {type(self).__name__}"

    def described_settings(self) -> dict[str, Any]:
        """Those that were given, and the defaults of all others."""
        harmless = self.all_harmless_settings()
        return {**plain_settings(self._settings, self.path_settings, harmless), **super().described_settings()}

    def _stream(self, name: str) -> NoiseStream:
        return NoiseStream(self.seed, f"{self.stream_prefix}/{name}")

    def _imperfections(self, drive_range: Range, full_range: Range) -> ImperfectionChain:
        """The usual chain, of those steps whose settings the substrate has.

        Parameters
        ----------
        drive_range
            Range of the DAC (``dac_bits``), in the unit of the stimulus.
        full_range
            Range of the ADC (``adc_bits``) and of glitches; the signal saturates at its upper end.
        """
        given = self._settings
        detector: list[Imperfection] = [GainJitter(given["gain_jitter"], self._stream("gain-jitter"))]
        if given.get("full_well_electrons") is not None:
            detector.append(ShotNoise(given["full_well_electrons"], self._stream("shot-noise")))
        if "saturation" in given:
            # A pixel saturates before it is read: read noise is a fraction of full scale at every brightness.
            detector.append(SATURATIONS[one_of("saturation", given["saturation"], SATURATIONS)](full_range[1]))
        detector.append(ReadNoise(given["read_noise"], self._stream("read-noise")))
        if given["adc_bits"] is not None:
            detector.append(ADC(Converter(given["adc_bits"], *full_range)))
        detector.append(Glitches(given["glitch_rate"], self._stream("glitches"), *full_range))
        dac = None if given["dac_bits"] is None else Converter(given["dac_bits"], *drive_range)
        return ImperfectionChain(dac, tuple(detector))

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


class BlockSubstrate(Substrate):
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

    @property
    def _on_cpu(self) -> bool:
        return bool(self._settings["torch_device"] == "cpu")

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
