"""Synapses for Lava that raise an exception in the middle of a window, or never come back."""

import time

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from loihi.processes.neurons import BatchedDense, PyBatchedDenseFloat

BAD_STEP = 8


class RaisingDense(BatchedDense):
    pass


class HangingDense(BatchedDense):
    pass


@implements(proc=RaisingDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyRaisingDense(PyBatchedDenseFloat):
    implements_process = None

    def run_spk(self):
        if self.time_step == BAD_STEP:
            raise ArithmeticError("this synapse is broken")
        super().run_spk()


@implements(proc=HangingDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyHangingDense(PyBatchedDenseFloat):
    implements_process = None

    def run_spk(self):
        while self.time_step == BAD_STEP:
            time.sleep(0.01)
        super().run_spk()
