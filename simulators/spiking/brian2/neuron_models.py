"""Neuron models in Brian2's language: the named ones, and what a model that a user writes consists of.

A model's texts are compiled and run by Brian2: equations are code, and come from whoever configures the device.

Brian2 draws one stream of random numbers for a whole group, so a neuron's noise would depend on how many rows
share the group. Here every ``xi`` becomes a parameter that holds ``normal / sqrt(dt)`` for the step, which is what
Brian2's ``euler`` makes of it (Euler-Maruyama; with other methods, additive noise is constant during a step).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from hwloop.device.settings import nearest, one_of
from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.brian2.quantities import parse_quantity
from hwloop.simulators.spiking.neuron import DiscreteLIF

PER_NEURON = "each_"  # before the name of an array that travels to give every neuron a value of its own
CHUNK_NUMBERS = 2**21  # normals that are held at a time, for a block of rows
METHODS = ("", "exact", "exponential_euler", "euler", "rk2", "rk4", "heun")
WHITE_NOISE = re.compile(r"\bxi(?:_\w+)?\b")
RANDOM_FUNCTIONS = re.compile(r"\b(rand|randn|poisson)\s*\(")
TEXTS = ("equations", "threshold", "reset", "refractory", "method", "update")


def with_row_noise(equations: str) -> tuple[str, list[str]]:
    """The equations with a parameter for each ``xi``, and the names of these parameters."""
    names = sorted(set(WHITE_NOISE.findall(equations)))
    changed = WHITE_NOISE.sub(lambda name: f"white_noise_of_{name[0]}", equations)
    parameters = [f"white_noise_of_{name}" for name in names]
    return "\n".join([changed, *(f"{name} : second**-0.5" for name in parameters)]), parameters


def refuse_random_functions(texts: Iterable[str]) -> None:
    """Raises ValueError where a text draws numbers whose order would depend on the rows in a batch."""
    for text in texts:
        found = RANDOM_FUNCTIONS.search(text)
        if found is not None:
            raise ValueError(
                f"{found[1]}() in a neuron draws from one stream for all rows, so a row would depend on its "
                "batch-mates; write the noise as xi in the differential equations"
            )


@dataclass(frozen=True)
class NeuronModel:
    """A neuron in Brian2's language (Stimberg, Brette and Goodman, eLife 8, e47314 (2019)).

    Attributes
    ----------
    equations
        Differential equations, subexpressions and parameters; ``xi`` is white noise, of the row's own seed.
    threshold, reset
        When a neuron fires, and the statements that then run.
    refractory
        Brian2's: a time, or a condition while which a neuron cannot fire; empty for none.
    method
        Of integration, one of :data:`METHODS`; empty if ``update`` does it. With ``xi`` take ``"euler"`` (Ito).
    update
        Statements of a model in discrete time, run in every step.
    parameters
        Constants by name: numbers, or text with units.
    initial
        State at rest, from which every row starts: text with units or an expression, by variable.
    input_variable, input_unit
        The parameter of the equations that receives the weighted stimulus, and what a weight of 1 is of it.
    membrane, membrane_unit
        The variable that the readout ``"membrane"`` reports, and its unit.
    """

    equations: str
    threshold: str
    reset: str
    refractory: str = ""
    method: str = "euler"
    update: str = ""
    parameters: Mapping[str, str | float] = field(default_factory=dict)
    initial: Mapping[str, str | float] = field(default_factory=dict)
    input_variable: str = "I"
    input_unit: str = "nA"
    membrane: str = "v"
    membrane_unit: str = "mV"

    def __post_init__(self) -> None:
        for name in TEXTS:
            text = getattr(self, name)
            if not isinstance(text, str) or (name in ("equations", "threshold") and not text.strip()):
                raise ValueError(f"{name} must be text in Brian2's language, not {text!r}")
        one_of("method", self.method, METHODS)
        refuse_random_functions(getattr(self, name) for name in TEXTS)
        for name in ("parameters", "initial"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} must be a table, not {getattr(self, name)!r}")
        for name, value in self.parameters.items():
            parse_quantity(f"parameter {name}", value)
        for name in ("input_unit", "membrane_unit"):
            parse_quantity(name, getattr(self, name))

    @property
    def noisy(self) -> bool:
        """Whether there is white noise in the equations."""
        return WHITE_NOISE.search(self.equations) is not None

    @classmethod
    def from_settings(cls, name: str | Mapping[str, Any]) -> NeuronModel:
        """The model of a name of :data:`MODELS`, or of a table with the fields of this class.

        Raises
        ------
        ValueError
            There is none of that name, or no such field; the message has the nearest.
        """
        if isinstance(name, str):
            return MODELS[one_of("neuron", name, ["lif", *MODELS])]
        if not isinstance(name, Mapping):
            raise ValueError(f"neuron must be one of lif, {', '.join(MODELS)}, or a table, not {name!r}")
        known = [entry.name for entry in fields(cls)]
        for key in name:
            if key not in known:
                raise ValueError(f"a neuron has no {key!r}: {nearest(str(key), known)}")
        for key in ("equations", "threshold", "reset"):
            if key not in name:
                raise ValueError(f"neuron lacks its {key}: give it in Brian2's language")
        return cls(**name)

    def with_parameters(self, parameters: Mapping[str, Any]) -> NeuronModel:
        """The model with other values of some of its constants.

        Raises
        ------
        ValueError
            A name that the model does not have, with the nearest that it has.
        """
        for name in parameters:
            if name not in self.parameters:
                raise ValueError(f"the neuron has no parameter {name!r}: {nearest(name, list(self.parameters))}")
        return replace(self, parameters={**self.parameters, **parameters})


# Of the named models, an input of 1 is about the rheobase: the constant current that just makes the neuron fire.

# tau v' = -(v - v_rest) + R I. Gerstner et al., Neuronal Dynamics (2014), section 1.3.
LEAKY_INTEGRATE_AND_FIRE = NeuronModel(
    equations="""
        dv/dt = (v_rest - v + resistance*I)/tau : volt (unless refractory)
        I : amp
    """,
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="refractory_time",
    method="exact",
    parameters={
        "tau": "20*ms",
        "resistance": "100*Mohm",
        "v_rest": "-70*mV",
        "v_threshold": "-50*mV",
        "v_reset": "-70*mV",
        "refractory_time": "2*ms",
    },
    initial={"v": "v_rest"},
    input_unit="0.2*nA",
)

# Brette and Gerstner, J. Neurophysiol. 94, 3637 (2005), with the constants of their table 1.
ADAPTIVE_EXPONENTIAL = NeuronModel(
    equations="""
        dv/dt = (g_leak*(v_leak - v) + g_leak*slope*exp((v - v_threshold)/slope) - w + I)/capacitance : volt
        dw/dt = (a*(v - v_leak) - w)/tau_w : amp
        I : amp
    """,
    threshold="v > v_cut",
    reset="v = v_reset; w += b",
    method="euler",
    parameters={
        "capacitance": "281*pF",
        "g_leak": "30*nS",
        "v_leak": "-70.6*mV",
        "v_threshold": "-50.4*mV",
        "slope": "2*mV",
        "tau_w": "144*ms",
        "a": "4*nS",
        "b": "0.0805*nA",
        "v_reset": "-70.6*mV",
        "v_cut": "-40.4*mV",
    },
    initial={"v": "v_leak", "w": "0*nA"},
    input_unit="0.6*nA",
)

# Hodgkin and Huxley, J. Physiol. 117, 500 (1952), at 6.3 degrees Celsius, with rest at -65 mV; per area.
HODGKIN_HUXLEY = NeuronModel(
    equations="""
        dv/dt = (g_Na*m**3*h*(v_Na - v) + g_K*n**4*(v_K - v) + g_leak*(v_leak - v) + I)/capacitance : volt
        dm/dt = alpha_m*(1 - m) - beta_m*m : 1
        dh/dt = alpha_h*(1 - h) - beta_h*h : 1
        dn/dt = alpha_n*(1 - n) - beta_n*n : 1
        x = (v - v_rest)/mV : 1
        alpha_m = 1/exprel((25 - x)/10)/ms : Hz
        beta_m = 4*exp(-x/18)/ms : Hz
        alpha_h = 0.07*exp(-x/20)/ms : Hz
        beta_h = 1/(exp((30 - x)/10) + 1)/ms : Hz
        alpha_n = 0.1/exprel((10 - x)/10)/ms : Hz
        beta_n = 0.125*exp(-x/80)/ms : Hz
        I : amp/meter**2
    """,
    threshold="v > v_spike",
    reset="",
    refractory="v > v_spike",
    method="exponential_euler",
    parameters={
        "capacitance": "1*uF/cm**2",
        "g_Na": "120*msiemens/cm**2",
        "g_K": "36*msiemens/cm**2",
        "g_leak": "0.3*msiemens/cm**2",
        "v_Na": "50*mV",
        "v_K": "-77*mV",
        "v_leak": "-54.387*mV",
        "v_rest": "-65*mV",
        "v_spike": "0*mV",
    },
    initial={
        "v": "v_rest",
        "m": "alpha_m/(alpha_m + beta_m)",
        "h": "alpha_h/(alpha_h + beta_h)",
        "n": "alpha_n/(alpha_n + beta_n)",
    },
    input_unit="6.3*uA/cm**2",
)

MODELS: dict[str, NeuronModel] = {
    "lif-continuous": LEAKY_INTEGRATE_AND_FIRE,
    "adex": ADAPTIVE_EXPONENTIAL,
    "hh": HODGKIN_HUXLEY,
}


def discrete_lif(neuron: DiscreteLIF, n_neurons: int) -> tuple[NeuronModel, dict[str, Float64Array]]:
    """The recurrence of :class:`~hwloop.simulators.spiking.neuron.DiscreteLIF`, in its order of operations.

    Returns
    -------
    NeuronModel
        What all neurons have in common is among its constants.
    dict
        What is each neuron's own, shape (n_neurons,), by name.
    """
    values = {
        "keep_u": 1.0 - np.asarray(neuron.du),
        "keep_v": 1.0 - np.asarray(neuron.dv),
        "bias": np.asarray(neuron.bias),
        "threshold": np.asarray(neuron.threshold),
    }
    common = {name: float(value) for name, value in values.items() if value.ndim == 0 and np.isfinite(value)}
    own = {name: np.broadcast_to(value, n_neurons) for name, value in values.items() if name not in common}
    equations = ["u : 1", "v : 1", "I : 1", *(f"{name} : 1 (constant)" for name in own)]
    update = ["u = u*keep_u + I", "v = (v*keep_v + u) + bias"]
    reset = ["v = v - threshold" if neuron.subtract else "v = 0"]
    if neuron.refractory_steps:
        # In steps: Brian2's own refractoriness divides times in every step, for every neuron.
        equations.append("held_until : integer")
        update[1] = f"v = ({update[1].removeprefix('v = ')})*int(t_in_timesteps > held_until)"
        reset.append(f"held_until = t_in_timesteps + {neuron.refractory_steps}")
    model = NeuronModel(
        equations="\n".join(equations),
        threshold="v > threshold",
        reset="\n".join(reset),
        method="",
        update="\n".join(update),
        parameters=common,
        initial={"held_until": -1} if neuron.refractory_steps else {},
        input_unit="1",
        membrane_unit="1",
    )
    return model, {name: value.astype(np.float64) for name, value in own.items()}


class RowNoise:
    """Normal numbers of every row, neuron and step, from the rows' own generators, a chunk of steps at a time.

    Parameters
    ----------
    rngs
        One generator a row; the block's further rows get zeros.
    steps
        Of a row.
    sources
        How many independent noises a neuron has.
    rows, n_neurons
        Of the block.
    scale
        Standard deviation of a step's number, in second**-0.5: 1 / sqrt(dt) for white noise.
    """

    def __init__(
        self,
        rngs: Sequence[np.random.Generator],
        steps: int,
        sources: int,
        rows: int,
        n_neurons: int,
        scale: float,
    ) -> None:
        self._rngs, self._scale = rngs, scale
        together = max(1, min(steps, CHUNK_NUMBERS // (rows * n_neurons * sources)))
        self._chunk = np.zeros((together, sources, rows, n_neurons))
        self._used = together

    def next_step(self) -> Float64Array:
        """Shape (sources, rows * n_neurons), in second**-0.5; valid until the next call."""
        steps, sources, _, n_neurons = self._chunk.shape
        if self._used == steps:
            for row, rng in enumerate(self._rngs):
                self._chunk[:, :, row] = self._scale * rng.standard_normal((steps, sources, n_neurons))
            self._used = 0
        self._used += 1
        return np.asarray(self._chunk[self._used - 1].reshape(sources, -1))
