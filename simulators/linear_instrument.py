"""A nearly linear instrument, channel to channel, whose every fault is known: what calibration is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from hwloop.deadline import MONOTONIC, Clock
from hwloop.device import DeviceSpec
from hwloop.device.declared import DeclaredDevice, real, whole
from hwloop.device.settings import real_number
from hwloop.device.spec import Float64Array
from hwloop.device.streams import NoiseStream

# Lowest and highest value of each setting.
LIMITS = {
    "gain": (-1e12, 1e12),
    "offset": (-1e12, 1e12),
    "cubic": (-0.33, 10.0),  # below -1/3 the curve turns round within the range
    "noise": (0.0, 1e12),
    "time_constant": (0.0, 1e6),
    "memory": (0.0, 0.5),
    "crosstalk": (-1.0, 1.0),
    "gain_drift_per_row": (-1.0, 1.0),
    "offset_drift_per_row": (-1e12, 1e12),
}


@dataclass(frozen=True, eq=False)
class InstrumentFaults:
    """One number a channel, each of shape (n_channels,); ``crosstalk`` of shape (n_channels, n_channels).

    Units and meaning are those of :class:`LinearInstrument`.
    """

    gain: Float64Array
    offset: Float64Array
    cubic: Float64Array
    noise: Float64Array
    time_constant: Float64Array
    memory: Float64Array
    crosstalk: Float64Array
    gain_drift_per_row: Float64Array
    offset_drift_per_row: Float64Array

    @property
    def mixing(self) -> Float64Array:
        """K: what each output (row) gets of each channel's signal (column); 1 on the diagonal."""
        mixing = self.crosstalk.copy()
        np.fill_diagonal(mixing, 1.0)
        return mixing

    def replaced(self, given: Mapping[str, Any], n_channels: int) -> Self:
        """A copy with the values that are not ``None``, broadcast to the channels.

        Raises
        ------
        ValueError
            A value of another shape, not finite, or out of :data:`LIMITS`.
        """
        values = {
            name: _channel_values(name, value, getattr(self, name).shape)
            for name, value in given.items()
            if value is not None
        }
        return replace(self, **values)


def drawn_faults(n_channels: int, seed: int) -> InstrumentFaults:
    """Faults as an honest laboratory instrument of some volts has them, uniformly distributed.

    Gain 0.8 to 1.2, offset -50 to 50 mV, cubic -5 to 5 %, noise 1 to 4 mV, time constant 0.3 to 0.8 ms (4 to 29 %
    of a step is left after a hold of 1 ms), memory 0.5 to 5 %, cross-talk -1 to 1 %, gain drift -2 to 2 in a
    million rows, offset drift -1 to 1 microvolt a row.
    """
    rng = NoiseStream(seed, "linear-instrument/faults").at_row(0)

    def uniform(low: float, high: float) -> Float64Array:
        return rng.uniform(low, high, n_channels)

    return InstrumentFaults(
        gain=uniform(0.8, 1.2),
        offset=uniform(-0.05, 0.05),
        cubic=uniform(-0.05, 0.05),
        noise=uniform(1e-3, 4e-3),
        time_constant=uniform(3e-4, 8e-4),
        memory=uniform(0.005, 0.05),
        gain_drift_per_row=uniform(-2e-6, 2e-6),
        offset_drift_per_row=uniform(-1e-6, 1e-6),
        crosstalk=rng.uniform(-0.01, 0.01, (n_channels, n_channels)),
    )


def _channel_values(name: str, value: Any, shape: tuple[int, ...]) -> Float64Array:
    if np.ndim(value) == 0:
        values = np.full(shape, real_number(name, value, *LIMITS[name]))
    else:
        numbers = np.array(value, dtype=np.float64)
        if numbers.shape != shape:
            raise ValueError(f"{name} must be one number or have shape {shape}, not {numbers.shape}")
        values = np.array([real_number(name, number, *LIMITS[name]) for number in numbers.ravel()]).reshape(shape)
    return values


class LinearInstrument(DeclaredDevice):
    r"""Simulated instrument with gain, offset, cubic, noise, settling, memory, cross-talk and drift per channel.

    With x the stimulus in volts, R the range, k the number of the row, and i, j channels:

    - curve: f_j(x) = gain_j * (x + cubic_j * x**3 / R**2);
    - cross-talk: u_i = sum_j K_ij f_j(x_j), K_ii = 1;
    - settling, a first-order low-pass between rows: s_i[k] = (1 - a_i) u_i[k] + a_i s_i[k-1], with
      a_i = exp(-hold_seconds / time_constant_i);
    - memory of the row before (afterglow): z_i[k] = (1 - m_i) s_i[k] + m_i s_i[k-1];
    - drift, offset and noise: y_i[k] = (1 + dg_i k) z_i[k] + offset_i + do_i k + noise_i * normal.

    The noise of the k-th row depends on the seed and k alone. Settling and memory go on from call to call; before
    the first row the instrument rests at 0 V.

    Parameters
    ----------
    n_channels
        Inputs, and outputs.
    range_volts
        R; stimuli lie within [-R, R].
    gain, offset, cubic, noise, time_constant, memory, gain_drift_per_row, offset_drift_per_row
        One number, or one a channel; ``None`` draws each channel's by ``seed`` (the ranges are in
        :func:`drawn_faults`). ``offset``, ``noise`` and the offset drift are
        in volts; ``time_constant`` is in seconds, 0 for an instrument that settles at once; ``memory`` lies
        in [0, 0.5]; gain drift is relative.
    crosstalk
        K without its diagonal: a number for every pair, a matrix of shape (n_channels, n_channels) whose diagonal
        is ignored, or ``None`` to draw it.
    hold_seconds
        Time for which each row is applied: the longer, the less is left of the row before.
    latency_seconds, row_seconds
        Waiting time of a call, and of each row in it.
    latency_jitter
        Relative standard deviation of a call's waiting time.
    seed
        Draws what is not given, and all noise.
    clock
        Waits.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    simulated = True

    #: The setting, in seconds, that trades time for settling; ``hwloop calibrate --settling`` may sweep it.
    settling_setting: ClassVar[str] = "hold_seconds"

    harmless_settings: ClassVar = {"clock": "waits for the time that a call and its rows take"}
    reproducible = True

    n_channels: int = whole(4, 1, 10_000)
    range_volts: float = real(1.0, 1e-12, 1e12)
    gain: Any = None
    offset: Any = None
    cubic: Any = None
    noise: Any = None
    time_constant: Any = None
    memory: Any = None
    crosstalk: Any = None
    gain_drift_per_row: Any = None
    offset_drift_per_row: Any = None
    hold_seconds: float = real(1e-3, 1e-12)
    latency_seconds: float = real(0.0, 0.0)
    row_seconds: float = real(0.0, 0.0)
    latency_jitter: float = real(0.0, 0.0, 1.0)
    seed: int = whole(0, 0)
    clock: Clock = MONOTONIC

    def _set_up(self) -> None:
        n = self.n_channels
        faults = {name: self._settings[name] for name in LIMITS}
        self._given = {name: value for name, value in faults.items() if value is not None}
        self.faults: InstrumentFaults = drawn_faults(n, self.seed).replaced(faults, n)
        self.spec = DeviceSpec(
            n_inputs=n,
            n_outputs=n,
            input_low=-self.range_volts,
            input_high=self.range_volts,
            input_unit="V",
            output_unit="V",
            row_seconds=self.row_seconds or None,
            deterministic=False,
        )
        self._noise = NoiseStream(self.seed, "linear-instrument/noise")
        self._jitter = NoiseStream(self.seed, "linear-instrument/jitter")
        self._settling_state = np.zeros(n)  # s of the row before

    def identify(self) -> str:
        given = "".join(f", {name}={np.asarray(value).tolist()}" for name, value in self._given.items())
        return (
            f"simulated LinearInstrument(n_channels={self.spec.n_inputs}, range_volts={self.range_volts}, "
            f"hold_seconds={self.hold_seconds}, seed={self.seed}{given})"
        )

    def continue_from(self, rows: int) -> None:
        """Noise and drift go on as after ``rows`` rows; the row before is taken for one at 0 V."""
        self.rows_measured = rows

    def progress(self) -> dict[str, Any]:
        """The row before leaks into the next one, and belongs to it."""
        return super().progress() | {"settling": self._settling_state.tolist()}

    def resume(self, progress: Mapping[str, Any]) -> None:
        """Noise, drift and what is left of the row before go on."""
        super().resume(progress)
        self._settling_state = np.array(progress.get("settling", self._settling_state), dtype=np.float64)

    # -- what is true of it -------------------------------------------------------------------------------

    def curve(self, stimuli: Any) -> Float64Array:
        """f_j(x_j), in volts, of stimuli of shape (..., n_channels): without offset, cross-talk and drift."""
        x = np.asarray(stimuli, dtype=np.float64)
        return np.asarray(self.faults.gain * (x + self.faults.cubic * x**3 / self.range_volts**2))

    @property
    def settling_factor(self) -> Float64Array:
        """a_i: what is left of a step after one more row, shape (n_channels,)."""
        constant = self.faults.time_constant
        return np.where(constant > 0, np.exp(-self.hold_seconds / np.maximum(constant, 1e-300)), 0.0)

    def memory_kernel(self, lags: int) -> Float64Array:
        """Weight of the row ``lag`` rows before in a response, shape (lags + 1, n_channels); lag 0 comes first.

        h_0 = (1 - m)(1 - a), and h_j = (1 - a) a**(j - 1) (a + m - a m) beyond: they sum to 1.
        """
        a, m = self.settling_factor, self.faults.memory
        later = (1 - a) * (a + m - a * m) * a ** np.arange(lags)[:, np.newaxis]
        return np.concatenate([((1 - m) * (1 - a))[np.newaxis], later])

    # -- measuring ----------------------------------------------------------------------------------------

    def _measure(self, inputs: Float64Array) -> Float64Array:
        self._wait(len(inputs))
        faults, a = self.faults, self.settling_factor
        settled = self.curve(inputs) @ faults.mixing.T
        before = self._settling_state
        following = np.empty_like(settled)
        for i in range(settled.shape[1]):
            following[:, i], _ = lfilter([1 - a[i]], [1.0, -a[i]], settled[:, i], zi=[a[i] * before[i]])
        previous = np.concatenate([before[np.newaxis], following[:-1]])
        self._settling_state = following[-1]
        remembered = (1 - faults.memory) * following + faults.memory * previous
        return self._drifted(remembered) + faults.noise * self._noise_of(len(inputs))

    def _drifted(self, signal: Float64Array) -> Float64Array:
        row = np.arange(self.rows_measured, self.rows_measured + len(signal))[:, np.newaxis]
        faults = self.faults
        gain = 1.0 + faults.gain_drift_per_row * row
        return np.asarray(gain * signal + faults.offset + faults.offset_drift_per_row * row)

    def _noise_of(self, rows: int) -> NDArray[np.float32]:
        normals = self._noise.normals(self.rows_measured, rows, self.spec.n_outputs)
        self.rows_measured += rows
        return normals

    def _wait(self, rows: int) -> None:
        seconds = self.latency_seconds + rows * self.row_seconds
        if seconds > 0:
            jitter = float(self._jitter.normals(self.rows_measured, 1, 1)[0, 0])
            self.clock.sleep(seconds * max(0.0, 1.0 + self.latency_jitter * jitter))
