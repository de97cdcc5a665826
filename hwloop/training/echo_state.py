"""The echo state readout: ridge regression from a reservoir's states to a target at every step."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers.encode import as_sequences
from hwloop.layers.standardise import RESOLUTION
from hwloop.session.kept_fit import KeptFit, device_request, digest_of_rows
from hwloop.torch_state import own_torch_state
from hwloop.training.optimiser import fit_ridge
from hwloop.training.reservoir import Reservoir

STRENGTHS = np.logspace(-9, 4, 40)  # of standardised states; a quiet reservoir needs next to nothing


@dataclass(frozen=True)
class StateReadout:
    """A ridge readout from a reservoir's states to the values of a step.

    Attributes
    ----------
    mean, gain
        Of each node, shape (nodes,): what is taken off a state, and what it is then multiplied by.
    weight, bias
        From standardised states (nodes, values), (values,).
    leave_one_out_error
        Mean squared error of the chosen strength on the states it was fitted to, each left out in turn.
    """

    mean: Float64Array
    gain: Float64Array
    weight: Float64Array
    bias: Float64Array
    leave_one_out_error: float = math.nan

    @classmethod
    def fitted(cls, states: Float64Array, aims: Float64Array) -> StateReadout:
        """Fit to states (n, nodes), standardised on themselves, and aims (n, values); strength by leave-one-out.

        A node that never varied, but for rounding, carries nothing.
        """
        mean, spread = states.mean(axis=0), states.std(axis=0)
        varies = spread > RESOLUTION * np.abs(states).max(axis=0)
        gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        ridge = fit_ridge((states - mean) * gain, aims, STRENGTHS)
        return cls(mean, gain, ridge.weight, ridge.bias, ridge.leave_one_out_error)

    def __call__(self, states: Float64Array) -> Float64Array:
        """Values (n, values) of states (n, nodes); those of a state do not depend on the states beside it."""
        return np.asarray(self._product((states - self.mean) * self.gain)) + self.bias

    @cached_property
    def _product(self) -> ExactProduct:
        return ExactProduct(self.weight)


class EchoState:
    """A reservoir with a ridge readout, for a target at every step.

    The states are standardised on the training rows, and the ridge strength is chosen by leave-one-out. A
    prediction is the same to the last bit in every batch if the device's answer is.

    Parameters
    ----------
    reservoir
        What is driven: :class:`hwloop.training.reservoir.PhysicalMemory`, one row a sequence, or
        :class:`hwloop.training.reservoir.DigitalRecurrence`, one row a step.
    washout
        Steps at the start of every sequence that are not trained on: the reservoir still knows how it began.
    journal
        Folder in which everything that is measured from the fit on is kept; a fit of the same sequences on the
        same device goes on from what it finds there. By default a temporary folder, which an error names and from
        which the next fit goes on, unless the session has a journal on disk of its own; it is removed after a
        success.

    Source: Jaeger, "The echo state approach", GMD report 148 (2001).
    """

    def __init__(
        self, reservoir: Reservoir, washout: int = 0, journal: str | os.PathLike[str] | None = None
    ) -> None:
        if washout < 0:
            raise ConfigError(f"washout must not be negative, not {washout}")
        self.reservoir = reservoir
        self.washout = washout
        self.journal = journal
        self._kept: KeptFit | None = None
        self._readout: StateReadout | None = None

    @own_torch_state()
    def fit(self, sequences: Float64Array, targets: Float64Array) -> EchoState:
        """Train on sequences (rows, steps, features) and targets (rows, steps, values).

        Raises
        ------
        ConfigError
            Shapes that do not fit each other or the device, or a washout that leaves nothing.
        DeviceError
            If the device fails; the message names the folder that keeps what was measured.
        """
        sequences, targets = as_sequences(sequences), as_sequences(targets)
        if targets.shape[:2] != sequences.shape[:2] or self.washout >= sequences.shape[1]:
            raise ConfigError(
                f"sequences {sequences.shape} and targets {targets.shape} need the same rows and steps, and more "
                f"steps than the washout of {self.washout}"
            )
        session = self.reservoir.session
        request = {
            "sequences": digest_of_rows(sequences),
            "device": device_request(session.device),
            **self.reservoir.settings(),
        }
        if self._kept is not None:
            self._kept.close()
        with KeptFit(self.journal, "EchoState.fit", type(session.device).__name__, request) as kept:
            kept.record([session])
            self._fit(sequences, targets)
        self._kept = None if kept.temporary else kept
        self.reservoir.finish()
        return self

    def _fit(self, sequences: Float64Array, targets: Float64Array) -> None:
        with self.reservoir.session:
            self.reservoir.fit(sequences)
            states = self.reservoir.states(sequences, "train")[:, self.washout :]
        aims = targets[:, self.washout :].reshape(-1, targets.shape[2])
        self._shape = sequences.shape[2]
        self._readout = StateReadout.fitted(states.reshape(-1, states.shape[2]), aims)

    @own_torch_state()
    def predict(self, sequences: Float64Array) -> Float64Array:
        """Targets (rows, steps, values), those of the washout too.

        Raises
        ------
        ConfigError
            It is not trained yet, or was trained on sequences of other features.
        """
        sequences = as_sequences(sequences)
        if self._readout is None:
            raise ConfigError("the echo state network is not trained yet; call fit first")
        if sequences.shape[2] != self._shape:
            raise ConfigError(f"trained on {self._shape} features a step, not {sequences.shape[2]}")
        with self.reservoir.session:
            states = self.reservoir.states(sequences, "evaluate")
        return self._readout(states.reshape(-1, states.shape[2])).reshape(*sequences.shape[:2], -1)
