"""Networks trained through spiking devices reach what their experiments promise."""

import pytest

from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import experiment_file, split


@pytest.mark.slow
def test_digits_through_a_hundred_lif_neurons():
    config = load_experiment(experiment_file("digits-lif"), ["evidence.floors=false"])
    evidence = run_experiment(config, split)
    accuracies = [seed.scores["network"]["accuracy"] for seed in evidence.seeds]
    assert len(accuracies) == 3
    assert sum(accuracies) / 3 >= 0.95
