"""The trainer that tunes a memory: fewer errors than a readout alone, within limits, at the rows that it says."""

import numpy as np
import pytest
import torch

import hwloop
from hwloop import ConfigError, Session, open_device
from hwloop.checkpoint import load_network, save_network
from hwloop.experiments.time_series import narma10_sequences
from hwloop.layers import PhysicalNetwork
from hwloop.training.echo_state import StateReadout
from hwloop.training.trainers.memory import Tries, Tuner
from hwloop.training.trainers.sequence import DrivenStage

STEPS, ROWS = 60, 3
DATA = narma10_sequences(ROWS, STEPS, washout=15)
QUIET = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}


def cavity(**settings):
    settings = {"n_nodes": 4, "full_scale": 60.0, "tuned": True, **QUIET, **settings}
    return open_device("passive-cavity", n_inputs=STEPS, sequence_length=STEPS, readout="all", **settings)


def network(device):
    return PhysicalNetwork(Session(device), [DrivenStage(STEPS)])


def fitted(device, trainer="tune-memory", **options):
    made = network(device)
    history = hwloop.trainer(trainer, **options).fit(made, DATA.inputs, DATA.targets.copy(), task=DATA.task)
    return made, history


def test_it_errs_less_than_at_rest_at_the_rows_that_it_says():
    options = {"searches": 8, "pairs": 2}
    made, history = fitted(cavity(), **options)
    session, spec = made.sessions[0], made.sessions[0].device.spec
    rows = hwloop.trainer("tune-memory", **options).cost(ROWS, 1, 1)
    assert rows == ROWS * (2 + 8 + 2 * 2)
    assert rows - ROWS <= session.ledger.total <= rows  # what was found last may be known by then
    losses, tuning = history.stages[0].losses, made.stages[0].tuning
    assert min(losses) < 0.9 * losses[0]
    assert ((spec.tunable_low <= tuning) & (tuning <= spec.tunable_high)).all()
    assert (tuning != spec.tunable_rest).any()


def test_predictions_and_checkpoints_are_under_what_was_found(tmp_path):
    made, _ = fitted(cavity(), searches=4, pairs=1)
    found = made.predict(DATA.inputs)
    save_network(made, tmp_path / "network.safetensors")
    again = load_network(tmp_path / "network.safetensors", [Session(cavity())])
    np.testing.assert_array_equal(again.stages[0].tuning, made.stages[0].tuning)
    np.testing.assert_array_equal(again.predict(DATA.inputs), found)


@pytest.mark.slow
def test_the_gradient_of_a_mask_points_where_differences_of_the_loss_do():
    # The same readout, its mean squared error moved along every value of the mask, against the mean of many pairs.
    device = cavity(mask="phase", round_trip_gain=0.4)
    made = network(device)
    made.stages[0].build(device.spec, STEPS, 0)
    session = made.sessions[0]
    tuner = Tuner.__new__(Tuner)
    tuner._stage, tuner._session, tuner._task = made.stages[0], session, DATA.task
    tuner._spec, tuner._nodes = device.spec, device.tunable_nodes
    tuner._many = tuner._nodes >= 0
    tuner._tries = Tries(0, 1, 0.1, 0.05, 0.05)
    tuner._aims = DATA.task.after_washout(DATA.task.encode(DATA.targets))
    tuner._fit = type("Fit", (), {"inputs": torch.from_numpy(DATA.inputs.copy())})()
    made.stages[0].memory.fit(made.stages[0].sequences(tuner._fit.inputs), session.measure)
    rest, size, rng = device.spec.tunable_rest, 1e-3, np.random.default_rng(0)
    with session:
        middle = tuner._states(rest)
        readout = StateReadout.fitted(middle, tuner._aims)

        def loss(tuning):
            return np.mean((readout(tuner._states(tuning)) - tuner._aims) ** 2)

        many, found, exact = np.flatnonzero(tuner._many), np.zeros(int(tuner._many.sum())), []
        for k in many:
            change = np.eye(len(rest))[k] * size
            exact.append((loss(rest + change) - loss(rest - change)) / (2 * size))
        for _ in range(60):
            signs = rng.choice([-1.0, 1.0], len(many))
            ends = [tuner._beside(rest, sign * size * signs) for sign in (1, -1)]
            found += tuner._gradient(readout, middle, tuner._states(ends[0]) - tuner._states(ends[1])) * signs
    assert np.corrcoef(found, exact)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("device", "options", "said"),
    [
        ({"tuned": False}, {}, "has nothing to tune"),
        ({}, {"pairs": -1}, "must not be negative"),
        ({}, {"lr": 0.0}, "must be positive"),
    ],
)
def test_what_cannot_be_is_refused_before_a_row(device, options, said):
    with pytest.raises(ConfigError, match=said):
        fitted(cavity(**device), **options)
