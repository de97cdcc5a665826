"""Train a graph network on the nodes whose class is known, one row a node a stage."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop.errors import ConfigError, DatasetError
from hwloop.layers import Stage
from hwloop.layers.graph import GraphNetwork
from hwloop.layers.network import as_rows
from hwloop.layers.rowwise import plain_array
from hwloop.tasks import Classification
from hwloop.torch_state import own_torch_state
from hwloop.training.history import FitProgress, require_finite
from hwloop.training.plans import PlainRows
from hwloop.training.rules import EpochReport, LocalRule, StageRows, no_progress_report
from hwloop.training.schedules.stage_by_stage import StageByStage
from hwloop.training.trainer import Trainer


@own_torch_state()
def fit_nodes(
    trainer: Trainer,
    network: GraphNetwork,
    features: Any,
    nodes: Any,
    labels: Any,
    report: EpochReport = no_progress_report,
) -> None:
    """Train every stage on the labelled nodes; all nodes are measured, for each is somebody's neighbour.

    Transductive: the features of all nodes are there, labels of some. Encoders and standardisers are fitted on all
    nodes, maps and heads see the labelled ones. Afterwards ``network.predict(features)`` gives every node's class;
    a session that remembers measures nothing for it.

    Rows: 1 a node a stage.

    Parameters
    ----------
    trainer
        One that measures every row once, as it is, such as ``hwloop.trainer("local")`` or ``"readout"``.
    features
        Of all nodes, shape (n_nodes, n).
    nodes, labels
        Numbers of the labelled nodes, all different, and the class of each, as whole numbers from 0.
    report
        Called with epoch, epochs and mean loss, stage after stage.

    Raises
    ------
    ConfigError
        A trainer of another kind.
    DatasetError
        Nodes or labels that are none.
    BudgetExceeded
        Before anything is measured.
    TrainingDiverged
        Losses or weights leave the finite numbers.
    """
    rows, chosen = as_rows(features), _checked_nodes(nodes, network.graph.n_nodes)
    task, fitted = Classification(0).fitted(plain_array(labels, "labels"), len(chosen))
    classes = torch.from_numpy(fitted)
    rule = _rule(trainer)
    for session in network.distinct_sessions:
        session.require(len(rows) * network.sessions.count(session))
    rng = torch.Generator().manual_seed(trainer.seed)
    shuffled = torch.randperm(len(chosen), generator=rng)
    chosen, classes = chosen[shuffled], classes[shuffled]
    unlabelled = torch.ones(len(rows), dtype=torch.bool).index_fill_(0, chosen, False)
    order = torch.cat([chosen, unlabelled.nonzero()[:, 0]])  # the labelled first: a rule takes rows from the front
    network.readout = None
    network.build(rows.shape[1])
    builder = trainer.new_readout()
    builder.seed = trainer.seed
    progress = FitProgress(len(network), trainer.schedule.learning_rates)
    z = rows

    def done(stage: int, epoch: int, epochs: int, loss: float) -> None:
        progress.done(stage, epoch, epochs, loss)
        report(epoch, epochs, loss)

    with progress.where_it_diverged(), network.opened():
        for number, stage, session in network:
            progress.begun(number)
            inputs = network.graph.aggregate(z)[order]
            stage.encoder.fit(inputs)
            with session.submit(stage.encoder(inputs), "train") as measurement:
                data = _NodeData(inputs, measurement, classes, 1, task)
                objective, trained_on = rule.train(stage, data, rng, partial(done, number))
                responses = measurement.wait_for(len(inputs))
            require_finite("the stage's weights", stage.linear.state_dict().values())
            builder.add_stage(objective, trained_on)
            z = torch.empty(len(rows), stage.width, dtype=torch.float32).index_copy_(
                0, order, stage.map(stage.features(inputs, responses))
            )
        readout = builder.finish(network, rows, classes, task)
        require_finite("the readout's weights", readout.state_dict().values())
        network.readout, network.task = readout, task


class _NodeData(StageRows):
    """The labelled nodes come first; the standardiser is fitted on all, for their features are known."""

    def features(self, stage: Stage, samples: int) -> Tensor:
        """Features of the first labelled nodes, once all nodes are measured."""
        responses = self.measurement.wait_for(len(self.inputs))
        return stage.fitted_features(self.inputs, responses)[:samples]


def _checked_nodes(nodes: Any, n_nodes: int) -> Tensor:
    array = np.asarray(nodes)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(np.unique(array)) != len(array) or not len(array):
        raise DatasetError("nodes must be different whole numbers, at least one")
    if array.min() < 0 or array.max() >= n_nodes:
        raise DatasetError(f"nodes must be numbers from 0 to {n_nodes - 1}")
    return torch.from_numpy(array.astype(np.int64))


def _rule(trainer: Trainer) -> LocalRule:
    """The local rule of a trainer that measures every row once, as it is."""
    if (
        not isinstance(schedule := trainer.schedule, StageByStage)
        or schedule.map_share < 1
        or not isinstance(trainer.plan, PlainRows)
    ):
        raise ConfigError(
            "a graph network needs a trainer that measures every row once, as it is: take local or readout"
        )
    return schedule.rule
