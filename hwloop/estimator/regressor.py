"""A scikit-learn regressor whose nonlinear layers are physical."""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from hwloop.checkpoint.estimators import SavedRegressor
from hwloop.errors import DatasetError
from hwloop.estimator.base import PhysicalEstimator, documented, unmasked
from hwloop.estimator.rows import checked_weights
from hwloop.tasks import Regression


@documented
class PhysicalRegressor(RegressorMixin, PhysicalEstimator):  # type: ignore[misc]
    """Train a network of physical stages on rows with values, and predict these in their units.

    ``score`` is R2, as of every scikit-learn regressor.

    Parameters
    ----------
    {options}

    Attributes
    ----------
    n_features_in_, feature_names_in_
        As in scikit-learn; names where the rows were a table with named columns.
    task_ : hwloop.tasks.Regression
        What was learned: number, mean and standard deviation of the targets.
    network_ : PhysicalNetwork
        The trained network.
    history_ : History
        Losses and scores of the fit; one that was loaded has none.
    ledger_ : dict
        Rows measured by purpose, over all devices: ``ledger_["train"]``. Predictions count as ``evaluate``.

    Examples
    --------
    >>> import hwloop
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = hwloop.PhysicalRegressor(stages=1, trainer="readout", random_state=0).fit(X[:300], y[:300])
    >>> regressor.ledger_["train"]
    300
    """

    _saved_as = SavedRegressor

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows X (rows, features) with targets y (rows,) or (rows, targets), in any units.

        Parameters
        ----------
        sample_weight
            What each row counts (rows,), from 0 up: it multiplies the row's loss, and costs no device row. A row
            of weight 0 is left out as if it were not there; one of weight 2 is the row twice, to the last bit.

        Raises
        ------
        DatasetError
            Fewer than two rows that count, a target that is the same in all, weights that are none, or masked
            values.
        ConfigError, BudgetExceeded
            Before anything is measured; also for a trainer that serves no regression, or takes no weights.
        DeviceError
            If a device fails.
        """
        with self._unchanged_by_an_error():
            return self._fit_to(X, y, sample_weight)

    def _fit_to(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Self:
        rows, targets = validate_data(
            self, unmasked(X), unmasked(y), dtype=np.float64, multi_output=True, y_numeric=True
        )
        weights = checked_weights(sample_weight, len(rows))
        counting = np.count_nonzero(weights)
        if counting < 2:
            raise DatasetError(f"the data hold {counting} sample that counts; a regression needs at least two")
        network = self._fit(rows, np.asarray(targets, dtype=np.float64), weights, Regression())
        self.task_ = cast(Regression, network.task)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Targets of each row, (rows,) or (rows, targets) as they were given to the fit, and in their units.

        They are measured, one row a stage and pass, unless remembered.
        """
        rows = self._rows_to_predict(X)
        return np.asarray(self.network_.predict(rows), dtype=np.float64)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _to_be_saved(self, options: dict[str, Any], names: tuple[str, ...] | None) -> SavedRegressor:
        return SavedRegressor(options, names)

    def _take_up(self, saved: SavedRegressor, path: object) -> None:
        self.task_ = cast(Regression, self.network_.task)
