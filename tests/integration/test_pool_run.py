"""A run on several copies of a noisy simulation is, to the last bit, the run on one of them."""

from __future__ import annotations

import json

import pytest

from hwloop.experiment.config import validated
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import split

TABLE = {
    "name": "pooled",
    "dataset": "digits",
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 40}},
    "trainer": {"name": "local", "settings": {"epochs": 2, "min_steps": 50}},
    "network": {"width": 20},
    "evidence": {"floors": False},
    "seeds": [0],
}


@pytest.mark.slow
def test_copies_of_a_device_change_nothing_but_the_time(tmp_path):
    weights = {}
    for copies in (None, 3):
        device = TABLE["device"] | ({} if copies is None else {"copies": copies})
        folder = tmp_path / f"{copies}"
        run_experiment(validated(TABLE | {"device": device}, "test"), split, out=folder)
        weights[copies] = (folder / "checkpoints" / "final.safetensors").read_bytes()
    assert weights[None] == weights[3]
    assert json.dumps(json.loads((tmp_path / "3" / "environment.json").read_text())).count("Pool(simulated") >= 1
    assert "copies = 3" in (tmp_path / "3" / "run.toml").read_text()
    assert "copies" not in (tmp_path / "None" / "run.toml").read_text()
