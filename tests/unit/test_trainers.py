"""What every trainer must keep to: local gradients, stated cost, the budget, its seed, rows that stand alone."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import torch
from examples import each_row
from small_fits import CLASSIFYING

import hwloop
from hwloop.errors import HwloopWarning
from hwloop.events import EpochFinished, StageFinished, StageStarted
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.registry import TRAINERS, accepted_settings
from hwloop.training.schedules.output_error import OutputError
from hwloop.training.schedules.rehearsal import Rehearsal

PATIENCE = 20.0  # seconds until a test that hangs fails
CLASSES = 3
GAINS = (hwloop.Tunable("gains", 16, 0.0, 4.0, rest=1.0),)
QUICK = {"min_steps": 20, "epochs": 2, "batch_samples": 16, "twin": "linear"}
ONLINE = {"schedule": "online", "epochs": 3, "batch_samples": 20, "inner_steps": 2}


def quick(name: str) -> dict[str, object]:
    """As much of QUICK as a trainer takes."""
    return taken_by(name, QUICK)


def taken_by(name: str, options: dict[str, object]) -> dict[str, object]:
    """Those of the options that a trainer takes."""
    accepted = accepted_settings(TRAINERS.load(name)) or options.keys()
    return {key: value for key, value in options.items() if key in accepted}


# Whoever registers a trainer has it tested here; variants of one come after.
CASES = {name: (name, quick(name)) for name in CLASSIFYING} | {
    "phyll cached": ("phyll", QUICK),
    "phyll cached, all wrong labels": ("phyll", QUICK | {"wrong_labels": 0}),
    "phyll cached, nonnegative": ("phyll", QUICK | {"targets": "nonnegative"}),
    "phyll cached, softmax": ("phyll", QUICK | {"readout": "softmax"}),
    "phyll online": ("phyll", ONLINE),
    "phyll online, softmax": ("phyll", ONLINE | {"readout": "softmax", "wrong_labels": 2}),
    "ff, hard": ("ff", QUICK | {"negatives": "hard"}),
    "all-labels, cosine": ("all-labels", QUICK | {"goodness": "cosine"}),
    "block of one": ("block", QUICK | {"stages": 1}),
    "block of three": ("block", QUICK | {"stages": 3, "sweeps": 3}),
    "eqprop, one-sided": ("eqprop", QUICK | {"states": "one-sided"}),
    "node-perturbation, local": ("node-perturbation", QUICK | {"directions": "local"}),
    "collab, streamed": ("collab", QUICK | {"map_share": 0.5}),
    "zo, conservative": ("zo", QUICK | {"update": "conservative"}),
    "block, two sweeps": ("block", QUICK | {"sweeps": 2}),
}
CASES = {case: (name, taken_by(name, options)) for case, (name, options) in CASES.items()}
# In the fast suite every registered trainer is fitted once, and a promise asked of one trainer a way to train.
TELLING = ("local", "ff", "phyll online", "dfa", "lookahead", "zo")
every_trainer = pytest.mark.parametrize("case", each_row(CASES, *CLASSIFYING))
every_rule = pytest.mark.parametrize("case", each_row(CASES, *TELLING))


class Mixer(hwloop.Device):
    """|x T| g and the nudges: noiseless, each row by itself and the same to the last bit in every batch.

    The gains g are its tunables.
    """

    simulated = True
    tuning_frequencies = 1.0  # it is no sinusoid, but a trainer that believes it must still keep its promises

    def __init__(self, max_rows: int | None = None, pause_seconds: float = 0.0) -> None:
        self.spec = hwloop.DeviceSpec(
            12 + 16, 16, -1.0, 1.0, max_rows=max_rows, deterministic=True, n_nudges=16, tunables=GAINS
        )
        self.matrix = np.random.default_rng(0).normal(size=(12, 16))
        self.pause_seconds = pause_seconds
        self.rows = 0
        self.asked_for_a_derivative = False

    def _measure(self, inputs):
        threading.Event().wait(self.pause_seconds)
        self.rows += len(inputs)
        drives, nudges = np.split(inputs, [12], axis=1)
        return np.abs((drives[:, :, None] * self.matrix).cumsum(axis=1)[:, -1]) * self.tuning + nudges

    def pull_back(self, stimuli, gradients):
        """Its derivative, for trainers that say that they use a model."""
        self.asked_for_a_derivative = True
        by_drives = (self.tuning * gradients * np.sign(stimuli[:, :12] @ self.matrix)) @ self.matrix.T
        return np.hstack([by_drives, gradients])

    def pull_back_tuning(self, stimuli, gradients):
        """Its derivative by the gains."""
        self.asked_for_a_derivative = True
        return (gradients * np.abs(stimuli[:, :12] @ self.matrix)).sum(axis=0)


def make(case: str, **more) -> hwloop.Trainer:
    name, options = CASES[case]
    return hwloop.trainer(name, **(options | more))


def blobs(samples: int = 45, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % CLASSES
    return rng.normal(size=(samples, 5)) + 2.0 * np.eye(CLASSES, 5)[labels], labels


def network(device: hwloop.Device | None = None, width: int = 10, stages: int = 2, **options) -> PhysicalNetwork:
    session = hwloop.Session(device or Mixer(), **options)
    return PhysicalNetwork(session, [Stage(width) for _ in range(stages)], seed=1)


def session_of(net: PhysicalNetwork) -> hwloop.Session:
    return net.distinct_sessions[0]


# -- no gradient through physics -----------------------------------------------------------------------


def leaves(loss: torch.Tensor) -> set[torch.Tensor]:
    """Every parameter that a loss sends gradient to."""
    found, waiting, seen = set(), [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        waiting += [following for following, _ in node.next_functions]
    return found


@every_rule
def test_no_gradient_crosses_a_measurement_and_who_knows_a_derivative_says_so(case, monkeypatch):
    groups: list[set[torch.Tensor]] = []
    stimuli: list[object] = []
    backward = torch.Tensor.backward

    def watched_backward(loss, *args, **kwargs):
        groups.append(leaves(loss))
        return backward(loss, *args, **kwargs)

    def watched(method):
        def call(self, rows, *args, **kwargs):
            stimuli.append(rows)
            return method(self, rows, *args, **kwargs)

        return call

    monkeypatch.setattr(torch.Tensor, "backward", watched_backward)
    for name in ("submit", "measure"):
        monkeypatch.setattr(hwloop.Session, name, watched(getattr(hwloop.Session, name)))
    trainer, device = make(case), Mixer()
    net = network(device, stages=3)
    history = trainer.fit(net, *blobs())
    assert history.uses_model == trainer.uses_model
    assert trainer.uses_model or not device.asked_for_a_derivative  # only one that says so asks for it
    weights = [{stage.linear.weight, stage.linear.bias} for _, stage, _ in net]
    owner: dict[torch.Tensor, int] = {}
    for group in groups:
        (stage,) = [number for number, own in enumerate(weights) if own & group]
        assert weights[stage] <= group
        for parameter in group - weights[stage]:  # a head, say: never shared with another stage
            assert owner.setdefault(parameter, stage) == stage
    written_out = isinstance(make(case).schedule, OutputError | Rehearsal)
    assert bool(groups) == (case != "readout" and not written_out)
    assert stimuli
    assert all(isinstance(rows, np.ndarray) for rows in stimuli)  # an array carries no gradient
    for _, features, z in net.passes(torch.zeros(2, net.stages[0].encoder.n_features, dtype=torch.float64)):
        assert not features.requires_grad
        assert not z.requires_grad


# -- cost ----------------------------------------------------------------------------------------------


@every_trainer
@pytest.mark.parametrize("stages", each_row([1, 2], 2))
def test_the_stated_cost_is_what_the_ledger_then_shows(case, stages):
    trainer, net, (inputs, labels) = make(case), network(stages=stages), blobs()
    history = trainer.fit(net, inputs, labels)
    ledger = session_of(net).ledger
    assert ledger["train"] == ledger.total == history.rows == trainer.cost(len(inputs), CLASSES, stages)
    net.predict(blobs(seed=9)[0])
    assert ledger["evaluate"] == trainer.predict_cost(len(inputs), CLASSES, stages)
    assert net.readout.passes * stages == trainer.predict_cost(1, CLASSES, stages)


@pytest.mark.parametrize(
    ("name", "options", "rows", "to_predict"),
    [
        ("local", {}, 1, 1),
        ("readout", {}, 1, 1),
        ("phyll", {}, 2, 10),
        ("phyll", {"wrong_labels": None}, 10, 10),
        ("phyll", {"wrong_labels": 0}, 10, 10),
        ("phyll", {"wrong_labels": 4}, 5, 10),
        ("phyll", {"readout": "softmax"}, 3, 1),
        ("phyll", {"schedule": "online"}, 400, 10),
        ("phyll", {"schedule": "online", "epochs": 7}, 14, 10),
        ("ff", {}, 2, 10),
        ("ff", {"wrong_labels": 3}, 4, 10),
        ("symba", {"negatives": "all"}, 10, 10),
        ("collaboration", {}, 2, 10),
        ("all-labels", {}, 10, 10),
        ("channel-competition", {}, 1, 1),
        ("prototypes", {}, 1, 1),
        ("scff", {}, 2, 1),
        ("ff-unsupervised", {}, 2, 1),
        ("collab", {}, 1, 1),
        ("block", {}, 1, 1),
        ("greedy", {}, 1, 1),
        ("lookahead", {}, 1, 1),
    ],
)
def test_rows_a_sample_a_stage_for_ten_classes(name, options, rows, to_predict):
    trainer = hwloop.trainer(name, **options)
    assert trainer.cost(100, 10, 2) == 100 * 2 * rows
    assert trainer.predict_cost(100, 10, 2) == 100 * 2 * to_predict


@pytest.mark.parametrize(
    ("name", "options", "first", "later"),
    [
        ("exact-gradient", {}, 1, 6),
        ("physics-aware", {}, 1, 6),
        ("dfa", {}, 1, 6),
        ("eqprop", {}, 1, 16),
        ("eqprop", {"states": "one-sided"}, 1, 11),
        ("product-feedback", {}, 1, 6),
        ("pepita", {}, 6, 11),
        ("node-perturbation", {}, 1, 11),
        ("spsa", {}, 1, 11),
        ("mgd", {}, 1, 11),
        ("zo", {"update": "sgd"}, 1, 11),
        ("zo", {"update": "adam", "pairs": 3}, 1, 31),
        ("zo", {"update": "conservative"}, 1, 26),
        ("baffle", {"pairs": 2}, 1, 21),
    ],
)
def test_rows_a_sample_of_the_first_and_the_later_stages_in_five_epochs(name, options, first, later):
    trainer = hwloop.trainer(name, epochs=5, **options)
    assert [trainer.stage_cost(100, 10, stage, 3) for stage in range(3)] == [100 * first, 100 * later, 100 * later]
    assert trainer.cost(100, 10, 3) == 100 * (first + 2 * later)
    assert trainer.cost(100, 10, 1) == 100  # one stage has no map to train
    assert trainer.predict_cost(100, 10, 2) == 200


@every_rule
def test_a_budget_one_row_short_is_refused_before_any_row_and_the_exact_one_suffices(case):
    trainer, (inputs, labels) = make(case), blobs()
    cost, device = trainer.cost(len(inputs), CLASSES, 2), Mixer()
    with pytest.raises(hwloop.BudgetExceeded, match=f"at least {cost:,} rows"):
        trainer.fit(network(device, budget=cost - 1), inputs, labels)
    assert device.rows == 0
    trainer.fit(network(device, budget=cost), inputs, labels)
    assert device.rows == cost


def test_stages_with_devices_of_their_own_pay_from_their_own_budgets():
    trainer, (inputs, labels) = make("local"), blobs()
    sessions = [hwloop.Session(Mixer(), budget=len(inputs)) for _ in range(2)]
    history = trainer.fit(PhysicalNetwork(sessions, [Stage(10), Stage(10)]), inputs, labels)
    assert [session.ledger["train"] for session in sessions] == [len(inputs)] * 2
    assert history.rows == 2 * len(inputs)


def test_samples_that_repeat_cost_nothing_more():
    inputs, labels = blobs()
    net = network()
    make("local").fit(net, np.repeat(inputs, 3, axis=0), np.repeat(labels, 3))
    assert session_of(net).ledger["train"] == 2 * len(inputs)


def test_a_second_fit_on_the_same_session_recalls_the_first_stage():
    net, (inputs, labels) = network(), blobs()
    make("local").fit(net, inputs, labels)
    make("local", seed=5).fit(net, inputs, labels)
    assert session_of(net).ledger.recalled["train"] == len(inputs)


# -- predictions ---------------------------------------------------------------------------------------


@every_rule
@pytest.mark.parametrize("width", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_predictions_are_bit_identical_whatever_the_batch(case, width):
    net = network(width=width)
    make(case).fit(net, *blobs())
    rows = blobs(samples=150, seed=3)[0]

    def fresh(part: np.ndarray) -> np.ndarray:
        session_of(net).memory.forget()
        return net.predict_proba(part)

    together = fresh(rows)
    order = np.random.default_rng(4).permutation(len(rows))
    np.testing.assert_array_equal(fresh(rows[order]), together[order])
    np.testing.assert_array_equal(np.concatenate([fresh(rows[:7]), fresh(rows[7:])]), together)
    np.testing.assert_array_equal(np.concatenate([fresh(rows[[k]]) for k in range(5)]), together[:5])
    np.testing.assert_allclose(together.sum(axis=1), 1)
    assert net.predict_proba(rows[:0]).shape == (0, CLASSES)


@every_rule
def test_fitting_another_network_leaves_the_first_as_it_was(case):
    trainer, net, (inputs, labels) = make(case), network(), blobs()
    trainer.fit(net, inputs, labels)
    before = net.predict_proba(inputs)
    trainer.fit(network(), 50 * inputs, labels)
    np.testing.assert_array_equal(net.predict_proba(inputs), before)


@every_rule
def test_a_class_without_a_training_row_keeps_its_place_and_is_not_predicted(case):
    inputs, labels = blobs()
    labels = np.where(labels == 2, 3, labels)
    net = network()
    with pytest.warns(HwloopWarning, match="labels are 0, 1, 3: 1 of the 4 classes have no training row"):
        make(case).fit(net, inputs, labels)
    probabilities = net.predict_proba(inputs)
    assert probabilities.shape == (len(inputs), 4)
    if "softmax" in case:
        assert probabilities[:, 2].max() < 1e-12


@every_rule
def test_two_classes_are_enough(case):
    inputs, labels = blobs()
    net = network()
    make(case, **({"wrong_labels": 1} if "phyll" in case else {})).fit(net, inputs, labels % 2)
    assert set(net.predict(inputs)) <= {0, 1}


# -- seeds ---------------------------------------------------------------------------------------------


def weights_after(case: str, device: hwloop.Device, seed: int = 0) -> dict[str, torch.Tensor]:
    net = network(device)
    make(case, seed=seed).fit(net, *blobs())
    return dict(net.state_dict())


@every_rule
def test_the_same_seed_gives_the_same_bits_whatever_the_pace_and_the_blocks_of_the_device(case):
    torch.manual_seed(1)  # the user's own: neither used nor moved
    state = torch.get_rng_state()
    quick, slow, other = (
        weights_after(case, device, seed)
        for device, seed in ((Mixer(), 0), (Mixer(max_rows=11, pause_seconds=1e-4), 0), (Mixer(), 1))
    )
    for name, value in quick.items():
        assert torch.equal(value, slow[name]), name
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(quick["stages.1.linear.weight"], other["stages.1.linear.weight"])


# -- order of events -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["local", "phyll cached"])
def test_training_begins_before_the_last_row_is_measured(case):
    trained = threading.Event()

    class WaitsForTraining(Mixer):
        def _measure(self, inputs):
            last_of_stage_one = self.rows + len(inputs) == trainer.cost(45, CLASSES, 1)
            if last_of_stage_one:
                assert trained.wait(PATIENCE), "no training step before the last row"
            return super()._measure(inputs)

    trainer = make(case, epochs=20)
    callbacks = [lambda event: trained.set() if isinstance(event, EpochFinished) else None]
    trainer.fit(network(WaitsForTraining(max_rows=3)), *blobs(), callbacks=callbacks)


def test_a_callback_that_fails_stops_the_device_and_closes_it():
    released = threading.Event()

    class Slow(Mixer):
        closed = False

        def _measure(self, inputs):
            assert self.rows < 30 or released.wait(PATIENCE)
            return super()._measure(inputs)

        def close(self) -> None:
            self.closed = True

    def interrupt(event: object) -> None:
        if isinstance(event, EpochFinished):
            released.set()
            raise KeyboardInterrupt

    device = Slow(max_rows=1)
    net = network(device)
    with session_of(net):
        with pytest.raises(KeyboardInterrupt):
            make("local", epochs=20).fit(net, *blobs(), callbacks=[interrupt])
        session_of(net).measure(np.zeros((1, 28)), "evaluate")  # after what was still queued
        assert session_of(net).ledger["train"] < 45
    assert device.closed


@every_rule
def test_events_tell_each_stage_and_epoch_and_the_history_keeps_the_losses(case):
    events: list[object] = []
    history = make(case).fit(network(), *blobs(), callbacks=[events.append])
    assert sorted(e.stage for e in events if isinstance(e, StageStarted)) == [0, 1]
    assert sorted(e.stage for e in events if isinstance(e, StageFinished)) == [0, 1]
    epochs = [e for e in events if isinstance(e, EpochFinished)]
    assert len(history.losses) == len(epochs)
    for stage in history.stages:
        own = [e for e in epochs if e.stage == stage.stage]
        assert [e.epoch for e in own] == list(range(1, len(own) + 1))
        assert {e.epochs for e in own} <= {len(own)}
        assert np.isfinite(stage.losses).all()


@pytest.mark.parametrize("case", ["local", "phyll cached", "phyll online"])
def test_the_loss_falls(case):
    history = make(case, epochs=40).fit(network(), *blobs())
    for stage in history.stages:
        assert np.mean(stage.losses[-3:]) < 0.9 * stage.losses[0]


# -- validation ----------------------------------------------------------------------------------------


def test_validation_is_measured_once_a_stage_as_evaluation_and_changes_no_weight():
    (inputs, labels), held_out = blobs(), blobs(samples=12, seed=5)
    plain, checked = network(), network()
    make("local").fit(plain, inputs, labels)
    history = make("local").fit(checked, inputs, labels, validation=held_out)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), checked.parameters(), strict=True))
    assert session_of(checked).ledger["evaluate"] == 2 * 12
    last = history.stages[-1].validation_accuracy
    assert last == (checked.predict(held_out[0]) == held_out[1]).mean()


def test_the_budget_must_cover_the_validation_rows_too():
    (inputs, labels), device = blobs(), Mixer()
    with pytest.raises(hwloop.BudgetExceeded, match="at least 114 rows"):
        make("local").fit(network(device, budget=113), inputs, labels, validation=blobs(samples=12, seed=5))
    assert device.rows == 0


@pytest.mark.parametrize(
    "bad", [(np.zeros((4, 3)), [0, 1, 2, 0]), (np.zeros((4, 5)), [0, 1]), (np.zeros((0, 5)), [])]
)
def test_validation_rows_that_do_not_fit_are_refused_before_any_row_is_measured(bad):
    device = Mixer()
    with pytest.raises(hwloop.DatasetError, match=r"validation (rows|labels)"):
        make("local").fit(network(device), *blobs(), validation=bad)
    assert device.rows == 0


# -- bad input -----------------------------------------------------------------------------------------


NO_CLASSES = [
    (np.zeros(45, dtype=int), "one class only"),
    (np.arange(45) % 3 - 1, "whole numbers from 0"),
    (np.arange(45) % 3 + 0.5, "whole numbers from 0"),
    (np.array(["a", "b", "c"] * 15), "whole numbers from 0"),
    (np.arange(44) % 3, r"shape \(45,\)"),
    (np.zeros((45, 1), dtype=int), r"shape \(45,\)"),
]


@every_trainer
def test_labels_that_are_no_classes_are_refused_before_any_row_is_measured(case):
    trainer, device = make(case), Mixer()
    net = network(device)
    for labels, message in NO_CLASSES:
        with pytest.raises(hwloop.DatasetError, match=message):
            trainer.fit(net, blobs()[0], labels)
    assert device.rows == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("phyl", {}, "did you mean 'phyll'"),
        ("local", {"epoch": 3}, "did you mean 'epochs'"),
        ("local", {"epochs": 0}, "epochs must be"),
        ("local", {"label_smoothing": 2.0}, "label_smoothing"),
        ("phyll", {"schedule": "onlin"}, "did you mean 'online'"),
        ("phyll", {"targets": "sign"}, "did you mean 'signed'"),
        ("phyll", {"readout": "scan"}, "did you mean"),
        ("phyll", {"epochs": 0}, "epochs must be"),
        ("phyll", {"lr": 0.0}, "lr must be"),
        ("phyll", {"batch_samples": 0, "schedule": "online"}, "batch_samples must be"),
        ("phyll", {"wrong_labels": -1}, "wrong_labels"),
        ("phyll", {"theta": 0.0}, "theta"),
    ],
)
def test_options_that_do_not_exist_or_make_no_sense_are_refused(name, options, message):
    with pytest.raises(hwloop.ConfigError, match=message):
        hwloop.trainer(name, **options)


def test_more_wrong_labels_than_classes_are_refused_before_any_row_is_measured():
    device = Mixer()
    with pytest.raises(hwloop.ConfigError, match="3 classes have 2 wrong labels"):
        hwloop.trainer("phyll", wrong_labels=3).fit(network(device), *blobs())
    assert device.rows == 0


@pytest.mark.parametrize(("steps", "samples"), list(itertools.product([1, 10, 11], [2, 45])))
def test_any_small_number_of_steps_trains(steps, samples):
    inputs, labels = blobs()
    labels[:2] = 0, 1
    make("local", epochs=1, min_steps=steps).fit(network(), inputs[:samples], labels[:samples])


def test_a_device_that_fails_in_the_middle_of_a_fit_keeps_what_was_measured():
    class Failing(Mixer):
        def _measure(self, inputs):
            if self.rows >= 60:
                raise ConnectionResetError("cable")
            return super()._measure(inputs)

    net = network(Failing(max_rows=5))
    with pytest.raises(hwloop.DeviceDisconnected, match="cable"):
        make("local").fit(net, *blobs())
    session = session_of(net)
    assert session.ledger["train"] == len(session.memory) == 60
