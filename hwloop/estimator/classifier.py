"""A scikit-learn classifier whose nonlinear layers are physical."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from hwloop.checkpoint.estimators import SavedClassifier
from hwloop.errors import CheckpointError, DatasetError
from hwloop.estimator.base import PhysicalEstimator, documented, unmasked
from hwloop.tasks import Classification


@documented
class PhysicalClassifier(ClassifierMixin, PhysicalEstimator):  # type: ignore[misc]
    """Train a network of physical stages on labelled rows, and predict with it.

    Parameters
    ----------
    {options}

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

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on rows X (rows, features) with class labels y (rows,) of any type.

        Raises
        ------
        DatasetError
            Fewer than two classes, or masked values.
        ConfigError, BudgetExceeded
            Before anything is measured.
        DeviceError
            If a device fails.
        """
        rows, targets = validate_data(self, unmasked(X), unmasked(y), dtype=np.float64)
        check_classification_targets(targets)
        classes, labels = np.unique(targets, return_inverse=True)
        if len(classes) < 2:
            raise DatasetError(f"y holds {len(classes)} class only; training needs at least two classes")
        network = self._fit(rows, labels, Classification(len(classes)))
        network.class_names = tuple(str(name) for name in classes.tolist())
        self.classes_ = classes
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities (rows, classes), measured one row a stage and pass unless remembered."""
        return self._answers(X)

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
