"""What a layer becomes in Lava: in doubles, in Loihi's integers, or on a Loihi 2 chip."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Dict, List, Mapping, Tuple, Type

import numpy as np
from numpy.typing import NDArray

from .fixed_point import fixed_point

Array = NDArray[Any]
NO_CHIP = (
    "no Loihi 2 can be reached from here: Lava's extension for the chip (lava-loihi, which Intel gives to members "
    "of its research community) is not installed in {}; install it there, or use hardware 'simulation'"
)


class Layout(ABC):
    """Base of the layouts: connects source, synapses, neurons and recorder.

    Parameters
    ----------
    layer
        By name, see :func:`.fixed_point.fixed_point`.
    steps, settle_steps
        Steps of the window and steps before them.
    message_bits
        Bits of a stimulus in fixed point.
    batch_rows
        Rows that the network holds.

    Attributes
    ----------
    scale
        Of a membrane, what the recorder reads over its value.
    """

    dtype: ClassVar[Any] = float
    tag: ClassVar[str] = "floating_pt"
    scale: float = 1.0

    def __init__(
        self, layer: Mapping[str, Array], steps: int, settle_steps: int, message_bits: int, batch_rows: int
    ) -> None:
        self._layer, self.message_bits = layer, message_bits
        self.steps, self.settle_steps = steps, settle_steps
        self.n_inputs, self.n_neurons = np.shape(layer["weights"])
        self.rows = batch_rows

    @property
    def total_steps(self) -> int:
        """Steps of a row, settling included."""
        return self.steps + self.settle_steps

    def run_config(self) -> Any:
        """Lava's choice of models."""
        from lava.magma.core.run_configs import Loihi2SimCfg

        return Loihi2SimCfg(select_tag=self.tag)

    def processes(self, constant: bool, spikes: bool) -> List[Any]:
        """The connected processes, the source first.

        Parameters
        ----------
        constant
            Whether a row's drive is one frame for the whole window, not a frame a step.
        spikes
            Whether the spikes of every step are recorded.
        """
        from .processes.ports import ActivityRecorder, ConstantSource, SpikeRecorder, StepSource

        neurons = self.neurons()
        shape = neurons.s_out.shape
        source_shape = (*shape[:-1], self.n_inputs)
        source = (ConstantSource if constant else StepSource)(shape=source_shape, steps=self.total_steps)
        recorder = (SpikeRecorder if spikes else ActivityRecorder)(
            shape=shape, steps=self.steps, settle_steps=self.settle_steps
        )
        return [source, *self.between(source, neurons, recorder), neurons, recorder]

    def between(self, source: Any, neurons: Any, recorder: Any) -> List[Any]:
        """Connects the three; the processes that this takes."""
        neurons.s_out.connect(recorder.s_in)
        recorder.membrane.connect_var(neurons.v)
        return self.synapses(source.s_out, neurons)

    def synapses(self, source: Any, neurons: Any) -> List[Any]:
        """Batched synapses from the source's port, and between the neurons if there are any."""
        from .processes.neurons import BatchedDense

        found = []
        # A spike at the first step belongs to the row before: it must not come round.
        for origin, silent_steps, (weights, exponent) in zip((source, neurons.s_out), (1, 2), self.weights()):
            dense = BatchedDense(
                weights=weights,
                weight_exp=exponent,
                rows=self.rows,
                interval=self.total_steps + 1,
                silent_steps=silent_steps,
            )
            origin.connect(dense.s_in)
            dense.a_out.connect(neurons.a_in)
            found.append(dense)
        return found

    def reset_every_window(self) -> Dict[str, int]:
        """Keywords of Lava's LIFReset: before the second step of a window, in which the first frame arrives."""
        return {"reset_interval": self.total_steps + 1, "reset_offset": 2}

    @abstractmethod
    def messages(self, drive: Array) -> Array:
        """What is sent for a drive of any shape."""

    @abstractmethod
    def weights(self) -> List[Tuple[Array, int]]:
        """(weights, exponent) of the inputs and, if there are any, of the recurrent synapses."""

    @abstractmethod
    def neurons(self) -> Any:
        """The process of the neurons."""


class FloatingLayout(Layout):
    """Doubles: every operation as in the other engines, so every spike too."""

    def messages(self, drive: Array) -> Array:
        """The drive itself."""
        return drive

    def weights(self) -> List[Tuple[Array, int]]:
        """As they are."""
        return [(self._layer[name].T, 0) for name in ("weights", "recurrent") if name in self._layer]

    def neurons(self) -> Any:
        """Lava's own LIFReset where that will do."""
        from lava.proc.lif.process import LIFReset

        from .processes.neurons import DiverseLIFReset

        layer, shape = self._layer, (self.rows, self.n_neurons)
        numbers: Dict[str, Any] = {"du": layer["du"], "dv": layer["dv"], "vth": layer["threshold"]}
        refractory_steps, subtract = int(layer["refractory_steps"]), bool(layer["subtract"])
        common: Dict[str, Any] = {
            "shape": shape,
            "bias_mant": filled(layer["bias"], shape),
            **self.reset_every_window(),
        }
        if refractory_steps or subtract or any(np.size(value) > 1 for value in numbers.values()):
            return DiverseLIFReset(refractory_steps=refractory_steps, subtract=subtract, **numbers, **common)
        return LIFReset(**{name: float(np.ravel(value)[0]) for name, value in numbers.items()}, **common)


class FixedLayout(Layout):
    """Loihi's integers, computed by Lava's bit-accurate models.

    Raises
    ------
    ValueError
        The chip has no such neurons.
    """

    dtype = np.int32
    tag = "fixed_pt"

    def __init__(
        self, layer: Mapping[str, Array], steps: int, settle_steps: int, message_bits: int, batch_rows: int
    ) -> None:
        super().__init__(layer, steps, settle_steps, message_bits, batch_rows)
        self._integers = fixed_point(layer, message_bits)
        self.scale = self._integers.scale

    def messages(self, drive: Array) -> Array:
        """Graded spikes."""
        return self._integers.messages(drive)

    def weights(self) -> List[Tuple[Array, int]]:
        """Integers with their exponents."""
        layer = self._integers
        found = [(layer.weights.T, layer.weight_exp)]
        return found if layer.recurrent is None else [*found, (layer.recurrent.T, layer.recurrent_exp)]

    def neurons(self) -> Any:
        """Lava's own LIFReset."""
        from lava.proc.lif.process import LIFReset

        layer, shape = self._integers, self.neuron_shape()
        return LIFReset(
            shape=shape,
            du=layer.du,
            dv=layer.dv,
            vth=layer.threshold,
            bias_mant=filled(layer.bias, shape),
            bias_exp=filled(layer.bias_exp, shape),
            **self.reset_every_window(),
        )

    def neuron_shape(self) -> Tuple[int, ...]:
        """A neuron for every row."""
        return (self.rows, self.n_neurons)


class StockLayout(FixedLayout):
    """Processes of Lava's own alone between source and recorder, one row at a time, as a chip takes them.

    Raises
    ------
    ValueError
        There are recurrent synapses: between rows, what is under way in them cannot be stopped.
    """

    def __init__(
        self, layer: Mapping[str, Array], steps: int, settle_steps: int, message_bits: int, batch_rows: int
    ) -> None:
        if "recurrent" in layer:
            raise ValueError(
                "recurrent synapses keep spikes of the row before; use hardware 'simulation' for them"
            )
        super().__init__(layer, steps, settle_steps, message_bits, batch_rows=1)

    def neuron_shape(self) -> Tuple[int, ...]:
        """The neurons of one row."""
        return (self.n_neurons,)

    def synapses(self, source: Any, neurons: Any) -> List[Any]:
        """Lava's Dense with graded spikes."""
        from lava.proc.dense.process import Dense
        from lava.utils.weightutils import SignMode

        ((weights, exponent),) = self.weights()
        dense = Dense(
            weights=weights,
            weight_exp=exponent,
            num_message_bits=self.bits_sent,
            sign_mode=SignMode.MIXED,
        )
        source.connect(dense.s_in)
        dense.a_out.connect(neurons.a_in)
        return [dense]

    @property
    def bits_sent(self) -> int:
        """Bits of a message: up to 2**message_bits, and the sign."""
        return self._integers.message_bits + 2


class ChipLayout(StockLayout):
    """The same on a Loihi 2: Lava's hardware configuration, and adapters at the border of the chip.

    Raises
    ------
    RuntimeError
        Lava's extension for the chip is not installed.
    """

    def __init__(
        self, layer: Mapping[str, Array], steps: int, settle_steps: int, message_bits: int, batch_rows: int
    ) -> None:
        from lava.utils import loihi

        if not loihi.is_installed():
            # Lava itself would go on, and simulate.
            raise RuntimeError(NO_CHIP.format(sys.executable))
        super().__init__(layer, steps, settle_steps, message_bits, batch_rows)

    def run_config(self) -> Any:
        """Lava's choice of models: those of the chip first."""
        from lava.magma.core.run_configs import Loihi2HwCfg

        return Loihi2HwCfg(select_tag=self.tag)

    def between(self, source: Any, neurons: Any, recorder: Any) -> List[Any]:
        """Adapters from Python to the chip and back; membranes cannot be read."""
        from lava.proc.embedded_io.spike import NxToPyAdapter, PyToNxAdapter

        to_chip = PyToNxAdapter(shape=source.s_out.shape, num_message_bits=self.bits_sent)
        from_chip = NxToPyAdapter(shape=neurons.s_out.shape)
        source.s_out.connect(to_chip.inp)
        neurons.s_out.connect(from_chip.inp)
        from_chip.out.connect(recorder.s_in)
        return [to_chip, from_chip, *self.synapses(to_chip.out, neurons)]


def filled(values: Any, shape: Tuple[int, ...]) -> Array:
    """An array of its own of that shape."""
    return np.array(np.broadcast_to(values, shape))


LAYOUTS: Dict[str, Type[Layout]] = {
    "floating": FloatingLayout,
    "fixed": FixedLayout,
    "stock": StockLayout,
    "loihi2": ChipLayout,
}
