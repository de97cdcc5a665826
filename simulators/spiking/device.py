"""What every simulated spiking device does: encode a stimulus, run an engine from rest, read its activity out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.checks import checked_stimuli
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.imperfections import ImperfectionChain
from hwloop.simulators.spiking.encodings import ENCODINGS, encoding_of
from hwloop.simulators.spiking.engine import Engine, engine_versions
from hwloop.simulators.spiking.readouts import READOUTS
from hwloop.simulators.spiking.window import Window
from hwloop.simulators.substrate import Substrate


class SpikingDevice(Substrate):
    """Base of the spiking devices: a subclass builds the network and an engine that runs it.

    Settings that it reads: ``n_inputs`` and ``n_neurons`` (unless told otherwise), ``window_seconds``,
    ``step_seconds``, ``settle_seconds``, ``encoding``, ``output``, ``max_rate_hz``, ``run``, ``device_number``,
    ``trial``, ``row_seconds`` and ``seed``.

    Every row starts from rest, so none remembers another. What is random in the k-th row that the device measures
    is drawn from ``SeedSequence([run, device_number, k])`` and from nothing else: a row that is measured again
    under its number repeats. With ``trial`` every row has this number: the same random spikes, so that
    :meth:`noiseless` repeats itself.
    """

    quiet_settings: ClassVar[Mapping[str, Any]] = {"trial": 0}
    block_rows: ClassVar[int] = 256
    stream_prefix: ClassVar[str] = "spiking"
    reset_between_rows: ClassVar[bool] = True
    _engine: Engine

    def __init__(
        self, settings: Mapping[str, Any], n_inputs: int | None = None, n_outputs: int | None = None
    ) -> None:
        super().__init__(settings)
        given = self._settings
        self.window = Window.from_seconds(given["step_seconds"], given["window_seconds"], given["settle_seconds"])
        if n_inputs is None:
            n_inputs = whole_number("n_inputs", given["n_inputs"], 1, 1_000_000)
        if n_outputs is None:
            n_outputs = whole_number("n_neurons", given["n_neurons"], 1, 100_000)
        self._n_neurons = n_outputs
        encoding = one_of("encoding", given["encoding"], ENCODINGS)
        self._encoding = encoding_of(encoding, self.window, given["max_rate_hz"])
        self._readout = READOUTS[one_of("output", given["output"], READOUTS)]
        self._n_channels = self._encoding.channels(n_inputs, self.window)
        run = self.seed if given["run"] is None else whole_number("run", given["run"], 0)
        self._trials = [run, whole_number("device_number", given["device_number"], 0)]
        self._trial = None if given["trial"] is None else whole_number("trial", given["trial"], 0)
        self._chain = ImperfectionChain(None, ())
        if given["row_seconds"] is not None:
            real_number("row_seconds", given["row_seconds"], 0.0, 1e6)
        self.spec = DeviceSpec(
            n_inputs=n_inputs,
            n_outputs=self._n_neurons,
            input_low=self._encoding.low,
            input_high=self._encoding.high,
            input_unit=self._encoding.unit,
            output_unit=self._readout.unit,
            row_seconds=given["row_seconds"],
            deterministic=not self._encoding.random or self._trial is not None,
        )

    def versions(self) -> dict[str, str]:
        """Those of the engine, where it runs in another process."""
        return engine_versions(self._engine)

    def spikes(self, stimuli: Any) -> np.ndarray[Any, Any]:
        """Spike trains of stimuli, (rows, steps, neurons), for a raster plot; they count as no rows.

        What is random is that of the rows to be measured next.
        """
        rows = checked_stimuli(stimuli, self.spec, type(self).__name__)
        drive = self._encoding.drive(rows, self.window, self._rngs(self.rows_measured, len(rows)))
        return self._engine.run(drive, ["spikes"])["spikes"]

    def _signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        encoded = self._encoding.drive(drive, self.window, self._rngs(first_row, len(drive)))
        name = self._readout.activity
        return self._readout.response(self._engine.run(encoded, [name])[name], self.window)

    def _rngs(self, first_row: int, rows: int) -> list[np.random.Generator]:
        if not self._encoding.random:
            return []
        trials = [self._trial] * rows if self._trial is not None else range(first_row, first_row + rows)
        return [np.random.default_rng(np.random.SeedSequence([*self._trials, trial])) for trial in trials]
