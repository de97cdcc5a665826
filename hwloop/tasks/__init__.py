"""What is learned, as one part: trainers, readouts, runs, reports and files ask the task; none assumes one.

A task says what targets look like, what a local head minimises, how outputs become predictions, which scores are
reported, and what the digital floors are. A new one is one more file here, entered in :data:`TASKS`, or
an entry point ``hwloop.tasks`` of another package. Torch and
scikit-learn are imported where a task needs them, so a task is made without either.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from hwloop.errors import DatasetError
from hwloop.tasks.classification import Classification
from hwloop.tasks.task import UNSAID, LearningTask, Metric

if TYPE_CHECKING:
    from hwloop.tasks.regression import Regression
    from hwloop.tasks.sequence import SequenceOfSymbols, SequenceOfValues

_HOMES = {"Regression": "regression", "SequenceOfValues": "sequence", "SequenceOfSymbols": "sequence"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


class _Tasks(Mapping[str, type[LearningTask]]):
    """Tasks by kind; a file is read when its task is asked for."""

    def __init__(self, **classes: str) -> None:
        self._classes = classes

    def __getitem__(self, kind: str) -> type[LearningTask]:
        name = self._classes[kind]
        task: type[LearningTask] = globals()[name] if name in globals() else __getattr__(name)
        return task

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


TASKS = _Tasks(
    classification="Classification",
    regression="Regression",
    sequence="SequenceOfValues",
    symbols="SequenceOfSymbols",
)


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
    known = registered(kind)
    if known is None:
        raise ValueError(f"its task {kind!r} is not known; is the package that defines it installed?")
    return known


def registered(kind: Any) -> type[LearningTask] | None:
    """The task of a kind, here or among the entry points of installed packages; ``None`` if there is none."""
    if not isinstance(kind, str):
        return None
    if kind in TASKS:
        return TASKS[kind]
    return next((entry.load() for entry in entry_points(group="hwloop.tasks", name=kind)), None)


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
    "registered",
    "task_in",
    "task_of_dataset",
    "task_of_outputs",
]
