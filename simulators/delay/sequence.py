"""What a stimulus means to a device with a delayed feedback: steps of a sequence, each masked over the nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device import DeviceSpec, Tunable
from hwloop.device.settings import whole_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream
from hwloop.simulators.substrate import BlockSubstrate

MASKS = ("binary", "uniform")


class SequenceSubstrate(BlockSubstrate, shared=True):
    """A substrate that is driven through the steps of a row, from rest, or on from the row before (``streams``).

    A subclass declares ``n_inputs``, ``n_nodes``, ``sequence_length``, ``readout``, ``streams`` and ``tuned``.

    Attributes
    ----------
    tunable_nodes
        The node that each tunable acts on first, shape (n_tunables,); -1 for one that acts on all of them.
    """

    n_inputs: int
    n_nodes: int
    sequence_length: int
    readout: str
    streams: bool
    tuned: bool

    def _sequence_spec(self, still: bool) -> DeviceSpec:
        """The spec; drives lie within [-1, 1], the reset of a stream within [0, 1]."""
        if self.streams and self.tuned:
            raise ValueError("a stream is not tuned: its rows go on under one tuning; leave streams or tuned away")
        self._steps = checked_steps(self.n_inputs, self.sequence_length)
        self._channels = self.n_inputs // self._steps
        self._reads_all = self.readout == "all"
        self._state: Any = None  # of a stream; None is rest
        tunables = self._tunables() if self.tuned else ()
        self.tunable_nodes = np.array([node for each in tunables for node in self._nodes_of(each)], dtype=np.int64)
        self._made: tuple[Float64Array, Any] | None = None
        low = np.append(np.full(self.n_inputs, -1.0), 0.0) if self.streams else -1.0
        return self._spec(
            self.n_inputs + self.streams,
            self.n_nodes * (self._steps if self._reads_all else 1),
            still=still,
            input_low=low,
            output_unit="of full scale",
            streams=self.streams,
            tunables=tunables,
        )

    def _nodes_of(self, tunable: Tunable) -> NDArray[np.int64]:
        """A mask has a value for every channel and node, node after node; the others act on all nodes."""
        return np.arange(tunable.count) % self.n_nodes if tunable.count > 1 else np.array([-1])

    @property
    def _physics(self) -> Any:
        """What :meth:`_physics_of` makes of what is set now, kept until that changes."""
        values = self.tuning if self.tuned else np.empty(0)
        if self._made is None or not np.array_equal(self._made[0], values):
            named = self.spec.named_tuning(values) if self.tuned else {}
            self._made = values.copy(), self._physics_of(named)
        return self._made[1]

    @abstractmethod
    def _tunables(self) -> tuple[Tunable, ...]:
        """What is tuned, at rest where the settings say."""

    @abstractmethod
    def _physics_of(self, named: Mapping[str, Float64Array]) -> Any:
        """What :meth:`_driven` needs, of the settings and of what is tuned, by name; nothing where nothing is."""

    def open(self) -> None:
        """A stream begins at rest."""
        self._state = None

    def _measure(self, inputs: Float64Array) -> Float64Array:
        _ = self._physics  # made here, and not by several threads
        if not self.streams:
            return super()._measure(inputs)
        signal, resets = np.empty((len(inputs), self.spec.n_outputs)), self.spec.resets(inputs)
        drive = self._chain.drive(inputs[:, :-1])

        def measure_row(row: int) -> None:
            # Row by row: what a row is answered depends on those before, and on nothing beside it.
            state = None if resets[row] else self._state
            one = slice(row, row + 1)
            signal[one], self._state = self._driven(drive[one], self.rows_measured + row, state)

        self._in_order(measure_row, len(inputs))
        response = self._chain.detect(signal, self.rows_measured)
        self.rows_measured += len(inputs)
        return response

    def _in_order(self, work: Any, rows: int) -> None:
        from hwloop.simulators.torch_devices import single_threaded_torch
        from hwloop.torch_state import own_torch_state

        with own_torch_state(), single_threaded_torch():
            for row in range(rows):
                work(row)

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        return self._driven(drive, first_row, None)[0]

    @abstractmethod
    def _driven(self, drive: Float64Array, first_row: int, state: Any) -> tuple[Float64Array, Any]:
        """The signal (rows, n_outputs) of stimuli, and the state behind them; ``state`` None begins at rest."""


def checked_steps(n_inputs: int, sequence_length: int) -> int:
    """The steps of a row, which divide its inputs."""
    steps = whole_number("sequence_length", sequence_length, 1, n_inputs)
    if n_inputs % steps:
        fits = min((n for n in range(1, n_inputs + 1) if n_inputs % n == 0), key=lambda n: abs(n - steps))
        raise ValueError(
            f"sequence_length {steps} does not divide n_inputs {n_inputs} into steps of equal size; the nearest "
            f"allowed value is {fits}"
        )
    return steps


def check_excess(excess_nodes: int, n_nodes: int) -> None:
    """Refuse a delay of more than two cycles: further back the nodes of no cycle are kept."""
    if excess_nodes > n_nodes:
        raise ValueError(
            f"excess_nodes {excess_nodes} is more than a cycle of {n_nodes} nodes; the nearest allowed value is "
            f"{n_nodes}"
        )


def drawn_mask(kind: str, stream: NoiseStream, channels: int, nodes: int) -> Float64Array:
    """Real masks of unit mean square, shape (channels, nodes).

    ``"binary"`` has values +1 and -1, ``"uniform"`` in [-sqrt(3), sqrt(3)].
    """
    rng, shape = stream.at_row(0), (channels, nodes)
    if kind == "binary":
        return np.asarray(2.0 * rng.integers(0, 2, shape) - 1.0, dtype=np.float64)
    return np.asarray(rng.uniform(-np.sqrt(3), np.sqrt(3), shape))
