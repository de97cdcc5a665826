"""The leaky integrate-and-fire neuron: in seconds and rheobases, and as the recurrence that every engine runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwloop.device.settings import one_of, real_number
from hwloop.device.spec import Float64Array
from hwloop.simulators.spiking.engine import whole_steps

RESETS = ("zero", "subtract")
PerNeuron = float | Float64Array


@dataclass(frozen=True, eq=False)
class DiscreteLIF:
    """The neuron in discrete time, with the arithmetic of Lava's; each field one number or an array (neurons,).

    From rest, u = v = 0, at every step t, in this order and in double precision, each product and sum rounded
    by itself (no fused multiply-add):

    u = u * (1 - du) + (W x[t] + R s[t-1]);   v = (v * (1 - dv) + u) + bias;   s[t] = v > threshold;

    a neuron that fired is then reset: v = 0 (``subtract=False``) or v = v - threshold. During the
    ``refractory_steps`` steps after a spike, v stays 0 while u goes on.

    Attributes
    ----------
    du, dv
        Parts of the synaptic current and of the membrane potential that decay in a step, 0 to 1.
    bias
        Added to v in every step.
    threshold
        A neuron of infinite threshold never fires: it is a leaky integrator.
    refractory_steps, subtract
        See above; with ``subtract`` there is no refractory time.
    """

    du: PerNeuron
    dv: PerNeuron
    bias: PerNeuron = 0.0
    threshold: PerNeuron = 1.0
    refractory_steps: int = 0
    subtract: bool = False


@dataclass(frozen=True)
class LIFNeuron:
    """A current-based leaky integrate-and-fire neuron with an exponential synapse.

    tau_membrane v' = -v + i + bias,  tau_synapse i' = -i + I(t);  a spike and v = 0 where v > 1. Potentials are
    measured from rest, in thresholds; currents in rheobases, the constant current that just reaches the threshold.
    Equations: Gerstner et al., Neuronal Dynamics (2014), sections 1.3 and 5.1.

    Attributes
    ----------
    tau_membrane_seconds
        Time constant of the membrane.
    tau_synapse_seconds
        Time constant of the synaptic current; 0 for none.
    refractory_seconds
        After a spike the membrane is held at 0 for this time, a whole number of steps.
    reset
        ``"zero"``, or ``"subtract"``: the threshold is taken off.
    """

    tau_membrane_seconds: float = 0.02
    tau_synapse_seconds: float = 0.005
    refractory_seconds: float = 0.0
    reset: str = "zero"

    def __post_init__(self) -> None:
        real_number("tau_membrane_seconds", self.tau_membrane_seconds, 1e-6, 1000.0)
        real_number("tau_synapse_seconds", self.tau_synapse_seconds, 0.0, 1000.0)
        real_number("refractory_seconds", self.refractory_seconds, 0.0, 1000.0)
        one_of("reset", self.reset, RESETS)
        if self.reset == "subtract" and self.refractory_seconds:
            raise ValueError(
                "reset 'subtract' leaves a potential that a refractory time would wipe out; "
                "the nearest allowed value of refractory_seconds is 0"
            )

    def decays(self, step_seconds: float) -> tuple[float, float]:
        """(du, dv) of a step: 1 - exp(-dt / tau), exact for currents that are constant during a step."""
        synapse = self.tau_synapse_seconds
        du = -math.expm1(-step_seconds / synapse) if synapse else 1.0
        return du, -math.expm1(-step_seconds / self.tau_membrane_seconds)

    def discrete(self, step_seconds: float, bias: PerNeuron = 0.0) -> DiscreteLIF:
        """The recurrence of this neuron, with a bias current in rheobases of its own for every neuron."""
        du, dv = self.decays(step_seconds)
        refractory = whole_steps("refractory_seconds", self.refractory_seconds, step_seconds)
        return DiscreteLIF(du, dv, np.multiply(bias, dv), 1.0, refractory, self.reset == "subtract")
