"""Watches a trained network's devices, and mends it when they have moved, within a hard budget of rows."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop.adapt.anchors import WATCHED, Anchors, learned
from hwloop.adapt.policy import Observed, Policy
from hwloop.adapt.policy import policy as policy_named
from hwloop.device.spec import Float64Array
from hwloop.errors import BudgetExceeded, ConfigError, HwloopWarning, TrainingDiverged
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.network import as_rows
from hwloop.layers.rowwise import plain_array
from hwloop.reference import Responses
from hwloop.reference.drift import change
from hwloop.session import Session
from hwloop.session.account import is_whole
from hwloop.session.same_device import joined
from hwloop.torch_state import own_torch_state
from hwloop.training.history import require_finite

PURPOSE = "adapt"


@dataclass(frozen=True)
class AdaptationStep:
    """What a step found and did.

    Attributes
    ----------
    drift
        How far the device has moved since the network was last mended, in units of the responses' spread over
        the watched anchors; 0 where noise alone may be the cause. The largest of several devices'.
    acted
        Whether it was beyond the gate, so that the network was mended.
    rows
        Device rows that the step took, all stages.
    uses_model
        Whether the policy fitted a model of the device.
    """

    drift: float
    acted: bool
    rows: int
    uses_model: bool


@dataclass(frozen=True, eq=False)
class _Batch:
    """The rows of a step: inputs, and labels or the numbers of the anchors where they have them."""

    inputs: Tensor
    labels: Tensor | None
    anchors: Tensor | None


def check_step(rows_a_step: Any, gate: Any, n_stages: int, n_devices: int) -> None:
    """Refuse a budget that is too small for any step of such a network, and a gate that is none.

    Raises
    ------
    ConfigError
    """
    if not 0 <= gate < math.inf:
        raise ConfigError(f"gate must be a number of at least 0, not {gate!r}")
    least = WATCHED * (n_devices - 1) + (WATCHED + 1) * n_stages
    if not is_whole(rows_a_step) or rows_a_step < least:
        raise ConfigError(
            f"rows_a_step must be a whole number of at least {least} for this network, not {rows_a_step!r}"
        )


class Adapter:
    """Keeps a trained network alive on a device that moves.

    Each :meth:`step` first shows the device a few anchors. If they are answered as when the network was last
    mended, within the gate, nothing is done: adapting to noise costs accuracy. Otherwise what the sessions
    remember is forgotten, and the policy mends the network from rows measured now, with the purpose ``adapt``.

    Parameters
    ----------
    network
        Trained; it is changed in place.
    policy
        A name that ``hwloop list`` shows, several joined by ``+``, or a :class:`Policy`.
    anchors
        Recorded before the device moved.
    rows_a_step
        Device rows that a step may take, all stages and the watched anchors together.
    gate
        Drift up to which nothing is done.
    seed
        Chooses which anchors are shown at which step, and every random choice of the policy.

    Raises
    ------
    ConfigError
        The policy needs what the anchors or the network do not have, or the budget is too small for any step.
    """

    @own_torch_state()
    def __init__(
        self,
        network: PhysicalNetwork,
        policy: str | Policy,
        anchors: Anchors,
        *,
        rows_a_step: int = 200,
        gate: float = 0.1,
        seed: int = 0,
    ) -> None:
        if network.readout is None or len(anchors.stages) != len(network):
            raise ConfigError("the network is not trained, or the anchors are another network's; record them anew")
        check_step(rows_a_step, gate, len(network), len(network.distinct_sessions))
        self.network = network
        self.policy = policy_named(policy) if isinstance(policy, str) else policy
        self.anchors = anchors
        self.gate = gate
        self._sessions = network.distinct_sessions
        self._first_stages = [network.sessions.index(session) for session in self._sessions]
        self._extra_watched = WATCHED * (len(self._sessions) - 1)
        self.rows_a_step = int(rows_a_step)
        self._known = [Responses(anchors.stages[n].watched.numpy(), 4) for n in self._first_stages]
        self._rng = torch.Generator().manual_seed(seed)
        self._queue = torch.empty(0, dtype=torch.int64)
        self._spent = 0
        self._told = False
        self.policy.require_serves(learned(network))
        self.policy.begin(network, anchors, self._rng)

    @own_torch_state()
    def step(self, labelled: tuple[Any, Any] | None = None, unlabelled: Any = None) -> AdaptationStep:
        """Look at the device, and mend the network if it has moved.

        Parameters
        ----------
        labelled, unlabelled
            Rows (rows, n_features) with their targets, or rows alone, to be measured now. With neither, anchors
            are shown, a different part of them at each step.

        Raises
        ------
        ConfigError
            The policy needs labels or anchors, and these rows have none.
        DatasetError
            Labels that are none of the network's classes, or targets that its task cannot take.
        BudgetExceeded
            The step would take more than ``rows_a_step``; nothing was measured.
        """
        batch = self._batch(labelled, unlabelled)
        self._require(batch)
        self._spent = 0
        with self.network.opened():
            self._say_of_other_devices()
            watched = [self._watch(number) for number in self._first_stages]
            drift = max(
                change(known, Responses(now, 1), self.anchors.stages[number].noise).drift
                for known, now, number in zip(self._known, watched, self._first_stages, strict=True)
            )
            acts = drift > self.gate
            if acts:
                for session in self._sessions:
                    session.forget()
                self._mend(batch, watched[0])
                self._known = [Responses(now, 1) for now in watched]
        return AdaptationStep(drift, acts, self._spent, self.policy.uses_model)

    def _say_of_other_devices(self) -> None:
        """Once: a device that is another one than the anchors' has not drifted."""
        told, self._told = self._told, True
        for number, session in enumerate(() if told else self.network.sessions):
            then, now = self.anchors.stages[number].device, session.description
            if then is not None and now is not None and (different := then.differences(now)):
                warnings.warn(
                    f"stage {number}: the anchors were recorded on another device than this one; recorded, and "
                    f"now: {joined(different)}. What has changed counts as drift, and is mended as "
                    "far as the policy can; check it on test rows, or train again",
                    HwloopWarning,
                    stacklevel=3,
                )

    def _batch(self, labelled: tuple[Any, Any] | None, unlabelled: Any) -> _Batch:
        if labelled is not None and unlabelled is not None:
            raise ConfigError("give labelled rows or unlabelled ones, not both")
        if labelled is None and unlabelled is None:
            batch = self._next_anchors()
        elif labelled is not None:
            batch = _Batch(*self._labelled(*labelled), None)
        else:
            batch = _Batch(as_rows(unlabelled), None, None)
        name = type(self.policy).__name__
        if self.policy.needs_labels and batch.labels is None:
            raise ConfigError(f"{name} needs labels; give labelled rows, or record the anchors with their labels")
        if self.policy.needs_anchors and batch.anchors is None:
            raise ConfigError(f"{name} works on anchors; call step() without rows")
        return batch

    def _labelled(self, inputs: Any, labels: Any) -> tuple[Tensor, Tensor]:
        rows = as_rows(inputs)
        return rows, torch.from_numpy(learned(self.network).further(plain_array(labels, "labels"), len(rows)))

    def _next_anchors(self) -> _Batch:
        """The watched anchors, and as many others as the budget allows, in an order that comes round."""
        rows = min(len(self.anchors), (self.rows_a_step - self._extra_watched) // len(self.network)) - WATCHED
        if len(self._queue) < rows:
            rest = torch.randperm(len(self.anchors) - WATCHED, generator=self._rng) + WATCHED
            self._queue = torch.cat([self._queue, rest])
        chosen, self._queue = self._queue[:rows], self._queue[rows:]
        numbers = torch.cat([torch.arange(WATCHED), chosen])
        labels = self.anchors.labels
        return _Batch(self.anchors.stages[0].inputs[numbers], None if labels is None else labels[numbers], numbers)

    def _require(self, batch: _Batch) -> None:
        rows = self._extra_watched + len(batch.inputs) * len(self.network)
        rows += 0 if batch.anchors is not None else WATCHED
        if rows > self.rows_a_step:
            raise BudgetExceeded(
                f"this step would take {rows:,} rows ({len(batch.inputs):,} through {len(self.network)} stages, "
                f"and the watched anchors), but rows_a_step is {self.rows_a_step:,}; give fewer rows"
            )

    def _measured(self, stage: Stage, session: Session, stimuli: Float64Array) -> Float64Array:
        """Measure now, under the stage's tuning, and never beyond the step's budget."""
        if self._spent + len(stimuli) > self.rows_a_step:
            raise BudgetExceeded(f"the step's budget of {self.rows_a_step:,} rows is used up")
        self._spent += len(stimuli)
        return session.measure(stimuli, PURPOSE, tuning=stage.tuning)

    def _watch(self, number: int) -> Float64Array:
        _, stage, session = list(self.network)[number]
        return self._measured(stage, session, stage.encoder(self.anchors.stages[number].inputs[:WATCHED]))

    def _mend(self, batch: _Batch, watched: Float64Array) -> None:
        """Stage by stage; a network that diverges is as it was before.

        Raises
        ------
        TrainingDiverged
        """
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        try:
            self._mend_stages(batch, watched)
        except TrainingDiverged as error:
            self.network.load_state_dict(before)
            raise TrainingDiverged(
                f"adaptation diverged ({type(self.policy).__name__}): {error}. The network is as it was before "
                "this step; go on with a new Adapter, and a policy with a lower learning rate or a firmer strength"
            ) from error

    def _mend_stages(self, batch: _Batch, watched: Float64Array) -> None:
        inputs = batch.inputs
        for number, stage, session in self.network:
            stimuli = stage.encoder(inputs)
            known = watched if number == 0 and batch.anchors is not None else watched[:0]
            responses = np.concatenate([known, self._measured(stage, session, stimuli[len(known) :])])
            observed = Observed(number, stage, inputs, responses, batch.labels, batch.anchors)
            self.policy.mend_stage(observed)
            require_finite(f"stage {number + 1}: its weights", stage.state_dict().values())
            inputs = stage.map(observed.features)
        self.policy.finish()
        require_finite("the network's weights", self.network.state_dict().values())
