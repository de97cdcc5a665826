"""What an arena compares, and the rows of each seed: test rows put aside once, before anything is tuned."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.partition import Partition
from hwloop.experiments.dataset import Dataset, split
from hwloop.registry import TRAINERS, nearest

VALIDATION = 0.2
ALL = "all"
UNTRAINED = "readout"  # a row of every trainer table: what the others' training is worth


@dataclass(frozen=True)
class ArenaSettings:
    """An arena.

    Attributes
    ----------
    experiment
        Device, dataset, network and split; its trainer is not looked at, its seeds are the arena's.
    trainers
        Names of ``hwloop list``.
    budgets
        Rows a training sample over the whole training, all stages together; rising.
    trials
        Settings tried for each trainer at each budget, its defaults first; 1 for the defaults alone.
    """

    experiment: ExperimentConfig
    trainers: tuple[str, ...]
    budgets: tuple[float, ...]
    trials: int = 8

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"an arena needs at least 1 trial a trainer, its defaults, not {self.trials}")
        if not self.budgets or any(not 0 < budget < math.inf for budget in self.budgets):
            raise ConfigError(f"row budgets must be positive numbers of rows a sample, not {list(self.budgets)}")
        object.__setattr__(self, "budgets", tuple(sorted(set(self.budgets))))
        known = TRAINERS.entries()
        for name in self.trainers:
            if name not in known:
                raise ConfigError(f"unknown trainer {name!r}: {nearest(name, known)}")
        if not self.trainers or len(set(self.trainers)) != len(self.trainers):
            raise ConfigError("an arena needs at least one trainer, and each of them once")

    def as_table(self) -> dict[str, Any]:
        """As plain numbers, texts and lists, for a file."""
        table = asdict(self) | {"experiment": self.experiment.as_table()}
        return table | {"trainers": list(self.trainers), "budgets": list(self.budgets)}


def named_trainers(text: str) -> tuple[str, ...]:
    """Trainers of a comma-separated list, and ``readout``, which trains no map; ``all`` for all installed."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if names == (ALL,):
        return tuple(TRAINERS.entries())
    return names if UNTRAINED in names or not names else (*names, UNTRAINED)


def parsed_budgets(text: str) -> tuple[float, ...]:
    """Row budgets of a comma-separated list, such as ``2,10,50``.

    Raises
    ------
    ConfigError
        Something in it is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--budget {text!r} is no list of numbers, such as 2,10,50") from error


def with_validation(table: dict[str, Any]) -> dict[str, Any]:
    """An experiment's table with validation rows, which the arena tunes on, where it had none."""
    split = dict(table.get("split", {}))
    if not split.get("validation"):
        split["validation"] = VALIDATION
    return table | {"split": split}


TEST_SEED = 0


def arena_partition(
    dataset: Dataset, seed: int, test: float, validation: float, test_seed: int = TEST_SEED
) -> Partition:
    """The rows of one seed.

    The test rows are the same for every seed, so no row that a setting was chosen on is ever tested on. Training
    and validation rows of different seeds differ.

    Parameters
    ----------
    test, validation
        Fractions of all rows; validation above 0.
    test_seed
        What draws the test rows.
    """
    outer = split(dataset, test_seed, test, 0.0)
    labels = dataset.labels[outer.train]
    rest = replace(
        dataset,
        inputs=dataset.inputs[outer.train],
        labels=labels,
        targets=labels,
        groups=None if dataset.groups is None else dataset.groups[outer.train],
        test_rows=None,
    )
    share = validation * len(dataset.labels) / len(outer.train)
    inner = split(rest, seed, 0.0, min(share, 0.5))
    parts = (outer.train[inner.train], outer.train[inner.validation], outer.test)
    return Partition.of_rows(dataset, seed, *parts)


def judged_on_validation(data: Partition) -> Partition:
    """The same rows with the validation rows in the place of the test rows, which nobody sees."""
    assert data.validation is not None
    return Partition(data.seed, data.train, None, data.validation, data.task)


def without_validation(data: Partition) -> Partition:
    """The same rows without those that the settings were chosen on."""
    return Partition(data.seed, data.train, None, data.test, data.task)
