"""Every registered trainer in a run: its checkpoint predicts the same, and a run that was cut ends the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from small_fits import CLASSIFYING, each_trainer

import hwloop
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.registry import TRAINERS, accepted_settings

pytestmark = pytest.mark.usefixtures("never_painted")

QUICK: dict[str, int | str] = {"epochs": 1, "min_steps": 10, "twin": "linear"}
FIBRE = ("optical-fibre", {"n_outputs": 20})
SPECKLE = ("programmable-speckle", {"n_outputs": 20, "pixels": "shared", "n_pixels": 8})
SERVED_BY = dict.fromkeys((n for n in CLASSIFYING if TRAINERS.build(n).writes(60)), SPECKLE) | {
    "eqprop": ("settled-oscillators", {"hardening": 2.0}),
    "tune-shift": ("mach-zehnder-mesh", {"n_modes": 6}),
}
every_trainer = pytest.mark.parametrize("name", CLASSIFYING)


def quick(name: str) -> dict[str, int | str]:
    """As much of QUICK as a trainer takes."""
    accepted = accepted_settings(TRAINERS.load(name)) or QUICK.keys()
    return {key: value for key, value in QUICK.items() if key in accepted}


def toml_lines(settings: dict[str, int | float | str]) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())


@pytest.mark.parametrize("name", each_trainer("block", "dfa", "ff", "local", "phyll", "readout"))
def test_a_saved_network_predicts_the_same_again(name, tmp_path):
    X, y = load_digits(return_X_y=True)
    kind, settings = SERVED_BY.get(name, FIBRE)
    sized = {} if kind == "mach-zehnder-mesh" else {"n_inputs": 84}
    device = hwloop.open_device(kind, read_noise=0.0, **sized, **settings)
    stages = [hwloop.Stage(12, "relu"), hwloop.Stage(15), hwloop.Stage(11)]
    network = hwloop.PhysicalNetwork(hwloop.Session(device), stages, seed=3)
    hwloop.trainer(name, **quick(name)).fit(network, X[:60], y[:60])
    hwloop.save_network(network, tmp_path / "net.safetensors")
    again = hwloop.load_network(tmp_path / "net.safetensors", hwloop.Session(device))
    np.testing.assert_array_equal(again.predict_proba(X[100:110]), network.predict_proba(X[100:110]))
    assert again.multiply_adds == network.multiply_adds


FEW_DIGITS = """
from dataclasses import replace
from hwloop.experiments.datasets import digits

def few_digits():
    all = digits()
    return replace(all, name="few", inputs=all.inputs[:60], labels=all.labels[:60])
"""


class PowerCut(Exception):
    """Ends a run from inside."""


@pytest.mark.slow
@every_trainer
def test_a_run_that_was_cut_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "few_digits.py").write_text(FEW_DIGITS)
    kind, device_settings = SERVED_BY.get(name, FIBRE)
    (tmp_path / "kept.toml").write_text(
        f"""
name = "kept"
dataset = "few_digits:few_digits"
[device]
name = "{kind}"
[device.settings]
{toml_lines(device_settings)}
[trainer]
name = "{name}"
[trainer.settings]
{toml_lines(quick(name))}
[network]
width = 12
stages = 2
[evidence]
floors = false
"""
    )
    experiment = load_experiment(tmp_path / "kept.toml")
    measured = 0

    def cut_in_stage_two(event: hwloop.events.Event) -> None:
        nonlocal measured
        measured += getattr(event, "rows", 0)
        if measured > 60:  # of 45 samples: in the midst of the fit
            raise PowerCut

    run_experiment(experiment, split, out=tmp_path / "whole")
    with pytest.raises(PowerCut):
        run_experiment(experiment, split, out=tmp_path / "cut", listeners=[cut_in_stage_two])
    resume_experiment(tmp_path / "cut", split)
    whole, cut = (load_file(tmp_path / run / "checkpoints" / "final.safetensors") for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for key, tensor in whole.items():
        assert torch.equal(tensor, cut[key]), key
