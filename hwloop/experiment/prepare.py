"""An experiment's stages and trainer, and the rows that a run will measure at most, known before its first."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.errors import BudgetExceeded
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.floors import FLOORS
from hwloop.experiment.partition import Partition
from hwloop.layers import Stage
from hwloop.session import Forecast, Session
from hwloop.training import Trainer
from hwloop.training import trainer as make_trainer


def build_stages(config: ExperimentConfig, count: int | None = None) -> list[Stage]:
    """The first ``count`` stages of an experiment's network, by default all."""
    network = config.network
    return [
        Stage(
            network.width,
            None if network.activation == "none" else network.activation,
            bypass=network.bypass,
            reference_slots=network.reference_slots,
            scaling=network.input_scaling if number == 0 else "global",
            weights=network.weights,
            steps=network.sequence_steps if number == 0 else 1,
        )
        for number in range(network.stages if count is None else count)
    ]


def build_trainer(config: ExperimentConfig, seed: int) -> Trainer:
    """The experiment's trainer, seeded unless its settings hold a seed."""
    return make_trainer(config.trainer.name, **{"seed": seed, **config.trainer.settings})


def network_rows(trainer: Trainer, data: Partition, n_layers: int) -> int:
    """Rows that training and testing a network through ``n_layers`` stages needs at most."""
    held_out = len(data.test) + (len(data.validation) if data.validation else 0)
    return trainer.cost(len(data.train), data.task.n_outputs, n_layers) + trainer.predict_cost(
        held_out, data.task.n_outputs, n_layers
    )


def seed_rows(config: ExperimentConfig, trainer: Trainer, data: Partition, first: bool) -> int:
    """Rows that one seed measures at most; the first also sweeps the device for the response plot.

    A device that moves beyond its limit costs more: its drift is confirmed, and rows that were forgotten are
    measured again.
    """
    rows = network_rows(trainer, data, config.network.stages)
    if config.evidence.floors:
        rows += sum(floor.rows(config, data) for floor in FLOORS)
    rows += config.evidence.response_rows if first else 0
    if config.reference is not None:
        rows += config.reference.settings().rows_of_run(rows, len(config.device))
    return rows


def run_forecast(rows: int, sessions: Sequence[Session]) -> Forecast:
    """Rows and time of the whole run; the stages share the rows evenly among their sessions."""
    shares = [session.forecast(rows).seconds for session in sessions]
    known = [seconds for seconds in shares if seconds is not None]
    return Forecast(rows, sum(known) / len(shares) if len(known) == len(shares) else None)


def require_budget(budget: int | None, forecast: Forecast, n_seeds: int) -> None:
    """Refuse a run that its budget does not cover.

    Raises
    ------
    BudgetExceeded
        Before anything is measured; the message says how many rows are needed.
    """
    if budget is not None and forecast.rows > budget:
        seeds = f"{n_seeds} seeds" if n_seeds > 1 else "one seed"
        raise BudgetExceeded(
            f"the run needs up to {forecast} for {seeds}, but its budget is {budget:,} rows; nothing was "
            f"measured. Give a budget of at least {forecast.rows:,} rows, fewer seeds, or a smaller dataset"
        )
