"""A fit that goes on from a checkpoint ends as if nothing had happened: every trainer, to the last bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from examples import each_row
from small_fits import CLASSIFYING

import hwloop
from hwloop.checkpoint import read_training
from hwloop.journal import InMemoryJournal
from hwloop.reference import Reference

SAMPLES, FEATURES, CLASSES = 45, 5, 3
ONE_CYCLE = {"epochs": 1, "min_steps": 12, "batch_samples": 16}
OUTPUT_ERROR = {"epochs": 2, "batch_samples": 16}
LOOKAHEAD = {"epochs": 1, "share": 0.45, "twin": "linear"}

# What each trainer is tried with; several where its options choose between parts that remember something.
CASES: dict[str, list[dict]] = {
    "all-labels": [ONE_CYCLE],
    "baffle": [OUTPUT_ERROR | {"clients": 2, "pairs": 1}],
    "block": [ONE_CYCLE, ONE_CYCLE | {"stages": 1}, ONE_CYCLE | {"sweeps": 2}],
    "channel-competition": [ONE_CYCLE],
    "collab": [ONE_CYCLE],
    "collaboration": [ONE_CYCLE],
    "dfa": [OUTPUT_ERROR],
    "eqprop": [OUTPUT_ERROR],
    "exact-gradient": [OUTPUT_ERROR],
    "ff": [ONE_CYCLE, ONE_CYCLE | {"negatives": "hard"}],
    "ff-unsupervised": [ONE_CYCLE],
    "greedy": [ONE_CYCLE],
    "lookahead": [LOOKAHEAD, LOOKAHEAD | {"input_noise": 0.0}],
    "local": [ONE_CYCLE, ONE_CYCLE | {"map_share": 0.5}],
    "mgd": [OUTPUT_ERROR],
    "node-perturbation": [OUTPUT_ERROR, OUTPUT_ERROR | {"directions": "local"}],
    "pepita": [OUTPUT_ERROR],
    "phyll": [ONE_CYCLE, {"schedule": "online", "epochs": 3, "batch_samples": 16, "readout": "softmax"}],
    "physics-aware": [OUTPUT_ERROR | {"twin": "linear", "twin_rows": 40}],
    "product-feedback": [OUTPUT_ERROR],
    "prototypes": [ONE_CYCLE],
    "readout": [{}],
    "scff": [ONE_CYCLE],
    "spsa": [OUTPUT_ERROR],
    "symba": [ONE_CYCLE],
    "zo": [OUTPUT_ERROR | {"update": update} for update in ("adam", "sgd", "sign", "conservative")],
}
EVERY_CASE = {f"{name}-{k}": (name, options) for name in CASES for k, options in enumerate(CASES[name])}
# One for each way to fit: stage by stage, over all stages at once, online, and by estimates of the gradient.
FAST = (
    "block-2",
    "dfa-0",
    "ff-1",
    "local-1",
    "lookahead-0",
    "node-perturbation-1",
    "phyll-1",
    "readout-0",
    "zo-3",
)


def test_every_registered_trainer_is_tried():
    own = {name for name, entry in CLASSIFYING.items() if entry.value.startswith("hwloop.")}
    # Those that tune a device are executed again, their rows answered by the journal.
    assert set(CASES) == {name for name in own if hwloop.trainer(name).resumable}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(SAMPLES + 12) % CLASSES
    inputs = rng.normal(size=(len(labels), FEATURES)) + labels[:, None]
    return (inputs[:SAMPLES], labels[:SAMPLES]), (inputs[SAMPLES:], labels[SAMPLES:])


def new_network(name, journal, stages=2):
    if name == "eqprop":
        device = hwloop.open_device("settled-oscillators", n_inputs=FEATURES, n_oscillators=9, seed=1)
    else:
        device = hwloop.open_device("optical-fibre", n_inputs=FEATURES + CLASSES + 1, n_outputs=8, seed=1)
    session = hwloop.Session(device, journal=journal, reference=Reference(every_rows=50, stimuli=4))
    return hwloop.PhysicalNetwork(session, [hwloop.Stage(7) for _ in range(stages)], seed=2)


def ended(network, history):
    """All that must be the same to the last bit."""
    session = network.sessions[0]
    ledger = session.ledger
    curve = [(point.row, point.drift) for point in session.drift_curve]
    counts = (ledger.rows, ledger.recalled, session.journal.rows, len(session.memory), curve)
    stages = [stage.as_dict() for stage in history.stages]
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}, stages, counts


@pytest.mark.parametrize("case", each_row(EVERY_CASE, *FAST))
def test_from_every_checkpoint_to_the_same_bits(tmp_path, data, case):
    name, options = EVERY_CASE[case]
    (inputs, labels), validation = data
    journal, points = InMemoryJournal(), []
    network = new_network(name, journal)

    def keep(state):
        path = tmp_path / f"{state.name}.safetensors"
        hwloop.save_network(network, path, training=state)
        if state.resumable:
            points.append((path, copy.deepcopy(journal)))

    trainer = hwloop.trainer(name, **options)
    assert trainer.resumable
    history = trainer.fit(network, inputs, labels, validation, checkpoint=keep)
    tensors, stages, counts = ended(network, history)
    assert points
    for number, (path, journal_then) in enumerate(points):
        # Killed at the checkpoint, and killed when everything was measured.
        rest = journal_then if number % 2 == 0 else copy.deepcopy(journal)
        again = new_network(name, rest)
        saved = read_training(path)
        resumed = hwloop.trainer(name, **options).fit(again, inputs, labels, validation, saved=saved)
        found, found_stages, found_counts = ended(again, resumed)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[key], tensors[key]) for key in tensors), path.name
        assert (found_stages, found_counts) == (stages, counts), path.name
