"""The echo state readout: ridge regression from a reservoir's states to a target at every step."""

from __future__ import annotations

import math
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwloop.blocks import ExactProduct
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, HwloopWarning
from hwloop.layers.encode import as_sequences
from hwloop.layers.standardise import RESOLUTION
from hwloop.session.kept_fit import KeptFit, device_request, digest_of_rows
from hwloop.torch_state import own_torch_state
from hwloop.training.optimiser import fit_ridge
from hwloop.training.reservoir import Measure, Memory, Reservoir

CLIPPED = 1.0 + 1e-9  # half ranges from the middle; the largest training value is at the limit, but for rounding
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
    def fitted(cls, states: Float64Array, aims: Float64Array, strengths: Float64Array = STRENGTHS) -> StateReadout:
        """Fit to states (n, nodes), standardised on themselves, and aims (n, values); strength by leave-one-out.

        A node that never varied, but for rounding, carries nothing.
        """
        mean, spread = states.mean(axis=0), states.std(axis=0)
        varies = spread > RESOLUTION * np.abs(states).max(axis=0)
        gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        ridge = fit_ridge((states - mean) * gain, aims, strengths)
        return cls(mean, gain, ridge.weight, ridge.bias, ridge.leave_one_out_error)

    def __call__(self, states: Float64Array) -> Float64Array:
        """Values (n, values) of states (n, nodes); those of a state do not depend on the states beside it."""
        return np.asarray(self._product((states - self.mean) * self.gain)) + self.bias

    @cached_property
    def _product(self) -> ExactProduct:
        return ExactProduct(self.weight)


@dataclass(frozen=True)
class LoopState:
    """Where a driven reservoir stands.

    Attributes
    ----------
    state
        After the last input, (rows, nodes).
    past
        The last inputs, as many as the memory needs for the next state, (rows, steps, features).
    """

    state: Float64Array
    past: Float64Array

    @classmethod
    def after(cls, memory: Memory, sequences: Float64Array, state: Float64Array) -> LoopState:
        """At the end of sequences (rows, steps, features), in a state (rows, nodes)."""
        return cls(state.copy(), sequences[:, -memory.steps_needed(sequences.shape[1]) :].copy())

    def driven_by(self, inputs: Float64Array, memory: Memory, measure: Measure) -> LoopState:
        """One step on, by inputs (rows, features)."""
        past = np.concatenate([self.past[:, 1:], inputs[:, None]], axis=1)
        return LoopState(memory.next_state(self.state, past, "evaluate", measure), past)


def _say_what_was_clipped(memory: Memory, values: Float64Array) -> None:
    """Warn of a forecast that has left what the device can be driven with: it ran on from another value."""
    beyond = np.array([memory.excursions(values[:, step]).max() > CLIPPED for step in range(values.shape[1])])
    if beyond.any():
        warnings.warn(
            f"from step {int(np.argmax(beyond)) + 1} on the forecast leaves what the device's inputs hold, and "
            "it is driven at its limit: do not trust the forecast beyond",
            HwloopWarning,
            stacklevel=4,
        )


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
    ridge
        Strength of the readout's penalty, on standardised states; ``None`` for the one with the least
        leave-one-out error. What predicts one step best may run away in closed loop: more ridge holds it.

    Attributes
    ----------
    readout
        ``None`` before a fit.
    n_steps, n_features
        Of the sequences that it was trained on.
    end
        Where the reservoir stood at their end, from which :meth:`forecast` goes on.

    Source: Jaeger, "The echo state approach", GMD report 148 (2001).
    """

    def __init__(
        self,
        reservoir: Reservoir,
        washout: int = 0,
        journal: str | os.PathLike[str] | None = None,
        ridge: float | None = None,
    ) -> None:
        if washout < 0:
            raise ConfigError(f"washout must not be negative, not {washout}")
        self.reservoir = reservoir
        self.washout = washout
        self.n_steps = self.n_features = 0
        self.journal = journal
        self._strengths = STRENGTHS if ridge is None else np.array([float(ridge)])
        self._kept: KeptFit | None = None
        self.readout: StateReadout | None = None
        self.end: LoopState

    @own_torch_state()
    def fit(
        self, sequences: Float64Array, targets: Float64Array | None = None, kept: KeptFit | None = None
    ) -> EchoState:
        """Train on sequences (rows, steps, features) and targets (rows, steps, values).

        By default the targets are the sequences themselves one step later, for :meth:`forecast`.

        Parameters
        ----------
        kept
            The folder of this fit, where whoever calls has opened it, and will leave it; by default one is opened
            in ``journal``.

        Raises
        ------
        ConfigError
            Shapes that do not fit each other or the device, or a washout that leaves nothing.
        DeviceError
            If the device fails; the message names the folder that keeps what was measured. A fit that fails once
            it measures leaves no readout, not that of an earlier fit.
        """
        sequences = as_sequences(sequences)
        # The next input is known for all steps but the last.
        aims = sequences[:, 1:] if targets is None else as_sequences(targets)
        same = targets is None or aims.shape[:2] == sequences.shape[:2]
        if not same or self.washout >= aims.shape[1]:
            raise ConfigError(
                f"sequences {sequences.shape} and targets {aims.shape} need the same rows and steps, and more "
                f"steps than the washout of {self.washout}"
            )
        self.close_kept()
        folder: AbstractContextManager[KeptFit]
        folder = self._new_folder(sequences) if kept is None else nullcontext(kept)
        with folder as opened:
            opened.record([self.reservoir.session])
            self._fit(sequences, aims)
        self._kept = None if opened.temporary else opened
        self.reservoir.finish()
        return self

    def _new_folder(self, sequences: Float64Array) -> KeptFit:
        device = self.reservoir.session.device
        request = {
            "sequences": digest_of_rows(sequences),
            "device": device_request(device),
            **self.reservoir.settings(),
        }
        return KeptFit(self.journal, "EchoState.fit", type(device).__name__, request)

    def close_kept(self) -> None:
        """Give the folder of the fit back, for another fit: what is measured later is not kept."""
        if self._kept is not None:
            self._kept.close()

    def _fit(self, sequences: Float64Array, targets: Float64Array) -> None:
        self.readout = None  # from here on the reservoir answers otherwise
        with self.reservoir.session:
            self.reservoir.fit(sequences)
            states = self.reservoir.states(sequences, "train")
        aims = targets[:, self.washout :].reshape(-1, targets.shape[2])
        _, self.n_steps, self.n_features = sequences.shape
        self.end = LoopState.after(self.reservoir.memory, sequences, states[:, -1])
        states = states[:, self.washout : targets.shape[1]]
        self.readout = StateReadout.fitted(states.reshape(-1, states.shape[2]), aims, self._strengths)

    @own_torch_state()
    def predict(self, sequences: Float64Array) -> Float64Array:
        """Targets (rows, steps, values), those of the washout too.

        Raises
        ------
        ConfigError
            It is not trained yet, or was trained on sequences of other features.
        """
        sequences = as_sequences(sequences)
        readout = self.trained(sequences)
        with self.reservoir.session:
            states = self.reservoir.states(sequences, "evaluate")
        return readout(states.reshape(-1, states.shape[2])).reshape(*sequences.shape[:2], -1)

    def trained(self, sequences: Float64Array | None = None) -> StateReadout:
        """The readout, which serves these sequences (rows, steps, features).

        Raises
        ------
        ConfigError
            There is none yet, or it was trained on sequences of other features.
        """
        if self.readout is None:
            raise ConfigError("the echo state network is not trained yet; call fit first")
        if sequences is not None and sequences.shape[2] != self.n_features:
            raise ConfigError(f"trained on {self.n_features} features a step, not {sequences.shape[2]}")
        return self.readout

    def rows_to_fit(self, sequences: Float64Array) -> int:
        """Device rows that a fit to sequences (rows, steps, features) costs, at most."""
        memory = self.reservoir.memory
        return memory.rows_to_fit + len(sequences) * memory.rows_a_sequence(sequences.shape[1])

    def rows_to_forecast(self, steps: int, sequences: Float64Array | None = None) -> int:
        """Device rows that :meth:`forecast` costs, at most: one a step after the first, and those of sequences."""
        self.trained()
        if sequences is None and self.reservoir.memory.is_elsewhere:
            sequences = self.end.past
        if sequences is None:
            return len(self.end.state) * (steps - 1)
        return len(sequences) * (self.reservoir.memory.rows_to_last_state(sequences.shape[1]) + steps - 1)

    @own_torch_state()
    def forecast(self, steps: int, sequences: Float64Array | None = None) -> Float64Array:
        """Run free: every prediction is the next step's input; values (rows, steps, features).

        The first value is predicted at the end of ``sequences`` (rows, steps, features), by default those that it
        was trained on. It needs a readout that was trained to predict the next input.

        Raises
        ------
        ConfigError
            It does not predict as many values as a step has features, or the sequences do not fit.
        BudgetExceeded
            Before the first row, if the budget does not cover all of them.
        """
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ConfigError(f"steps must be a whole number from 1, not {steps!r}")
        sequences = None if sequences is None else as_sequences(sequences)
        readout, memory = self.trained(sequences), self.reservoir.memory
        if len(readout.bias) != self.n_features:
            raise ConfigError(
                f"a step has {self.n_features} features and {len(readout.bias)} predicted values, which cannot be "
                "the next step's features; train on the series itself, one step later"
            )
        if sequences is None and memory.is_elsewhere:
            sequences = self.end.past
        session = self.reservoir.session
        session.require(self.rows_to_forecast(steps, sequences))
        with session:
            loop = self.end
            if sequences is not None:
                state = memory.last_state(sequences, "evaluate", session.measure)
                loop = LoopState.after(memory, sequences, state)
            values = [readout(loop.state)]
            for _ in range(steps - 1):
                loop = loop.driven_by(values[-1], memory, session.measure)
                values.append(readout(loop.state))
        found = np.stack(values, axis=1)
        _say_what_was_clipped(memory, found)
        return found
