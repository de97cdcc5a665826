"""Each policy against a drift whose exact cure is known."""

import numpy as np
import pytest
import torch

import hwloop
from hwloop.adapt import Anchors, policy
from hwloop.adapt.local_heads import RecursiveLeastSquares, with_constant
from hwloop.adapt.twin import InterferenceTwin
from hwloop.device import Device, DeviceSpec
from hwloop.registry import ADAPTERS
from hwloop.tasks import Classification
from hwloop.training.optimiser import fit_ridge


class Mixing(Device):
    """Responses ``tanh(M x) G + o``, whose linear part behind the nonlinearity can be moved."""

    spec = DeviceSpec(n_inputs=12, n_outputs=16, input_low=-1.0, input_high=1.0, deterministic=True)

    def __init__(self):
        self._mixing = np.random.default_rng(0).standard_normal((12, 16))
        self.after, self.offset = np.eye(16), np.zeros(16)

    def _measure(self, inputs):
        return np.tanh(inputs @ self._mixing) @ self.after + self.offset


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((3, 8))
    labels = np.arange(240) % 3
    return centres[labels] + 0.5 * rng.standard_normal((240, 8)), labels


@pytest.fixture
def trained(task):
    """A network of two stages, as trained on a device at rest, with its anchors."""
    network = hwloop.PhysicalNetwork(hwloop.Session(Mixing()), [hwloop.Stage(6), hwloop.Stage(6)])
    hwloop.trainer("local", epochs=3, min_steps=60).fit(network, *task)
    return network, Anchors.record(network, *task)


def logits(network, inputs):
    with torch.no_grad():
        return network.readout.log_probabilities(network, torch.from_numpy(inputs)).numpy()


def test_restandardising_on_anchors_takes_gains_and_offsets_out_exactly(trained, task):
    network, anchors = trained
    before = logits(network, task[0])
    rng = np.random.default_rng(2)
    device = network.sessions[0].device
    device.after = np.diag(rng.uniform(0.3, 3.0, 16) * rng.choice([-1, 1], 16))
    device.offset = rng.standard_normal(16)
    adapter = hwloop.Adapter(network, "restandardise", anchors, rows_a_step=60)
    moved = logits(network, task[0])  # from memory, which does not know of the move yet
    assert np.array_equal(moved, before)
    assert adapter.step().acted
    assert np.allclose(logits(network, task[0]), before, atol=1e-4)


def test_restandardising_on_other_rows_gives_them_mean_zero_and_deviation_one(trained, task):
    network, anchors = trained
    network.sessions[0].device.after = np.diag(np.linspace(0.5, 2.0, 16))
    hwloop.Adapter(network, "restandardise", anchors, rows_a_step=500).step(unlabelled=task[0])
    features = next(network.passes(torch.from_numpy(task[0])))[1].numpy()
    assert np.allclose(features.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(features.std(axis=0), 1, atol=1e-5)


def test_recalled_outputs_undo_a_linear_mixing_of_the_responses(trained, task):
    network, anchors = trained
    before = logits(network, task[0])
    rng = np.random.default_rng(3)
    network.sessions[0].device.after = np.eye(16) + 0.3 * rng.standard_normal((16, 16))
    recall = policy("recall", strength=1e-6)
    hwloop.Adapter(network, recall, anchors, rows_a_step=200).step()
    assert np.allclose(logits(network, task[0]), before, atol=1e-2)


def test_recall_looks_at_no_label(task):
    network = hwloop.PhysicalNetwork(hwloop.Session(Mixing()), [hwloop.Stage(6)])
    hwloop.trainer("local", epochs=1, min_steps=20).fit(network, *task)
    anchors = Anchors.record(network, task[0])
    network.sessions[0].device.offset = np.ones(16)
    assert anchors.labels is None
    assert hwloop.Adapter(network, "recall", anchors).step().acted


@pytest.mark.parametrize("batches", [1, 4])
def test_recursive_least_squares_is_ridge_regression_on_all_rows_so_far(batches):
    rng = np.random.default_rng(4)
    features, targets = rng.standard_normal((80, 9)), rng.standard_normal((80, 3))
    features, targets = features - features.mean(axis=0), targets - targets.mean(axis=0)
    recursion = RecursiveLeastSquares(torch.zeros(9, 3), strength=10.0)
    for rows, wanted in zip(np.split(features, batches), np.split(targets, batches), strict=True):
        recursion.update(torch.from_numpy(rows), torch.from_numpy(wanted))
    ridge = fit_ridge(features, targets, strengths=np.array([10.0]))
    assert np.allclose(recursion.weights.numpy(), ridge.weight, atol=1e-10)


def test_forgetting_follows_what_has_changed():
    rng = np.random.default_rng(5)
    old, new = rng.standard_normal((2, 5, 2))
    kept, forgetting = (RecursiveLeastSquares(torch.zeros(5, 2), 1.0, share) for share in (1.0, 0.3))
    for truth in [old] * 10 + [new] * 10:
        rows = torch.from_numpy(rng.standard_normal((20, 5)))
        for recursion in (kept, forgetting):
            recursion.update(rows, rows @ torch.from_numpy(truth))
    assert np.abs(forgetting.weights.numpy() - new).max() < 0.02
    assert np.abs(kept.weights.numpy() - new).max() > 0.1


def test_heads_follow_classes_that_have_changed_places(trained, task):
    network, anchors = trained
    inputs, labels = task
    swapped = np.array([1, 2, 0])[labels]
    network.sessions[0].device.offset = np.full(16, 0.2)
    adapter = hwloop.Adapter(network, "heads", anchors, rows_a_step=300)
    assert np.mean(network.predict(inputs) == swapped) < 0.1
    adapter.step(labelled=(inputs[:140], swapped[:140]))
    assert np.mean(network.predict(inputs[140:]) == swapped[140:]) > 0.9


def test_targets_of_heads_are_the_logits_of_smoothed_labels():
    targets = Classification(3).head_targets(torch.tensor([1, 0]), 0.3)
    assert np.allclose(torch.softmax(targets, dim=1), [[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    assert np.allclose(targets.sum(dim=1), 0)


def test_warm_retraining_learns_the_labels_of_today(trained, task):
    network, anchors = trained
    inputs, labels = task
    swapped = np.array([1, 2, 0])[labels]
    network.sessions[0].device.offset = np.full(16, 0.2)
    warm = policy("warm", steps=150, lr=0.02)
    hwloop.Adapter(network, warm, anchors, rows_a_step=300).step(labelled=(inputs[:140], swapped[:140]))
    assert np.mean(network.predict(inputs[140:]) == swapped[140:]) > 0.9


def test_hebbian_correction_moves_a_head_towards_what_it_says(trained, task):
    network, anchors = trained
    network.sessions[0].device.offset = np.full(16, 0.3)
    adapter = hwloop.Adapter(network, "hebbian", anchors, rows_a_step=500)
    network.sessions[0].forget()
    before = logits(network, task[0])
    adapter.step(unlabelled=task[0])
    after = logits(network, task[0])
    sure = np.exp(before).max(axis=1) > np.exp(before.max(axis=1)).mean()
    assert np.mean(after.argmax(axis=1)[sure] == before.argmax(axis=1)[sure]) > 0.97
    assert after.max(axis=1)[sure].mean() > before.max(axis=1)[sure].mean()


@pytest.mark.slow
def test_the_twin_learns_and_follows_a_device_in_which_fields_add():
    rng = np.random.default_rng(6)
    matrix, moved = (rng.standard_normal((9, 7)) + 1j * rng.standard_normal((9, 7)) for _ in range(2))
    now = np.sqrt(0.97) * matrix + np.sqrt(0.03) * moved

    def intensity(t, x):
        field = np.abs(np.hstack([x, np.ones((len(x), 1))]) @ t) ** 2
        return field / (1 + 0.05 * field)

    known, fresh, judged = (rng.uniform(-1, 1, (rows, 8)) for rows in (900, 60, 300))
    twin = InterferenceTwin(known, intensity(matrix, known), torch.Generator().manual_seed(0))
    truth = intensity(now, judged)
    missed = np.std(twin(judged) - truth)
    twin.follow(fresh, intensity(now, fresh), np.ones(60), hold=0.01, steps=300)
    assert twin.error < 0.1
    assert np.std(twin(judged) - truth) < 0.4 * missed


def test_the_twin_refuses_a_device_that_it_cannot_describe(task):
    class Steps(Mixing):
        def _measure(self, inputs):
            return np.sign(np.sin(40 * inputs @ self._mixing))

    network = hwloop.PhysicalNetwork(hwloop.Session(Steps()), [hwloop.Stage(6)])
    hwloop.trainer("local", epochs=1, min_steps=20).fit(network, *task)
    anchors = Anchors.record(network, *task)
    with pytest.raises(hwloop.ConfigError, match="recall"):
        hwloop.Adapter(network, "twin", anchors)


def test_policies_that_need_heads_say_so(task):
    network = hwloop.PhysicalNetwork(hwloop.Session(Mixing()), [hwloop.Stage(6)])
    hwloop.trainer("readout").fit(network, *task)
    anchors = Anchors.record(network, *task)
    with pytest.raises(hwloop.ConfigError, match="LinearReadout"):
        hwloop.Adapter(network, "heads", anchors)
    assert hwloop.Adapter(network, "restandardise", anchors).step().rows == 8


def test_every_shipped_policy_is_listed_and_built():
    assert set(ADAPTERS.entries()) >= {"restandardise", "recall", "heads", "warm", "hebbian", "twin", "kriging"}
    for name in ADAPTERS.entries():
        assert policy(name)
    with pytest.raises(hwloop.ConfigError, match="did you mean 'recall'"):
        policy("recal")
    assert policy("twin").uses_model
    assert not policy("recall+heads").uses_model
    assert policy("recall+heads").needs_labels


def test_with_constant_adds_a_column_of_ones():
    assert with_constant(torch.zeros(2, 3)).tolist() == [[0, 0, 0, 1]] * 2
