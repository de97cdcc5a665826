"""A passive fibre cavity that is read by intensity: linear memory in the field, the square in the detector."""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hwloop.blocks import ExactProduct
from hwloop.device import Tunable
from hwloop.device.declared import choice, real, switch, whole
from hwloop.device.spec import Float64Array
from hwloop.simulators.delay.sequence import MASKS, SequenceSubstrate, check_excess, drawn_mask
from hwloop.simulators.substrate import Detector, resting_at

if TYPE_CHECKING:
    from torch import Tensor

Complex = NDArray[np.complex128]


CONTRACTING = 0.99  # largest gain of a cavity that is tuned
LARGEST_BIAS = 10.0  # where it is tuned
LARGEST_MASK = 4.0  # value of a tuned mask


class PassiveCavity(SequenceSubstrate):
    r"""Simulated passive fibre cavity: a linear ring for light, driven coherently and read by intensity.

    The field a_i of node i in cycle n is what comes round and what is coupled in:

    a_i(n) = round_trip_gain exp(i round_trip_phase) a_(i - excess_nodes)(n - 1) + E_i(n),
    reading abs(a_i)^2 / full_scale (Vinckier et al., Optica 2, 438 (2015)).

    Node i of a cycle is fed by node i - excess_nodes of the one before, for the round trip is so much longer than
    a cycle of ``n_nodes``. Nothing but the detector is nonlinear, and it is quadratic. For a gain below 1 the
    cavity forgets at that rate, whatever the input: two histories differ by gain^n after n cycles.

    A row is a sequence of ``sequence_length`` steps of n_inputs / sequence_length channels u. A step lasts one
    cycle. With the mask M the light coupled in is

    - ``encoding="amplitude"``: E_i = sum_j M_ij (input_scale u_j + bias) / sqrt(channels);
    - ``encoding="phase"``: E_i = exp(i (sum_j M_ij input_scale u_j / sqrt(channels) + bias)).

    Between rows the light is off: every row begins with an empty cavity and remembers no other. With ``streams``
    it stays on, and one input more, the last, empties the cavity before a row where it is above 0.5.

    Outputs are the nodes at the end of the last step (``readout="last"``) or of every step (``"all"``, ordered by
    step, then node). In the order in which the signal meets them: gain jitter, read noise, the ADC over [0, 1],
    glitches. Drift: the length of the cavity creeps, by ``phase_drift_per_row``.

    Parameters
    ----------
    n_inputs
        Numbers in a row, a multiple of ``sequence_length``.
    n_nodes, excess_nodes
        Nodes of a cycle, and how many more a round trip holds, at most ``n_nodes``; 0 leaves every node alone.
    round_trip_gain, round_trip_phase
        Of the field in one round trip, and in rad. The light in the cavity decays as gain^(2n).
    encoding
        What the input modulates.
    input_scale, bias
        Of the field (of its phase in rad).
    mask
        ``"binary"``, +1 or -1, ``"uniform"`` in [-sqrt(3), sqrt(3)], or ``"phase"``, exp(i theta) with any theta
        (of the amplitude alone).
    sequence_length, readout
        See above.
    full_scale
        Intensity of a reading of 1.
    phase_drift_per_row
        In rad a row.
    streams
        Whether the state goes on from row to row.
    tuned
        Whether gain, phase, bias and mask (its real and, of light without a phase encoding, imaginary parts) are
        tunables, at rest where the settings say. The gain stays within [0, 0.99]: the cavity forgets.
    """

    stream_prefix: ClassVar = "passive-cavity"

    n_inputs: int = whole(64, 1, 100_000)
    n_nodes: int = whole(50, 1, 100_000)
    excess_nodes: int = whole(1, 0, 100_000)
    round_trip_gain: float = real(0.9, 0.0, 0.9999)
    round_trip_phase: float = real(0.5, -100.0, 100.0)
    encoding: str = choice("amplitude", ("amplitude", "phase"))
    input_scale: float = real(1.0, 0.0, 1000.0)
    bias: float = real(0.5, -100.0, 100.0)
    mask: str = choice("uniform", (*MASKS, "phase"))
    sequence_length: int = 1
    readout: str = choice("last", ("last", "all"))
    full_scale: float = real(10.0, 1e-9, 1e9)
    detector: Detector = Detector()
    phase_drift_per_row: float = real(0.0, -1.0, 1.0, quiet=0.0)
    streams: bool = switch(False)
    tuned: bool = switch(False)

    def _set_up(self) -> None:
        check_excess(self.excess_nodes, self.n_nodes)
        if self.mask == "phase" and self.encoding == "phase":
            raise ValueError(
                'mask "phase" is of the amplitude; with encoding "phase" it may be "binary" or "uniform"'
            )
        self._chain = self.detector.chain((-1.0, 1.0), (0.0, 1.0), self._stream)
        self.spec = self._sequence_spec(still=self.phase_drift_per_row == 0)
        _ = self._physics

    def _tunables(self) -> tuple[Tunable, ...]:
        if self.round_trip_gain > CONTRACTING:
            raise ValueError(f"a tuned cavity contracts: round_trip_gain must be at most {CONTRACTING}")
        mask, phase = self._drawn_mask().ravel(), float(np.angle(np.exp(1j * self.round_trip_phase)))
        parts = {"mask_real": mask.real, "mask_imaginary": mask.imag}
        if self.encoding == "phase":
            del parts["mask_imaginary"]
        reach = max(LARGEST_BIAS, abs(self.bias))
        return (
            Tunable("gain", 1, 0.0, CONTRACTING, rest=self.round_trip_gain),
            Tunable("phase", 1, -np.pi, np.pi, "rad", rest=phase),
            Tunable("bias", 1, -reach, reach, rest=self.bias),
            *(resting_at(Tunable(k, mask.size, -LARGEST_MASK, LARGEST_MASK), v) for k, v in parts.items()),
        )

    def _physics_of(self, named: Mapping[str, Float64Array]) -> tuple[complex, ExactProduct, Complex, float]:
        """A round trip, the product with the mask (real parts, then imaginary ones), the mask's sum, the bias."""
        mask, trip, bias = self._drawn_mask(), (self.round_trip_gain, self.round_trip_phase), self.bias
        if named:
            imaginary = named.get("mask_imaginary", np.zeros(mask.size))
            mask = (named["mask_real"] + 1j * imaginary).reshape(mask.shape)
            trip, bias = (float(named["gain"][0]), float(named["phase"][0])), float(named["bias"][0])
        mask = mask / np.sqrt(self._channels)
        product = ExactProduct(np.hstack([mask.real, mask.imag]))
        return trip[0] * cmath.exp(1j * trip[1]), product, mask.sum(axis=0), bias

    def _drawn_mask(self) -> Complex:
        shape, stream = (self._channels, self.n_nodes), self._stream("mask")
        if self.mask == "phase":
            return np.asarray(np.exp(2j * np.pi * stream.at_row(0).random(shape)))
        return drawn_mask(self.mask, stream, *shape).astype(np.complex128)

    def _coupled_in(self, drive: Float64Array) -> Complex:
        """The light coupled in by stimuli (rows, n_inputs), shape (steps, rows, nodes)."""
        rows, (_, mask, constant, bias) = len(drive), self._physics
        parts = self.input_scale * np.asarray(mask(drive.reshape(rows * self._steps, self._channels)))
        masked = parts[:, : self.n_nodes] + 1j * parts[:, self.n_nodes :]
        field = masked + bias * constant if self.encoding == "amplitude" else np.exp(1j * (masked.real + bias))
        return np.asarray(field.reshape(rows, self._steps, self.n_nodes).swapaxes(0, 1))

    def _driven(self, drive: Float64Array, first_row: int, state: Any) -> tuple[Float64Array, Any]:
        import torch  # only where it is used

        from hwloop.simulators.delay.line import as_rows, fed_back

        coupled_in = self._coupled_in(drive)
        rows, read = coupled_in.shape[1], []
        gain = self._tensor(self._gains(first_row, rows))
        dark = torch.zeros((self.n_nodes, rows), dtype=gain.dtype, device=gain.device)
        last, before = (dark, dark) if state is None else state
        for step, light in enumerate(coupled_in):
            last, before = gain * fed_back(last, before, self.excess_nodes) + self._tensor(light.T), last
            if self._reads_all or step == self._steps - 1:
                read.append(as_rows(last.real.square() + last.imag.square()))
        return np.concatenate(read, axis=1) / self.full_scale, (last, before)

    def _gains(self, first_row: int, rows: int) -> Complex:
        """Of a round trip, for each row, shape (rows,)."""
        drift = self.phase_drift_per_row * np.arange(first_row, first_row + rows, dtype=np.float64)
        return np.asarray(self._physics[0] * np.exp(1j * drift))

    def _tensor(self, values: Complex) -> Tensor:
        import torch

        from hwloop.simulators.torch_devices import torch_device

        place: Any = torch_device(self.torch_device)
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.complex64, device=place)
