"""Whoever answers must still be the same after every reopening, wherever in the device that happens."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hwloop
from hwloop.devices.averaged import Averaged
from hwloop.devices.pool import Pool
from hwloop.devices.retrying import Retrying
from hwloop.devices.worker.device import WorkerDevice
from hwloop.errors import DeviceChanged

X = np.array([[0.5, 0.25], [0.125, 0.5]])


class Port(hwloop.Device):
    """A port into which somebody plugs other units: the n-th that answers has gain n + 1."""

    spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)

    def __init__(self, units=(1, 2), fails_at=(2,), error=ConnectionError):
        self.units, self.fails_at, self.error = list(units), fails_at, error
        self.unit_now, self.calls, self.closed = self.units.pop(0), 0, 0

    def identify(self):
        return f"ACME,SN{self.unit_now}"

    def close(self):
        self.closed += 1

    def _swap(self):
        if self.units:
            self.unit_now = self.units.pop(0)

    def _measure(self, inputs):
        self.calls += 1
        if self.calls in self.fails_at:
            self._swap()
            raise self.error("unplugged")
        return inputs * (1 + self.unit_now)


class ReconnectsItself(Port):
    """A driver that mends its connection within a call, without a word."""

    def _measure(self, inputs):
        try:
            return super()._measure(inputs)
        except ConnectionError:
            return super()._measure(inputs)


class Stubborn(hwloop.DeviceWrapper):
    """Somebody's wrapper: it measures again, on a connection that it opens anew or not, and never says so."""

    def __init__(self, device, reopens=True):
        super().__init__(device)
        self.reopens = reopens

    def identify(self):
        return "stubborn"  # not a word of what is inside

    def _measure(self, inputs):
        for _ in range(4):
            try:
                return self.device.measure(inputs)
            except hwloop.DeviceError as error:
                last = error
                if self.reopens:
                    self.device.close()
                    self.device.open()
        raise last


class Holding(hwloop.Device):
    """Somebody's device around a device, with none of the wrappers' ways."""

    def __init__(self, inner):
        self.somebody, self.spec = inner, inner.spec

    def open(self):
        self.somebody.open()

    def close(self):
        self.somebody.close()

    def _measure(self, inputs):
        try:
            return self.somebody.measure(inputs)
        except hwloop.DeviceError:
            self.somebody.close()
            self.somebody.open()
            return self.somebody.measure(inputs)


def retrying(device, **settings):
    return Retrying(device, backoff_seconds=0, plausible=[], **settings)


STACKS = {
    "retrying": lambda: retrying(Port()),
    "retrying, at the third attempt": lambda: retrying(Port((1, 1, 1, 2), (2, 3, 4))),
    "retrying, after it stopped and was opened again": lambda: retrying(Port((1, 2), (2,)), retries=0),
    "retrying around averaged": lambda: retrying(Averaged(Port(), 1)),
    "averaged around retrying": lambda: Averaged(retrying(Port()), 1),
    "a pool of retrying members": lambda: Pool([retrying(Port()), retrying(Port((7, 8), (2,)))]),
    "retrying around a pool": lambda: retrying(Pool([Port(), Port((7, 7), (2,))])),
    "a wrapper of somebody's": lambda: Stubborn(Port()),
    "a wrapper of somebody's that does not reopen": lambda: Stubborn(Port(), reopens=False),
    "a wrapper of somebody's in a pool": lambda: Pool([Stubborn(Port())]),
    "a device of somebody's around a device": lambda: Holding(Port()),
    "a driver that mends its connection": lambda: ReconnectsItself(),
    "retrying around such a driver": lambda: retrying(ReconnectsItself()),
    "nothing around it, asked again": lambda: Port(),
}


@pytest.mark.parametrize("stack", STACKS)
def test_rows_of_a_second_unit_are_never_recorded_under_the_first(stack):
    device = STACKS[stack]()
    session = hwloop.Session(device)
    seen = []
    with session:
        seen.append(session.measure(X))
        for number in range(1, 4):
            try:
                if number > 1:
                    session.close()
                    session.open()
                seen.append(session.measure(X * (1 - 0.1 * number)))
            except hwloop.DeviceError as error:
                seen.append(error)
                if isinstance(error, hwloop.DeviceChanged):
                    break
    assert isinstance(seen[-1], hwloop.DeviceChanged), seen
    assert "SN1" in str(seen[-1])
    assert "SN2" in str(seen[-1]) or "SN8" in str(seen[-1])
    for record in session.journal.records():
        gains = record.responses / record.stimuli
        assert set(np.unique(gains.round(6))) <= {2.0, 8.0}  # of the first units
    assert len(session.memory) == session.journal.rows == session.ledger.total


@pytest.mark.parametrize("around", [lambda d: d, retrying, Stubborn, Holding, lambda d: Pool([d])])
def test_a_session_that_is_opened_again_refuses_another_unit_and_its_memory_does_not_answer(around):
    port = Port((1, 2), ())
    device = around(port)
    session = hwloop.Session(device)
    first = session.measure(X)
    port._swap()
    with pytest.raises(hwloop.DeviceChanged, match="SN"):
        session.measure(X)
    assert session.ledger.total == 2
    assert port.closed
    other = hwloop.Session(device)
    np.testing.assert_array_equal(other.measure(X), X * 3)
    port.unit_now = 1
    np.testing.assert_array_equal(session.measure(X), first)
    assert "SN2" not in session.identity


def test_a_swap_with_nothing_failing_is_noticed_where_asking_costs_nothing():
    port = Port((1, 2), ())
    with hwloop.Session(port) as session:
        session.measure(X)
        port._swap()
        with pytest.raises(hwloop.DeviceChanged, match=r"SN2.*SN1"):
            session.measure(X * 0.5)
        assert session.journal.rows == 2


class Elastic(hwloop.Device):
    def __init__(self):
        self.spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)

    def _measure(self, inputs):
        return np.zeros((len(inputs), self.spec.n_outputs))


class Flickering(Elastic):
    """A property that gives another spec from the third time on."""

    high = 1.0

    @property
    def spec(self):
        return hwloop.DeviceSpec(n_inputs=2, n_outputs=2, input_high=self.high)

    @spec.setter
    def spec(self, value):
        pass


CHANGES = {
    "outputs": lambda d: setattr(d, "spec", hwloop.DeviceSpec(n_inputs=2, n_outputs=3)),
    "inputs": lambda d: setattr(d, "spec", hwloop.DeviceSpec(n_inputs=3, n_outputs=2)),
    "limits": lambda d: setattr(d, "spec", hwloop.DeviceSpec(n_inputs=2, n_outputs=2, input_high=2.0)),
    "limits by channel": lambda d: setattr(d, "spec", hwloop.DeviceSpec(2, 2, input_high=np.array([1.0, 2.0]))),
    "unit": lambda d: setattr(d, "spec", hwloop.DeviceSpec(n_inputs=2, n_outputs=2, output_unit="mV")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("around", [lambda d: d, lambda d: Averaged(d, 2), retrying, lambda d: Pool([d])])
def test_a_spec_that_changes_between_two_calls_is_refused_before_a_row_is_recorded(change, around):
    inner = Elastic()
    device = around(inner)
    session = hwloop.Session(device)
    with session:
        session.measure(X)
        CHANGES[change](inner)
        with pytest.raises(hwloop.HwloopError):
            session.measure(X * 0.5)
        assert session.journal.rows == 2


def test_the_change_of_a_spec_is_said():
    device = Flickering()
    with hwloop.Session(device) as session:
        session.measure(X)
        device.high = 3.0
        with pytest.raises(hwloop.DeviceChanged, match=r"spec.input_high is 3.0, not 1.0"):
            session.measure(X * 2)
    with pytest.raises(hwloop.DeviceChanged, match=r"input_high"):
        session.measure(X)


def test_a_late_answer_to_the_question_who_it_is_is_no_other_device():
    class Late(Port):
        behind = False

        def _measure(self, inputs):
            self.behind = self.calls == 1
            return super()._measure(inputs)

        def identify(self):
            self.behind, behind = False, self.behind
            return "+1.25E-1" if behind else super().identify()

    device = retrying(Late((1,), (2,)))
    with device:
        device.measure(X)
        np.testing.assert_array_equal(device.measure(X * 0.5), X)
    assert device.device.calls == 3


SERVED = """
from pathlib import Path
import os
class Rig:
    spec = {"n_inputs": 2, "n_outputs": 2}
    def __init__(self, counter):
        self.counter = Path(counter)
    def open(self):
        self.number = int(self.counter.read_text()) + 1
        self.counter.write_text(str(self.number))
        self.calls = 0
    def identify(self):
        return f"ACME,SN{self.number}"
    def measure(self, inputs):
        self.calls += 1
        if self.calls == 2:
            os._exit(3)
        return inputs * (1 + self.number)
"""


@pytest.mark.parametrize("around", [lambda d: d, retrying])
def test_a_worker_that_is_started_again_opens_the_same_unit(tmp_path, around):
    (tmp_path / "rig.py").write_text(SERVED)
    (tmp_path / "counter").write_text("0")
    device = around(
        WorkerDevice(target=f"{tmp_path / 'rig.py'}:Rig", python=sys.executable, counter=str(tmp_path / "counter"))
    )
    with hwloop.Session(device) as session:
        session.measure(X)
        with pytest.raises(hwloop.DeviceChanged, match=r"SN2.*SN1"):
            session.measure(X * 0.5)
        assert session.journal.rows == 2
    assert int(Path(tmp_path / "counter").read_text()) == 2


class VendorLink:
    """A base class of somebody's that knows nothing of devices."""

    number = 0

    def open(self, timeout=1.0):
        self.number += 1
        self.timeout = timeout

    def close(self, *, mute=True):
        self.mute = mute

    def identify(self):
        return f"ACME,SN{self.number}"


class Inherits(VendorLink, hwloop.Device):
    spec = hwloop.DeviceSpec(n_inputs=2, n_outputs=2)
    fails = False

    def _measure(self, inputs):
        if self.fails:
            self.fails = False
            raise ConnectionError("unplugged")
        return inputs * 2


def test_methods_from_a_base_that_is_no_device_are_watched_too_and_keep_their_arguments():
    device = Inherits()
    device.open(timeout=3.0)
    device.close(mute=False)
    assert (device.timeout, device.mute) == (3.0, False)
    stubborn = Stubborn(device)
    with stubborn:
        stubborn.measure(X)
        device.fails = True
        with pytest.raises(hwloop.DeviceChanged, match=r"SN3.*SN2"):
            stubborn.measure(X)


class Swapped(Port):
    """A unit that is swapped between two calls, with none failing; it says who it is as slowly as over a cable."""

    asked = 0
    asking_seconds = 0.003

    def identify(self):
        time.sleep(self.asking_seconds)
        self.asked += 1
        return super().identify()


@pytest.fixture
def swapped():
    return Swapped(fails_at=())


def other_rows_are_measured_by_another_unit(session, device):
    with session:
        session.measure(X + 0.25)
        device._swap()
        session.measure(X + 0.25)


def test_who_is_slow_to_say_who_it_is_is_asked_before_the_session_closes(swapped):
    session = hwloop.Session(swapped)
    session.measure(X)  # asked before it is closed again: the first unit's rows are vouched for
    with pytest.raises(DeviceChanged, match=r"'ACME,SN2' of itself, not 'ACME,SN1'.*Rows 2 to 3 "):
        other_rows_are_measured_by_another_unit(session, swapped)
    assert swapped.closed == 2
    [note] = [note for note in session.journal.notes() if note.kind == "unvouched"]
    assert (note.details["first_row"], note.details["end_row"]) == (2, 4)

    again = hwloop.Session(Swapped(fails_at=()), earlier=session.journal)
    with again:
        again.measure(np.concatenate([X, X + 0.25]))
    assert again.ledger.reused["train"] == 2  # the doubtful rows are measured anew


def test_it_is_asked_before_a_checkpoint_names_its_rows(swapped):
    with hwloop.Session(swapped) as session:
        session.measure(X)
        session.place()
        swapped._swap()
        session.measure(X + 0.25)
        with pytest.raises(DeviceChanged, match="Rows 2 to 3 "):
            session.place()
        with pytest.raises(DeviceChanged):
            session.measure(X + 0.125)  # from now on with every answer
        assert session.journal.rows == 4
        swapped.unit_now = 1
        session.measure(X + 0.125)
    assert session.journal.rows == 6


def test_it_is_asked_before_a_network_is_saved(swapped, tmp_path):
    with hwloop.Session(swapped) as session:
        network = hwloop.PhysicalNetwork(session, [hwloop.Stage(2)])
        network.build(2)
        session.measure(X)
        swapped._swap()
        session.measure(X + 0.25)
        with pytest.raises(DeviceChanged, match="Rows 0 to 3 "):
            hwloop.save_network(network, tmp_path / "network.safetensors")
        assert not list(tmp_path.iterdir())
        swapped.unit_now = 1


def test_it_is_asked_every_few_seconds_while_it_measures(swapped, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("hwloop.session.device_state.time.monotonic", lambda: now[0])
    with hwloop.Session(swapped) as session:
        session.measure(X)
        asked = swapped.asked
        now[0] += 9.0
        session.measure(X + 0.0625)
        assert swapped.asked == asked
        now[0] += 1.0
        session.measure(X + 0.125)
        assert swapped.asked == asked + 1
        swapped._swap()
        now[0] += 11.0
        with pytest.raises(DeviceChanged, match="Rows 4 to 5 "):
            session.measure(X + 0.25)
        assert session.journal.rows == 6
        swapped.unit_now = 1


def test_a_unit_that_cannot_say_who_it_is_at_the_end_is_warned_of_and_closed(swapped):
    session = hwloop.Session(swapped)
    session.open()
    session.measure(X)
    swapped.identify = lambda: (_ for _ in ()).throw(OSError("unplugged"))
    with pytest.warns(hwloop.HwloopWarning, match=r"could not say who it is.*rows from 0 on"):
        session.close()
    assert swapped.closed == 1
