"""A delay-line reservoir: one nonlinear node, a delayed feedback, a mask and virtual nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device import DeviceSpec
from hwloop.device.settings import one_of, real_number, whole_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.substrate import BlockSubstrate

if TYPE_CHECKING:
    from hwloop.simulators.delay.line import DelayLine

MODELS = ("ikeda", "mackey-glass", "linear")
MASKS = ("binary", "uniform")
READOUTS = ("last", "all")


class DelayLoop(BlockSubstrate):
    r"""Simulated delay loop: an optoelectronic (Ikeda) or Mackey-Glass node with a mask and virtual nodes.

    With time in units of the node's response time and tau = n_nodes * node_spacing,

    x'(t) = -x(t) + F(x(t - tau) + J(t) + bias), F(z) = gain sin^2 z (``model="ikeda"``; Larger et al., Optics
    Express 20, 3241 (2012)), gain z / (1 + abs(z)^exponent) (``"mackey-glass"``; Appeltant et al., Nat. Commun. 2,
    468 (2011)) or gain z (``"linear"``).

    A row is a sequence of ``sequence_length`` steps of n_inputs / sequence_length channels u. During a step, which
    lasts ``laps_per_step`` delays, node i is driven by J_i = input_scale * sum_j M_ij u_j / sqrt(channels), M the
    mask. Between rows the loop is open: every row begins at x = 0 and remembers no other.

    Outputs are the nodes at the end of the last step (``readout="last"``) or of every step (``"all"``, ordered by
    step, then node), as a fraction of ``full_scale``. In the order in which the signal meets them: gain jitter,
    read noise, the ADC over [-1, 1], glitches. Drift: the bias of a modulator creeps, by ``bias_drift_per_row``.

    Parameters
    ----------
    n_inputs
        Numbers in a row, a multiple of ``sequence_length``.
    n_nodes, node_spacing
        Virtual nodes, and the time between two, in response times of the node (0.2 couples neighbours).
    model, gain, exponent, bias
        The nonlinearity; the exponent is that of Mackey and Glass, at least 1; the bias is in rad (of x).
    input_scale, mask
        Strength of the input in rad (of x), and the mask's values: ``"binary"``, +1 or -1, or ``"uniform"`` in
        [-sqrt(3), sqrt(3)].
    sequence_length, laps_per_step, readout
        See above.
    full_scale
        x of a reading of 1.
    dac_bits, adc_bits
        1 to 24; ``None`` for ideal converters.
    read_noise, gain_jitter, glitch_rate
        Fractions: of full scale, of the signal (one draw a row), of the rows.
    bias_drift_per_row
        In rad a row.
    row_seconds
        Time of a row that the spec shall state; nothing waits for it.
    torch_device
        Where the loop is computed, such as ``"cpu"`` or ``"cuda"``.
    seed
        Draws the mask and all noise.

    Raises
    ------
    ValueError
        A setting that is not allowed; the message gives the reason and the nearest allowed value.
    """

    quiet_settings: ClassVar = {
        "read_noise": 0.0,
        "gain_jitter": 0.0,
        "glitch_rate": 0.0,
        "bias_drift_per_row": 0.0,
    }
    stream_prefix: ClassVar = "delay-loop"

    def __init__(
        self,
        *,
        n_inputs: int = 64,
        n_nodes: int = 200,
        node_spacing: float = 0.2,
        model: str = "ikeda",
        gain: float = 1.0,
        exponent: float = 7.0,
        bias: float = 0.3,
        input_scale: float = 2.0,
        mask: str = "binary",
        sequence_length: int = 1,
        laps_per_step: int = 2,
        readout: str = "last",
        full_scale: float = 1.0,
        dac_bits: int | None = 10,
        adc_bits: int | None = 10,
        read_noise: float = 0.01,
        gain_jitter: float = 0.0,
        glitch_rate: float = 0.0,
        bias_drift_per_row: float = 0.0,
        row_seconds: float | None = None,
        torch_device: str = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__(locals())
        inputs = whole_number("n_inputs", n_inputs, 1, 100_000)
        self._n_nodes = whole_number("n_nodes", n_nodes, 1, 100_000)
        self._steps = self._checked_steps(inputs)
        self._laps_per_step = whole_number("laps_per_step", laps_per_step, 1, 10_000)
        self._reads_all = one_of("readout", readout, READOUTS) == "all"
        self._bias = real_number("bias", bias, -100.0, 100.0)
        self._drift_per_row = real_number("bias_drift_per_row", bias_drift_per_row, -1.0, 1.0)
        self._full_scale = real_number("full_scale", full_scale, 1e-9, 1e9)
        self._chain = self._imperfections((-1.0, 1.0), (-1.0, 1.0))
        self._line = self._delay_line()
        self._mask = ExactProduct(self._drawn_mask(inputs // self._steps))
        self.spec = DeviceSpec(
            n_inputs=inputs,
            n_outputs=self._n_nodes * (self._steps if self._reads_all else 1),
            input_low=-1.0,
            input_high=1.0,
            output_unit="of full scale",
            row_seconds=row_seconds,
            deterministic=self._chain.deterministic and self._drift_per_row == 0,
        )

    def _checked_steps(self, inputs: int) -> int:
        steps = whole_number("sequence_length", self._settings["sequence_length"], 1, inputs)
        if inputs % steps:
            fits = min((n for n in range(1, inputs + 1) if inputs % n == 0), key=lambda n: abs(n - steps))
            raise ValueError(
                f"sequence_length {steps} does not divide n_inputs {inputs} into steps of equal size; the nearest "
                f"allowed value is {fits}"
            )
        return steps

    def _delay_line(self) -> DelayLine:
        from hwloop.simulators.delay import line  # torch, only where it is used

        given = self._settings
        gain = real_number("gain", given["gain"], -100.0, 100.0)
        exponent = real_number("exponent", given["exponent"], 1.0, 100.0)
        spacing = real_number("node_spacing", given["node_spacing"], 1e-6, 100.0)
        kinds = {
            "ikeda": line.Ikeda(gain),
            "mackey-glass": line.MackeyGlass(gain, exponent),
            "linear": line.Linear(gain),
        }
        kind = kinds[one_of("model", given["model"], MODELS)]
        return line.DelayLine(kind, self._n_nodes, spacing, given["torch_device"])

    def _drawn_mask(self, channels: int) -> Float64Array:
        """The mask with the input's strength, shape (channels, nodes)."""
        scale = real_number("input_scale", self._settings["input_scale"], 0.0, 1000.0)
        rng, shape = self._stream("mask").at_row(0), (channels, self._n_nodes)
        if one_of("mask", self._settings["mask"], MASKS) == "binary":
            mask = 2.0 * rng.integers(0, 2, shape) - 1.0
        else:
            mask = rng.uniform(-np.sqrt(3), np.sqrt(3), shape)
        return np.asarray(scale / np.sqrt(channels) * mask)

    def _block_signal(self, drive: Float64Array, first_row: int) -> Float64Array:
        rows = len(drive)
        masked = self._mask(drive.reshape(rows * self._steps, -1)).reshape(rows, self._steps, self._n_nodes)
        injected = np.repeat(masked.swapaxes(0, 1), self._laps_per_step, axis=0)
        bias = self._bias + self._drift_per_row * np.arange(first_row, first_row + rows, dtype=np.float64)
        states = list(self._line.laps(injected, bias))[self._laps_per_step - 1 :: self._laps_per_step]
        return np.concatenate(states if self._reads_all else states[-1:], axis=1) / self._full_scale
