"""What both sides of a frontier learn: rows, or steps of sequences, with their targets, in three parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.experiment.partition import Partition, Samples
from hwloop.tasks import LearningTask


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part.

    Attributes
    ----------
    rows
        What a model sees: (n, features), or of series (sequences, steps, features).
    samples
        The same as the dataset has them, with their targets.
    """

    rows: Float64Array
    samples: Samples


@dataclass(frozen=True, eq=False)
class Problem:
    """A task as one seed splits it; what a model sees is standardised on the training rows.

    The gain of a feature is no multiplication of its own: whoever multiplies the feature by a weight folds it in.

    Attributes
    ----------
    validation
        Settings are chosen on it; nobody trains on it.
    """

    task: LearningTask
    seed: int
    train: Part
    validation: Part
    test: Part

    @classmethod
    def of(cls, data: Partition) -> Problem:
        """From the parts of a dataset.

        Raises
        ------
        ConfigError
            There are no validation rows.
        """
        if data.validation is None:
            raise ConfigError("a frontier chooses settings on validation rows; give split.validation above 0")
        parts = (data.train, data.validation, data.test)
        return cls.seen([_steps(part.inputs, data.task) for part in parts], data)

    @classmethod
    def seen(cls, rows: list[Float64Array], data: Partition) -> Problem:
        """The same task, of which a model sees other numbers: ``rows`` of training, validation and test part."""
        axes = tuple(range(rows[0].ndim - 1))
        mean, spread = rows[0].mean(axis=axes), rows[0].std(axis=axes)
        gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-12 * np.abs(rows[0]).max())
        assert data.validation is not None
        samples = (data.train, data.validation, data.test)
        parts = [Part((each - mean) * gain, part) for each, part in zip(rows, samples, strict=True)]
        return cls(data.task, data.seed, *parts)

    @property
    def series(self) -> bool:
        """Whether there is a target at every step of a row."""
        return self.task.steps > 1

    @property
    def n_features(self) -> int:
        """That a model sees of a row, or of a step."""
        return int(self.train.rows.shape[-1])

    @property
    def n_values(self) -> int:
        """Numbers that a readout gives a row, or a step."""
        return self.task.read_at_once

    def steps_of(self, part: Part) -> Float64Array:
        """What is learned from, (n, features): rows, or of series all steps after the washout."""
        return self._counted(part.rows)

    def aims_of(self, part: Part) -> Float64Array:
        """Targets of a least-squares readout, (n, values), those of :meth:`steps_of`."""
        numbers = self.task.numbers(part.samples.targets)
        codes = self.task.encode(np.asarray(numbers))
        return self._counted(codes.reshape(len(codes), self.task.steps, -1)) if self.series else codes

    def _counted(self, rows: Float64Array) -> Float64Array:
        if not self.series:
            return rows
        kept = rows[:, getattr(self.task, "washout", 0) :]
        return kept.reshape(-1, kept.shape[2])

    def predicted(self, outputs: Float64Array, part: Part, fitted_to_codes: bool = True) -> NDArray[Any]:
        """Targets as the dataset has them, from what a model gave for all rows or steps of a part (n, values)."""
        import torch

        flat = outputs.reshape(len(part.samples), -1)
        gain = self.task.code_gain if fitted_to_codes else 1.0
        return self.task.predicted(torch.from_numpy(np.ascontiguousarray(gain * flat, dtype=np.float64)))

    def merit(self, part: Part, predicted: NDArray[Any]) -> float:
        """The main score, its sign such that more is better."""
        return self.task.merit(part.samples.targets, predicted)

    def narrowed(self, columns: NDArray[np.int64]) -> Problem:
        """The same where a model sees these columns alone."""

        def of(part: Part) -> Part:
            return replace(part, rows=part.rows[..., columns])

        return replace(self, train=of(self.train), validation=of(self.validation), test=of(self.test))


def _steps(inputs: Float64Array, task: LearningTask) -> Float64Array:
    return inputs.reshape(len(inputs), task.steps, -1) if task.steps > 1 else inputs
