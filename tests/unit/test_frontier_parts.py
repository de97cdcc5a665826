"""Parts of a frontier: pursuit, budgets that are kept, counts, verdicts, what is kept on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwloop.errors import ConfigError
from hwloop.experiment.config import DevicePart, NetworkConfig
from hwloop.experiment.workload import workload_of
from hwloop.experiments.arena.settings import arena_partition
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.frontier import kept as keeping
from hwloop.experiments.frontier import networks, series
from hwloop.experiments.frontier.matching import matched
from hwloop.experiments.frontier.physics import ChosenOutputs
from hwloop.experiments.frontier.problem import Problem
from hwloop.experiments.frontier.report import draw_frontiers, totals, write_frontiers
from hwloop.experiments.frontier.rival import Choice, Job, all_rivals
from hwloop.experiments.frontier.run import Effort
from hwloop.experiments.frontier.sides import Entry, contributions, shares_of, within
from hwloop.experiments.frontier.standing import LOSE, TIE, WIN, Frontier, Point
from hwloop.experiments.frontier.tuned import Tuned
from hwloop.tasks import SequenceOfValues


def classes(rows=160, features=20):
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 3
    inputs = rng.normal(size=(rows, features)) + 2.0 * np.eye(features)[labels]
    return Problem.of(arena_partition(Dataset("blobs", inputs, labels, ("a", "b", "c")), 0, 0.25, 0.25))


def sequences(count=8, steps=60):
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(count, steps))
    targets = np.zeros((count, steps))
    targets[:, 3:] = inputs[:, 1:-2] * inputs[:, :-3] + 0.3 * inputs[:, 3:]
    task = SequenceOfValues(steps, 5)
    return Problem.of(arena_partition(Dataset("products", inputs, targets=targets, task=task), 0, 0.25, 0.25))


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(networks, "STEPS", 60)


def test_the_pursuit_takes_what_explains_most_of_what_is_left():
    rng = np.random.default_rng(2)
    columns = rng.normal(size=(80, 12)) @ rng.normal(size=(12, 12))
    aims = columns[:, [3]] * 2 - columns[:, [7]] + 0.1 * rng.normal(size=(80, 1))

    found = matched(columns, aims, 4)

    centred, wanted, taken = columns - columns.mean(0), aims - aims.mean(0), []
    for column in found:

        def left(k, taken=tuple(taken)):
            seen = centred[:, [*taken, k]]
            return np.square(wanted - seen @ np.linalg.lstsq(seen, wanted, rcond=None)[0]).sum()

        assert column == min((k for k in range(12) if k not in taken), key=left)
        taken.append(column)


def test_a_column_that_repeats_another_is_not_taken():
    column = np.linspace(-1, 1, 30)[:, None] ** [1, 3]
    found = matched(np.hstack([column, 2 * column]), column.sum(1, keepdims=True), 4)
    assert len(found) == 2


SERIES, ROWS = sequences(), classes()


@pytest.mark.parametrize("key", [*(rival.key for rival in all_rivals()), "readout"])
def test_no_model_costs_more_than_its_budget(key):
    rival = next(each for each in [*all_rivals(), ChosenOutputs()] if each.key == key)
    problem = next(each for each in (ROWS, SERIES) if rival.suits(each))
    for budget in (12, 60):
        jobs = [
            Job(problem, budget, settings, 0)
            for settings in rival.settings(problem, budget, 3, np.random.default_rng(0))
        ]
        for model in rival.fit(jobs):
            assert model.multiply_adds <= budget
            predicted = model.predicted(problem, problem.test)
            assert np.isfinite(problem.merit(problem.test, predicted))


@pytest.mark.parametrize("key", ["linear", "mlp", "convolution"])
def test_multiply_adds_are_the_operations_that_neurobench_counts(key):
    rival = next(each for each in all_rivals() if each.key == key)
    settings = rival.settings(ROWS, 60, 3, np.random.default_rng(0))
    for model in rival.fit([Job(ROWS, 60, each, 0) for each in settings]):
        rows = torch.from_numpy(ROWS.train.rows).to(torch.float32) + 0.01
        hidden = rival.key == "mlp"
        found = workload_of(model.exported(), rows[:, None] if key == "convolution" else rows)
        # A hidden unit at 0 multiplies nothing, a weight at 0 neither.
        assert found.effective_macs <= model.multiply_adds + 1e-9
        assert hidden or key == "convolution" or found.effective_macs == pytest.approx(model.multiply_adds)


def test_the_pursuit_of_a_volterra_filter_finds_the_product_and_pays_it_once():
    rival = series.Volterra()
    job = Job(SERIES, 4, {"taps": 12, "pairs": 4, "triples": 0}, 0)
    (model,) = rival.fit([job])
    assert SERIES.merit(SERIES.test, model.predicted(SERIES, SERIES.test)) > -0.05  # NRMSE, its sign turned
    assert model.multiply_adds <= 4
    again = {series._form(term, 1) for term in ((2, 3), (0, 1), (5, 6))}
    assert again == {(0, 1)}


def test_an_nrmse_has_a_share_a_sequence_whose_mean_it_is():
    rng = np.random.default_rng(3)
    task, targets = SequenceOfValues(30, 4), rng.normal(size=(9, 30))
    predicted = targets + 0.3 * rng.normal(size=(9, 30))
    assert contributions(task, targets, predicted).mean() == pytest.approx(task.score(targets, predicted))


def entry(scores, shares=None):
    return Entry("k", "name", 10, {}, 0.0, (10,) * len(scores), tuple(scores), shares)


@pytest.mark.parametrize(
    ("ours", "theirs", "higher", "verdict"),
    [
        ((0.9, 0.91, 0.92), (0.5, 0.51, 0.53), True, WIN),
        ((0.9, 0.91, 0.92), (0.5, 0.51, 0.53), False, LOSE),
        ((0.9, 0.5, 0.7), (0.7, 0.7, 0.7), True, TIE),
        ((0.9,), (0.1,), True, TIE),  # one seed tells nothing
    ],
)
def test_a_verdict_follows_from_the_paired_interval(ours, theirs, higher, verdict):
    assert Point(10, entry(ours), entry(theirs), higher).verdict == verdict


def test_what_one_seed_or_one_budget_or_a_tuned_device_shows_is_said(tmp_path):
    tuned = replace(entry((0.9,)), key="tuned:tune-outputs", name="tune-outputs")
    about = {"identity": "a device", "rows_per_train_sample": 1.0}
    points = (Point(10, tuned, entry((0.1,)), True),)
    found = Frontier("name", "digits", "chip", "classification", (0,), 4, {}, about, points)
    assert totals([found]).startswith("0 wins, 1 tie, 0 losses in 1 budget; one seed shows no win and no loss")
    assert "one seed" not in totals([replace(found, seeds=(0, 1))])
    lines = [line for line in draw_frontiers([found]).axes[0].lines if len(line.get_xdata()) == 1]
    assert all(line.get_marker() != "None" for line in lines)
    assert (
        "tune-outputs asks a device as narrow as the budget pays" in write_frontiers([found], tmp_path).read_text()
    )


def test_test_rows_that_all_seeds_share_must_tell_too():
    few, many = ((1.0, 1.0, 0.0, 1.0),) * 3, ((0.0, 1.0, 1.0, 0.0),) * 3
    scores = ((0.75, 0.76, 0.75), (0.5, 0.5, 0.51))
    assert Point(10, entry(scores[0]), entry(scores[1]), True).verdict == WIN
    assert Point(10, entry(scores[0], few), entry(scores[1], many), True).verdict == TIE


def test_what_a_smaller_budget_pays_a_larger_one_pays():
    found = within([Choice("a", 10, {}, 0.9), Choice("b", 20, {}, 0.8)], (5, 10, 20))
    assert {budget: choice.key for budget, choice in found.items()} == {10: "a", 20: "a"}


def test_trials_are_shared_out_and_none_is_lost():
    assert shares_of(16, 3) == [5, 5, 6]
    assert shares_of(2, 3) == [1, 1, 1]


def test_a_result_is_kept_and_a_change_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("HWLOOP_CACHE", str(tmp_path))
    asked = []

    def compute():
        asked.append(1)
        return {"n": len(asked)}

    assert keeping.kept({"a": 1}, [ChosenOutputs()], compute) == {"n": 1}
    assert keeping.kept({"a": 1}, [ChosenOutputs()], compute) == {"n": 1}
    assert keeping.kept({"a": 2}, [ChosenOutputs()], compute) == {"n": 2}
    monkeypatch.setattr(keeping, "versions", lambda: {"torch": "another"})
    assert keeping.kept({"a": 1}, [ChosenOutputs()], compute) == {"n": 3}
    for file in (tmp_path / "frontier").iterdir():
        file.write_text("{torn")
    assert keeping.kept({"a": 1}, [ChosenOutputs()], compute) == {"n": 4}


@pytest.mark.parametrize("wrong", [{"trials": 3}, {"seeds": (1, 1)}, {"seeds": ()}, {"budgets": (0,)}])
def test_an_effort_that_compares_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        Effort(**wrong)


@pytest.mark.slow
def test_a_device_with_tunables_is_tuned_as_wide_as_the_budget_pays():
    part = DevicePart(name="programmable-speckle", settings={"pixel_bits": None})
    tuned = Tuned(part, NetworkConfig(), "tune-outputs", 8.0)
    assert tuned.suits(ROWS)
    assert not tuned.suits(SERIES)
    assert not Tuned(DevicePart(name="optical-fibre"), NetworkConfig(), "tune-outputs", 8.0).suits(ROWS)
    few = Tuned(part, NetworkConfig(), "tune-outputs", 1.0)
    assert few.settings(ROWS, 30, 2, np.random.default_rng(0)) == []  # so many rows tune nothing
    settings = tuned.settings(ROWS, 13, 2, np.random.default_rng(0))
    assert len(settings) == 2
    (model,) = tuned.fit([Job(ROWS, 13, settings[0], 0)])
    assert model.multiply_adds == 12
    assert model.network.sessions[0].device.spec.n_outputs == 4
    assert model.predicted(ROWS, ROWS.test).shape == ROWS.test.samples.targets.shape
