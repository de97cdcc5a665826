"""Classification: every row belongs to one of several classes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError, HwloopWarning
from hwloop.tasks.task import KERNELS, LearningTask, Metric, up_to

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 8  # classes that a message lists
ENCODE = "encode them first: names, labels = numpy.unique(labels, return_inverse=True)"
UNEVEN = 1.5  # from this ratio of the largest class's test rows to the smallest's
# Inverse strengths of the L2 penalty of the linear floor, the strongest first.
INVERSE_STRENGTHS = (0.003, 0.03, 0.3, 3.0)


def accuracy(labels: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Share of rows whose class is predicted, in [0, 1]."""
    return float(np.mean(predicted == labels))


def hits(labels: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """1 for each row whose class is predicted, else 0."""
    return np.asarray(predicted == labels, dtype=np.float64)


def binomial_interval(share: float, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Of a share of ``rows`` independent test rows, sensible at 0 and 1 too; nothing is known without rows.

    Source: Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    if rows == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2) / (1 + z * z / rows)
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Rows by true class (first index) and predicted class."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """Mean over the classes that occur of the share of their rows that is predicted right."""
    tested = confusion.sum(axis=1)
    return float(np.mean(np.diag(confusion)[tested > 0] / tested[tested > 0]))


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean over the classes that occur or are predicted of 2 hits / (rows of the class + rows predicted as it)."""
    both = confusion.sum(axis=1) + confusion.sum(axis=0)
    return float(np.mean(2 * np.diag(confusion)[both > 0] / both[both > 0]))


def as_classes(array: NDArray[Any], samples: int, what: str = "labels") -> NDArray[np.int64]:
    """Whole numbers from 0, shape (samples,).

    Raises
    ------
    DatasetError
        Another shape, text, fractions, missing or negative labels.
    """
    if array.shape != (samples,):
        raise DatasetError(f"{what} must have shape ({samples},), one a row, but have shape {array.shape}")
    if array.dtype.kind not in "iub":
        raise DatasetError(f"{what} must be whole numbers from 0, not {_example(array)}; {ENCODE}")
    if array.size and array.min() < 0:
        row = int(np.argmin(array))
        raise DatasetError(f"{what} must be whole numbers from 0, but that of row {row} is {array[row]}; {ENCODE}")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        row = int(np.argmax(array))
        raise DatasetError(f"{what} must be class numbers from 0, but that of row {row} is {array[row]}; {ENCODE}")
    return array.astype(np.int64)


def _example(array: NDArray[Any]) -> str:
    """What stands there in the place of whole numbers."""
    kinds = {"f": "floats", "U": "text", "S": "text", "c": "complex numbers", "M": "dates"}
    missing = [value is None or value != value for value in array.tolist()]
    if any(missing):
        return f"missing ({array[missing.index(True)]}, in row {missing.index(True)})"
    return f"{kinds.get(array.dtype.kind, str(array.dtype))} such as {array.tolist()[0] if array.size else ''!r}"


LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class Classification(LearningTask):
    """Labels are whole numbers from 0; a head gives log-odds of every class and minimises cross-entropy.

    Parameters
    ----------
    n_classes
        How many classes there are.
    class_names
        One name a class; empty if nobody has said.
    """

    kind: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "accuracy",
            "accuracy",
            accuracy,
            100.0,
            "%",
            1,
            "points",
            100.0,
            of_rows=hits,
            is_share=True,
            least=0.0,
        ),
    )
    validation_key: ClassVar[str] = "validation_accuracies"
    linear_name: ClassVar[str] = "linear softmax"
    target_dtype: ClassVar[type[Any]] = np.int64
    has_classes: ClassVar[bool] = True
    gives_probabilities: ClassVar[bool] = True
    # A least-squares score s in [-1, 1] estimates 2p - 1; 2 s is the log-odds near s = 0.
    code_gain: ClassVar[float] = 2.0

    n_classes: int
    class_names: tuple[str, ...] = ()  # a field in the place of the property

    @classmethod
    def named(cls, class_names: Iterable[str]) -> Self:
        """A class a name."""
        names = tuple(class_names)
        return cls(len(names), names)

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.class_names

    def reason_against(self, targets: NDArray[Any]) -> str:
        """Fewer than two classes occur, or a label names none."""
        present = np.unique(targets)
        if len(present) < 2:
            return f"has {len(present)} class of labels; a classifier needs at least two"
        if present[0] < 0 or present[-1] >= self.n_classes:
            return f"has labels from {present[0]} to {present[-1]} for {self.n_classes} classes"
        return ""

    def fitted(self, targets: NDArray[Any], samples: int) -> tuple[Self, NDArray[np.int64]]:
        """As many classes as the task has or the largest label says, at least two of them with a row.

        A class without a row keeps its place: rows of it may come later. It costs rows and room all the same, so
        it is said (:class:`hwloop.errors.HwloopWarning`); labels that skip more classes than they hold are no such
        numbers.

        Raises
        ------
        DatasetError
            As :func:`as_classes`; one class only; or more classes without a row than with one.
        """
        labels = as_classes(targets, samples)
        present = np.unique(labels)
        if len(present) < 2:
            raise DatasetError("the training rows hold one class only; there is nothing to learn")
        n_classes = max(self.n_classes, int(present[-1]) + 1)
        names = self.class_names if len(self.class_names) == n_classes else ()
        absent = n_classes - len(present)
        if absent > 0 and names:
            missing = [name for number, name in enumerate(names) if number not in present]
            shown = ", ".join(missing[:SHOWN]) + (", ..." if absent > SHOWN else "")
            warnings.warn(
                f"no training row is of class {shown}: it costs rows and will not be predicted, and test rows of "
                "it are errors",
                HwloopWarning,
                stacklevel=4,
            )
        elif absent > 0:
            shown = ", ".join(str(label) for label in present[:SHOWN]) + (", ..." if len(present) > SHOWN else "")
            said = f"the labels are {shown}: {absent:,} of the {n_classes:,} classes have no training row"
            if absent > len(present):
                raise DatasetError(f"{said}; {ENCODE}")
            warnings.warn(
                f"{said}, yet they cost rows and will not be predicted; {ENCODE}", HwloopWarning, stacklevel=4
            )
        return type(self)(n_classes, names), labels

    def held_out(self, targets: NDArray[Any], samples: int) -> NDArray[np.int64]:
        """Classes of validation rows, all among those of the training rows."""
        labels = as_classes(targets, samples, "validation labels")
        if labels.max() >= self.n_classes:
            row = int(np.argmax(labels))
            raise DatasetError(
                f"validation row {row} is of class {labels[row]}, but the training rows hold the classes 0 to "
                f"{self.n_classes - 1}; encode the labels of both together"
            )
        return labels

    def further(self, targets: NDArray[Any], samples: int) -> NDArray[np.int64]:
        """Classes, all among those of the network where their number is known."""
        labels = as_classes(targets, samples)
        if self.n_classes and len(labels) and labels.max() >= self.n_classes:
            raise DatasetError(
                f"class {labels.max()} is none of the network's {self.n_classes}, 0 to {self.n_classes - 1}"
            )
        return labels

    def head_targets(self, numbers: Tensor, smoothing: float) -> Tensor:
        """Centred logits of smoothed labels."""
        import torch

        share = torch.nn.functional.one_hot(numbers, self.n_classes).to(torch.float64) * (1 - smoothing)
        logits = torch.log(share + smoothing / self.n_classes)
        return logits - logits.mean(dim=1, keepdim=True)

    def reason_not_to_train(self, targets: NDArray[Any]) -> str:
        return "fewer than two classes" if len(np.unique(targets)) < 2 else ""

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        return targets

    def encode(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        """One-hot, +1 for the class and -1 for all others."""
        codes: NDArray[np.float64] = np.eye(self.n_classes)[targets]
        return 2.0 * codes - 1.0

    def prior(self, targets: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of each class's share of the weight; a class without any counts like one row in a million."""
        shares = np.bincount(targets, weights=weights, minlength=self.n_classes) / weights.sum()
        return np.asarray(np.log(np.maximum(shares, LEAST_SHARE)))

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of log-odds (rows, classes), with label smoothing."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def judge(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each row; softmax minus target."""
        import torch

        logarithms = torch.log_softmax(outputs, dim=1)
        wanted = torch.full_like(logarithms, smoothing / self.n_classes)
        wanted[torch.arange(len(targets)), targets] += 1.0 - smoothing
        return -(wanted * logarithms).sum(dim=1), logarithms.exp() - wanted

    def scores(self, outputs: Tensor) -> Tensor:
        """Log-probabilities: those of several heads add up."""
        import torch

        return torch.log_softmax(outputs, dim=1)

    def answers(self, outputs: Tensor) -> Tensor:
        import torch

        return torch.softmax(outputs.to(torch.float64), dim=1)

    def predictions(self, answers: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(answers.argmax(axis=1), dtype=np.int64)

    def described(self, answer: NDArray[Any]) -> dict[str, Any]:
        """The most probable class, and the probability of each."""
        names = self.names_of_outputs
        return {
            "class": names[int(answer.argmax())],
            "probabilities": dict(zip(names, answer.tolist(), strict=True)),
        }

    def listed(self, described: Mapping[str, Any]) -> list[str]:
        return [described["class"], *(f"{value:.4f}" for value in described["probabilities"].values())]

    @property
    def headings(self) -> list[str]:
        return ["class", *self.names_of_outputs]

    @property
    def outputs_in_json(self) -> dict[str, list[str]]:
        return {"classes": list(self.names_of_outputs)}

    def doubt(self, targets: NDArray[Any], predicted: NDArray[Any]) -> str:
        """Rows of several classes that are all taken for one."""
        if len(np.unique(targets)) > 1 and bool((predicted == predicted[0]).all()):
            return f"every validation row is taken for class {predicted[0]}: nothing was learned"
        return ""

    def fit_options(self) -> dict[str, Any]:
        return {}

    def options_for(self, targets: NDArray[Any]) -> dict[str, Any]:
        """The task itself where the last classes have no training row: labels alone do not tell of them."""
        return {"task": self} if len(targets) and int(targets.max()) + 1 < self.n_classes else {}

    def sizes(self) -> dict[str, Any]:
        return {"n_classes": self.n_classes}

    @classmethod
    def of_sizes(cls, found: Mapping[str, Any]) -> Self:
        return cls(found["n_classes"])

    def details(self, targets: NDArray[Any], predicted: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"confusion": confusion_matrix(targets, predicted, self.n_classes)}

    @classmethod
    def from_details(cls, found: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        return {"confusion": np.array(found["confusion"], dtype=np.int64)}

    @classmethod
    def remarks(cls, details: Mapping[str, NDArray[Any]]) -> list[str]:
        """Balanced accuracy and macro F1 where classes are uneven: accuracy is mostly that of the large ones."""
        counts = details["confusion"]
        tested = counts.sum(axis=1)
        if tested.max(initial=0) <= UNEVEN * tested[tested > 0].min(initial=np.iinfo(np.int64).max):
            return []
        return [
            f"classes are uneven, {tested[tested > 0].min():,} to {tested.max():,} test rows over all seeds: "
            f"balanced accuracy {100 * balanced_accuracy(counts):.1f} %, macro F1 {100 * macro_f1(counts):.1f} %"
        ]

    def as_dict(self) -> dict[str, Any]:
        """The names of the classes; files of a classification never said more."""
        return {"class_names": list(self.class_names)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls.named(found["class_names"])

    def linear_models(self) -> Sequence[Any]:
        from sklearn.linear_model import LogisticRegression

        return [LogisticRegression(C=inverse, max_iter=300) for inverse in INVERSE_STRENGTHS]

    def constant(self, targets: NDArray[Any], rows: int) -> NDArray[np.int64]:
        """The most frequent class of the training rows."""
        return np.full(rows, np.bincount(targets).argmax(), dtype=np.int64)

    def nearest_neighbours(self, n_rows: int) -> Sequence[Any]:
        from sklearn.neighbors import KNeighborsClassifier

        return [KNeighborsClassifier(k, weights="distance", algorithm="brute") for k in up_to(n_rows)]

    def kernel_machines(self, n_features: int) -> Sequence[Any]:
        from sklearn.svm import SVC

        return [SVC(C=strength, gamma=width / n_features) for strength, width in KERNELS]

    def folds(self, targets: NDArray[Any], most: int, seed: int) -> Any:
        """As many parts as the smallest class has rows, each class in its share."""
        from sklearn.model_selection import StratifiedKFold

        folds = min(most, int(np.unique(targets, return_counts=True)[1].min()))
        return None if folds < 2 else StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
