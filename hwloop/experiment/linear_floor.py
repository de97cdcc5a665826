"""The first floor: what a linear softmax makes of the raw inputs, with no device at all."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hwloop.experiment.partition import Labelled

# Inverse strengths of the L2 penalty to choose from.
INVERSE_STRENGTHS = (0.003, 0.03, 0.3, 3.0)
FOLDS = 4


def linear_softmax(train: Labelled, validation: Labelled | None, seed: int) -> Pipeline:
    """A softmax regression on inputs standardised on the training rows, fitted by scikit-learn.

    The L2 penalty is chosen on the validation rows, or without any by cross-validation within the training
    rows; test rows are never seen.
    """
    with warnings.catch_warnings():
        # A penalty so weak that the solver stops at its limit is a candidate like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = [_score(_model(c), train, validation, seed) for c in INVERSE_STRENGTHS]
        best = INVERSE_STRENGTHS[int(np.argmax(scores))]
        return _model(best).fit(train.inputs, train.labels)


def linear_multiply_adds(n_features: int, n_classes: int) -> int:
    """Multiply-adds of one prediction: the matrix, and a scaling a feature."""
    return n_features * n_classes + n_features


def _model(inverse_strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=inverse_strength, max_iter=300))


def _score(model: Pipeline, train: Labelled, validation: Labelled | None, seed: int) -> float:
    if validation is not None:
        fitted = model.fit(train.inputs, train.labels)
        return float(np.mean(fitted.predict(validation.inputs) == validation.labels))
    folds = min(FOLDS, _smallest_class(train.labels))
    if folds < 2:  # too few rows to hold any out: the strongest penalty is the safe choice
        return -float(model[-1].C)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    return float(cross_val_score(model, train.inputs, train.labels, cv=parts).mean())


def _smallest_class(labels: NDArray[np.int64]) -> int:
    return int(np.unique(labels, return_counts=True)[1].min())
