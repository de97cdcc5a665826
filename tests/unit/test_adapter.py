"""The adapter: its gate, its budget, what it forgets, and the anchors that it works with."""

import warnings

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.adapt import Anchors


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    return rng.standard_normal((3, 6))[labels] + 0.4 * rng.standard_normal((60, 6)), labels


class Shifted(hwloop.DeviceWrapper):
    """Adds an offset, and counts every row."""

    offset, measured = 0.0, 0

    def _measure(self, inputs):
        self.measured += len(inputs)
        return self.device.measure(inputs) + self.offset


def make(task, sessions=1, **fibre):
    devices = [
        Shifted(hwloop.open_device("optical-fibre", n_inputs=10, n_outputs=12, seed=n, **fibre))
        for n in range(sessions)
    ]
    owned = [hwloop.Session(device) for device in devices]
    network = hwloop.PhysicalNetwork(owned * (2 // sessions), [hwloop.Stage(5), hwloop.Stage(5)])
    hwloop.trainer("local", epochs=1, min_steps=20).fit(network, *task)
    return network, Anchors.record(network, *task), devices


def test_while_the_device_stays_nothing_is_changed_and_few_rows_are_measured(task):
    network, anchors, (device,) = make(task)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    adapter, measured = hwloop.Adapter(network, "recall", anchors), device.measured
    steps = [adapter.step() for _ in range(5)]
    assert not any(step.acted for step in steps)
    assert {step.rows for step in steps} == {8}
    assert device.measured == measured + 40
    assert all((before[name] == tensor).all() for name, tensor in network.state_dict().items())


def test_a_drift_within_the_gate_adds_up_until_it_is_beyond(task):
    network, anchors, (device,) = make(task, read_noise=0.0)
    spread = anchors.stages[0].watched.std(dim=0).mean().item()
    adapter = hwloop.Adapter(network, "restandardise", anchors, gate=0.25)
    acted = []
    for step in range(1, 7):
        device.offset = 0.1 * spread * step
        acted.append(adapter.step().acted)
    assert acted == [False, False, True, False, False, True]


def test_what_was_measured_before_the_device_moved_is_measured_again(task):
    network, anchors, (device,) = make(task)
    network.predict(task[0])
    asked = device.measured
    network.predict(task[0])
    assert device.measured == asked
    device.offset = 1.0
    hwloop.Adapter(network, "restandardise", anchors, rows_a_step=40).step()
    asked = device.measured
    network.predict(task[0])
    assert device.measured >= asked + len(task[0]) - 20  # 20 of the anchors were shown in this step


@examples(20)
@given(budget=st.integers(18, 150))
def test_no_step_takes_more_rows_than_its_budget_and_the_ledger_says_what_for(budget):
    rng = np.random.default_rng(1)
    data = rng.standard_normal((60, 6)), np.arange(60) % 3
    network, anchors, (device,) = _cached(data)
    adapter = hwloop.Adapter(network, "restandardise", anchors, rows_a_step=budget)
    ledger, device.offset = network.sessions[0].ledger, device.offset + 1.0
    adapted, total = ledger["adapt"], ledger.total
    step = adapter.step()
    assert step.acted
    assert budget - 2 < step.rows <= budget or step.rows == 120  # all anchors in both stages
    assert ledger["adapt"] - adapted == step.rows == ledger.total - total


_made = []


def _cached(data):
    if not _made:
        _made.append(make(data))
    network, _, devices = _made[0]
    for session in network.sessions:
        session.forget()
    return network, Anchors.record(network, *data), devices


def test_rows_that_do_not_fit_are_refused_before_any_is_measured(task):
    network, anchors, (device,) = make(task)
    adapter, asked = hwloop.Adapter(network, "heads", anchors, rows_a_step=100), device.measured
    with pytest.raises(hwloop.BudgetExceeded, match="128"):
        adapter.step(labelled=task)
    assert device.measured == asked
    device.offset = 1.0
    assert adapter.step(labelled=(task[0][:46], task[1][:46])).rows == 100


def test_devices_of_their_own_are_watched_each(task):
    network, anchors, devices = make(task, sessions=2)
    adapter = hwloop.Adapter(network, "recall", anchors, rows_a_step=100)
    assert adapter.step().rows == 16
    devices[1].offset = 1.0
    step = adapter.step()
    assert step.acted
    assert step.drift > 1
    assert step.rows <= 100


def test_rows_without_what_the_policy_needs_are_refused(task):
    network, _, _ = make(task)
    anchors = Anchors.record(network, task[0])
    with pytest.raises(hwloop.ConfigError, match="labels"):
        hwloop.Adapter(network, "heads", anchors).step()
    with pytest.raises(hwloop.ConfigError, match="anchors"):
        hwloop.Adapter(network, "recall", anchors).step(unlabelled=task[0][:9])
    with pytest.raises(hwloop.ConfigError, match="not both"):
        hwloop.Adapter(network, "heads", anchors).step((task[0], task[1]), task[0])
    with pytest.raises(hwloop.ConfigError, match="at least 18"):
        hwloop.Adapter(network, "heads", anchors, rows_a_step=17)
    with pytest.raises(hwloop.ConfigError, match="gate"):
        hwloop.Adapter(network, "heads", anchors, gate=float("nan"))


def test_anchors_cost_no_row_that_is_remembered_and_come_back_from_disk(task, tmp_path):
    network, anchors, (device,) = make(task)
    trained, watched = 2 * len(task[0]), 2 * 4 * 8
    assert device.measured == trained + watched
    anchors.save(tmp_path / "anchors.safetensors")
    loaded = Anchors.load(tmp_path / "anchors.safetensors")
    assert (loaded.labels == anchors.labels).all()
    for one, other in zip(anchors.stages, loaded.stages, strict=True):
        assert all((getattr(one, n) == getattr(other, n)).all() for n in ("inputs", "responses", "outputs"))
        assert one.noise == other.noise
    assert hwloop.Adapter(network, "recall", loaded).step().drift == 0


def test_anchors_of_another_device_are_said_once_with_the_difference(task, tmp_path):
    _, anchors, _ = make(task)
    anchors.save(tmp_path / "anchors.safetensors")
    other, _, _ = make(task, read_noise=0.5)
    adapter = hwloop.Adapter(other, "recall", Anchors.load(tmp_path / "anchors.safetensors"), gate=1e6)
    with pytest.warns(hwloop.errors.HwloopWarning, match=r"OpticalFibre\.read_noise: 0\.01, not 0\.5") as told:
        [adapter.step() for _ in range(2)]
    assert len(told) == 2  # one a stage


@examples(30)
@given(damage=st.binary(max_size=200), cut=st.integers(0, 4000))
def test_damaged_anchors_are_refused(damage, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("anchors") / "a.safetensors"
    path.write_bytes(damage)
    with pytest.raises(hwloop.CheckpointError):
        Anchors.load(path)
    _, anchors, _ = _cached((np.random.default_rng(1).standard_normal((60, 6)), np.arange(60) % 3))
    anchors.save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(hwloop.CheckpointError):
        Anchors.load(path)


@examples(150)
@given(data=st.data())
def test_a_flipped_bit_of_anchors_is_refused_or_changes_nothing(sealed_anchors, data):
    anchors, whole, path = sealed_anchors
    damaged = bytearray(whole)
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(damaged))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            loaded = Anchors.load(path)
        except hwloop.CheckpointError:
            return
    for mine, theirs in zip(anchors.stages, loaded.stages, strict=True):
        for name in ("inputs", "responses", "outputs", "watched"):
            assert torch.equal(getattr(mine, name), getattr(theirs, name))
        assert (mine.noise, mine.device) == (theirs.noise, theirs.device)
    assert all("checksum" in str(each.message) for each in said)


@pytest.fixture(scope="module")
def sealed_anchors(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "anchors.safetensors"
    device = hwloop.open_device("optical-fibre", n_inputs=6, n_outputs=5)
    network = hwloop.PhysicalNetwork(hwloop.Session(device), [hwloop.Stage(3)])
    rows = np.random.default_rng(0).normal(size=(12, 4))
    hwloop.trainer("readout").fit(network, rows, np.arange(12) % 2)
    anchors = Anchors.record(network, rows)
    anchors.save(path)
    return anchors, path.read_bytes(), path
