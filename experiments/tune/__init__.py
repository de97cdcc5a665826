"""Search an experiment's settings on validation rows, within a budget of device rows."""

from hwloop.experiments.tune.search import TuneResult, TuneSettings, run_tune
from hwloop.experiments.tune.space import default_space, parsed_search

__all__ = ["TuneResult", "TuneSettings", "default_space", "parsed_search", "run_tune"]
