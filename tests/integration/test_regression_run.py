"""A regression from its file to the report: stopped and gone on with, replayed, and used in another process."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import hwloop
from hwloop.events import EpochFinished
from hwloop.experiment.conclusion import recorded_results
from hwloop.experiment.config import load_experiment
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.runner import replay_experiment, resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.runs.summary import summary_of
from hwloop.tasks import Regression

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unpainted_figures")]

EXPERIMENT = """
name = "cones"
dataset = "cones:cones"
seeds = 2
trainer = { name = "local", settings = { epochs = 2, min_steps = 60 } }
[device]
name = "optical-fibre"
settings = { n_inputs = 16, n_outputs = 30, read_noise = 0.01 }
[network]
width = 8
[split]
validation = 0.2
[evidence]
response_rows = 9
floors = false
"""
DATA = """
import numpy as np
from hwloop.experiments.dataset import Dataset
from hwloop.tasks import Regression

def cones():
    X = np.random.default_rng(0).uniform(-1, 1, size=(160, 5))
    heights = 700 + 40 * (X[:, 0] + np.linalg.norm(X, axis=1))
    both = np.stack([heights, 1e-3 * X[:, 1]], axis=1)
    return Dataset("cones", X, targets=both, task=Regression(("height", "tilt")))
"""


class PowerCut(BaseException):
    """Ends a run from inside."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with a finished run, ``whole``, and one that was cut within a stage and gone on with, ``cut``."""
    folder = tmp_path_factory.mktemp("cones")
    (folder / "cones.py").write_text(DATA)
    (folder / "cones.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        config = load_experiment(folder / "cones.toml")
        run_experiment(config, split, out=folder / "whole")
        seen = 0

        def cut(event):
            nonlocal seen
            seen += isinstance(event, EpochFinished)
            if seen == 90:
                raise PowerCut

        with pytest.raises(PowerCut):
            run_experiment(config, split, out=folder / "cut", listeners=[cut])
        resume_experiment(folder / "cut", split)
        yield folder
    sys.modules.pop("cones", None)


def test_a_run_that_was_cut_ends_like_one_that_was_not(lab):
    whole, cut = (recorded_results(lab / name) for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() == {0, 1}
    for seed in whole:
        for name in ("task", "scores", "losses", "predicted_values", "target_scores", "validation_scores"):
            assert whole[seed][name] == cut[seed][name], name
    finals = [(lab / name / "checkpoints" / "final.safetensors").read_bytes() for name in ("whole", "cut")]
    assert finals[0] == finals[1]


def test_it_is_replayed_from_its_journals_alone(lab):
    compared = replay_experiment(lab / "whole", split)
    assert compared.differences == ()
    assert compared.evidence.as_json()["test_nrmse"]["mean"] < 0.8


def test_report_runs_and_evidence_speak_of_values(lab):
    html = (lab / "whole" / "report.html").read_text()
    assert all(words in html for words in ("test NRMSE", "Predicted against true values", "<td>tilt</td>"))
    assert "accuracy" not in html
    assert (lab / "whole" / "plots" / "predicted_values.png").is_file()
    result = next(iter(recorded_results(lab / "whole").values()))
    assert result["task"] == Regression.kind
    assert set(result["scores"]["network"]) >= {"nrmse", "nmse", "r2", "mae"}
    told = replay_experiment(lab / "whole", split).evidence.as_json()
    assert told["nmse"]["network"]["mean"] < told["test_nrmse"]["mean"] < 1
    assert told["definitions"].keys() == {"nrmse", "nmse"}
    assert "NRMSE: " in html
    assert re.fullmatch(r"NRMSE \d\.\d{3}, NMSE \d\.\d{4}", summary_of(lab / "whole").score_text)
    assert isinstance(replay_experiment(lab / "cut", split).evidence, Evidence)


def test_another_process_predicts_the_same_values_to_the_last_bit(lab):
    rows = np.random.default_rng(1).uniform(-1, 1, size=(4, 5))
    np.savetxt(lab / "new.csv", rows, delimiter=",", fmt="%.17g", header="a,b,c,d,e", comments="")
    command = [sys.executable, "-m", "hwloop.cli", "predict", str(lab / "whole"), str(lab / "new.csv")]
    told = [
        subprocess.run([*command, *more], check=True, capture_output=True, text=True, timeout=240, cwd=lab).stdout
        for more in ((), ("--json", "--journal", str(lab / "again")))
    ]
    values = [list(row["values"].values()) for row in json.loads(told[1])["predictions"]]
    assert told[0].splitlines()[0] == "row\theight\ttilt"
    assert [line.split("\t")[1:] for line in told[0].splitlines()[1:]] == [
        [repr(v) for v in row] for row in values
    ]
    device = hwloop.open_device("optical-fibre", n_inputs=16, n_outputs=30, read_noise=0.01, seed=1)
    network = hwloop.load_network(lab / "whole" / "checkpoints" / "final.safetensors", hwloop.Session(device))
    np.testing.assert_array_equal(network.predict(rows), np.array(values))
