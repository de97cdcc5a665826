"""scikit-learn estimators whose nonlinear layers are physical."""

from hwloop.estimator.classifier import PhysicalClassifier as PhysicalClassifier
from hwloop.estimator.regressor import PhysicalRegressor as PhysicalRegressor
from hwloop.estimator.reservoir import PhysicalReservoir as PhysicalReservoir
