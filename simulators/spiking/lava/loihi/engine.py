"""The engine of ``spiking-lava`` as it is served in Lava's Python: a layer in, spikes out."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from .layouts import LAYOUTS
from .network import LavaNetwork, ProcessModelDied, prepare_lava

SUMMARIES = ("counts", "first_spike", "membrane")
Array = NDArray[Any]


class LavaEngine:
    """Streams batches through a Lava network of one layer; the network is built when it is first needed.

    Parameters
    ----------
    steps, settle_steps
        Steps of the window, in which activity is read, and steps before them.
    layout
        ``"floating"``, ``"fixed"``, ``"stock"`` or ``"loihi2"``, see :mod:`.layouts`.
    message_bits
        Bits of a stimulus in fixed point, without the sign.
    batch_rows
        Rows that the network holds; fewer are filled up with silence.
    layer
        The layer, as arrays by name: see :func:`.fixed_point.fixed_point`.

    Raises
    ------
    ImportError
        Lava is not installed in this Python.
    RuntimeError
        The layout needs a chip that is not there.
    ValueError
        The layout has no such neurons.
    """

    def __init__(
        self,
        *,
        steps: int,
        settle_steps: int = 0,
        layout: str = "floating",
        message_bits: int = 7,
        batch_rows: int = 256,
        **layer: Array,
    ) -> None:
        prepare_lava()
        self._layout = LAYOUTS[layout](layer, steps, settle_steps, message_bits, batch_rows)
        self._network: Optional[LavaNetwork] = None
        self._built_for: Tuple[bool, bool] = (False, False)

    def run(self, drive: Array, activity: Sequence[str]) -> Dict[str, Array]:
        """The named activities of a drive; arrays as :meth:`.twin.LayerTwin.run` takes and gives them.

        Raises
        ------
        .network.ProcessModelError
            A process of the network raised an exception; the next run builds a new network. If one was killed,
            this process ends too: to the trainer that is a crash, after which the rows are run once more.
        ValueError
            The drive is not finite: Lava resets by multiplying with 0, which NaN survives.
        """
        if not np.isfinite(drive).all():
            raise ValueError("a drive must be finite")
        network = self._network_for(drive.ndim == 2, "spikes" in activity)
        rows, records = self._layout.rows, []
        for start in range(0, len(drive), rows):
            part = drive[start : start + rows]
            record = self._run_or_end(network, self._frames(part, network.frame_shape))
            records.append(record.reshape(len(record), rows, -1)[:, : len(part)])
        return self._found(np.concatenate(records, axis=1), activity)

    def close(self) -> None:
        """End Lava's processes."""
        network, self._network = self._network, None
        if network is not None:
            network.close()

    def _run_or_end(self, network: LavaNetwork, frames: Array) -> Array:
        try:
            return network.run(frames)
        except ProcessModelDied as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(os.EX_SOFTWARE)

    def _network_for(self, constant: bool, spikes: bool) -> LavaNetwork:
        """The running network, built anew where another kind of drive or record is asked for."""
        network = self._network
        if network is None or not network.alive or self._built_for != (constant, spikes):
            self.close()
            processes = self._layout.processes(constant, spikes)
            network = LavaNetwork(processes, self._layout.run_config(), self._layout.total_steps + 1)
            self._network, self._built_for = network, (constant, spikes)
        return network

    def _frames(self, part: Array, frame_shape: Tuple[int, ...]) -> Array:
        """A drive as the frames of a source, filled up with silent rows."""
        frames = part[np.newaxis] if part.ndim == 2 else part.swapaxes(0, 1)
        full = np.zeros((frames.shape[0], self._layout.rows, frames.shape[2]), self._layout.dtype)
        full[:, : len(part)] = self._layout.messages(frames)
        return full.reshape(len(full), *frame_shape)

    def _found(self, record: Array, activity: Sequence[str]) -> Dict[str, Array]:
        """Activities by name of a record (pages, rows, neurons)."""
        found = {name: record[page] for page, name in enumerate(SUMMARIES)}
        found["membrane"] = found["membrane"] / self._layout.scale
        found["spikes"] = record[len(SUMMARIES) :].swapaxes(0, 1).astype(np.uint8)
        for name in ("counts", "first_spike"):
            found[name] = found[name].astype(np.int32)
        return {name: np.ascontiguousarray(found[name]) for name in activity}
