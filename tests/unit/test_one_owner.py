"""One device object has one owner: sessions share it, and everybody else is refused before it measures."""

import copy
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hwloop
from hwloop.device import handed_on
from hwloop.devices.averaged import Averaged
from hwloop.devices.pool import Pool
from hwloop.devices.quantized import Quantized
from hwloop.devices.retrying import Retrying

PATIENCE = 20.0


class Rig(hwloop.Device):
    """Holds one stimulus at a time, as an instrument does: written, then read."""

    spec = hwloop.DeviceSpec(n_inputs=3, n_outputs=3, input_low=-1, input_high=1, max_rows=5)

    def __init__(self):
        self.is_open = False
        self.opens, self.closes, self.measured_closed, self.inside, self.most_inside = 0, 0, 0, 0, 0
        self.threads = set()

    def identify(self):
        return "rig 7"

    def open(self):
        self.opens += 1
        self.is_open = True

    def close(self):
        self.closes += 1
        self.is_open = False

    def _measure(self, inputs):
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.threads.add(threading.get_ident())
        self.measured_closed += not self.is_open
        self.stimulus = inputs
        time.sleep(0.0005)
        self.inside -= 1
        return self.stimulus * 1.0


class Gated(Rig):
    def __init__(self):
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()

    def _measure(self, inputs):
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        return super()._measure(inputs)


def rows(seed, number=40):
    return np.random.default_rng(seed).uniform(-1, 1, (number, 3))


def wrong_rows(session, seed):
    stimuli = rows(seed)
    answers = np.vstack([session.measure(stimuli[start : start + 4]) for start in range(0, len(stimuli), 4)])
    return int((answers != stimuli).any(axis=1).sum())


def in_threads(jobs):
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(*job) for job in jobs]]


@pytest.mark.parametrize("sessions", [1, 2, 8])
def test_sessions_on_one_device_in_eight_threads_get_their_own_rows(sessions):
    rig = Rig()
    shared = [hwloop.Session(rig) for _ in range(sessions)]
    assert in_threads([(wrong_rows, shared[number % sessions], number) for number in range(8)]) == [0] * 8
    assert (rig.most_inside, rig.measured_closed, rig.is_open) == (1, 0, False)
    assert rig.opens == rig.closes
    assert sum(session.ledger.total for session in shared) == 8 * 40
    for session in shared:
        assert session.journal.rows == session.ledger.total


def test_the_last_session_closes_the_device_and_one_thread_calls_it():
    rig = Rig()
    first, second = hwloop.Session(rig), hwloop.Session(rig)
    with first:
        second.measure(rows(0))
        second.open()
        second.close()
        assert rig.is_open
        np.testing.assert_array_equal(first.measure(rows(1)), rows(1))
    assert not rig.is_open
    assert (rig.opens, rig.closes, len(rig.threads)) == (1, 1, 1)


def test_a_session_that_leaves_waits_for_its_own_rows_and_stops_them():
    rig = Gated()
    with hwloop.Session(rig) as stays:
        leaves = hwloop.Session(rig)
        measurement = leaves.submit(rows(0))
        assert rig.entered.wait(PATIENCE)
        closing = threading.Thread(target=leaves.close)
        closing.start()
        rig.gate.set()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        with pytest.raises(hwloop.DeviceError, match="session was closed"):
            measurement.result()
        np.testing.assert_array_equal(stays.measure(rows(1)), rows(1))


def test_a_session_that_is_lost_leaves_the_device_to_the_others():
    rig = Rig()
    with hwloop.Session(rig) as session:
        hwloop.Session(rig).open()
        gc.collect()
        assert rig.is_open
        np.testing.assert_array_equal(session.measure(rows(1)), rows(1))
    assert not rig.is_open


@pytest.mark.parametrize("around", [lambda d: d, lambda d: Retrying(d, plausible=[]), lambda d: Pool([d])])
def test_nobody_calls_a_device_that_a_session_has(around):
    rig = Rig()
    with hwloop.Session(around(rig)) as session:
        session.measure(rows(0))
        for call in (lambda: rig.measure(rows(1)), rig.open):
            with pytest.raises(
                hwloop.DeviceError, match=r"Rig is in use by a session on .*measure through that session"
            ):
                call()
        np.testing.assert_array_equal(session.measure(rows(2)), rows(2))
    assert rig.measured_closed == 0
    with rig:
        np.testing.assert_array_equal(rig.measure(rows(1)), rows(1))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda d: Averaged(d, 2), lambda d: Quantized(d, 8)),
        (lambda d: d, lambda d: Retrying(d, plausible=[])),
        (lambda d: Retrying(Averaged(d, 1), plausible=[]), lambda d: d),
        (lambda d: Pool([d]), lambda d: d),
        (lambda d: Averaged(d, 1), lambda d: Pool([d])),
    ],
)
def test_two_sessions_on_wrappers_of_one_device_do_not_share_it(one, other):
    rig = Rig()
    with hwloop.Session(one(rig)) as session:
        with pytest.raises(hwloop.DeviceError, match="in use by a session on"):
            hwloop.Session(other(rig)).measure(rows(0))
        assert rig.is_open
        session.measure(rows(1))
    assert (rig.measured_closed, rig.is_open) == (0, False)
    hwloop.Session(other(rig)).measure(rows(0))


@pytest.mark.parametrize(
    "members",
    [
        lambda d: [d, d],
        lambda d: [d, Averaged(d, 1)],
        lambda d: [Averaged(d, 1), Retrying(Averaged(d, 1))],
        lambda d: [Pool([d]), d],
    ],
)
def test_no_device_stands_twice_in_a_pool_however_it_is_wrapped(members):
    with pytest.raises(hwloop.ConfigError, match="twice in the pool"):
        Pool(members(Rig()))


def test_threads_without_a_session_take_turns():
    rig = Rig()

    def wrong(seed):
        return int((np.vstack([rig.measure(row[None]) for row in rows(seed)]) != rows(seed)).any(axis=1).sum())

    with rig:
        assert in_threads([(wrong, seed) for seed in range(4)]) == [0] * 4
    assert rig.most_inside == 1


def test_a_run_that_goes_on_needs_the_device_to_itself():
    rig = Rig()
    recorded = hwloop.Session(rig)
    recorded.measure(rows(0))
    again = hwloop.Session(rig, journal=recorded.journal)
    with hwloop.Session(rig), pytest.raises(hwloop.DeviceError, match="needs the device to itself"):
        again.measure(rows(0))
    np.testing.assert_array_equal(again.measure(rows(0)), rows(0))


def test_a_device_that_cannot_be_opened_fails_for_all_and_can_be_tried_again():
    class Unplugged(Rig):
        plugged = False

        def open(self):
            if not self.plugged:
                raise ConnectionError("no route to host")
            super().open()

    rig = Unplugged()
    sessions = [hwloop.Session(rig) for _ in range(4)]

    def refused(session):
        with pytest.raises(hwloop.DeviceError, match="no route to host"):
            session.measure(rows(0))
        return True

    assert all(in_threads([(refused, session) for session in sessions]))
    rig.plugged = True
    assert in_threads([(wrong_rows, session, 0) for session in sessions]) == [0] * 4


def test_abort_reaches_every_session_on_the_device():
    from hwloop.deadline import Deadline

    rig = Gated()
    first, second = hwloop.Session(rig), hwloop.Session(rig)
    first.open()
    second.open()
    measurements = [session.submit(rows(number)) for number, session in enumerate((first, second))]
    assert rig.entered.wait(PATIENCE)
    assert first.abort(Deadline.after(5.0)) == []
    assert not rig.is_open
    rig.gate.set()
    for measurement in measurements:
        with pytest.raises(hwloop.DeviceError):
            measurement.result()
    assert (first.journal.rows, second.journal.rows) == (0, 0)
    assert wrong_rows(hwloop.Session(rig), 3) == 0


def test_a_copied_driver_is_the_same_driver_and_a_copied_simulation_another():
    rig = Rig()
    for duplicate in (copy.copy, copy.deepcopy):
        assert duplicate(rig) is rig
        wrapped = duplicate(Averaged(rig, 2))
        assert wrapped.device is rig
    simulated = hwloop.open_device("optical-fibre", n_inputs=4, n_outputs=5, seed=3)
    twin = copy.deepcopy(Averaged(simulated, 2))
    assert twin.device is not simulated
    stimuli = np.random.default_rng(0).uniform(simulated.spec.low, simulated.spec.high, (6, 4))
    first = simulated.measure(stimuli)
    assert twin.device.rows_measured == 0
    np.testing.assert_array_equal(
        copy.deepcopy(hwloop.open_device("optical-fibre", n_inputs=4, n_outputs=5, seed=3)).measure(stimuli), first
    )
    pair = copy.deepcopy([rig, Averaged(rig, 1)])
    assert pair[0] is pair[1].device is rig


@pytest.mark.slow
def test_clones_of_an_estimator_in_threads_share_the_rig():
    from joblib import Parallel, delayed
    from sklearn.base import clone
    from sklearn.datasets import make_blobs
    from sklearn.model_selection import cross_val_score

    class Wide(Rig):
        spec = hwloop.DeviceSpec(n_inputs=12, n_outputs=12, input_low=-1, input_high=1, max_rows=16)

    rig = Wide()
    inputs, labels = make_blobs(24, 4, centers=2, random_state=0)
    classifier = hwloop.PhysicalClassifier(rig, stages=1, width=3, trainer="readout", random_state=0)
    assert clone(classifier).device is rig
    alone = cross_val_score(classifier, inputs, labels, cv=2)
    with_threads = Parallel(n_jobs=3, backend="threading")(
        delayed(cross_val_score)(clone(classifier), inputs, labels, cv=2) for _ in range(3)
    )
    for scores in with_threads:
        np.testing.assert_array_equal(scores, alone)
    assert (rig.most_inside, rig.measured_closed, rig.is_open) == (1, 0, False)


class SideBySide(hwloop.Device):
    """Somebody's device that calls two others on threads of its own."""

    def __init__(self, first, second, hand_on):
        self.pair, self.spec, self.hand_on = (first, second), first.spec, hand_on

    def open(self):
        for device in self.pair:
            device.open()

    def close(self):
        for device in self.pair:
            device.close()

    def _measure(self, inputs):
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(self.hand_on(lambda d=device: d.measure(inputs))) for device in self.pair]
            return sum(future.result() for future in futures) / 2


def test_a_device_that_calls_others_on_its_own_threads_hands_its_calls_on():
    first, second = Rig(), Rig()
    session = hwloop.Session(SideBySide(first, second, handed_on))
    np.testing.assert_array_equal(session.measure(rows(0)), rows(0))
    refused = hwloop.Session(SideBySide(first, second, lambda step: step))
    with pytest.raises(hwloop.DeviceError, match=r"handed_on"):
        refused.measure(rows(1))
    assert not first.is_open
    assert not second.is_open


def test_a_session_that_a_listener_opens_on_the_same_device_is_refused_and_does_not_wait_for_itself():
    rig = Rig()
    errors = []

    def listener(event):
        try:
            hwloop.Session(rig).measure(rows(1))
        except hwloop.DeviceError as error:
            errors.append(str(error))

    with hwloop.Session(rig, listeners=[listener]) as session:
        np.testing.assert_array_equal(session.measure(rows(0, 5)), rows(0, 5))
    assert "on its device's thread" in errors[0]
    assert not rig.is_open
