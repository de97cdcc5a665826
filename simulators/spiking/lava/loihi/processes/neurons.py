"""Neurons and synapses that Lava's stock processes lack.

LIFReset with decays and thresholds of every neuron and a refractory time; Dense for a batch of rows.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelFloat
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import SignMode, clip_weights, truncate_weights
from numpy.typing import NDArray

NEVER = -(2**62)


class DiverseLIFReset(LIFReset):
    """LIFReset whose du, dv and vth may differ from neuron to neuron; floating point only.

    Parameters
    ----------
    shape
        (rows, neurons).
    du, dv, vth, bias_mant
        A number or an array (neurons,).
    reset_interval, reset_offset
        As of LIFReset.
    refractory_steps
        The membrane stays at 0 during so many steps after a spike, while the current goes on.
    subtract
        A neuron that fired loses its threshold in place of going back to 0.
    """

    def __init__(
        self,
        *,
        shape: Tuple[int, ...],
        du: Any,
        dv: Any,
        vth: Any,
        bias_mant: NDArray[Any],
        reset_interval: int,
        reset_offset: int,
        refractory_steps: int,
        subtract: bool,
    ) -> None:
        super().__init__(
            shape=shape, bias_mant=bias_mant, reset_interval=reset_interval, reset_offset=reset_offset
        )
        for name, value in (("du", du), ("dv", dv), ("vth", vth)):
            numbers = np.atleast_1d(np.asarray(value, dtype=float))
            setattr(self, name, Var(shape=numbers.shape, init=numbers))
        self._post_init()
        self.proc_params["refractory_steps"] = int(refractory_steps)
        self.proc_params["subtract"] = bool(subtract)


@implements(proc=DiverseLIFReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyDiverseLIFReset(PyLifResetModelFloat):
    """Lava's own model of LIFReset in doubles; resting neurons and the reset are added."""

    implements_process = None  # of the parent: Lava refuses to go on with it, else
    du: NDArray[Any] = LavaPyType(np.ndarray, float)
    dv: NDArray[Any] = LavaPyType(np.ndarray, float)
    vth: NDArray[Any] = LavaPyType(np.ndarray, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.refractory_steps = proc_params["refractory_steps"]
        self.subtract = proc_params["subtract"]
        self.last_spike = np.full(proc_params["shape"], NEVER)

    def subthr_dynamics(self, activation_in: NDArray[Any]) -> None:
        """As Lava's; what came to resting neurons is taken away."""
        super().subthr_dynamics(activation_in)
        if self.refractory_steps:
            if self.time_step % self.reset_interval == self.reset_offset:
                self.last_spike[:] = NEVER
            self.v *= self.last_spike < self.time_step - self.refractory_steps

    def reset_voltage(self, spike_vector: NDArray[Any]) -> None:
        """To 0, or by the threshold."""
        if self.subtract:
            self.v -= spike_vector * self.vth
            return
        super().reset_voltage(spike_vector)
        if self.refractory_steps:
            self.last_spike[spike_vector] = self.time_step


class BatchedDense(AbstractProcess):
    """a_out[t] = weights s_in[t - 1] for each of the rows, and 0 at the beginning of a window.

    Parameters
    ----------
    weights
        Shape (neurons, n_inputs); in fixed point even integers in [-256, 254], as Loihi's mixed signs have them.
    weight_exp
        Fixed point: the activation is shifted left by so many bits (right if negative).
    rows
        Rows of the batch.
    interval
        Steps of a window, all counted.
    silent_steps
        First steps of a window, in which what is left of the window before is withheld.
    """

    def __init__(
        self, *, weights: NDArray[Any], weight_exp: int, rows: int, interval: int, silent_steps: int
    ) -> None:
        super().__init__(
            weights=weights, weight_exp=weight_exp, rows=rows, interval=interval, silent_steps=silent_steps
        )
        n_outputs, n_inputs = weights.shape
        self.s_in = InPort(shape=(rows, n_inputs))
        self.a_out = OutPort(shape=(rows, n_outputs))
        self.weights = Var(shape=weights.shape, init=weights)


class _DenseModel(PyLoihiProcessModel):
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.interval, self.silent_steps = proc_params["interval"], proc_params["silent_steps"]
        self.silence = np.zeros((proc_params["rows"], proc_params["weights"].shape[0]))
        self.frame: Optional[NDArray[Any]] = None
        self.activation: NDArray[Any] = self.silence

    def run_spk(self) -> None:
        # Sent before anything is received, as Lava's Dense does it: recurrent loops would wait for each other.
        silent = (self.time_step - 1) % self.interval < self.silent_steps
        self.a_out.send(self.silence if silent else self.activation)
        frame = self.s_in.recv()
        if self.frame is None or not np.array_equal(frame, self.frame):  # constant currents are multiplied once
            self.frame, self.activation = frame, self.accumulate(frame)

    def accumulate(self, frame: NDArray[Any]) -> NDArray[Any]:
        raise NotImplementedError


@implements(proc=BatchedDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyBatchedDenseFloat(_DenseModel):
    """In doubles."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    weights: NDArray[Any] = LavaPyType(np.ndarray, float)

    def accumulate(self, frame: NDArray[Any]) -> NDArray[Any]:
        """Weighted sums of a frame."""
        return np.asarray(frame @ self.weights.T)


@implements(proc=BatchedDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyBatchedDenseFixed(_DenseModel):
    """In integers, as Lava's PyDenseModelBitAcc with mixed signs and 8 weight bits."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    weights: NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.weight_exp = proc_params["weight_exp"]
        weights = clip_weights(proc_params["weights"], SignMode.MIXED, num_bits=8)
        self.columns = truncate_weights(weights, SignMode.MIXED, 8).T.astype(float)

    def accumulate(self, frame: NDArray[Any]) -> NDArray[Any]:
        """Weighted sums of a frame, in doubles, which hold these integers exactly and multiply far faster."""
        sums = (frame.astype(float) @ self.columns).astype(np.int32)
        left, right = max(self.weight_exp, 0), max(-self.weight_exp, 0)
        return np.asarray(np.right_shift(np.left_shift(sums, left), right))
