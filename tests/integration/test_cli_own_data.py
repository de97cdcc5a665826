"""hwloop run --data: a user's table from the file to the report, and what run.toml keeps of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hwloop.checkpoint import load_network
from hwloop.cli.app import app
from hwloop.experiment.config import load_experiment
from hwloop.experiment.partition import partition
from hwloop.experiment.runner import replay_experiment
from hwloop.experiments.datasets import split
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.session import Session

pytestmark = pytest.mark.usefixtures("unpainted_figures")

CHANGES = [
    "device.settings.n_outputs=40",
    "device.settings.read_noise=0.0",
    "evidence.response_rows=0",
    "network.width=8",
    "trainer=readout",
]
SMALL = ["--no-floors", "--seeds", "2", *(f"--set={entry}" for entry in CHANGES)]
SAID = (
    "90 rows of 3 columns",
    "'kind' (the last column",
    "3 classes: setosa (30)",
    "taken for classification",
    "1 text column one-hot, 2 features: 'colour'",
    "9 missing values, filled in",
)


def hwloop(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A table with text, gaps and names of classes, and a run on it."""
    folder = tmp_path_factory.mktemp("flowers")
    rng = np.random.default_rng(0)
    kind = np.arange(90) % 3
    frame = pd.DataFrame({"width": kind + rng.normal(size=90) / 3, "length": rng.random(90) * 1e6})
    frame["colour"] = np.where(rng.random(90) < 0.5, "red", "blue")
    frame.loc[::11, "width"] = np.nan
    frame["kind"] = np.array(["setosa", "versicolor", "virginica"])[kind]
    frame.to_csv(folder / "my flowers.csv", index=False)
    result = hwloop("run", "--data", folder / "my flowers.csv", "--out", folder / "run", "--json", *SMALL)
    return folder, frame, result


def test_a_run_is_called_after_its_file_and_says_what_it_chose(flowers):
    folder, _, result = flowers
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["experiment"], found["dataset"]) == ("my-flowers", "my flowers.csv")
    assert found["test_accuracy"]["mean"] > 0.6
    said = " ".join(result.stderr.split())
    for words in SAID:
        assert words in said
    table = tomllib.loads((folder / "run" / "run.toml").read_text())
    assert table["description"] == "my flowers.csv"
    assert table["dataset"]["file"] == str(folder / "my flowers.csv")
    assert (table["dataset"]["target"], table["dataset"]["task"]) == ("kind", "classification")
    assert len(table["dataset"]["sha256"]) == 64
    report = (folder / "run" / "report.html").read_text()
    assert "my flowers.csv" in report
    assert "taken for classification" in report
    assert "andwritten" not in report
    metrics = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in metrics]
    assert events.index("Noticed") < events.index("RunForecast")


def test_a_run_of_ones_own_file_is_replayed_to_the_same_bits(flowers):
    folder, _, _ = flowers
    assert replay_experiment(folder / "run", split).differences == ()


def test_predictions_of_new_rows_are_those_of_the_run_with_names(flowers, tmp_path):
    folder, frame, _ = flowers
    config = load_experiment(folder / "run" / "run.toml")
    data = partition(config.dataset.build(), 1, split, 0.25, 0.0)
    rows = split(config.dataset.build(), 1, 0.25).test
    frame.iloc[rows][["colour", "length", "width"]].to_csv(tmp_path / "new.csv", index=False)
    result = hwloop("predict", folder / "run", tmp_path / "new.csv", "--json", "--journal", tmp_path)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["classes"] == ["setosa", "versicolor", "virginica"]
    network = load_network(
        folder / "run" / "checkpoints" / "final-seed-1.safetensors",
        2 * [Session(open_fitting_device(config.device[0].name, config.device[0].settings, 8, {"seed": 1}))],
        compare_device=False,
    )
    said = [list(each["probabilities"].values()) for each in found["predictions"]]
    np.testing.assert_array_equal(said, network.predict_proba(data.test.inputs))
    right = [
        each["class"] == kind for each, kind in zip(found["predictions"], frame["kind"].iloc[rows], strict=True)
    ]
    assert np.mean(right) > 0.6


@pytest.mark.slow
def test_predictions_are_the_same_bits_in_another_process_from_any_format(flowers, tmp_path):
    folder, frame, _ = flowers
    frame.iloc[:9].drop(columns="kind").to_csv(tmp_path / "new.csv", index=False)
    frame.iloc[:9].to_parquet(tmp_path / "new.parquet")
    here = hwloop("predict", folder / "run", tmp_path / "new.csv", "--json", "--journal", tmp_path / "here")
    expected = json.loads(here.stdout.splitlines()[-1])["predictions"]
    for name in ("new.csv", "new.parquet"):
        command = ["predict", str(folder / "run"), name, "--json", "--journal", name + ".rows"]
        program = [sys.executable, "-c", "from hwloop.cli import main; main()", *command]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["predictions"] == expected


@pytest.mark.parametrize("command", ["replay", "run"])
def test_a_file_edited_since_is_named(flowers, tmp_path, command):
    folder, frame, _ = flowers
    shutil.copytree(folder / "run", tmp_path / "run")
    text = (tmp_path / "run" / "run.toml").read_text()
    (tmp_path / "run" / "run.toml").write_text(text.replace(str(folder), str(tmp_path)))
    frame.iloc[1:].to_csv(tmp_path / "my flowers.csv", index=False)
    target = tmp_path / "run" / ("run.toml" if command == "run" else "")
    result = hwloop(command, target, *(["--out", tmp_path / "again"] if command == "run" else []), code=2)
    assert "my flowers.csv has changed since the run was begun" in " ".join(result.stderr.split())
    (tmp_path / "my flowers.csv").unlink()
    result = hwloop(command, target, code=2)
    assert "my flowers.csv" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "none.csv"], "the data file {folder}/none.csv does not exist"),
        (["--target", "kind"], "the dataset 'digits' has a target of its own"),
        (["--data", "my flowers.csv", "--target", "kinds"], "did you mean 'kind'?"),
        (["--data", "my flowers.csv", "--task", "sorting"], "unknown task 'sorting'"),
        (
            ["--data", "my flowers.csv", "--test-file", "none.csv"],
            "the data file {folder}/none.csv does not exist",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(flowers, monkeypatch, arguments, message):
    folder, _, _ = flowers
    monkeypatch.chdir(folder)
    result = hwloop("run", *arguments, code=2)
    assert message.format(folder=folder) in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (folder / "runs").exists()
