"""Test rows put aside once, before anything is tuned; each seed parts the rest into training and validation."""

from __future__ import annotations

from dataclasses import replace

from hwloop.experiment.partition import Labelled, Partition
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.splitting import split

TEST_SEED = 0


def arena_partition(dataset: Dataset, seed: int, test: float, validation: float) -> Partition:
    """The rows of one seed.

    The test rows are the same for every seed, so no row that a setting was chosen on is ever tested on. Training
    and validation rows of different seeds differ.

    Parameters
    ----------
    test, validation
        Fractions of all rows; validation above 0.
    """
    outer = split(dataset, TEST_SEED, test, 0.0)
    rest = replace(
        dataset,
        inputs=dataset.inputs[outer.train],
        labels=dataset.labels[outer.train],
        groups=None if dataset.groups is None else dataset.groups[outer.train],
        test_rows=None,
    )
    share = validation * len(dataset.labels) / len(outer.train)
    inner = split(rest, seed, 0.0, min(share, 0.5))
    parts = [outer.train[inner.train], outer.train[inner.validation], outer.test]
    train, held_out, tested = (Labelled(dataset.inputs[rows], dataset.labels[rows]) for rows in parts)
    return Partition(seed, train, held_out, tested, tuple(dataset.class_names))


def judged_on_validation(data: Partition) -> Partition:
    """The same rows with the validation rows in the place of the test rows, which nobody sees."""
    assert data.validation is not None
    return Partition(data.seed, data.train, None, data.validation, data.class_names)


def without_validation(data: Partition) -> Partition:
    """The same rows without those that the settings were chosen on."""
    return Partition(data.seed, data.train, None, data.test, data.class_names)
