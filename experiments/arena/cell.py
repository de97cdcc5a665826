"""A cell of the arena: a trainer, brought to spend a row budget, trains one seed and is scored on unseen rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hwloop.device import DeviceDescription
from hwloop.errors import BudgetExceeded, DeviceError, HwloopError, JournalError
from hwloop.events import Event
from hwloop.experiment import results
from hwloop.experiment.config import ExperimentConfig, validated
from hwloop.experiment.partition import Partition
from hwloop.experiment.rigs import PlannedRig, Rig, build_trainer
from hwloop.experiment.seed_run import prepare_seed, seed_rows
from hwloop.experiments.arena.settings import arena_partition, judged_on_validation, without_validation
from hwloop.experiments.campaign import KeptRig
from hwloop.registry import TRAINERS
from hwloop.tasks import Classification, LearningTask, kind_of
from hwloop.training import trainer as make_trainer
from hwloop.training.tuning import Tuning, largest_that_fits, tuning_of


@dataclass(frozen=True)
class FitSize:
    """What is trained and how much of it, as far as a trainer's rows depend on it."""

    n_rows: int
    n_outputs: int
    n_stages: int
    learned: LearningTask | None = None

    @classmethod
    def of(cls, data: Partition, n_stages: int) -> FitSize:
        """Of a seed."""
        return cls(len(data.train), data.task.n_outputs, n_stages, data.task)

    def cost(self, trainer: str, options: Mapping[str, Any]) -> int:
        """Device rows that a trainer will need, all stages together.

        Raises
        ------
        ConfigError
            It refuses the options, or cannot learn the task.
        """
        made, of_task = make_trainer(trainer, **options), {}
        if self.learned is not None:
            made.require_serves(self.learned)
            of_task = self.learned.cost_options()
        return made.cost(self.n_rows, self.n_outputs, self.n_stages, **of_task)

    def rows_a_sample(self, trainer: str, options: Mapping[str, Any]) -> float:
        """The same a training sample."""
        return self.cost(trainer, options) / self.n_rows


def tuning_space(trainer: str) -> Tuning:
    """What a trainer declares that may be tuned."""
    return tuning_of(TRAINERS.load(trainer))


def options_within(trainer: str, options: Mapping[str, Any], task: FitSize, budget: float) -> dict[str, Any]:
    """The options with those rows that the budget allows.

    A trainer whose option fills the budget (its epochs) gets the most that fits.

    Raises
    ------
    BudgetExceeded
        Even its least costs more; the message says how much.
    HwloopError
        The trainer refuses the options or the task.
    """
    fills = tuning_space(trainer).fills_budget
    rows = math.floor(budget * task.n_rows + 1e-9)
    if fills is None or fills in options:
        needed = task.rows_a_sample(trainer, options)
        if needed * task.n_rows > rows:
            raise BudgetExceeded(f"needs {needed:.4g} rows a sample")
        return dict(options)

    def cost(number: int) -> int:
        return task.cost(trainer, {**options, fills: number})

    most = largest_that_fits(cost, rows)
    if most is None:
        raise BudgetExceeded(f"needs at least {cost(1) / task.n_rows:.4g} rows a sample")
    return {**options, fills: most}


def refusal(trainer: str, task: FitSize, budget: float) -> str | None:
    """Why a trainer cannot take part at a budget with its defaults; ``None`` where it can."""
    try:
        options_within(trainer, {}, task, budget)
    except HwloopError as error:
        return str(error)
    return None


VALIDATION, TEST = "validation", "test"
NAMED = ("rows_per_train_sample", "rows_per_prediction", "multiply_adds")  # columns that a result has by name
REFERENCES = "references"  # floors of a seed, in the place of a trainer


@dataclass(frozen=True)
class Cell:
    """What is run: plain data, so that it can be run anywhere and found again.

    Attributes
    ----------
    trainer, options
        ``references`` for the floors.
    judged_on
        ``validation`` while settings are chosen, ``test`` afterwards.
    """

    trainer: str
    options: Mapping[str, Any]
    seed: int
    judged_on: str

    @property
    def key(self) -> str:
        """Names the cell in the arena's folder."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class CellResult:
    """What a cell gave.

    Attributes
    ----------
    scores
        The main score by method: ``network`` for a trainer; floors for the references.
    rows
        Device rows that training took, all stages.
    rows_a_sample
        The same a training sample.
    rows_a_prediction
        Device rows of one prediction.
    digital_seconds
        Time of the digital arithmetic.
    refused
        Why the trainer could not train here; empty where it did.
    uses_model
        What it knew of the device beyond its measured rows; empty for nothing.
    figures
        The network's, in columns of the evidence that the others do not name.
    kind
        Of the task.
    overlap
        Test rows over training rows where the seeds split one set anew, see
        :func:`hwloop.experiment.intervals.t_interval`.
    """

    scores: Mapping[str, float]
    rows: int = 0
    rows_a_sample: float = 0.0
    rows_a_prediction: float = 0.0
    digital_seconds: float = 0.0
    device_seconds: float = 0.0
    multiply_adds: int = 0
    refused: str = ""
    uses_model: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    kind: type[LearningTask] = Classification
    overlap: float = 0.0

    @property
    def network_score(self) -> float:
        """Main score of the trained network on the rows it was judged on; the worst if it refused."""
        worst = 0.0 if self.kind.metrics[0].higher_is_better else math.inf
        return self.scores.get(results.NETWORK, worst)

    @property
    def merit(self) -> float:
        """The same, its sign such that more is better: what settings are chosen by."""
        return self.network_score if self.kind.metrics[0].higher_is_better else -self.network_score

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        plain = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("scores", "figures", "kind")
        }
        more: dict[str, Any] = {"figures": dict(self.figures)} if self.figures else {}
        more |= {} if self.kind is Classification else {"task": self.kind.kind}  # files never named the first kind
        return {self.kind.metrics[0].key: dict(self.scores), **plain, **more}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> CellResult:
        """What :meth:`as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
        kind = kind_of(found)
        scores = kind.metrics[0].key
        plain = {name: value for name, value in found.items() if name not in (scores, "task")}
        return cls(found[scores], **plain, kind=kind)


def run_cell(experiment: Mapping[str, Any], cell: Cell, rows: Path | None = None) -> CellResult:
    """Train and score one cell.

    Parameters
    ----------
    experiment
        The arena's experiment as a table, with validation rows.
    rows
        Folder for the rows of cells, each in one of its own; a cell that was stopped goes on at its row. Those of
        a reproducible device are removed when the cell is done. ``None``: in memory.

    Raises
    ------
    DeviceError, JournalError
        A device or the disk failed. Whatever else a trainer says against the task is a refusal in the result.
    """
    config = cell_config(experiment, cell)
    data = cell_data(config, cell)
    with KeptRig(config, None if rows is None else rows / cell.key) as rig:
        try:
            result = _run(config, data, cell, rig)
        except (DeviceError, JournalError):
            raise
        except HwloopError as error:
            result = CellResult({}, refused=str(error))
    rig.drop_reproducible()
    return result


def require_rig(experiment: Mapping[str, Any], seed: int) -> list[DeviceDescription]:
    """Build devices and network of a seed, whoever will train it; nothing is opened or measured.

    Returns
    -------
    What the devices are, as far as they can say while they are closed.

    Raises
    ------
    ConfigError
        Unknown device, an unknown or unusable setting: no trainer could run on it.
    """
    probe = Cell(REFERENCES, {}, seed, TEST)
    config = cell_config(experiment, probe)
    rig = prepare_seed(config, cell_data(config, probe), PlannedRig(config), None, _unheard)
    return [session.device.describe() for session in rig.distinct_sessions]


def cell_config(experiment: Mapping[str, Any], cell: Cell) -> ExperimentConfig:
    """The experiment that a cell runs."""
    references = cell.trainer == REFERENCES
    table = {
        **experiment,
        "trainer": _of_references(experiment)
        if references
        else {"name": cell.trainer, "settings": dict(cell.options)},
        "seeds": [cell.seed],
        "evidence": {"floors": references},
    }
    return validated(table, "arena")


def _of_references(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer of networks in floors: ``local``; the experiment's own where that learns sequences alone."""
    own = {"settings": {}, **experiment["trainer"]}
    if Classification.kind in make_trainer(own["name"], **own["settings"]).serves:
        return {"name": "local", "settings": {}}
    return own


def cell_data(config: ExperimentConfig, cell: Cell) -> Partition:
    """The rows that a cell trains and is judged on."""
    data = arena_partition(config.dataset.build(), cell.seed, config.split.test, config.split.validation)
    return judged_on_validation(data) if cell.judged_on == VALIDATION else without_validation(data)


def _run(config: ExperimentConfig, data: Partition, cell: Cell, rig: Rig) -> CellResult:
    # The rows that the trainer announced are all that it gets: one that says too little is stopped.
    announced = seed_rows(config, build_trainer(config, data.seed), data, first=False)
    seed = prepare_seed(config, data, rig, announced, _unheard)
    result, _ = seed.run(0)
    network, main = result.scores[results.NETWORK], data.task.main.key
    scores = {name: score[main] for name, score in result.scores.items()}
    if cell.trainer == REFERENCES:
        scores.pop(results.NETWORK)
    return CellResult(
        scores,
        result.rows["train"],
        network["rows_per_train_sample"],
        network["rows_per_prediction"],
        result.digital_seconds,
        result.busy_seconds,
        int(network["multiply_adds"]),
        uses_model=result.uses_model,
        figures={key: value for key, value in network.figures.items() if key not in (main, *NAMED)},
        kind=type(data.task),
        overlap=0.0 if data.own_test_rows and not data.task.in_time else len(data.test) / len(data.train),
    )


def _unheard(event: Event) -> None:
    """Nobody listens to a cell."""
