"""A network on the recorded fibre is kept alive through all of its 27 measured matrices."""

import pytest

from hwloop.experiment.config import load_experiment
from hwloop.experiments.datasets import experiment_file
from hwloop.experiments.drift.run import DriftSettings, parsed_positions, run_drift

pytestmark = [pytest.mark.real_data, pytest.mark.slow]
FIELD_CORRELATION_ABOVE_0_8 = 15  # positions 0 to 14


def test_digits_survive_the_drift_that_destroys_them_untouched(tmp_path):
    config = load_experiment(experiment_file("digits-fibre"), ["seeds=[1]", "network.activation=relu"])
    policies = ("none", "recall", "twin")
    settings = DriftSettings(config, *parsed_positions("device.settings.position=0..26"), policies)
    courses = {course.policy: course for course in run_drift(settings, tmp_path).courses}
    assert all(course.rows.max() <= 200 for course in courses.values())
    assert courses["none"].scores[0, -1] < 0.2
    # One seed of 450 rows: a row is 0.2 points, the standard error 1; the table is over five seeds.
    assert courses["twin"].scores.min() >= 0.95
    assert courses["twin"].scores.mean() >= 0.965
    assert courses["recall"].scores[0, :FIELD_CORRELATION_ABOVE_0_8].min() >= 0.89
    assert courses["recall"].scores.min() >= 0.87
