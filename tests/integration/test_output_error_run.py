"""A run by a trainer that uses a model says so everywhere, and a device without a derivative is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import hwloop
from hwloop.experiment.config import load_experiment
from hwloop.experiment.report import REPORT
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import split

pytestmark = pytest.mark.usefixtures("unpainted_figures")

FEW = """
from dataclasses import replace
from hwloop.experiments.datasets import digits

def few():
    all = digits()
    return replace(all, name="few", inputs=all.inputs[:60], labels=all.labels[:60])
"""
RUN = """
name = "few"
dataset = "few_digits_of_yardstick:few"
[device]
name = "optical-fibre"
[device.settings]
n_outputs = 20
[trainer]
name = "{trainer}"
[trainer.settings]
epochs = 2
{more}
[network]
width = 12
stages = 2
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "more", "says"),
    [("exact-gradient", "", True), ("physics-aware", 'twin = "linear"', True), ("dfa", "", False)],
)
def test_every_output_of_a_run_says_that_a_model_was_used(trainer, more, says, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "few_digits_of_yardstick.py").write_text(FEW)
    (tmp_path / "few.toml").write_text(RUN.format(trainer=trainer, more=more))
    evidence = run_experiment(load_experiment(tmp_path / "few.toml"), split, out=tmp_path / "run")
    assert ("uses a model" in evidence.lines()[0].method) == says
    assert bool(evidence.seeds[0].as_dict()["uses_model"]) == says
    assert ("uses a model" in (tmp_path / "run" / REPORT).read_text(encoding="utf-8")) == says


class NoDerivative(hwloop.Device):
    """A black box, as hardware is."""

    def __init__(self) -> None:
        self.spec = hwloop.DeviceSpec(80, 10, -1.0, 1.0)
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        return inputs[:, :10] ** 2


def test_a_device_without_a_derivative_is_refused_before_the_first_row():
    device = NoDerivative()
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(8), hwloop.Stage(8)])
    X, y = load_digits(return_X_y=True)
    with pytest.raises(hwloop.ConfigError, match="derivative of the device of stage 2"):
        hwloop.trainer("exact-gradient").fit(network, X[:40], y[:40])
    assert device.rows == 0
    assert np.isfinite(
        hwloop.trainer("physics-aware", twin="linear", epochs=2).fit(network, X[:40], y[:40]).losses
    ).all()
