"""One call in ten fails, in every way that is known: no wrong value gets through, and no failure goes untold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from examples import each_row
from helpers import Sleepless

import hwloop
from hwloop import DeviceError, DeviceTimeout, Faulty, Retrying, Session
from hwloop.devices.faults import FAULTS
from hwloop.events import DeviceFault, RowsMeasured
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.simulators.optical_fibre import OpticalFibre

TEN_PERCENT = dict.fromkeys(FAULTS, 0.1 / len(FAULTS))
ERROR_OF = {
    "timeout": "DeviceTimeout",
    "late": "DeviceTimeout",
    "disconnect": "DeviceDisconnected",
    "crash": "DeviceCrashed",
    "slow": "DeviceTimeout: the answer took",
    **dict.fromkeys(("garbled", "truncated", "stale", "saturation", "constant"), "BadReading"),
}
SLOW_SECONDS = 5.0


class Fibre(OpticalFibre):
    """A camera that takes a few frames a call, and knows whether it is open."""

    is_open = False

    def open(self):
        self.is_open = True

    def close(self):
        self.is_open = False


def fibre(max_rows=None):
    device = Fibre(n_inputs=12, n_outputs=24, seed=5).noiseless()
    device.spec = replace(device.spec, max_rows=max_rows)
    return device


def faulty_fibre(seed, max_rows=None, plan=TEN_PERCENT):
    """A fibre with faults and one retried, with their clock, and what the latter tells."""
    clock = Sleepless()
    faulty = Faulty(fibre(max_rows), plan, seed=seed, slow_seconds=SLOW_SECONDS, clock=clock)
    retrying = Retrying(faulty, retries=6, stop_after=8, slow_seconds=1.0, clock=clock)
    return faulty, retrying


def assert_each_fault_was_told_once(faulty, events):
    told = [event for event in events if isinstance(event, DeviceFault)]
    assert [event.fault for event in told] == list(range(1, len(told) + 1))
    assert len(told) == len(faulty.injected)
    for fault, event in zip(faulty.injected, told, strict=True):
        assert event.error.startswith(ERROR_OF[fault.kind])
        assert event.rows == fault.rows


STIMULI = np.random.default_rng(0).uniform(-1, 1, (1000, 12))


@pytest.mark.parametrize("seed", each_row(range(10), 0))
@pytest.mark.parametrize("rows", [1, 5])
def test_of_1000_calls_with_10_percent_faults_no_value_is_wrong_and_each_fault_is_told_once(seed, rows):
    events = []
    faulty, retrying = faulty_fibre(seed, max_rows=rows)
    retrying.listener = events.append
    stimuli = np.tile(STIMULI, (rows, 1)) * np.linspace(0.5, 1.0, 1000 * rows)[:, np.newaxis]
    with retrying:
        measured = retrying.measure(stimuli)
    np.testing.assert_array_equal(measured, fibre().measure(stimuli))
    assert_each_fault_was_told_once(faulty, events)
    assert len(faulty.injected) == pytest.approx(105, abs=45)
    assert set(Counter(fault.kind for fault in faulty.injected)) == set(FAULTS)


class NaiveRetry(hwloop.DeviceWrapper):
    """Asks again on the same connection, as many a driver does."""

    def _measure(self, inputs):
        for _ in range(20):
            try:
                return self.device.measure(inputs)
            except DeviceError:
                pass
        raise DeviceTimeout("no answer in 20 attempts")


@pytest.mark.slow
def test_asking_again_on_the_same_connection_gives_wrong_values_without_an_error():
    faulty = Faulty(fibre(max_rows=1), {"timeout": 0.1}, seed=0)
    with NaiveRetry(faulty) as naive:
        measured = naive.measure(STIMULI)
    wrong = np.any(measured != fibre().measure(STIMULI), axis=1)
    first_fault = faulty.injected[0].call
    # Asked twice, the row that timed out gets its own late reply; one is left over, and every row after it reads
    # a reply that is too old.
    assert not wrong[: first_fault + 1].any()
    assert wrong[first_fault + 1 :].all()
    assert wrong.sum() > 900

    with Retrying(Faulty(fibre(max_rows=1), {"timeout": 0.1}, seed=0), clock=Sleepless(), retries=6) as retrying:
        np.testing.assert_array_equal(retrying.measure(STIMULI), fibre().measure(STIMULI))


def blobs(samples=60, classes=3):
    rng = np.random.default_rng(1)
    labels = np.arange(samples) % classes
    return rng.normal(size=(samples, 8)) + 2.0 * np.eye(classes, 8)[labels], labels


def trained(device, events):
    inputs, labels = blobs()
    session = Session(device, listeners=[events.append])
    device.listener = events.append
    network = PhysicalNetwork(session, [Stage(10), Stage(10)], seed=1)
    hwloop.trainer("local", epochs=3, min_steps=20, batch_samples=16).fit(network, inputs, labels)
    return network, network.predict_proba(inputs), session


@pytest.mark.parametrize("seed", each_row(range(5), 0))
def test_training_ends_with_the_weights_of_a_run_without_faults(seed):
    faulty, retrying = faulty_fibre(seed, max_rows=2)
    events, quiet = [], []
    network, probabilities, session = trained(retrying, events)
    expected, expected_probabilities, undisturbed = trained(fibre(max_rows=2), quiet)
    weights, expected_weights = network.state_dict(), expected.state_dict()
    assert weights.keys() == expected_weights.keys()
    for name, weight in weights.items():
        assert weight.numpy().tobytes() == expected_weights[name].numpy().tobytes(), name
    np.testing.assert_array_equal(probabilities, expected_probabilities)
    assert len(faulty.injected) >= 3
    assert_each_fault_was_told_once(faulty, events)
    assert session.ledger.rows == undisturbed.ledger.rows  # a row counts once, however often it was tried
    assert not faulty.device.is_open


class DiesAfter(Fibre):
    """Answers so many calls and no more."""

    calls_left = 0

    def _measure(self, inputs):
        if not self.calls_left:
            raise ConnectionResetError("peer")
        self.calls_left -= 1
        return super()._measure(inputs)


def test_when_the_retries_are_used_up_the_device_is_closed_and_every_answered_row_is_kept():
    device = DiesAfter(n_inputs=12, n_outputs=24, seed=5).noiseless()
    device.spec = replace(device.spec, max_rows=10)
    device.calls_left = 7
    retrying = Retrying(device, retries=3, clock=Sleepless())
    events = []
    session = Session(retrying, listeners=[events.append])
    retrying.listener = events.append
    with pytest.raises(hwloop.DeviceDisconnected, match=r"4 attempts in .* retries=3"):
        session.measure(STIMULI[:100])
    assert not device.is_open
    assert session.ledger["train"] == len(session.memory) == 70
    assert sum(event.rows for event in events if isinstance(event, RowsMeasured)) == 70
    assert [event.fault for event in events if isinstance(event, DeviceFault)] == [1, 2, 3, 4]

    device.calls_left = 99  # the cable is back: only what is missing is measured
    np.testing.assert_array_equal(session.measure(STIMULI[:100]), fibre().measure(STIMULI[:100]))
    assert session.ledger["train"] == 100
    assert device.calls_left == 96
