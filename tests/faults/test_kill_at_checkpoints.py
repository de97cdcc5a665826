"""Kill -9 at a checkpoint and between two, every trainer: no row lost or doubled, the same bits, less work."""

from __future__ import annotations

from pathlib import Path

import kill_at_checkpoints
import numpy as np
import pytest
from small_fits import CLASSIFYING

from hwloop.journal import ReadOnlyJournal
from hwloop.registry import TRAINERS

pytestmark = pytest.mark.exhaustive

# The fibre's camera is noisy: whatever is measured twice, or in another order, gives other responses.
LAB = '''
from pathlib import Path
from sklearn.datasets import load_digits
from hwloop.experiments.dataset import Dataset
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.oscillators.settled import SettledOscillators

def few_digits():
    X, y = load_digits(n_class=3, return_X_y=True)
    return Dataset("few digits", X[:60, 10:20], y[:60], ("0", "1", "2"))

def count(inputs):
    with Path(__file__).with_name("measured").open("ab") as file:
        file.write(b"." * len(inputs))

class Fibre(OpticalFibre):
    """Counts, on disk, every row that it measures."""
    def _measure(self, inputs):
        responses = super()._measure(inputs)
        count(inputs)
        return responses

class Oscillators(SettledOscillators):
    """The same, with nudges."""
    def _measure(self, inputs):
        responses = super()._measure(inputs)
        count(inputs)
        return responses
'''
EXPERIMENT = """
dataset = "{lab}:few_digits"
device = {{ name = "{lab}:{device}", settings = {{ {device_settings} }} }}
trainer = {{ name = "{trainer}", settings = {{ {settings} }} }}
network = {{ width = 8, stages = 3 }}
evidence = {{ floors = false }}
reference = {{ every_rows = 70, stimuli = 4 }}
"""
SHORT = {"epochs": "epochs = 5", "min_steps": "min_steps = 15", "batch_samples": "batch_samples = 16"}
EXTRA = {
    "lookahead": 'share = 0.6, twin = "linear"',
    "physics-aware": 'twin = "linear", twin_rows = 40',
    "phyll-online": 'schedule = "online"',
    "node-perturbation-local": 'directions = "local"',
    "local-streamed": "map_share = 0.5",
}
# Those that tune a device save nothing in the middle: tests/faults/test_tunables_killed.py kills one.
SHIPPED = sorted(
    name
    for name, entry in CLASSIFYING.items()
    if entry.value.startswith("hwloop.") and TRAINERS.build(name).resumable
)
NAMES = [*SHIPPED, "phyll-online", "node-perturbation-local", "local-streamed"]


def write_experiment(folder, name):
    """An experiment of a trainer, and the device that counts its rows, in a module of its own."""
    from inspect import signature

    kind = name if name in SHIPPED else name.rpartition("-")[0]
    accepted = signature(TRAINERS.entries()[kind].load()).parameters
    settings = [text for key, text in SHORT.items() if key in accepted]
    lab = f"lab_{name.replace('-', '_')}"
    (folder / f"{lab}.py").write_text(LAB)
    device = ("Oscillators", "n_oscillators = 20") if kind == "eqprop" else ("Fibre", "n_outputs = 20")
    text = EXPERIMENT.format(
        lab=lab,
        device=device[0],
        device_settings=device[1],
        trainer=kind,
        settings=", ".join([*settings, *([EXTRA[name]] if name in EXTRA else [])]),
    )
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def ended(process):
    process.start()
    process.join(120)
    return process.exitcode


def rows(run: Path):
    journal = ReadOnlyJournal(run / "journal" / "seed-0-device-0")
    try:
        return [array.tobytes() for array in journal.read_rows(np.arange(journal.rows))], journal.rows
    finally:
        journal.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_killed_at_a_checkpoint_and_between_two(tmp_path, monkeypatch, processes, name):
    monkeypatch.syspath_prepend(tmp_path)
    config, counter = write_experiment(tmp_path, name), tmp_path / "measured"
    whole = tmp_path / "whole"
    assert ended(processes.Process(target=kill_at_checkpoints.begin, args=(config, whole, ""))) == 0
    (expected, total), weights = rows(whole), (whole / "checkpoints" / "final.safetensors").read_bytes()
    counter.unlink()
    for where in (kill_at_checkpoints.BORDER, kill_at_checkpoints.MIDST):
        run = tmp_path / where
        killed = ended(processes.Process(target=kill_at_checkpoints.begin, args=(config, run, where)))
        assert killed in (-9, 0)  # 0 where no two epochs follow the first checkpoint
        if killed == 0:
            assert where == kill_at_checkpoints.MIDST
            counter.unlink()
            continue
        receive, send = processes.Pipe(duplex=False)
        assert ended(processes.Process(target=kill_at_checkpoints.go_on, args=(run, send))) == 0
        assert rows(run)[0] == expected
        assert counter.stat().st_size == total  # the device: not one row more, not one less
        assert (run / "checkpoints" / "final.safetensors").read_bytes() == weights
        trained = receive.recv()
        assert (0, 1) not in trained, "the first stage, or epoch, was trained again"
        counter.unlink()
