"""Parts of the arena: budgets filled and never exceeded, a store that survives torn lines, standings."""

import json

import numpy as np
import pytest
from examples import each_row
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from hwloop.errors import BudgetExceeded, ConfigError, JournalError
from hwloop.experiment import results
from hwloop.experiment.config import validated
from hwloop.experiments.arena.cell import Cell, CellResult, FitSize, options_within, refusal
from hwloop.experiments.arena.jobs import best_options
from hwloop.experiments.arena.report import _references
from hwloop.experiments.arena.run import CellStore, run_arena
from hwloop.experiments.arena.settings import ArenaSettings, arena_partition, named_trainers, parsed_budgets
from hwloop.experiments.arena.standings import Entry, Standings
from hwloop.experiments.datasets import digits, mnist1d
from hwloop.training import trainer
from hwloop.training.tuning import Choice, LogRange, Tuning, largest_that_fits

TASK = FitSize(n_rows=1000, n_outputs=10, n_stages=2)
EXPERIMENT = validated(
    {"name": "small", "dataset": "digits", "device": "optical-fibre", "trainer": "local", "seeds": 2}, "test"
)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 100_000))
def test_the_largest_that_fits_fits_and_one_more_does_not(each, fixed, budget):
    found = largest_that_fits(lambda n: fixed + each * n, budget)
    if found is None:
        assert fixed + each > budget
    else:
        assert fixed + each * found <= budget
        assert fixed + each * (found + 1) > budget or found == 100_000


def test_a_trainer_within_its_budget_keeps_its_options_and_above_it_is_refused():
    assert options_within("local", {"lr": 0.02}, TASK, 2) == {"lr": 0.02}
    with pytest.raises(BudgetExceeded, match="needs 2 rows a sample"):
        options_within("local", {}, TASK, 1.99)
    assert refusal("phyll", TASK, 10) is None
    assert "4 rows" in refusal("phyll", TASK, 3)


def test_a_table_of_trainers_holds_the_one_that_trains_no_map():
    assert named_trainers("phyll, local") == ("phyll", "local", "readout")
    assert named_trainers("readout,local") == ("readout", "local")
    assert named_trainers("") == ()


@pytest.mark.parametrize("name", each_row(named_trainers("all"), "local", "lookahead", "mgd"))
def test_every_installed_trainer_stays_within_a_budget_or_is_refused(name):
    for budget in (2, 50):
        if refusal(name, TASK, budget) is None:
            options = options_within(name, {}, TASK, budget)
            assert trainer(name, **options).cost(1000, 10, 2) <= 1000 * budget


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"n_outptus": 3}, r"no setting 'n_outptus': did you mean 'n_outputs'\? Known: adc_bits, chip, dac_bits"),
        ({"n_outputs": "many"}, "n_outputs must be a whole number, not 'many'"),
    ],
)
def test_a_device_that_nobody_could_train_on_is_refused_and_leaves_no_folder(settings, reason, tmp_path):
    table = EXPERIMENT.as_table() | {"device": {"name": "optical-fibre", "settings": settings}}
    with pytest.raises(ConfigError, match=reason):
        run_arena(ArenaSettings(validated(table, "test"), ("readout",), (2,), trials=1), tmp_path / "arena")
    assert not (tmp_path / "arena").exists()


@pytest.mark.parametrize(
    "load", [digits, pytest.param(mnist1d, marks=pytest.mark.slow)], ids=["split by us", "its own test rows"]
)
def test_no_row_that_anything_is_chosen_on_is_ever_tested_on(load):
    dataset = load()
    parts = [arena_partition(dataset, seed, 0.25, 0.2) for seed in (0, 1)]
    tested = {row.tobytes() for row in parts[0].test.inputs}
    for part in parts:
        assert np.array_equal(part.test.inputs, parts[0].test.inputs)
        used = [row.tobytes() for row in (*part.train.inputs, *part.validation.inputs)]
        assert len(set(used) & tested) <= len(dataset.inputs) - len({r.tobytes() for r in dataset.inputs})
        assert len(part.train) + len(part.validation) + len(part.test) == len(dataset.labels)
        assert len(part.validation) == pytest.approx(0.2 * len(dataset.labels), rel=0.01)
    assert not np.array_equal(parts[0].train.inputs, parts[1].train.inputs)


SPACE = Tuning({"lr": LogRange(1e-3, 1e-1), "kind": Choice(("a", "b"))})


def test_a_search_begins_with_the_defaults_and_keeps_the_best_that_it_saw():
    tried = []

    def score(options):
        tried.append(options)
        return 1.0 if options.get("kind") == "b" else 0.5 if not options else 0.1

    found = best_options(SPACE, 12, 0, dict, score)
    assert tried[0] == {}
    assert len(tried) == 12
    assert found["kind"] == "b"
    assert best_options(SPACE, 12, 0, dict, score) == found


def test_a_trial_that_the_budget_refuses_counts_and_the_defaults_win_ties():
    def completed(options):
        if options:
            raise BudgetExceeded("too much")
        return {}

    assert best_options(SPACE, 5, 0, completed, lambda options: 0.5) == {}
    assert best_options(SPACE, 1, 0, dict, lambda options: pytest.fail("one trial needs no score")) == {}


def test_a_torn_line_is_dropped_and_its_cell_runs_again(tmp_path):
    settings = {"trials": 1, "experiment": {"device": "a", "seeds": [0]}}
    cells = [Cell("local", {"lr": 0.1 * k}, 0, "test") for k in range(3)]
    with CellStore(tmp_path, settings) as store:
        for cell in cells:
            store.keep(cell, CellResult({results.NETWORK: 0.5}, rows=7))
    whole = (tmp_path / CellStore.lines_file).read_bytes()
    for cut in range(0, len(whole), 37):
        (tmp_path / CellStore.lines_file).write_bytes(whole[:cut])
        with CellStore(tmp_path, settings) as store:
            assert len(store) == whole[:cut].count(b"\n")
    (tmp_path / CellStore.lines_file).write_bytes(whole)
    with CellStore(tmp_path, settings) as store:
        assert store.find(cells[2]).rows == 7
        with pytest.raises(JournalError, match="is being written by process"):
            CellStore(tmp_path, settings)
    with pytest.raises(ConfigError, match="another device"):
        CellStore(tmp_path, {"trials": 1, "experiment": {"device": "b", "seeds": [0]}})
    more = {"trials": 8, "experiment": {"device": "a", "seeds": [0, 1]}}  # a refusal leaves no lock behind
    with CellStore(tmp_path, more) as store:
        assert len(store) == 3
    (tmp_path / "arena.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        CellStore(tmp_path, more)


def test_a_folder_with_something_else_is_not_written_to(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="holds no arena"):
        CellStore(tmp_path, {})
    with pytest.raises(ConfigError, match="is a file"):
        CellStore(tmp_path / "thesis.txt", {})


def entry(trainer, rows, *accuracies, budget=10.0, **options):
    cells = tuple(CellResult({results.NETWORK: a}, rows_a_sample=rows) for a in accuracies)
    return Entry(trainer, budget, options, cells, True)


def test_the_pareto_front_holds_who_nobody_beats_for_as_few_rows():
    entries = (
        entry("a", 2, 0.90),
        entry("b", 2, 0.91),
        entry("c", 4, 0.90),
        entry("d", 20, 0.95),
        entry("d", 20, 0.95, budget=50.0),
        entry("e", 30, 0.95),
    )
    reference = CellResult({"linear": 0.8})
    standings = Standings(ArenaSettings(EXPERIMENT, ("local",), (2,)), entries, (reference,), {})
    assert [one.trainer for one in standings.pareto_front] == ["b", "d"]
    assert [one.trainer for one in standings.ranking] == ["d", "e", "b", "a", "c"]
    assert json.loads(json.dumps(standings.as_json()))["entries"][0]["on_pareto_front"]


def test_floors_far_below_every_trainer_stand_within_the_axes():
    references = tuple(CellResult({"linear": 0.32, "backprop": 0.9}) for _ in range(2))
    standings = Standings(ArenaSettings(EXPERIMENT, ("local",), (2,)), (entry("a", 2, 0.63),), references, {})
    axes = Figure().subplots()
    axes.set_ylim(58.0, 65.0)
    _references(axes, standings)
    low, high = axes.get_ylim()
    assert low < 32
    assert high >= 90


def test_refusing_while_training_is_told_and_not_ranked():
    refused = Entry("a", 2.0, {}, (CellResult({}, refused="no nudged state"),), False)
    standings = Standings(ArenaSettings(EXPERIMENT, ("local",), (2,)), (refused,), (CellResult({}),), {})
    assert standings.ranking == []
    assert standings.as_json()["refused"] == [{"trainer": "a", "budget": 2.0, "reason": "no nudged state"}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainers": ("lokal",)}, "local"),
        ({"trainers": ()}, "at least one"),
        ({"trainers": ("local", "local")}, "once"),
        ({"budgets": ()}, "positive"),
        ({"budgets": (2, -1)}, "positive"),
        ({"budgets": (float("nan"),)}, "positive"),
        ({"trials": 0}, "at least 1 trial"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, reason):
    good = {"experiment": EXPERIMENT, "trainers": ("local",), "budgets": (2,), "trials": 1}
    with pytest.raises(ConfigError, match=reason):
        ArenaSettings(**{**good, **changes})


def test_budgets_are_numbers():
    assert parsed_budgets("2, 10,50") == (2, 10, 50)
    with pytest.raises(ConfigError, match="no list of numbers"):
        parsed_budgets("2;10")
