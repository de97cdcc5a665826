"""What is learned, as one part: trainers, readouts, runs, reports and files ask the task; none assumes one.

A task says what targets look like, what a local head minimises, how outputs become predictions, which scores are
reported, and what the digital floors are. A new one is one more file here, entered in :data:`TASKS`. Torch and
scikit-learn are imported where a task needs them, so a task is made without either.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hwloop.errors import DatasetError
from hwloop.tasks.classification import Classification
from hwloop.tasks.regression import Regression
from hwloop.tasks.sequence import SequenceOfSymbols, SequenceOfValues
from hwloop.tasks.task import UNSAID, LearningTask, Metric

TASKS: dict[str, type[LearningTask]] = {
    task.kind: task for task in (Classification, Regression, SequenceOfValues, SequenceOfSymbols)
}


def task_of_dataset(dataset: Any) -> LearningTask:
    """What a dataset is for: its ``task``; without one its ``class_names`` are those of a classification.

    Raises
    ------
    DatasetError
        It has neither.
    """
    task = getattr(dataset, "task", None)
    if isinstance(task, LearningTask):
        return task
    names = getattr(dataset, "class_names", None)
    if not names:
        raise DatasetError(
            f"dataset {dataset.name!r} says neither class_names nor a task such as hwloop.tasks.Regression()"
        )
    return Classification.named(names)


def kind_of(found: Mapping[str, Any]) -> type[LearningTask]:
    """The kind of task that a file's entries are of; a classification where they name none.

    Raises
    ------
    ValueError
        A kind that is not known.
    """
    kind = found.get("task", Classification.kind)
    if kind not in TASKS:
        raise ValueError(f"its task {kind!r} is not known")
    return TASKS[kind]


def task_of_outputs(n_outputs: int, class_names: Iterable[str] = ()) -> LearningTask:
    """What a network that was trained without a named task is for: a class an output."""
    return Classification(n_outputs, tuple(class_names))


def task_in(found: Mapping[str, Any]) -> LearningTask | None:
    """What :func:`entries_of` kept; ``None`` for a classification.

    Raises
    ------
    KeyError, TypeError, ValueError
    """
    return kind_of(found["task"]).from_dict(found["task"]) if "task" in found else None


def entries_of(task: LearningTask | None) -> dict[str, Any]:
    """What a file holds of a task beside the names of classes: nothing of a classification, as ever."""
    found = {} if task is None else task.as_dict()
    return {"task": found} if "task" in found else {}


__all__ = [
    "TASKS",
    "UNSAID",
    "Classification",
    "LearningTask",
    "Metric",
    "Regression",
    "SequenceOfSymbols",
    "SequenceOfValues",
    "entries_of",
    "kind_of",
    "task_in",
    "task_of_dataset",
    "task_of_outputs",
]
