"""Trainers of tunables: estimates against truths, what is checked and said before the first step, tunings kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import small_fits

import hwloop
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.registry import TRAINERS
from hwloop.training.rules.tuning import ParameterShift, Perturbation, TunedBatch, TuningSpace
from hwloop.training.schedules.in_situ import InSitu

TUNING = [name for name in small_fits.CLASSIFYING if isinstance(TRAINERS.build(name).schedule, InSitu)]


class Sines(hwloop.Device):
    """Output j is a sinusoid of tunable j, or of the sum of all; the stimulus shifts it."""

    simulated = True
    tuning_frequencies = 1.0

    def __init__(self, together: bool = False, tuned: bool = True) -> None:
        phases = hwloop.Tunable("phases", 6, 0.0, 2 * np.pi, "rad", rest=1.0)
        self.together = together
        self.spec = hwloop.DeviceSpec(6, 6, -1.0, 1.0, deterministic=True, tunables=(phases,) if tuned else ())
        self.rows = 0

    def _measure(self, inputs):
        self.rows += len(inputs)
        phases = np.full(6, self.tuning.sum()) if self.together else self.tuning
        return np.sin(inputs + phases)

    def slopes(self, inputs, tuning):
        """Of each output by its own tunable."""
        return np.cos(inputs + tuning)


def fitted(name, device=None, stages=1, **options):
    device = device or small_fits.Mixer()
    network = PhysicalNetwork(hwloop.Session(device), [Stage(4) for _ in range(stages)], seed=1)
    quick = small_fits.options(name, epochs=2, batch_samples=12, **options)
    history = hwloop.trainer(name, **quick).fit(network, *small_fits.blobs())
    return network, history


def batch(rule, device, space, stimuli, by):
    """What a device answers to a rule's question; the loss is by * response, summed over outputs."""
    tunings = np.stack([space.values(shares) for shares in rule.ask()])
    responses = []
    for tuning in tunings:
        device.tune(tuning)
        responses.append(device.measure(stimuli))
    responses = np.stack(responses)
    losses = (responses * by).sum(axis=2)
    return TunedBatch(stimuli, space.shares(tunings), responses, losses, np.tile(by, (len(tunings), 1, 1)))


RULES = {
    "outputs": Perturbation(directions=64, size=0.002),
    "outputs, both sides": Perturbation(directions=64, size=0.01, sides="both"),
    "loss": Perturbation(directions=512, size=0.01, sides="both", credit="loss"),
    "walsh": Perturbation(directions=8, size=0.002, credit="loss", codes="walsh"),
    "shift": ParameterShift(shifts=6),
}


@pytest.mark.parametrize("name", RULES)
def test_an_estimated_gradient_is_the_true_one(name):
    device, rng = Sines(), np.random.default_rng(0)
    space, rule = TuningSpace(device.spec), dataclasses.replace(RULES[name])
    start = rng.uniform(0.1, 0.9, 6)
    rule.begin(space, device, start, 10, rng)
    if name.startswith("outputs"):
        rule.told(rule.size, np.eye(6, dtype=bool))
    stimuli, by = rng.uniform(-1, 1, (5, 6)), rng.standard_normal((5, 6))
    with device:
        found = rule.gradient(batch(rule, device, space, stimuli, by))
    true = (by * device.slopes(stimuli, space.values(start))).mean(axis=0) * space.range
    tolerance = {"shift": 1e-9, "walsh": 0.06, "loss": 0.25}.get(name, 0.02)
    np.testing.assert_allclose(found, true, atol=tolerance * np.abs(true).max())


@pytest.mark.parametrize(
    ("together", "said"), [(False, "each tunable acts on one output"), (True, "as spsa does")]
)
def test_influence_is_looked_at_before_the_first_step_and_said(together, said):
    _, history = fitted("tune-outputs", Sines(together))
    assert said in history.stages[0].notes[0]
    assert "perturbed by" in history.stages[0].notes[0]


@pytest.mark.parametrize("name", TUNING)
def test_a_device_without_tunables_is_refused_in_one_line_before_any_row(name):
    device = Sines(tuned=False)
    with pytest.raises(hwloop.ConfigError, match="has no tunables") as raised:
        fitted(name, device)
    assert "\n" not in str(raised.value)
    assert device.rows == 0


@pytest.mark.parametrize(
    ("name", "lacks"), [("tune-exact", "pull_back_tuning"), ("tune-shift", "tuning_frequencies")]
)
def test_what_a_device_lacks_is_named(name, lacks, monkeypatch):
    monkeypatch.setattr(Sines, "tuning_frequencies", None)
    with pytest.raises(hwloop.ConfigError, match=lacks):
        fitted(name, Sines())


@pytest.mark.parametrize("name", ["tune-exact", "tune-outputs", "tune-sweep"])
def test_writes_are_announced_and_a_budget_of_them_refuses(name):
    network, _ = fitted(name)
    (inputs, labels), written = small_fits.blobs(), network.sessions[0].ledger.writes["train"]
    trainer = hwloop.trainer(name, **small_fits.options(name, epochs=2, batch_samples=12))
    assert 0 < written <= trainer.writes(len(inputs), 1)
    device = small_fits.Mixer()
    session = hwloop.Session(device, write_budget=trainer.writes(len(inputs), 1) - 1)
    with pytest.raises(hwloop.BudgetExceeded, match="writes"):
        trainer.fit(PhysicalNetwork(session, [Stage(4)]), inputs, labels)
    assert device.rows == 0


@pytest.mark.parametrize("stages", [1, 2])
def test_a_checkpoint_keeps_the_tuning_and_predicts_under_it(tmp_path, stages):
    network, _ = fitted("tune-exact", stages=stages)
    inputs, _ = small_fits.blobs()
    hwloop.save_network(network, tmp_path / "net.safetensors")
    again = hwloop.load_network(tmp_path / "net.safetensors", hwloop.Session(small_fits.Mixer()))
    for (_, stage, _), (_, loaded, _) in zip(network, again, strict=True):
        assert np.abs(stage.tuning - 1.0).max() > 0  # it has moved from rest
        np.testing.assert_array_equal(loaded.tuning, stage.tuning)
    np.testing.assert_array_equal(again.predict_proba(inputs), network.predict_proba(inputs))


def test_what_another_trainer_learned_under_a_sessions_tuning_is_predicted_under_it():
    session = hwloop.Session(small_fits.Mixer())
    session.tune(np.full(16, 2.0))
    network = PhysicalNetwork(session, [Stage(4)])
    inputs, labels = small_fits.blobs()
    hwloop.trainer("readout").fit(network, inputs, labels)
    before = network.predict_proba(inputs)
    session.tune(np.full(16, 0.5))
    np.testing.assert_array_equal(network.predict_proba(inputs), before)
    assert network.stages[0].tuning.tolist() == [2.0] * 16
