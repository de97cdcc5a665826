"""A column and a floor of the evidence are one file each: the examples of docs/evidence.md, as they stand."""

import __future__

import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hwloop.cli.run_display import show_evidence
from hwloop.experiment import columns, floors
from hwloop.experiment.config import validated
from hwloop.experiment.runner import replay_experiment, run_experiment
from hwloop.experiments.arena import ArenaSettings, run_arena
from hwloop.experiments.arena.report import markdown_table, write_arena_report
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.datasets import split
from hwloop.registry import DATASETS

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
CONFIG = {
    "name": "small",
    "dataset": "blobs",
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 12}},
    "trainer": "readout",
    "network": {"width": 6, "stages": 1},
    "split": {"validation": 0.2},
    "seeds": 2,
}


def blobs():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3 % 2  # two of three rows are of class 0
    return Dataset("blobs", rng.normal(size=(90, 4)) + labels[:, None], labels, ("often", "rare"))


def example(heading):
    """The code under a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


def appended(code, module):
    """As if the code stood at the end of the module's file."""
    exec(compile(code, str(PAGE), "exec", __future__.annotations.compiler_flag), vars(module))


@pytest.fixture(autouse=True)
def _lists_as_they_were(monkeypatch):
    """What is appended in a test is gone after it; of the floors only two are scored, for they take time."""
    load = DATASETS.load
    monkeypatch.setattr(DATASETS, "load", lambda name: blobs if name == "blobs" else load(name))
    kept = [(columns.COLUMNS, list(columns.COLUMNS)), (floors.FLOORS, list(floors.FLOORS))]
    floors.FLOORS[:] = [floor for floor in floors.FLOORS if floor.key in ("linear", "null_identity")]
    yield
    for there, before in kept:
        there[:] = before


def run(folder):
    return run_experiment(validated(CONFIG, "small"), split, out=folder)


def arena_settings():
    return ArenaSettings(validated(CONFIG, "test"), ("readout",), (1,), trials=1)


def shown(evidence):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        show_evidence(evidence, console)
        return console.export_text()


def test_a_column_is_one_object_in_one_list(tmp_path):
    before = run(tmp_path / "before")
    keys = set(before.as_json())
    assert "1,000 rows" not in shown(before)
    appended(example("A column"), columns)

    evidence = run(tmp_path / "after")
    wrong = [1000 * (1 - score) for score in evidence.score("network").values]
    assert evidence.lines()[0]["errors_in_thousand"] == pytest.approx(np.mean(wrong))
    assert f"{np.mean(wrong):.0f}" in shown(evidence)
    assert "1,000 rows" in shown(evidence)
    assert evidence.as_json()["errors_in_thousand"]["network"]["values"] == pytest.approx(wrong)
    assert "errors in<br>1,000 rows" in (tmp_path / "after" / "report.html").read_text(encoding="utf-8")
    assert set(evidence.as_json()) - keys == {"errors_in_thousand"}

    replay = replay_experiment(tmp_path / "after", split, with_references=True)
    assert replay.differences == ()
    assert replay.evidence.lines()[0].figures == evidence.lines()[0].figures
    # A run from before the column is the same run; what it did not know is not held against it.
    assert replay_experiment(tmp_path / "before", split, with_references=True).differences == ()

    standings = run_arena(arena_settings(), tmp_path / "arena")
    assert "| errors in 1,000 rows |" in markdown_table(standings)
    assert standings.as_json()["entries"][0]["errors_in_thousand"] >= 0
    page = write_arena_report(standings, tmp_path / "arena").read_text(encoding="utf-8")
    assert "errors in<br>1,000 rows" in page


def test_a_floor_is_one_class_in_one_list(tmp_path):
    appended(example("A floor"), floors)
    evidence = run(tmp_path / "run")
    assert evidence.score("most_frequent").mean == pytest.approx(2 / 3, abs=0.05)
    assert "floor: most frequent class" in shown(evidence)
    assert evidence.as_json()["floors"]["most_frequent"]["mean"] == evidence.score("most_frequent").mean
    assert "most frequent class" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert replay_experiment(tmp_path / "run", split, with_references=True).differences == ()
    standings = run_arena(arena_settings(), tmp_path / "arena")
    assert standings.reference_names["most_frequent"] == "most frequent class"
