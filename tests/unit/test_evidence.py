"""The evidence that follows from synthetic results."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hwloop.errors import ConfigError
from hwloop.experiment import columns, floors, results
from hwloop.experiment.columns import ROWS_ERROR, Score, Trial
from hwloop.experiment.config import validated
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.results import SeedResult
from hwloop.tasks import Classification, Regression
from hwloop.tasks.classification import confusion_matrix

CONFIG = {"name": "small", "dataset": "digits", "device": "optical-fibre", "trainer": "local", "seeds": 3}
KEYS = [
    *(
        "experiment",
        "device",
        "trainer",
        "dataset",
        "seeds",
        "test_accuracy",
        "test_interval",
        "floors",
        "ceiling",
    ),
    *(
        "multiply_adds",
        "pareto_front",
        "physics_adds",
        "physics_adds_over",
        "physics_adds_over_linear",
        "input_scaling",
        "rows",
        "rows_per_train_sample",
        "duty_cycle",
        "wall_seconds",
        "run_dir",
    ),
    "task",
    "test_score",
    "description",
    "derived_from",
    "verdict",
]


def score(accuracy, multiply_adds, rows_per_train_sample=0.0, rows_per_prediction=0.0):
    return Score(
        {
            "accuracy": accuracy,
            "multiply_adds": multiply_adds,
            "rows_per_train_sample": rows_per_train_sample,
            "rows_per_prediction": rows_per_prediction,
        }
    )


def seed_result(seed, network, zeros, identity, **changes):
    scores = {
        results.NETWORK: score(network, 2000, 2.0, 2.0),
        "linear": score(0.94, 640),
        "null_zeros": score(zeros, 2000),
        "null_identity": score(identity, 9000),
        "one_stage_readout": score(0.97, 1000, 1.0, 1.0),
        "backprop": score(0.98, 3000),
    }
    values = {
        "seed": seed,
        "n_train": 100,
        "n_validation": 0,
        "n_test": 50,
        "scores": scores,
        "rows": {"train": 200, "evaluate": 100, "calibrate": 0, "reference": 0, "repeat": 0},
        "recalled": {"train": 5, "evaluate": 0},
        "reused": {},
        "floor_rows": 0,
        "busy_seconds": 1.0,
        "measuring_seconds": 2.0,
        "details": {"confusion": np.eye(2, dtype=np.int64) * 25},
        "losses": [[1.0, 0.5], [0.8]],
        "validation_scores": [None, 0.9],
        "digital_seconds": 0.5,
        "wall_seconds": 3.0,
        "devices": ["device"],
    }
    return SeedResult(**(values | changes))


def evidence(*seeds):
    return Evidence(validated(CONFIG, "x"), seeds, wall_seconds=9.0, run_dir="runs/small")


THREE = (seed_result(0, 0.98, 0.1, 0.95), seed_result(1, 0.99, 0.1, 0.96), seed_result(2, 0.97, 0.99, 0.94))


def test_json_has_exactly_the_promised_keys():
    found = json.loads(json.dumps(evidence(*THREE).as_json()))
    assert list(found) == KEYS
    assert set(found["test_accuracy"]) == {"mean", "std", "values"}
    floors_then = {"linear", "null_zeros", "null_identity", "one_stage_readout"}
    assert set(found["floors"]) == floors_then | {"random_features", "nearest_neighbours", "kernel_machine"}
    assert set(found["ceiling"]) == {"backprop"}
    assert set(found["multiply_adds"]) == {"network", "backprop", *found["floors"]}
    assert set(found["physics_adds"]) == set(found["test_interval"]) == {"mean", "low", "high", "test_rows"}
    assert set(found["rows"]) == {"train", "evaluate", "calibrate", "reference", "repeat"}


def test_physics_adds_is_the_paired_difference_to_the_null_that_is_better_on_average():
    # Zeros win one seed, but the projection has the higher mean: 0.95 against 0.397.
    found = evidence(*THREE)
    assert found.best_null == "null_identity"
    assert found.physics_adds.mean == pytest.approx(0.03)
    assert found.physics_adds.low == pytest.approx(0.03)


def test_one_seed_has_no_interval():
    found = evidence(THREE[0]).as_json()["physics_adds"]
    assert found == {"mean": pytest.approx(0.03), "low": None, "high": None, "test_rows": None}


def with_random_features(result, accuracy, **figures):
    random = score(accuracy, 9000)
    scores = {**result.scores, "random_features": Score({**random.figures, **figures})}
    return replace(result, scores=scores)


def test_random_digital_features_are_the_null_where_they_are_better():
    accuracies = (0.97, 0.96, 0.97)
    found = evidence(*(with_random_features(*pair) for pair in zip(THREE, accuracies, strict=True)))
    assert (found.best_null, found.best_linear_null) == ("random_features", "null_identity")
    assert found.physics_adds.mean == pytest.approx((0.01 + 0.03 + 0.0) / 3)
    assert found.physics_adds_over_linear.mean == pytest.approx(0.03)
    assert "over a linear null it adds +3.0 points" in " ".join(found.findings())
    assert "it adds" not in " ".join(evidence(*THREE).findings())


def test_seeds_that_split_one_set_anew_widen_the_interval():
    resplit = evidence(*(with_random_features(seed, 0.96) for seed in THREE))
    shared = evidence(*(with_random_features(replace(seed, own_test_rows=True), 0.96) for seed in THREE))
    assert (resplit.overlap, shared.overlap) == (0.5, 0.0)
    wide, narrow = (e.physics_adds.high - e.physics_adds.low for e in (resplit, shared))
    assert wide / narrow == pytest.approx(((1 / 3 + 0.5) * 3) ** 0.5)


def test_where_seeds_share_the_test_rows_these_have_an_interval_of_their_own():
    errors = [0.02, 0.03, 0.04]
    seeds = [
        with_random_features(replace(seed, own_test_rows=True), 0.96, difference_error=error)
        for seed, error in zip(THREE, errors, strict=True)
    ]
    found = evidence(*seeds)
    assert found.physics_adds.rows == pytest.approx((0.02 - 1.959964 * 0.03, 0.02 + 1.959964 * 0.03))
    assert "interval over seeds" in found.findings()[1]
    assert "of the test rows" in found.findings()[1]
    assert found.score_interval.rows == pytest.approx((0.8950, 0.9965), abs=1e-3)  # 49 of 50
    assert evidence(*(replace(seed, own_test_rows=False) for seed in seeds)).physics_adds.rows is None


def test_seeds_that_give_the_same_prove_nothing_and_the_test_rows_say_how_little_is_known():
    same = [with_random_features(seed_result(k, 0.98, 0.1, 0.9), 0.96, difference_error=0.02) for k in range(2)]
    found = evidence(*same)
    assert found.physics_adds.low == pytest.approx(found.physics_adds.high)
    assert found.physics_adds.rows == pytest.approx((0.02 - 1.959964 * 0.02, 0.02 + 1.959964 * 0.02))
    assert found.score_interval.rows == pytest.approx((0.8950, 0.9965), abs=1e-3)  # 49 of 50
    spread = [with_random_features(seed_result(k, 0.98, 0.1, 0.9), 0.95 + k / 100) for k in range(2)]
    assert evidence(*spread).physics_adds.rows is None


def test_where_nobody_knows_what_other_test_rows_would_change_there_is_no_winner():
    seeds = [seed_result(number, 0.99 + number / 1000, 0.1, 0.95) for number in range(3)]
    assert evidence(*seeds).as_json()["verdict"]["floor"]["winner"] == "network"
    found = evidence(*(replace(seed, own_test_rows=True) for seed in seeds))
    verdict = found.as_json()["verdict"]["floor"]
    assert verdict["winner"] is None
    assert "all seeds share one test part" in verdict["words"]
    assert "over seeds +3.9 to +4.3, which share one test part; what another would" in found.findings()[1]
    assert not evidence(replace(seeds[0], own_test_rows=True)).physics_adds.shared
    assert evidence(*seeds[:2], replace(seeds[2], own_test_rows=True)).physics_adds.shared  # the first are older


def test_no_interval_of_an_accuracy_goes_beyond_one_or_below_zero():
    found = evidence(seed_result(0, 1.0, 0.1, 0.9), seed_result(1, 0.9, 0.1, 0.9)).score_interval
    assert found.high == 1.0
    assert found.low < 0.9
    found = evidence(seed_result(0, 0.0, 0.1, 0.9), seed_result(1, 0.1, 0.1, 0.9)).score_interval
    assert found.low == 0.0
    assert found.high > 0.1


def test_no_interval_of_an_error_goes_below_zero():
    figures = {"nrmse": 0.1, "multiply_adds": 1.0, ROWS_ERROR: 1.0}
    seeds = [
        replace(
            seed, kind=Regression, scores={results.NETWORK: Score(figures | {"nrmse": value})}, own_test_rows=True
        )
        for seed, value in zip(THREE, (0.01, 0.2, 0.1), strict=True)
    ]
    found = evidence(*seeds).score_interval
    assert (found.low, found.rows[0]) == (0.0, 0.0)
    assert found.rows[1] > 1.0
    assert found.high < 1.0


def test_nobody_beats_the_front_for_as_few_multiply_adds():
    found = evidence(*(with_random_features(seed, 0.999) for seed in THREE))
    assert [line.key for line in found.pareto_front] == [
        "linear",
        "one_stage_readout",
        "network",
        "random_features",
    ]
    assert found.as_json()["pareto_front"] == [line.key for line in found.pareto_front]


def test_what_some_seeds_lack_is_said():
    assert not any("not run on every seed" in words for words in evidence(*THREE).findings())
    found = evidence(THREE[0], *(with_random_features(seed, 0.99) for seed in THREE[1:]))
    assert found.best_null == "null_identity"
    assert "not run on every seed, so left out: random digital features" in found.findings()[-1]


def test_the_test_rows_error_of_a_score_and_of_a_difference():
    task = Classification(2)
    targets = np.zeros(10, dtype=np.int64)
    ours = Trial(task, targets, np.repeat([0, 1], [8, 2]), 1)
    theirs = Trial(task, targets, np.repeat([0, 1], [6, 4]), 1)
    assert ours.score["rows_error"] == pytest.approx((0.8 * 0.2 / 9) ** 0.5)
    found = theirs.beside(ours)["difference_error"]  # 2 of 10 rows tell the two apart
    assert found == pytest.approx((0.2 * 0.8 / 9) ** 0.5)


def test_rows_are_totals_and_rows_a_sample_a_ratio_of_totals():
    found = evidence(*THREE).as_json()
    assert found["rows"]["train"] == 600
    assert found["rows_per_train_sample"] == 2.0


def test_duty_cycle_weighs_seeds_by_their_measuring_time():
    slow = seed_result(3, 0.9, 0.1, 0.9, busy_seconds=8.0, measuring_seconds=8.0)
    assert evidence(THREE[0], slow).duty_cycle == pytest.approx(0.9)
    assert evidence(seed_result(0, 0.9, 0.1, 0.9, measuring_seconds=None)).duty_cycle is None


def test_without_floors_their_entries_are_none():
    bare = seed_result(0, 0.9, 0.1, 0.9, scores={results.NETWORK: score(0.9, 10, 2.0, 2.0)})
    found = evidence(bare).as_json()
    assert list(found) == KEYS
    assert set(found["floors"].values()) == {None}
    assert found["physics_adds"] == {"mean": None, "low": None, "high": None, "test_rows": None}
    assert [line.key for line in evidence(bare).lines()] == [results.NETWORK]


def test_the_table_names_the_regime():
    relu = Evidence(validated({**CONFIG, "network": {"activation": "relu"}}, "x"), THREE, 1.0, "x")
    assert evidence(*THREE).lines()[0].regime == "linear interface"
    assert relu.lines()[0].regime == "relu interface"


def test_confusion_counts_true_by_predicted_and_sums_over_seeds():
    counts = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert evidence(*THREE).details["confusion"].tolist() == [[75, 0], [0, 75]]


@pytest.mark.parametrize(
    "predicted", [np.zeros((3, 1), dtype=int), np.zeros(2, dtype=int), np.array([0.0, np.nan, 1.0])], ids=str
)
def test_predictions_that_are_none_for_a_row_are_refused(predicted):
    with pytest.raises(ValueError, match=r"one is needed for each test row|not all finite"):
        Trial(Classification(2), np.array([0, 1, 1]), predicted, 10)


@pytest.mark.parametrize("figure", [np.nan, np.inf, None, "many"])
def test_a_figure_that_is_no_finite_number_is_refused(figure, monkeypatch):
    column = columns.Column("odd", "odd", lambda trial: figure, str)
    monkeypatch.setattr(columns, "COLUMNS", [*columns.COLUMNS, column])
    with pytest.raises(ValueError, match=r"column 'odd' .* no finite number"):
        _ = Trial(Classification(2), np.array([0, 1]), np.array([0, 1]), 10).score


def test_two_columns_or_floors_of_one_key_are_refused(monkeypatch):
    monkeypatch.setattr(columns, "COLUMNS", [*columns.COLUMNS, columns.Column("accuracy", "again", len, str)])
    with pytest.raises(ConfigError, match=r"two columns .* 'accuracy'"):
        columns.columns_of(Classification)
    monkeypatch.setattr(floors, "FLOORS", [*floors.FLOORS, floors.LinearFloor()])
    with pytest.raises(ConfigError, match=r"two floors .* 'linear'"):
        floors.in_running_order()


def test_uneven_classes_have_balanced_accuracy_and_macro_f1():
    from sklearn.metrics import balanced_accuracy_score, f1_score

    rng = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], [80, 15, 5])
    predicted = np.where(rng.random(100) < 0.7, true, 0)
    (remark,) = Classification.remarks({"confusion": confusion_matrix(true, predicted, 4)})
    balanced = 100 * balanced_accuracy_score(true, predicted)
    macro = 100 * f1_score(true, predicted, average="macro")
    assert remark.startswith("classes are uneven, 5 to 80 test rows")
    assert remark.endswith(f"balanced accuracy {balanced:.1f} %, macro F1 {macro:.1f} %")
    even = np.repeat([0, 1], 20)
    assert Classification.remarks({"confusion": confusion_matrix(even, even, 2)}) == []
