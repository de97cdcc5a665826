"""The trainer reservoir: states at every step, a ridge readout, rows as it says, and nothing of the test rows."""

import numpy as np
import pytest
import torch
from small_fits import CLASSIFYING, Mixer, small_network

import hwloop
from hwloop.device import Device, DeviceSpec
from hwloop.errors import BudgetExceeded, ConfigError, DatasetError
from hwloop.layers import PhysicalNetwork
from hwloop.tasks import Classification, SequenceOfSymbols, SequenceOfValues
from hwloop.training.trainers.sequence import DrivenStage

STEPS, WASHOUT = 40, 8


class Taps(Device):
    """Answers after every step with the last ``depth`` inputs: a delay line."""

    def __init__(self, depth=6):
        self.depth = depth
        self.spec = DeviceSpec(n_inputs=STEPS, n_outputs=STEPS * depth, input_low=-1.0, deterministic=True)

    def _measure(self, inputs):
        delayed = [np.pad(inputs, ((0, 0), (k, 0)))[:, :STEPS] for k in range(self.depth)]
        return np.stack(delayed, axis=2).reshape(len(inputs), -1)


class Crystal(Device):
    """No memory: a fixed linear map."""

    def __init__(self):
        self.spec = DeviceSpec(n_inputs=20, n_outputs=30, input_low=-1.0, deterministic=True)
        self.matrix = np.random.default_rng(0).standard_normal((20, 30)) / 10

    def _measure(self, inputs):
        return inputs @ self.matrix


def delayed(inputs, by):
    return np.pad(inputs, ((0, 0), (by, 0)))[:, :STEPS]


def rows(count, seed=0):
    """Of a few values, so that the encoder, which gives up the largest 0.3 %, clips none."""
    return np.random.default_rng(seed).choice(np.linspace(-1, 1, 9), (count, STEPS))


PHYSICAL = {}
DIGITAL = {"memory": "digital", "feedback_channels": 12, "input_gain": 0.2}
MEMORIES = {"physical": (Taps, PHYSICAL, 1, 0), "digital": (Crystal, DIGITAL, STEPS, 49)}
each_memory = pytest.mark.parametrize("memory", MEMORIES)


def made(memory, **session):
    device, options, _, _ = MEMORIES[memory]
    trainer = hwloop.trainer("reservoir", **options)
    task = SequenceOfValues(STEPS, WASHOUT)
    stage = DrivenStage(STEPS, memory, {k: v for k, v in options.items() if k != "memory"})
    return trainer, PhysicalNetwork(hwloop.Session(device(), **session), [stage]), task


@each_memory
@pytest.mark.parametrize("by", [0, 2])
def test_a_memory_gives_its_input_back_delayed(memory, by):
    trainer, network, task = made(memory)
    trainer.fit(network, rows(6), delayed(rows(6), by), task=task)
    tests = rows(3, seed=9)
    error = task.metrics[1].of(*task.scored(delayed(tests, by), network.predict(tests)))
    assert error < (1e-12 if memory == "physical" else 1e-4)


@each_memory
def test_it_measures_the_rows_that_it_says_and_a_sequence_stands_alone(memory):
    trainer, network, task = made(memory)
    _, _, a_sequence, to_fit = MEMORIES[memory]
    validation = rows(2, seed=3)
    history = trainer.fit(network, rows(5), delayed(rows(5), 1), (validation, delayed(validation, 1)), task=task)
    ledger, asked = network.sessions[0].ledger, task.cost_options()
    # A step that comes twice in one state is the same row: recalled, not measured again.
    trained = ledger["train"] + ledger.recalled["train"] + ledger["calibrate"]
    assert trainer.cost(5, task.n_outputs, 1, **asked) == 5 * a_sequence + to_fit == trained
    predicted = ledger["evaluate"] + ledger.recalled["evaluate"]
    assert trainer.predict_cost(2, task.n_outputs, 1, **asked) == 2 * a_sequence == predicted
    assert history.stages[0].validation_accuracy < 0.1  # NRMSE
    together = network.predict(validation)
    np.testing.assert_array_equal(network.predict(validation[1:]), together[1:])
    assert network.prediction_rows(2) == {network.sessions[0]: 2 * a_sequence}
    nodes, per_step = network.readout.weight.shape[0], network.stages[0].memory.multiply_adds_a_step
    assert network.multiply_adds == STEPS * (per_step + 2 * nodes)


@each_memory
def test_a_budget_is_refused_before_the_first_row(memory):
    trainer, network, task = made(memory, budget=4)
    with pytest.raises(BudgetExceeded):
        trainer.fit(network, rows(5), rows(5), task=task)
    assert network.sessions[0].ledger.total == 0


@each_memory
def test_washout_and_test_targets_leave_every_bit_of_the_training_alone(memory):
    def fitted(targets):
        trainer, network, task = made(memory)
        trainer.fit(network, rows(6), targets, task=task)
        return network.state_dict()

    targets = delayed(rows(6), 2)
    poisoned = targets.copy()
    poisoned[:, :WASHOUT] += 1e3
    plain, spoilt = fitted(targets), fitted(poisoned)
    assert plain.keys() == spoilt.keys()
    assert all(torch.equal(plain[name], spoilt[name]) for name in plain)


def test_symbols_come_out_as_symbols():
    task = SequenceOfSymbols(STEPS, WASHOUT, names=("down", "up"), codes=((-1.0,), (1.0,)))
    trainer, network, _ = made("physical")
    sent = (delayed(rows(6), 1) > 0).astype(int)
    trainer.fit(network, rows(6), sent, task=task)
    found = network.predict(rows(2, seed=5))
    assert found.dtype == np.int64
    assert task.score((delayed(rows(2, seed=5), 1) > 0).astype(int), found) < 0.2


@pytest.mark.parametrize("name", CLASSIFYING)
def test_other_trainers_refuse_a_target_at_every_step_before_the_first_row(name):
    device = Mixer()
    network = small_network(device)
    task = SequenceOfValues(5, 1)
    assert "sequence" not in hwloop.trainer(name).serves
    with pytest.raises(ConfigError, match=r"one target a row.*such as reservoir"):
        hwloop.trainer(name).fit(network, rows(4)[:, :5], rows(4)[:, :5], task=task)
    assert device.rows == 0


def test_it_refuses_what_is_no_sequence_and_options_that_do_not_belong_together():
    trainer, network, task = made("physical")
    assert trainer.serves == {"sequence", "symbols"}
    with pytest.raises(ConfigError, match="cannot learn a classification"):
        trainer.fit(network, rows(4), np.array([0, 1, 0, 1]), task=Classification(2))
    for options, said in (
        ({"memory": "none"}, "unknown memory"),
        ({"memory": "digital"}, "feedback_channels"),
        ({"input_gain": 0.1}, "belong to memory = 'digital'"),
        ({"memory": "digital", "feedback_channels": 3, "spectral_radius": 0.0}, "spectral_radius"),
    ):
        with pytest.raises(ConfigError, match=said):
            hwloop.trainer("reservoir", **options)
    with pytest.raises(ConfigError, match="one device"):
        trainer.fit(small_network(Mixer()), rows(4), rows(4), task=task)
    with pytest.raises(DatasetError, match="needs targets"):
        trainer.fit(network, rows(4), rows(4)[:, :5], task=task)
    assert network.sessions[0].ledger.total == 0
