"""A scikit-learn classifier whose nonlinear layers are physical."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from hwloop.checkpoint.estimators import SavedClassifier
from hwloop.device import Device
from hwloop.errors import CheckpointError, ConfigError, DatasetError
from hwloop.estimator.base import PhysicalEstimator, documented, unmasked
from hwloop.estimator.rows import checked_weights
from hwloop.input_scaling import DEFAULT_INPUT_SCALING
from hwloop.tasks import Classification


@documented
class PhysicalClassifier(ClassifierMixin, PhysicalEstimator):  # type: ignore[misc]
    """Train a network of physical stages on labelled rows, and predict with it.

    Parameters
    ----------
    {options}
    class_weight
        What a row of each class counts: ``{class: weight}``, 1 for classes that are not named, or ``"balanced"``
        for rows / (classes * rows of the class). It multiplies ``sample_weight``.

    Attributes
    ----------
    classes_, n_features_in_
        As in scikit-learn.
    network_ : PhysicalNetwork
        The trained network.
    input_scaling_ : str
        What ``input_scaling`` became.
    history_ : History
        Losses and accuracies of the fit; one that was loaded has none.
    ledger_ : dict
        Rows measured by purpose, over all devices: ``ledger_["train"]``. Predictions count as ``evaluate``.

    Examples
    --------
    >>> import hwloop
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = hwloop.PhysicalClassifier(stages=1, random_state=0).fit(X, y)
    >>> classifier.ledger_["train"]
    149
    """

    _saved_as = SavedClassifier

    def __init__(
        self,
        device: str | Device | Sequence[str | Device] = "optical-fibre",
        *,
        stages: int = 2,
        width: int = 100,
        activation: str | None = None,
        trainer: str = "local",
        trainer_settings: Mapping[str, Any] | None = None,
        device_settings: Mapping[str, Any] | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        budget: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        journal: str | os.PathLike[str] | None = None,
        input_scaling: str = DEFAULT_INPUT_SCALING,
    ) -> None:
        super().__init__(
            device,
            stages=stages,
            width=width,
            activation=activation,
            trainer=trainer,
            trainer_settings=trainer_settings,
            device_settings=device_settings,
            budget=budget,
            random_state=random_state,
            verbose=verbose,
            journal=journal,
            input_scaling=input_scaling,
        )
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows X (rows, features) with class labels y (rows,) of any type.

        Parameters
        ----------
        sample_weight
            What each row counts (rows,), from 0 up: it multiplies the row's loss, and costs no device row. A row
            of weight 0 is left out as if it were not there; one of weight 2 is the row twice, to the last bit.

        Raises
        ------
        DatasetError
            Fewer than two classes that count, weights that are none, or masked values.
        ConfigError, BudgetExceeded
            Before anything is measured; also for weights that the trainer cannot take.
        DeviceError
            If a device fails.
        """
        with self._unchanged_by_an_error():
            return self._fit_to(X, y, sample_weight)

    def _fit_to(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Self:
        rows, targets = validate_data(self, unmasked(X), unmasked(y), dtype=np.float64)
        check_classification_targets(targets)
        weights = checked_weights(sample_weight, len(rows))
        counts = weights > 0
        rows, targets, weights = rows[counts], targets[counts], weights[counts]
        classes, labels = np.unique(targets, return_inverse=True)
        if len(classes) < 2:
            raise DatasetError(f"y holds {len(classes)} class only; training needs at least two classes")
        if self.class_weight is not None:
            weights = weights * class_weights(self.class_weight, classes, labels, weights)[labels]
        network = self._fit(rows, labels, weights, Classification(len(classes)))
        network.class_names = tuple(str(name) for name in classes.tolist())
        self.classes_ = classes
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities (rows, classes), measured one row a stage and pass unless remembered."""
        rows = self._rows_to_predict(X)
        return self.network_.predict_proba(rows)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most_probable])

    def _to_be_saved(self, options: dict[str, Any], names: tuple[str, ...] | None) -> SavedClassifier:
        return SavedClassifier(options, names, classes=self.classes_)

    def _take_up(self, saved: SavedClassifier, path: object) -> None:
        if len(saved.classes) != len(self.network_.class_names):
            raise CheckpointError(f"{path} names {len(saved.classes)} classes, and its network has others")
        self.classes_ = saved.classes


def class_weights(
    wanted: Any, classes: NDArray[Any], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a row of each class counts, from ``class_weight``; rows count as many times as their weight says.

    Raises
    ------
    ConfigError
        Neither ``"balanced"`` nor weights above zero of classes that there are.
    """
    if isinstance(wanted, str) and wanted == "balanced":
        rows = np.bincount(labels, weights=weights)
        return np.asarray(rows.sum() / (len(classes) * rows))
    if not isinstance(wanted, Mapping):
        raise ConfigError(f'class_weight must be "balanced" or {{class: weight}}, not {wanted!r:.100}')
    names = classes.tolist()
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ConfigError(f"class_weight names {unknown[0]!r}, and the classes are {', '.join(map(repr, names))}")
    for name, weight in wanted.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not 0 < weight < np.inf:
            raise ConfigError(f"class_weight of {name!r} must be a finite number above 0, not {weight!r:.100}")
    return np.array([float(wanted.get(name, 1.0)) for name in names])
