"""The documentation's task is one file: it is learned and scored, floors follow, and a checkpoint names it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from small_fits import Mixer, small_network

import hwloop
from hwloop.errors import DatasetError
from hwloop.experiment.columns import Trial
from hwloop.experiment.digital import linear_model
from hwloop.experiment.partition import partition
from hwloop.experiments.dataset import Dataset, split

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
NAME = "positive_values"


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The class of docs/tasks.md, installed under the name of its entry point."""
    code = next(each for each in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "class PositiveValues" in each)
    entry = re.search(r"```toml\n(.*?)```", PAGE, re.S)[1]
    (tmp_path / f"{NAME}.py").write_text(code, encoding="utf-8")
    info = tmp_path / "positive-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: positive\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        re.sub(r'\[project.entry-points."(.*)"\]', r"[\1]", entry).replace('"', "")
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(NAME).PositiveValues()
    sys.modules.pop(NAME, None)


def test_one_file_is_a_task(task, tmp_path):
    X = np.random.default_rng(0).uniform(-1, 1, size=(160, 5))
    dataset = Dataset("decades", X, targets=np.exp(4 * np.linalg.norm(X, axis=1) + X[:, 0]), task=task)
    data = partition(dataset, 0, split, test=0.25, validation=0.0)
    network = small_network(Mixer())
    hwloop.trainer("readout").fit(network, data.train.inputs, data.train.targets, **data.task.fit_options())
    score, linear = (
        Trial(data.task, data.test.targets, model.predict(data.test.inputs), 0).score
        for model in (network, linear_model(data))
    )
    assert 0 < score["rmsle"] < 0.8 * linear["rmsle"]
    assert {"nrmse", "r2", "mae"} < set(score.as_dict())
    hwloop.save_network(network, tmp_path / "net.safetensors")
    again = hwloop.load_network(tmp_path / "net.safetensors", hwloop.Session(Mixer()))
    assert type(again.task) is type(task)
    np.testing.assert_array_equal(again.predict(X), network.predict(X))
    with pytest.raises(DatasetError, match="has values that are not above zero"):
        hwloop.trainer("readout").fit(network, X, X[:, 0], task=task)
    device = Mixer()
    with pytest.raises(hwloop.ConfigError, match="cannot learn a positive"):
        hwloop.trainer("phyll").fit(small_network(device), X, np.abs(X[:, 0]) + 1, task=task)
    assert device.rows == 0


def test_the_example_of_a_regression_runs_word_for_word(capsys):
    code = next(each for each in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "Regression((" in each)
    exec(compile(code, "docs/tasks.md", "exec"), {})
    predicted, true = (
        np.array([float(number) for number in part.split()])
        for part in re.fullmatch(r"\[(.*)\] \[(.*)\]\n", capsys.readouterr().out, re.S).groups()
    )
    assert np.abs(predicted - true).max() < 10.0
