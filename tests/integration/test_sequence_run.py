"""A run of sequences from start to end: report, replay, resume, prediction; its page's series word for word."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from examples import each_row
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import replay_experiment, resume_experiment, run_experiment
from hwloop.experiments.datasets import experiment_file, shipped_experiments, split
from hwloop.experiments.time_series import channel_sequences, mackey_glass_sequences
from hwloop.runs.layout import METRICS

pytestmark = pytest.mark.usefixtures("unpainted_figures")

PAGE = Path(__file__).parents[2] / "docs" / "sequences.md"


def of(steps, *more):
    """Settings of a small run: short sequences, six of them, and a few nodes."""
    sizes = [f"dataset.settings.steps={steps}", f"device.settings.n_inputs={steps}"]
    sizes += [f"device.settings.sequence_length={steps}", "device.settings.n_nodes=12"]
    return [*sizes, *more]


SMALL = {
    "narma10-delay-loop": of(60, "dataset.settings.sequences=6", "dataset.settings.washout=10"),
    "narma10-passive-cavity": of(60, "dataset.settings.sequences=6", "dataset.settings.washout=10"),
    "mackey-glass-delay-loop": of(
        60, "dataset.settings.sequences=6", "dataset.settings.washout=10", "dataset.settings.ahead=[1, 4]"
    ),
    "channel-equalisation-delay-loop": of(80, "dataset.settings.sequences=6"),
    "santa-fe-delay-loop": of(60, "dataset.settings.values=361", "dataset.settings.washout=10"),
}


def small(name, *more):
    return load_experiment(experiment_file(name), [*SMALL[name], "seeds=2", *more])


def test_every_shipped_experiment_of_sequences_is_tried():
    found = {
        name
        for name, path in shipped_experiments().items()
        if tomllib.loads(path.read_text())["trainer"]["name"] == "reservoir"
    }
    assert found == SMALL.keys()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and the evidence of an experiment that ran once."""
    base = tmp_path_factory.mktemp("sequences")

    @functools.cache
    def run_of(name):
        return base / name, run_experiment(small(name), split, out=base / name)

    return run_of


@pytest.mark.parametrize("name", each_row(SMALL, "narma10-delay-loop", "channel-equalisation-delay-loop"))
def test_a_run_says_both_errors_and_is_replayed_to_the_last_bit(finished, name):
    folder, evidence = finished(name)
    comparison = replay_experiment(folder, split, with_references=True)
    assert comparison.differences == ()
    keys = {column.key for column in evidence.columns}
    assert {"nrmse", "nmse"} <= keys or "symbol_error_rate" in keys
    assert {"shift_register", "polynomial_memory", "digital_echo_state", "null_zeros"} <= evidence.seeds[
        0
    ].scores.keys()
    assert "backprop" not in evidence.seeds[0].scores
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Target and prediction" in page
    assert ("Wilson" in page) == ("symbol_error_rate" in keys)
    if "nrmse" in keys:
        assert "NMSE: mean squared error over the variance" in page
        assert evidence.as_json()["definitions"]["nrmse"] == "root of the NMSE"
        for scores in (seed.scores.values() for seed in evidence.seeds):
            assert all(each["nmse"] > 0 for each in scores)
        mean = evidence.seeds[0].scores["null_zeros"]
        assert mean["nmse"] == pytest.approx(1.0, abs=0.25)  # the mean of the training steps


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(finished, tmp_path):
    name = "narma10-delay-loop"
    _, evidence = finished(name)

    class Stop(Exception):
        pass

    def stop(event):
        if type(event).__name__ == "SeedFinished":
            raise Stop

    with pytest.raises(Stop):
        run_experiment(small(name), split, out=tmp_path / "cut", listeners=[stop])
    resumed = resume_experiment(tmp_path / "cut", split)
    assert [seed.scores for seed in resumed.seeds] == [seed.scores for seed in evidence.seeds]


FIBRE = """
name = "fibre"
dataset = {{ name = "mackey-glass", settings = {{ sequences = 4, steps = 30, washout = 8, ahead = [1, 5] }} }}
trainer = {{ name = "reservoir", settings = {{ memory = "digital", feedback_channels = 12 }} }}
network = {{ stages = 1 }}
split = {{ validation = 0.25 }}
[device]
name = "optical-fibre"
settings = {{ n_inputs = 32, n_outputs = 20, read_noise = {noise} }}
"""


def test_a_device_without_memory_takes_a_row_a_step_and_its_network_comes_back(tmp_path):
    (tmp_path / "fibre.toml").write_text(FIBRE.format(noise=0.0))
    config = load_experiment(tmp_path / "fibre.toml")
    told = []
    evidence = run_experiment(config, split, out=tmp_path / "run", listeners=[told.append])
    assert evidence.rows["train"] == 2 * 30
    assert evidence.rows["evaluate"] == 2 * 30
    assert evidence.rows["calibrate"] == 2 * 24 + 1
    said = [event.text for event in told if type(event).__name__ == "Noticed"]
    assert any("whole sequences are drawn" in text and "8 of the 30 steps" in text for text in said)
    assert replay_experiment(tmp_path / "run", split).differences == ()
    rows = mackey_glass_sequences(4, 30, 8, [1, 5]).inputs[:2]
    np.savetxt(tmp_path / "new.csv", rows, delimiter=",", fmt="%.17g")
    results = [
        CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(tmp_path / "new.csv")]) for _ in range(2)
    ]
    assert results[0].exit_code == 0, results[0].output
    assert results[0].stdout == results[1].stdout
    lines = [line.split("\t") for line in results[0].stdout.splitlines()]
    assert lines[0] == ["row", "step", "x(t+1)", "x(t+5)"]
    assert [line[:2] for line in lines[1:]] == [[str(row), str(step)] for row in (1, 2) for step in range(9, 31)]


def test_another_process_predicts_a_symbol_a_step(finished, tmp_path):
    folder, _ = finished("channel-equalisation-delay-loop")
    data = channel_sequences(6, 80)
    np.savetxt(tmp_path / "new.csv", data.inputs[:2], delimiter=",", fmt="%.17g")
    result = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "new.csv"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    steps = found["predictions"][0]["steps"]
    assert [each["step"] for each in steps] == list(range(21, 81))
    assert {each["symbol"] for each in steps} <= {"-3", "-1", "1", "3"}


def test_test_targets_change_no_bit_of_what_is_trained(finished, tmp_path):
    """The same run with other test targets: the same network."""
    import hwloop.experiments.time_series as series
    from hwloop.registry import DATASETS

    folder, _ = finished("narma10-delay-loop")
    config = small("narma10-delay-loop", "evidence.floors=false")
    plain = DATASETS.load

    def poisoned(**settings):
        made = series.narma10_sequences(**settings)
        targets = made.targets.copy()
        targets[split(made, 0, config.split.test, config.split.validation).test] *= -7.0
        return series.Dataset(made.name, made.inputs, targets, task=made.task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DATASETS, "load", lambda name: poisoned if name == "narma10" else plain(name))
        run_experiment(config.model_copy(update={"seeds": [0]}), split, out=tmp_path / "poisoned")
    final = "checkpoints/final-seed-0.safetensors"
    assert (tmp_path / "poisoned" / final).read_bytes() == (folder / final).read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["network.stages=2"], "one device, in one stage"),
        (["network.sequence_steps=30"], "have 60 steps"),
        (["network.activation=relu"], "no use for activation"),
        (["trainer.name=local"], "one target a row"),
        (["device.settings.n_nodes=7", "device.settings.readout=last"], "no whole number for each of 60 steps"),
        (["dataset.settings.washout=60"], "nothing to score"),
    ],
)
def test_what_cannot_be_is_one_line_before_the_first_row(settings, said, tmp_path):
    with pytest.raises(Exception, match=said):
        run_experiment(small("narma10-delay-loop", *settings), split, out=tmp_path / "run")
    measured = (tmp_path / "run" / METRICS).read_text() if (tmp_path / "run" / METRICS).exists() else ""
    assert "RowsMeasured" not in measured


def test_a_series_of_ones_own_runs_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = np.arange(1400)
    rng = np.random.default_rng(0)
    temperature = 10 + 8 * np.sin(2 * np.pi * times / 37) + rng.normal(0, 0.5, len(times))
    table = np.column_stack([temperature, 1000 + 5 * np.cos(times / 11), rng.uniform(0, 1, len(times))])
    np.savetxt("weather.csv", table, delimiter=",", header="temperature,pressure,rain", comments="")
    block = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block is not None
    Path("weather.toml").write_text('name = "weather"\n' + block[1])
    evidence = run_experiment(
        load_experiment(Path("weather.toml"), ["device.settings.n_nodes=20"]), split, out="run"
    )
    seed = evidence.seeds[0]
    assert (seed.n_train, seed.n_test) == (4, 2)
    assert seed.scores["network"]["nrmse"] < 0.9
    Path("new.csv").write_text("\n".join(Path("weather.csv").read_text().splitlines()[:451]))
    result = CliRunner().invoke(app, ["predict", "run", "new.csv"])
    assert result.exit_code == 0, result.output
    assert "the last 50 times make no whole sequence" in result.stderr.replace("\n", " ")
    assert len(result.stdout.splitlines()) == 1 + 2 * 150
    assert result.stdout.startswith("row\tstep\ttemperature(t+1)\n1\t51\t")
    Path("short.csv").write_text("\n".join(Path("weather.csv").read_text().splitlines()[:100]))
    assert "too few to predict from" in CliRunner().invoke(app, ["predict", "run", "short.csv"]).stderr
