"""``hwloop fit``: rows of a rig without the rig."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hwloop
from hwloop.cli.app import app
from hwloop.cli.fit_command import verdict
from hwloop.experiment.intervals import Interval


def rows_of(device, rows, path):
    """Random rows, measured and written as a table."""
    inputs = np.random.default_rng(0).uniform(device.spec.low, device.spec.high, (rows, device.spec.n_inputs))
    with device:
        outputs = device.measure(inputs)
    names = [f"x{k}" for k in range(inputs.shape[1])] + [f"y{k}" for k in range(outputs.shape[1])]
    pd.DataFrame(np.hstack([inputs, outputs]), columns=names).to_csv(path, index=False)


@pytest.mark.slow
def test_a_table_becomes_a_twin_a_passport_and_an_answer(tmp_path):
    path = tmp_path / "rows.csv"
    rows_of(hwloop.open_device("linear-instrument", n_channels=4), 300, path)
    done = CliRunner().invoke(app, ["fit", str(path), "--seeds", "1", "--task", "wine", "--json"])
    assert done.exit_code == 0, done.output
    assert "best floor: " in done.stderr
    assert "best digital method: " in done.stderr
    said, folder = json.loads(done.stdout.splitlines()[-1]), tmp_path / "rows-fit"
    assert said["measured"]["linear_share"] > 0.9
    assert said["pays"]["answer"] in ("no", "not shown")
    assert any("a digital matrix does the same" in note for note in said["measured"]["notes"])
    assert said["passport"]["figures"]["independent"]["value"] == 4
    twin = hwloop.open_device(str(folder / "twin.toml"))
    assert twin.spec.n_inputs == 4
    assert json.loads((folder / "fit.json").read_text())["twin"] == said["twin"]
    assert (folder / "run" / "report.html").is_file()
    assert "Passport" in (folder / "passport.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv"], "none.csv cannot be read"),
        (["rows.csv", "--task", "digit"], "did you mean 'digits'"),
        (["rows.csv", "--inputs", "z*"], "has no column 'z*'"),
        (["rows.csv", "--out", "full"], "full is not empty"),
        (["few.csv", "--task", "none"], "at least 20 measured rows"),
    ],
)
def test_a_wrong_request_is_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"0.{k},{k}\n" for k in range(30)))
    (tmp_path / "few.csv").write_text("x,y\n1,2\n2,3\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    done = CliRunner().invoke(app, ["fit", *words])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("hwloop:")]) == 1
    assert not (tmp_path / "rows-fit").exists()
    assert not (tmp_path / "few-fit").exists()


def test_one_seed_never_says_that_training_pays():
    """Its test rows leave an interval, but what another seed would change is not in it."""
    rows = Interval(0.04, None, None, rows=(0.01, 0.07))
    metric = SimpleNamespace(difference="points", title="accuracy", scale=100)
    evidence = SimpleNamespace(
        physics_adds=rows,
        best_null="null_linear",
        metric=metric,
        lines=lambda: [SimpleNamespace(key="null_linear", name="null physics, linear map")],
    )
    found = verdict(evidence)
    assert found["answer"] == "not shown"
    assert found["said"].endswith("There the rig adds +4 points over null physics, linear map")
    evidence.physics_adds = replace(rows, low=0.02, high=0.06)
    assert verdict(evidence)["answer"] == "yes"
