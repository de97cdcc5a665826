"""A delay-line reservoir: one nonlinear node, a delayed feedback, a mask and virtual nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device import Tunable
from hwloop.device.declared import choice, real, switch, whole
from hwloop.device.spec import Float64Array
from hwloop.simulators.delay.sequence import MASKS, SequenceSubstrate, check_excess, drawn_mask
from hwloop.simulators.substrate import Detector, resting_at

if TYPE_CHECKING:
    from hwloop.simulators.delay.line import DelayLine


CONTRACTING = 0.99  # largest factor by which two histories come together in a cycle, of a loop that is tuned
LARGEST_MASK = 4.0  # value of a tuned mask, in units of the settings' strength


class DelayLoop(SequenceSubstrate):
    r"""Simulated delay loop: an optoelectronic (Ikeda) or Mackey-Glass node with a mask and virtual nodes.

    With time in units of the node's response time and tau = (n_nodes + excess_nodes) * node_spacing,

    x'(t) = -x(t) + F(x(t - tau) + J(t) + bias), F(z) = gain sin^2 z (``model="ikeda"``; Larger et al., Optics
    Express 20, 3241 (2012)), gain z / (1 + abs(z)^exponent) (``"mackey-glass"``; Appeltant et al., Nat. Commun. 2,
    468 (2011)), gain sin z (``"sine"``; Paquot et al., Sci. Rep. 2, 287 (2012)) or gain z (``"linear"``).

    Without ``excess_nodes`` every node meets itself, and the low-pass alone couples it to its neighbours. With
    them the delay is longer than the clock's cycle, and node i is fed by node i - excess_nodes: with nodes so far
    apart that the low-pass does not count (a ``node_spacing`` of 30 or more)
    x_i(n) = F(x_(i-k)(n-1) + J_i(n) + bias), Paquot's equation 4.

    A row is a sequence of ``sequence_length`` steps of n_inputs / sequence_length channels u. During a step, which
    lasts ``laps_per_step`` cycles of n_nodes, node i is driven by J_i = input_scale * sum_j M_ij u_j /
    sqrt(channels), M the mask. Between rows the loop is open: every row begins at x = 0 and remembers no
    other. With ``streams`` it stays closed, and one input more, the last, opens it before a row where it is above
    0.5.

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
    excess_nodes
        By which the delay is longer than the cycle, at most ``n_nodes``.
    streams
        Whether the state goes on from row to row.
    tuned
        Whether gain, bias and mask are tunables, at rest where the settings say. The gain stays where the loop
        contracts: it forgets.
    bias_drift_per_row
        In rad a row.
    """

    stream_prefix: ClassVar = "delay-loop"
    added_settings: ClassVar = frozenset({"excess_nodes", "streams", "tuned"})
    searched: ClassVar = {
        "gain": (0.2, 1.6),
        "bias": (0.0, 1.5),
        "input_scale": (0.05, 4.0, "log"),
        "node_spacing": (0.1, 2.0, "log"),
        "full_scale": (0.2, 2.0, "log"),
    }

    n_inputs: int = whole(64, 1, 100_000)
    n_nodes: int = whole(200, 1, 100_000)
    node_spacing: float = real(0.2, 1e-6, 100.0)
    model: str = choice("ikeda", ("ikeda", "mackey-glass", "sine", "linear"))
    gain: float = real(1.0, -100.0, 100.0)
    exponent: float = real(7.0, 1.0, 100.0)
    bias: float = real(0.3, -100.0, 100.0)
    input_scale: float = real(2.0, 0.0, 1000.0)
    mask: str = choice("binary", MASKS)
    sequence_length: int = 1
    laps_per_step: int = whole(2, 1, 10_000)
    readout: str = choice("last", ("last", "all"))
    full_scale: float = real(1.0, 1e-9, 1e9)
    detector: Detector = Detector()
    bias_drift_per_row: float = real(0.0, -1.0, 1.0, quiet=0.0)
    excess_nodes: int = whole(0, 0, 100_000)
    streams: bool = switch(False)
    tuned: bool = switch(False)

    def _set_up(self) -> None:
        check_excess(self.excess_nodes, self.n_nodes)
        self._chain = self.detector.chain((-1.0, 1.0), (-1.0, 1.0), self._stream)
        self.spec = self._sequence_spec(still=self.bias_drift_per_row == 0)
        _ = self._physics  # made now, so that a setting that makes no sense is refused here

    def _tunables(self) -> tuple[Tunable, ...]:
        mask, most = self._drawn_mask(self._channels).ravel(), CONTRACTING / self._largest_slope()
        reach = LARGEST_MASK * self.input_scale / np.sqrt(self._channels)
        if not 0 <= self.gain <= most:
            raise ValueError(f"a tuned loop contracts: gain {self.gain} must lie within [0, {most:.4g}]")
        return (
            Tunable("gain", 1, 0.0, most, rest=self.gain),
            Tunable("bias", 1, min(-np.pi, self.bias), max(np.pi, self.bias), "rad", rest=self.bias),
            resting_at(Tunable("mask", mask.size, -reach, reach, "rad"), mask),
        )

    def _largest_slope(self) -> float:
        """Of F at a gain of 1."""
        if self.model != "mackey-glass":
            return 1.0
        z = np.linspace(0.0, 4.0, 4001)  # beyond, the slope only decays
        power = z**self.exponent
        return float(np.abs((1 + (1 - self.exponent) * power) / (1 + power) ** 2).max())

    def _physics_of(self, named: Mapping[str, Float64Array]) -> tuple[DelayLine, ExactProduct, float]:
        """The line, the product with the mask, and the bias."""
        from hwloop.simulators.delay import line  # torch, only where it is used

        gain = float(named["gain"][0]) if named else self.gain
        kinds = {
            "ikeda": line.Ikeda(gain),
            "mackey-glass": line.MackeyGlass(gain, self.exponent),
            "sine": line.Sine(gain),
            "linear": line.LinearNode(gain),
        }
        made = line.DelayLine(
            kinds[self.model], self.n_nodes, self.node_spacing, self.torch_device, excess=self.excess_nodes
        )
        if not named:
            return made, ExactProduct(self._drawn_mask(self._channels)), self.bias
        mask = named["mask"].reshape(self._channels, self.n_nodes)
        return made, ExactProduct(mask), float(named["bias"][0])

    def _drawn_mask(self, channels: int) -> Float64Array:
        """The mask with the input's strength, shape (channels, nodes)."""
        mask = drawn_mask(self.mask, self._stream("mask"), channels, self.n_nodes)
        return np.asarray(self.input_scale / np.sqrt(channels) * mask)

    def _driven(self, drive: Float64Array, first_row: int, state: Any) -> tuple[Float64Array, Any]:
        from hwloop.simulators.delay.line import as_rows  # torch, only where it is used

        rows, (line, mask, bias) = len(drive), self._physics
        masked = mask(drive.reshape(rows * self._steps, -1)).reshape(rows, self._steps, self.n_nodes)
        injected = np.repeat(masked.swapaxes(0, 1), self.laps_per_step, axis=0)
        creep = self.bias_drift_per_row * np.arange(first_row, first_row + rows, dtype=np.float64)
        offset = line.tensor(bias + creep)
        state, read = line.at_rest(rows) if state is None else state, []
        for lap, light in enumerate(injected, start=1):
            state = line.after_lap(state, light, offset)
            if lap == len(injected) or (self._reads_all and lap % self.laps_per_step == 0):
                read.append(as_rows(state.last))
        return np.concatenate(read, axis=1) / self.full_scale, state
