"""What goes into the network and what comes out of it: sources of a batch's drive, recorders of a window."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray

SUMMARIES = 3  # counts, first spikes, membranes
FRAMES_WAITING = 4  # frames that the caller may be ahead of the network


class Source(AbstractProcess):
    """Base of the sources: frames come in from outside Lava and go out at every step.

    Parameters
    ----------
    shape
        Of a frame: (rows, n_inputs).
    steps
        Steps T of a window; at the T + 1st the source is silent.
    """

    def __init__(self, *, shape: Tuple[int, ...], steps: int) -> None:
        super().__init__(shape=shape, steps=steps)
        self.frames = InPort(shape=shape)
        self.frames.flag_external_pipe(buffer_size=FRAMES_WAITING)
        self.s_out = OutPort(shape=shape)


class ConstantSource(Source):
    """Takes one frame a window and sends it at each of its steps."""


class StepSource(Source):
    """Takes and sends one frame a step."""


class _SourceModel(PyLoihiProcessModel):
    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.steps = proc_params["steps"]
        self.frame: Optional[NDArray[Any]] = None

    def run_spk(self) -> None:
        step = (self.time_step - 1) % (self.steps + 1)
        if step < self.steps:
            self.take_frame(step)
            self.s_out.send(self.frame)
        else:
            self.s_out.send(np.zeros_like(self.frame))

    def take_frame(self, step: int) -> None:
        raise NotImplementedError


class _ConstantModel(_SourceModel):
    def take_frame(self, step: int) -> None:
        if step == 0:
            self.frame = self.frames.recv()


class _StepModel(_SourceModel):
    def take_frame(self, step: int) -> None:
        self.frame = self.frames.recv()


def _model(process: Any, base: Any, number: Any, label: str) -> Any:
    """The model of a source that sends numbers of a type."""

    class SourceModel(base):
        """Takes frames and sends them."""

        frames: PyInPort = LavaPyType(PyInPort.VEC_DENSE, number)
        s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, number)

    return implements(proc=process, protocol=LoihiProtocol)(requires(CPU)(tag(label)(SourceModel)))


PyConstantSourceFloat = _model(ConstantSource, _ConstantModel, float, "floating_pt")
PyConstantSourceFixed = _model(ConstantSource, _ConstantModel, np.int32, "fixed_pt")
PyStepSourceFloat = _model(StepSource, _StepModel, float, "floating_pt")
PyStepSourceFixed = _model(StepSource, _StepModel, np.int32, "fixed_pt")


class ActivityRecorder(AbstractProcess):
    """Counts spikes over a window and reads the membranes at its end.

    ``s_in`` takes the spikes, ``membrane`` is connected to the neurons' ``v``; ``record`` hands out an array of
    shape (3, *shape) at the end of each window: counts, steps before the first spike (all of the window's where
    there was none), membranes.

    Parameters
    ----------
    shape
        (rows, neurons).
    steps, settle_steps
        Steps of the window, in which spikes count, and steps before them. Before both there is one more, the
        reset, at which no spike can come.
    """

    def __init__(self, *, shape: Tuple[int, ...], steps: int, settle_steps: int) -> None:
        pages = self.pages(steps)
        super().__init__(shape=(pages, *shape), steps=steps, settle_steps=settle_steps)
        self.s_in = InPort(shape=shape)
        self.membrane = RefPort(shape=shape)
        self.record = OutPort(shape=(pages, *shape))
        self.record.flag_external_pipe(buffer_size=2)

    @staticmethod
    def pages(steps: int) -> int:
        """Length of the record's first axis."""
        return SUMMARIES


class SpikeRecorder(ActivityRecorder):
    """Records the spikes of every step as well, after the summaries."""

    @staticmethod
    def pages(steps: int) -> int:
        """The summaries and all steps of the window."""
        return SUMMARIES + steps


@implements(proc=ActivityRecorder, protocol=LoihiProtocol)
@requires(CPU)
class PyRecorder(PyLoihiProcessModel):
    """The same for floating and fixed point: doubles hold both."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    membrane: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, float)
    record: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.steps, self.settle_steps = proc_params["steps"], proc_params["settle_steps"]
        self.window = np.zeros(proc_params["shape"])

    def run_spk(self) -> None:
        """Count, outside of reset and settling."""
        step = (self.time_step - 1) % (1 + self.settle_steps + self.steps) - 1 - self.settle_steps
        spikes = self.s_in.recv() != 0
        counts, first = self.window[0], self.window[1]
        if step < 0:
            counts[:], first[:] = 0, self.steps
            return
        first[spikes & (counts == 0)] = step
        counts += spikes
        self.keep(step, spikes)

    def keep(self, step: int, spikes: NDArray[Any]) -> None:
        """For recorders that want more than summaries."""

    def post_guard(self) -> bool:
        """Whether this was a window's last step."""
        return bool(self.time_step % (1 + self.settle_steps + self.steps) == 0)

    def run_post_mgmt(self) -> None:
        """Read the membranes, and hand out the record."""
        self.window[2] = self.membrane.read()
        self.record.csp_ports[-1].send(self.window)


@implements(proc=SpikeRecorder, protocol=LoihiProtocol)
@requires(CPU)
class PySpikeRecorder(PyRecorder):
    """Spikes of every step as well."""

    implements_process = None  # of the parent: Lava refuses to go on with it, else

    def keep(self, step: int, spikes: NDArray[Any]) -> None:
        """One page of the record."""
        self.window[SUMMARIES + step] = spikes
