"""The engine: batches of any size through blocks of rows that run without an end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.brian2.neuron_models import PER_NEURON, NeuronModel, RowNoise
from hwloop.simulators.spiking.brian2.row_block import NeuronBlock, prepare_brian2
from hwloop.simulators.spiking.engine import Window

CELLS_IN_CACHE = 2**14  # neurons that are stepped together; more leave the processor's second cache
MOST_ROWS = 256
SHRINKAGE = 4  # from one size of block to the next smaller
CHUNK_NUMBERS = 2**20  # currents that are held at a time, where they change from step to step


class Brian2Engine:
    """Runs a layer of Brian2 neurons; see :class:`hwloop.simulators.spiking.engine.Engine`.

    Brian2 lives in the process that builds this object, and in the thread that calls it: no other may.

    Parameters
    ----------
    neuron
        Of all neurons.
    weights
        Input synapses, shape (n_inputs, n_neurons), in the neuron's ``input_unit``.
    window
        Settling and window.
    bias
        Constant input of every neuron, shape (n_neurons,), in the ``input_unit``; ``None`` for none.
    recurrent
        Synapses between neurons, (n_neurons, n_neurons), in the ``input_unit``; ``None`` for none.
    per_neuron
        Values of parameters or of the initial state, by name, shape (n_neurons,), in SI units.
    target
        ``"numpy"`` or ``"cython"``.
    noise_seed, noise_scale
        First words of the seed of a row's noise, before its trial's number; a factor of all of it.

    Attributes
    ----------
    sizes
        Rows of the blocks, in ascending order; each is built when first needed.
    """

    def __init__(
        self,
        neuron: NeuronModel,
        weights: Float64Array,
        window: Window,
        bias: Float64Array | None = None,
        recurrent: Float64Array | None = None,
        per_neuron: Mapping[str, Float64Array] | None = None,
        target: str = "numpy",
        noise_seed: Sequence[int] = (0, 0),
        noise_scale: float = 1.0,
    ) -> None:
        prepare_brian2(target)
        self.neuron, self.window = neuron, window
        self._weights, self._recurrent = np.asarray(weights, dtype=np.float64), recurrent
        self.n_neurons = self._weights.shape[1]
        self._bias = np.zeros(self.n_neurons) if bias is None else np.asarray(bias, dtype=np.float64)
        self._per_neuron = dict(per_neuron or {})
        self._noise_seed, self._noise_scale = tuple(noise_seed), noise_scale
        self.sizes = block_sizes(self.n_neurons)
        self._blocks: dict[int, NeuronBlock] = {}

    def run(
        self, drive: NDArray[Any], activity: Iterable[str], trials: Sequence[int] | None = None
    ) -> dict[str, NDArray[Any]]:
        """As :meth:`hwloop.simulators.spiking.engine.Engine.run`.

        Parameters
        ----------
        drive, activity
            As there.
        trials
            Number of each row, which seeds its noise; from 0 if not given.
        """
        names = list(activity)
        numbers = range(len(drive)) if trials is None else [int(trial) for trial in trials]
        parts, start = [], 0
        while start < len(drive):
            block = self._block_for(len(drive) - start)
            rows = slice(start, start + block.rows)
            parts.append(self._run_block(block, drive[rows], names, numbers[rows]))
            start += block.rows
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def build(self, sizes: Iterable[int]) -> None:
        """Build blocks of these sizes.

        Raises
        ------
        ValueError
            Brian2 refuses the neuron.
        """
        for size in sizes:
            self._block(size)

    def _block(self, size: int) -> NeuronBlock:
        if size not in self._blocks:
            layer = (self.neuron, self.n_neurons, self.window, self._recurrent, self._per_neuron)
            try:
                self._blocks[size] = NeuronBlock(size, *layer)
            except Exception as error:
                cause = error.__cause__ or error
                raise ValueError(f"Brian2 cannot build the neuron ({type(cause).__name__}): {cause}") from error
        return self._blocks[size]

    def _block_for(self, rows: int) -> NeuronBlock:
        """The largest block that these rows fill by half at least."""
        return self._block(next((size for size in reversed(self.sizes) if 2 * rows >= size), self.sizes[0]))

    def _run_block(
        self, block: NeuronBlock, drive: NDArray[Any], names: list[str], trials: Sequence[int]
    ) -> dict[str, NDArray[Any]]:
        currents = self._constant(drive, block) if drive.ndim == 2 else self._changing(drive, block)
        return block.run(currents, self._noise(block, trials), names, len(drive))

    def _constant(self, drive: NDArray[Any], block: NeuronBlock) -> Iterator[Float64Array]:
        return repeat(self._padded(drive.astype(np.float64) @ self._weights, block), self.window.total_steps)

    def _changing(self, drive: NDArray[Any], block: NeuronBlock) -> Iterator[Float64Array]:
        steps = max(1, CHUNK_NUMBERS // (len(drive) * max(drive.shape[2], self.n_neurons)))
        for start in range(0, self.window.total_steps, steps):
            chunk = drive[:, start : start + steps].swapaxes(0, 1).astype(np.float64)
            for currents in chunk @ self._weights:
                yield self._padded(currents, block)

    def _padded(self, currents: Float64Array, block: NeuronBlock) -> Float64Array:
        """With the bias, for all rows of the block, flat."""
        padded = np.zeros((block.rows, self.n_neurons))
        padded[: len(currents)] = currents
        padded += self._bias
        return padded.ravel()

    def _noise(self, block: NeuronBlock, trials: Sequence[int]) -> RowNoise | None:
        if block.noise_sources == 0 or self._noise_scale == 0:
            return None
        # A word more than the encoding's seed has: the two are independent.
        rngs = [np.random.default_rng(np.random.SeedSequence([*self._noise_seed, trial, 1])) for trial in trials]
        scale = self._noise_scale * self.window.step_seconds**-0.5
        return RowNoise(rngs, self.window.total_steps, block.noise_sources, block.rows, self.n_neurons, scale)


def block_sizes(n_neurons: int) -> list[int]:
    """Rows of the blocks for a layer: powers of two, the largest by what the cache holds."""
    largest = max(1, min(MOST_ROWS, CELLS_IN_CACHE // n_neurons))
    sizes = [2 ** (largest.bit_length() - 1)]
    while sizes[0] > 1:
        sizes.insert(0, max(1, sizes[0] // SHRINKAGE))
    return sizes


def served_engine(
    *,
    neuron: Mapping[str, Any],
    window: Mapping[str, Any],
    target: str,
    noise_seed: Sequence[int],
    noise_scale: float,
    weights: NDArray[Any],
    bias: NDArray[Any],
    recurrent: NDArray[Any] | None = None,
    **per_neuron: NDArray[Any],
) -> Brian2Engine:
    """The engine, with its smallest block built: what Brian2 refuses is refused now, and compiled code is ready.

    Larger blocks have the same code, and are built in tenths of a second when first needed.
    """
    engine = Brian2Engine(
        NeuronModel(**neuron),
        weights,
        Window(**window),
        bias=bias,
        recurrent=recurrent,
        per_neuron={name.removeprefix(PER_NEURON): values for name, values in per_neuron.items()},
        target=target,
        noise_seed=noise_seed,
        noise_scale=noise_scale,
    )
    engine.build(engine.sizes[:1])
    return engine
