"""Voltages on a crossbar of memristors, currents out: every conductance can be written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device import Tunable
from hwloop.device.declared import choice, real, whole
from hwloop.device.settings import real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.crossbar.cells import Cells, Chip
from hwloop.simulators.crossbar.wires import Wires
from hwloop.simulators.substrate import SATURATIONS, Camera, Substrate, resting_at
from hwloop.simulators.threads import each_block, single_threaded_blas

FULL_SCALE = 1.0  # of an amplifier: the unit of every response
MOST_EPOCHS = 64  # whose products are kept
LEFT_BY_A_WRITE = ("pulses", "_left", "_written", "_written_at", "_is_new", "_before", "_conductances", "_made")


class Amplifier(Camera):
    """Converters, saturation and noise of a current that is read with its sign."""

    without = ("full_well_electrons",)
    full_well_electrons = None


class MemristorCrossbar(Substrate):
    r"""Simulated crossbar of memristors, whose conductances are tuned.

    Inputs are voltages on the rows, currents add up in the columns (Ohm, Kirchhoff), and an output is the
    difference of two of them, I_j = sum_i (G+_ij - G-_ij) V_i for ``columns="pairs"``; for ``"reference"`` all
    outputs subtract one column written to the middle of the range. Amplifiers make readings of the currents, in
    units of their full scale: a typical stimulus (mean square 1/5 of the limit's) gives ``exposure`` in root mean
    square at rest. In the order in which the signal meets them: gain jitter, saturation (``"soft"``: y = s / (1 +
    abs(s))), read noise, the ADC over [-1, 1], glitches. Hold one input constant for a bias (an encoder does).

    Tunables are ``positive`` and ``negative``, or ``conductances``, in S, output after output: what is asked of
    each cell. Any write programs the whole array. At rest they are random, as of cells that were only just formed.

    What a write leaves differs from it by the noise of writing, drawn from the seed, the cell and the value
    written; a verify loop makes it less. Some cells are stuck, others wear out with every pulse, and all creep
    towards less conductance until they are written again (Le Gallo and Sebastian, J. Phys. D 53, 213002 (2020)).
    The pulses of every cell, and when they were written, are part of the device's progress: a run that goes on
    finds them. Rest that is written because the device is opened or closed counts for nothing.

    With ``wire_ohms`` the currents solve Kirchhoff's laws at every crossing, rows being driven at their left ends
    and columns read at their lower ones.

    Parameters
    ----------
    n_inputs, n_outputs
        Rows, and outputs.
    columns
        ``"pairs"`` or ``"reference"``.
    read_volts
        Limit of a stimulus, in V.
    wire_ohms
        Resistance of a wire from one crossing to the next.
    exposure
        See above.

    Attributes
    ----------
    tunable_outputs
        The output that each tunable acts on, shape (n_tunables,); with ``wire_ohms`` it acts a little on others.
    pulses
        Of every cell so far, shape (rows, columns).
    """

    stream_prefix: ClassVar = "memristor-crossbar"

    n_inputs: int = whole(44, 1, 4096)
    n_outputs: int = whole(40, 1, 4096)
    columns: str = choice("pairs", ("pairs", "reference"))
    read_volts: float = real(0.2, 1e-6, 10.0)
    cells: Cells = Cells()
    wire_ohms: float = real(0.0, 0.0, 1e6)
    amplifier: Amplifier = Amplifier()
    exposure: float = real(0.5, 1e-9, 1e9)

    def _set_up(self) -> None:
        low, high = self.cells.low_siemens, self.cells.high_siemens
        if not low < high:
            raise ValueError(f"low_siemens ({low:g}) must lie below high_siemens ({high:g})")
        if self.cells.endurance is not None:
            real_number("endurance", self.cells.endurance, 1.0, 1e15)
        self._chain = self.amplifier.chain((-self.read_volts, self.read_volts), (-1.0, 1.0), self._stream)
        self._saturation = SATURATIONS[str(self.amplifier.saturation)](FULL_SCALE)
        self._is_paired = self.columns == "pairs"
        every = (self.n_inputs, 2 * self.n_outputs if self._is_paired else self.n_outputs + 1)
        self._chip, self._wires = Chip(self.cells, every, self._stream), Wires(self.wire_ohms)
        spread = self._chip.range * np.sqrt(1 / 6 if self._is_paired else 1 / 12)  # of differences at rest
        self._full_scale = self.read_volts * np.sqrt(self.n_inputs / 5) * spread / self.exposure
        tunables = self._tunables()
        self.tunable_outputs = np.tile(np.repeat(np.arange(self.n_outputs), self.n_inputs), len(tunables))
        self.pulses = np.zeros(every, dtype=np.int64)
        self._written: Float64Array | None = None
        self._is_new = True  # what is written first was written before the first row
        self._before = ("", 0)  # what was written when the progress was kept that this device goes on from
        self._is_opening = False
        self._earlier: tuple[int, dict[str, Any]] | None = None  # the row of the last write, and what it changed
        self.spec = self._spec(
            self.n_inputs,
            self.n_outputs,
            still=self.cells.drift_exponent == 0,
            input_low=-self.read_volts,
            input_high=self.read_volts,
            input_unit="V",
            output_unit="of full scale",
            tunables=tunables,
        )

    def _tunables(self) -> tuple[Tunable, ...]:
        low, high, levels = self.cells.low_siemens, self.cells.high_siemens, self.cells.levels
        step = None if levels is None else (high - low) / (whole_number("levels", levels, 2, 1 << 24) - 1)
        count = self.n_inputs * self.n_outputs
        plain, rng = Tunable("plain", count, low, high, "S", step=step), self._stream("rest").at_row(0)
        names = ("positive", "negative") if self._is_paired else ("conductances",)
        return tuple(resting_at(plain, rng.uniform(low, high, count), name) for name in names)

    # -- writing -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The rest that is written behind it wears nothing before a row is measured at rest."""
        self._is_opening = self._tuned is None or not self._tuned.is_open

    def close(self) -> None:
        """The rest that was written before it is undone: a run that goes on has not seen it."""
        if self._earlier is not None and self._earlier[0] == self.rows_measured:
            self.__dict__.update(self._earlier[1])
        self._earlier = None

    def _tune(self, values: Float64Array) -> None:
        if self._is_opening or (self._written is not None and np.array_equal(self._written, values)):
            self._is_opening = False
            return
        kept = {name: self.__dict__[name] for name in LEFT_BY_A_WRITE if name in self.__dict__}
        self._earlier = self.rows_measured, kept
        target = np.concatenate([each.T for each in values.reshape(-1, self.n_outputs, self.n_inputs)], axis=1)
        if not self._is_paired:
            middle = (self.cells.low_siemens + self.cells.high_siemens) / 2
            target = np.column_stack([target, np.full(self.n_inputs, middle)])
        self._left, pulses = self._chip.written(target)
        self._written = values.copy()
        if self._digest() == self._before[0]:  # the same state is brought back, nothing is written
            self._written_at = self._before[1]
        else:
            self._written_at = 0 if self._is_new else self.rows_measured
            self.pulses = self.pulses + pulses
        self._is_new = False
        self._before = ("", 0)
        self._conductances = self._chip.with_stuck(self._left, self.pulses)
        self._made: dict[int, ExactProduct] = {}

    def _digest(self) -> str:
        written = b"" if self._written is None else np.ascontiguousarray(self._written, dtype="<f8").tobytes()
        return hashlib.sha256(written).hexdigest()[:16]

    def _brought_up(self) -> None:
        """Write what is set unless it was: a simulation may be measured without being opened."""
        if self._written is None or not np.array_equal(self._written, self.tuning):
            self._tune(self.tuning)

    def progress(self) -> dict[str, Any]:
        """Rows and, where cells wear out or creep, what was written when."""
        own = super().progress()
        if self._written is not None and (self.cells.drift_exponent or self.cells.endurance is not None):
            own |= {"written": self._digest(), "written_at": self._written_at}
            if self.cells.endurance is not None:
                own["pulses"] = self.pulses.ravel().tolist()
        return own

    def resume(self, progress: Mapping[str, Any]) -> None:
        super().resume(progress)
        if "written" not in progress:
            return
        if "pulses" in progress:
            self.pulses = np.array(progress["pulses"], dtype=np.int64).reshape(self.pulses.shape)
        self._before = str(progress["written"]), int(progress["written_at"])
        self._written, self._is_new = None, False

    # -- reading -------------------------------------------------------------------------------------------------

    def conductances(self) -> Float64Array:
        """What the cells have had since the last write, before they creep, shape (rows, columns), in S.

        Columns are all positive ones and then all negative ones, or all outputs' and then the reference.
        """
        self._brought_up()
        return self._conductances.copy()

    def _each_block(self, work: Callable[[int], None], starts: Sequence[int]) -> None:
        self._brought_up()
        each_block(work, starts, single_threaded_blas)

    def _differences(self, currents: Float64Array) -> Float64Array:
        """Per output, of quantities in the order of the columns: shape (any, columns) to (any, n_outputs)."""
        return np.asarray(currents[:, : self.n_outputs] - currents[:, self.n_outputs :])

    def _product(self, epoch: int) -> ExactProduct:
        """Voltages to differences of currents, as long after writing as an epoch says."""
        made = self._made.get(epoch)
        if made is None:
            left = self._chip.aged(self._conductances, self._chip.age_of(epoch))
            made = ExactProduct(self._differences(self._wires.transfer(left)))
            if len(self._made) >= MOST_EPOCHS:
                self._made.pop(next(iter(self._made)), None)
            self._made[epoch] = made
        return made

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        ages = np.maximum(np.arange(first_row, first_row + len(drive)) - self._written_at, 0)
        epochs = self._chip.epochs(ages)
        found = np.empty((len(drive), self.n_outputs))
        for epoch in np.unique(epochs):
            rows = epochs == epoch
            found[rows] = self._product(int(epoch))(drive[rows])
        return np.asarray(found / self._full_scale)

    # -- derivatives ---------------------------------------------------------------------------------------------

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """See :class:`hwloop.device.spec.Differentiable`; of the conductances before they creep."""
        transfer, by_current = self._by_current(stimuli, gradients)
        return np.asarray(by_current @ transfer.T)

    def pull_back_tuning(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative of a loss by what is set now, shape (n_tunables,), summed over the rows.

        From that by the responses, shape (rows, n_outputs). The noise of writing counts as a constant; a stuck
        cell has no derivative.
        """
        _, by_current = self._by_current(stimuli, gradients)
        by_output = self._chain.drive(stimuli).T @ by_current
        other = -by_output if self._is_paired else -by_output.sum(axis=1, keepdims=True)
        by_cell = self._wires.pull_back(self._conductances, np.concatenate([by_output, other], axis=1))
        by_cell = np.where(self._chip.stuck(self.pulses), 0.0, by_cell)
        used = by_cell if self._is_paired else by_cell[:, :-1]
        return np.asarray(used.T.ravel())

    def _by_current(self, stimuli: Float64Array, gradients: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The transfer to differences, and the derivative by them."""
        self._brought_up()
        transfer = self._differences(self._wires.transfer(self._conductances))
        signal = self._chain.drive(stimuli) @ transfer / self._full_scale
        return transfer, np.asarray(self._saturation.slope(signal) * gradients / self._full_scale)
