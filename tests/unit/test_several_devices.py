"""A device a stage: they measure at once, and what comes out is to the last bit what one after the other gives."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from examples import each_row
from helpers import wait_until

import hwloop
from hwloop.events import EpochFinished
from hwloop.layers import PhysicalNetwork, Stage

PATIENCE = 20.0  # seconds until a test that hangs fails
CLASSES = 3


class Noisy(hwloop.Device):
    """|x T| with noise that depends on how many rows were measured before: any change of order shows."""

    def __init__(self, seed: int, max_rows: int = 7) -> None:
        self.spec = hwloop.DeviceSpec(12, 16, -1.0, 1.0, max_rows=max_rows)
        self.seed, self.rows, self.closed = seed, 0, 0
        self.matrix = np.random.default_rng(seed).normal(size=(12, 16))

    def close(self) -> None:
        self.closed += 1

    def _measure(self, inputs):
        noise = [np.random.default_rng([self.seed, self.rows + k]).normal(size=16) for k in range(len(inputs))]
        self.rows += len(inputs)
        return np.abs((inputs[:, :, None] * self.matrix).cumsum(axis=1)[:, -1]) + 0.01 * np.array(noise)


class Meeting(Noisy):
    """Answers its calls from number ``first`` on only when all others are measuring too."""

    def __init__(self, seed: int, barrier: threading.Barrier, calls: range) -> None:
        super().__init__(seed)
        self.gate, self.met, self.number = barrier, calls, -1

    def _measure(self, inputs):
        self.number += 1
        if self.number in self.met:
            self.gate.wait(PATIENCE)
        return super()._measure(inputs)


def blobs(samples: int = 45) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % CLASSES
    return rng.normal(size=(samples, 5)) + 2.0 * np.eye(CLASSES, 5)[labels], labels


def network(devices: list[hwloop.Device]) -> PhysicalNetwork:
    return PhysicalNetwork([hwloop.Session(device) for device in devices], [Stage(10) for _ in devices], seed=1)


def online(**options) -> hwloop.Trainer:
    return hwloop.trainer("phyll", schedule="online", epochs=3, batch_samples=10, inner_steps=2, **options)


def state(of: PhysicalNetwork) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in of.state_dict().items()}


def streamed(name: str, **options) -> hwloop.Trainer:
    return hwloop.trainer(name, map_share=0.3, min_steps=20, epochs=2, batch_samples=16, **options)


def in_sequence(monkeypatch) -> None:
    monkeypatch.setattr(PhysicalNetwork, "one_device_a_stage", False)


@pytest.mark.parametrize(
    ("name", "stages"), each_row([("local", 2), ("local", 3), ("phyll", 3), ("greedy", 3)], ("phyll", 3))
)
def test_a_trained_network_predicts_the_same_bits_as_in_sequence(monkeypatch, name, stages):
    inputs, labels = blobs()
    probabilities, rows = [], []
    for sequential in (False, True):
        if sequential:
            in_sequence(monkeypatch)
        trained = network([Noisy(k, max_rows=5 + k) for k in range(stages)])
        trainer = hwloop.trainer(name, min_steps=20, epochs=2, batch_samples=16)
        trainer.fit(trained, inputs, labels, validation=(inputs[:20] + 0.1, labels[:20]))
        probabilities.append(trained.predict_proba(inputs + 0.2))
        rows.append([session.ledger.rows for session in trained.sessions])
    np.testing.assert_array_equal(*probabilities)
    assert rows[0] == rows[1]


@pytest.mark.parametrize("stages", each_row([2, 3], 2))
def test_online_training_in_a_pipeline_gives_the_same_bits_as_in_sequence(monkeypatch, stages):
    inputs, labels = blobs()
    found, losses = [], []
    for sequential in (False, True):
        if sequential:
            in_sequence(monkeypatch)
        trained = network([Noisy(k) for k in range(stages)])
        losses.append(online().fit(trained, inputs, labels).losses)
        found.append(state(trained))
    assert losses[0] == losses[1]
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


@pytest.mark.parametrize(
    ("name", "stages"),
    each_row(
        [("local", 1), ("local", 2), ("local", 3), ("collab", 3), ("greedy", 3), ("ff", 3)],
        ("local", 2),
        ("ff", 3),
    ),
)
def test_streamed_training_gives_the_same_bits_as_in_sequence(monkeypatch, name, stages):
    inputs, labels = blobs()
    held_out = (inputs[:10] + 0.1, labels[:10])
    found = []
    for sequential in (False, True):
        if sequential:
            in_sequence(monkeypatch)
        trained = network([Noisy(k) for k in range(stages)])
        trainer = streamed(name)
        history = trainer.fit(trained, inputs, labels, validation=held_out)
        assert history.rows <= trainer.cost(len(inputs), CLASSES, stages) + 10 * stages * CLASSES
        found.append((state(trained), history.losses, trained.predict_proba(inputs)))
    (states, losses, predicted), (other_states, other_losses, other_predicted) = found
    assert losses == other_losses
    assert all(torch.equal(value, other_states[key]) for key, value in states.items())
    np.testing.assert_array_equal(predicted, other_predicted)


@pytest.mark.parametrize("name", each_row(["collab", "ff"], "ff"))
def test_streamed_training_on_one_device_for_all_stages_gives_the_bits_of_a_device_a_stage(name):
    class Noiseless(Noisy):
        def _measure(self, inputs):
            return np.abs((inputs[:, :, None] * self.matrix).cumsum(axis=1)[:, -1])

    inputs, labels = blobs()
    shared = PhysicalNetwork(hwloop.Session(Noiseless(0)), [Stage(10) for _ in range(3)], seed=1)
    apart = network([Noiseless(0) for _ in range(3)])
    for each in (shared, apart):
        streamed(name).fit(each, inputs, labels)
    other = state(apart)
    assert all(torch.equal(value, other[key]) for key, value in state(shared).items())


def test_streamed_training_learns_from_every_sample_in_the_last_stage_and_the_readout():
    inputs, labels = blobs(90)
    trained = network([Noisy(k) for k in range(2)])
    hwloop.trainer("greedy", map_share=0.2, min_steps=60, epochs=3).fit(trained, inputs, labels)
    assert np.mean(trained.predict(inputs) == labels) > 0.9
    assert [session.ledger.rows["train"] for session in trained.sessions] == [90, 90]


def test_the_second_device_of_a_streamed_fit_measures_while_the_first_goes_on():
    inputs, labels = blobs(70)  # 10 calls of 7 rows; the map of the first stage takes 21 of them
    barrier = threading.Barrier(2)
    devices = [Meeting(0, barrier, range(4, 10)), Meeting(1, barrier, range(6))]
    streamed("local").fit(network(devices), inputs, labels)
    assert not barrier.broken


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan"), False])
def test_a_share_of_the_samples_lies_between_none_and_all(share):
    with pytest.raises(hwloop.ConfigError, match="map_share"):
        hwloop.trainer("local", map_share=share)


def test_devices_of_an_online_fit_measure_at_the_same_time():
    inputs, labels = blobs(40)  # 4 batches of 20 rows, 3 calls each
    barrier = threading.Barrier(2)
    first, second = Meeting(0, barrier, range(3, 12)), Meeting(1, barrier, range(9))
    trained = network([first, second])
    # Batch 2 in the first device meets batch 1 in the second one, and so on.
    hwloop.trainer("phyll", schedule="online", epochs=1, batch_samples=10, inner_steps=1).fit(
        trained, inputs, labels
    )
    assert not barrier.broken


def test_devices_of_a_prediction_measure_at_the_same_time():
    inputs, labels = blobs()
    devices = [Meeting(k, None, range(0)) for k in range(3)]
    trained = network(devices)
    hwloop.trainer("local", min_steps=5, epochs=1).fit(trained, inputs, labels)
    barrier = threading.Barrier(3)
    for number, device in enumerate(devices):
        # 5 calls of 7 rows each; piece k is in stage s when piece k - 1 is in stage s + 1
        device.gate, device.number, device.met = barrier, -1, range(2 - number, 5 - number)
    trained.predict(inputs[:35] + 0.5)
    assert not barrier.broken


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_device_that_fails_stops_the_others_and_all_are_closed(broken):
    inputs, labels = blobs()
    devices = [Noisy(k) for k in range(3)]

    def fail(stimuli):
        raise ConnectionResetError("cable")

    trained = network(devices)
    hwloop.trainer("local", min_steps=5, epochs=1).fit(trained, inputs, labels)
    devices[broken]._measure = fail
    closed = [device.closed for device in devices]
    before = threading.active_count()
    fits = (online(), streamed("local"))
    uses = [lambda trainer=trainer: trainer.fit(trained, inputs + 1.0, labels) for trainer in fits]
    for use in (lambda: trained.predict(inputs + 0.5), *uses):
        with pytest.raises(hwloop.DeviceDisconnected, match="cable"):
            use()
    assert all(device.closed >= count + 3 for device, count in zip(devices, closed, strict=True))
    wait_until(
        lambda: threading.active_count() <= before
    )  # a device that is closed ends its thread a moment later


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("trainer", [online(), streamed("local")], ids=["online", "streamed"])
def test_an_interrupt_leaves_every_device_closed(trainer, number):
    inputs, labels = blobs()
    devices = [Noisy(k) for k in range(2)]
    trained = network(devices)
    before = threading.active_count()

    def interrupted(event):
        if isinstance(event, EpochFinished) and event.stage == number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(trained, inputs, labels, callbacks=[interrupted])
    wait_until(
        lambda: threading.active_count() <= before
    )  # a device that is closed ends its thread a moment later
    assert [device.closed for device in devices] == [1, 1]
