"""Every shipped experiment replayed from its journal: the same losses and accuracies to the bit, and no device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwloop.errors import DatasetError
from hwloop.experiment import digital
from hwloop.experiment.config import check_names, load_experiment
from hwloop.experiment.results import SeedResult
from hwloop.experiment.runner import replay_experiment, run_experiment
from hwloop.experiments.datasets import experiment_file, shipped_experiments, split
from hwloop.registry import DEVICES

TWO_SEEDS = "digits-optical"  # one is enough to show that seeds stay apart; and to paint its figures
NEED_DATA = {"digits-fibre", "vowels-acoustic"}
# Smaller where that makes another experiment of none: fewer seeds, outputs and epochs.
QUICKER = {
    "digits-acoustic": ["device.settings.n_microphones=2", "network.width=20"],
    "digits-optical": ["device.settings.n_outputs=60"],
    "mnist1d-optical": ["device.settings.n_outputs=60"],
    "digits-phyll": ["device.settings.n_outputs=60"],
    "digits-oscillators-eqprop": ["device.settings.n_oscillators=80", "trainer.settings.epochs=1"],
    "digits-microwave": ["device.settings.n_frequencies=3", "network.width=20"],
    # The twin, for where there is no Lava.
    "digits-lava": ["device.settings.engine=twin", "device.settings.window_seconds=0.02"],
    # Readouts in closed form have neither epochs nor losses.
    "diabetes-optical": ["device.settings.n_outputs=60"],
    "narma10-delay-loop": ["device.settings.n_nodes=40"],
    "narma10-passive-cavity": ["device.settings.n_nodes=30", "dataset.settings.sequences=6"],
    "narma10-tuned-cavity": [
        *("device.settings.n_nodes=10", "dataset.settings.sequences=6"),
        *("trainer.settings.searches=2", "trainer.settings.pairs=1"),
    ],
    "mackey-glass-delay-loop": ["device.settings.n_nodes=40"],
    "channel-equalisation-delay-loop": ["device.settings.n_nodes=20"],
    "santa-fe-delay-loop": ["device.settings.n_nodes=40"],
    "japanese-vowels-delay-loop": [
        "dataset.settings.steps=4",
        "network.sequence_steps=4",
        "device.settings.sequence_length=4",
        "device.settings.n_inputs=48",
        "device.settings.n_nodes=10",
    ],
}
SHORT = {
    "local": ["trainer.settings.epochs=2", "trainer.settings.min_steps=50"],
    "phyll": ["trainer.settings.epochs=2", "trainer.settings.min_steps=50"],
    "tune-outputs": ["trainer.settings.epochs=1", "trainer.settings.directions=1"],
}
CLOSED_FORM = ("readout", "reservoir")
MEASURED = ("scores", "losses", "rows", "recalled", "floor_rows")


def names():
    for name in shipped_experiments():
        marks = [pytest.mark.slow, *([pytest.mark.real_data] if name in NEED_DATA else [])]
        yield pytest.param(name, marks=marks)


def results(seeds: tuple[SeedResult, ...]):
    """With the validation scores and the details, under the names that the task gives them."""
    found = [seed.as_dict() for seed in seeds]
    names = {*MEASURED, *seeds[0].details, seeds[0].kind.validation_key}
    return [{name: entries[name] for name in names} for entries in found]


@pytest.fixture
def short_yardsticks(monkeypatch):
    """Floors that need no device: a few steps, a few rows."""
    small = replace(digital.STRONG, epochs=1, min_steps=12)
    monkeypatch.setattr(digital, "CANDIDATES", (small,))
    monkeypatch.setattr(digital, "TUNED_ON", 100)
    monkeypatch.setattr(digital, "FITTED_ON", 200)


@pytest.fixture
def no_device(monkeypatch):
    """From now on a device cannot even be made."""

    def refuse():
        def made(name, /, *arguments, **settings):
            raise AssertionError(f"the replay asks for the device {name}")

        monkeypatch.setattr(DEVICES, "build", made)

    return refuse


@pytest.mark.parametrize("name", list(names()))
def test_a_replay_is_the_same_to_the_last_bit_without_a_device(
    request, tmp_path, no_device, short_yardsticks, name
):
    if name != TWO_SEEDS:
        request.getfixturevalue("never_painted")
    seeds = f"seeds={1 + (name == TWO_SEEDS)}"
    shipped = load_experiment(experiment_file(name))
    short = [seeds, *SHORT.get(shipped.trainer.name, []), *QUICKER.get(name, [])]
    config = load_experiment(experiment_file(name), short)
    check_names(config)
    try:
        recorded = run_experiment(config, split, out=tmp_path / "run")
    except DatasetError as error:
        pytest.skip(str(error))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    no_device()
    replay = replay_experiment(tmp_path / "run", split, with_references=True)

    assert replay.differences == ()
    assert results(replay.evidence.seeds) == results(recorded.seeds)
    closed = config.trainer.name in CLOSED_FORM
    assert all(
        any(seed.losses) != closed for seed in recorded.seeds
    )  # rules of output errors learn in all stages together
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cached", "online"])
def test_the_device_replay_in_place_of_the_recorded_one_gives_the_same_results(tmp_path, schedule):
    settings = ["seeds=2", "evidence.floors=false", f"trainer.settings.schedule={schedule}"]
    settings += ["trainer.settings.epochs=2", "trainer.settings.min_steps=50"]

    def run(out, *device):
        config = load_experiment(experiment_file("digits-phyll"), [*settings, *device])
        return run_experiment(config, split, out=tmp_path / out)

    recorded = run("night1", "device.settings.n_outputs=60")
    again = run("again", "device=replay", f"device.settings.path={tmp_path / 'night1'}")
    assert results(again.seeds) == results(recorded.seeds)
    weights = [tmp_path / run / "checkpoints" / "final.safetensors" for run in ("night1", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
