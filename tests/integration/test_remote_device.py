"""A device over the network is the device: the same values, the same errors, the same safe state."""

import contextlib
import threading

import numpy as np
import pytest
from examples import each_row

import hwloop
import hwloop.journal
from hwloop import DeviceError, DeviceSpec, PhysicalNetwork, Session, open_device
from hwloop.devices.remote import DeviceServer, RemoteDevice
from hwloop.devices.remote.address import Address
from hwloop.devices.remote.link import RemoteLink
from hwloop.devices.retrying import Retrying
from hwloop.events import DeviceFault
from hwloop.layers import Stage

FIBRE = {"n_inputs": 12, "n_outputs": 20, "seed": 5, "drift_per_row": 1e-4, "gain_jitter": 0.01}
ROWS = np.random.default_rng(0).random((40, 12))


def fibre():
    return open_device("optical-fibre", **FIBRE)


class Lamp(hwloop.Device):
    """Lit while rows are measured and after; dark when closed. Fails as it is told to, by the stimulus."""

    spec = DeviceSpec(2, 3, input_low=-1.0, input_high=np.array([1.0, 2.0]), input_unit="V", max_rows=8)
    lit = 0  # lamps that are lit, of all objects

    def __init__(self):
        self.on = False

    def close(self):
        Lamp.lit -= self.on
        self.on = False

    def _measure(self, inputs):
        Lamp.lit += not self.on
        self.on = True
        errors = {
            0.1: hwloop.DeviceTimeout("no answer of the lamp"),
            0.2: hwloop.BadReading("a dark reading"),
            0.3: hwloop.DeviceCrashed("the lamp's process died"),
            0.4: ZeroDivisionError("in its driver"),
        }
        if inputs[0, 0] in errors:
            raise errors[inputs[0, 0]]
        return np.stack([inputs.sum(axis=1)] * 3, axis=1)


@pytest.fixture(autouse=True)
def dark():
    Lamp.lit = 0
    yield
    assert Lamp.lit == 0, "the device was not left in its safe state"
    for thread in threading.enumerate():
        # The loop of ophyd-async's signals, from another test, stays as long as the process.
        if thread.name.startswith("hwloop-") and thread.name != "hwloop-event-loop":
            thread.join(10.0)  # an end takes its time where many compute
            assert not thread.is_alive(), thread


def server_of(make_device, **options):
    return DeviceServer(make_device, Address("127.0.0.1", 0), **options)


def remote(server, **settings):
    return open_device(f"remote:{server.address}", **settings)


def test_values_are_those_of_the_device_itself_also_when_it_was_closed_between():
    """Noise, jitter and drift go on where this client left them, although the server makes a new device."""
    local = fibre()
    with server_of(fibre) as server:
        device = remote(server)
        assert device.spec == local.spec
        assert device.identify() == local.identify()
        with device:
            first = device.measure(ROWS)
        with remote(server) as other:
            np.testing.assert_array_equal(other.measure(ROWS), first)  # a device of its own
        with device:
            second = device.measure(ROWS)
    np.testing.assert_array_equal(first, local.measure(ROWS))
    np.testing.assert_array_equal(second, local.measure(ROWS))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("pooled", each_row([False, True], True))
@pytest.mark.filterwarnings("ignore:resume")
def test_hidden_rows_on_the_other_side_count_when_a_session_goes_on(pooled):
    def served():
        faulty = hwloop.Faulty(fibre(), {"timeout": 0.1, "stale": 0.1}, seed=4)
        inner = hwloop.Retrying(hwloop.SlewLimited(faulty, 0.3), 20, backoff_seconds=0.0, stop_after=99)
        return hwloop.Averaged(inner, 2)

    def answers(journal, blocks, server):
        device = hwloop.Pool([remote(server)]) if pooled else remote(server)
        with contextlib.suppress(DeviceError), Session(device, journal=journal) as session:
            session.answers = [session.measure(block) for block in blocks]
        return session.answers

    blocks = np.split(ROWS, [5, 11, 12, 30])
    with server_of(served) as server:
        whole = answers(hwloop.journal.InMemoryJournal(), blocks, server)
        journal = hwloop.journal.InMemoryJournal()
        for stop in (1, 3, 5):
            again = answers(journal, blocks[:stop], server)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_calls_of_more_rows_than_a_frame_carries(monkeypatch):
    monkeypatch.setattr("hwloop.devices.remote.wire_format.FRAME_BYTES", 8 * 20 * 7)
    with server_of(fibre) as server, remote(server) as device:
        np.testing.assert_array_equal(device.measure(ROWS), fibre().measure(ROWS))


def test_limits_of_very_many_channels_cross():
    class Modulator(hwloop.Device):
        spec = DeviceSpec(200_000, 1, input_low=-np.linspace(1 / 3, 1, 200_000), input_high=2.0)

        def _measure(self, inputs):
            return inputs[:, :1]

    with server_of(Modulator) as server, remote(server) as device:
        assert device.spec == Modulator.spec
        np.testing.assert_array_equal(device.measure(np.full((2, 200_000), 0.25)), [[0.25], [0.25]])
        with pytest.raises(hwloop.LimitError, match="channel 0"):
            device.measure(np.full((1, 200_000), -0.5))


def trained(device):
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3
    inputs = rng.normal(size=(60, 8)) + 2.0 * np.eye(3, 8)[labels]
    network = PhysicalNetwork(Session(device), [Stage(10), Stage(10)], seed=1)
    hwloop.trainer("local", epochs=3, min_steps=20, batch_samples=16).fit(network, inputs, labels)
    weights = {name: weight.numpy().tobytes() for name, weight in network.state_dict().items()}
    return weights, network.predict_proba(inputs)


@pytest.mark.slow
def test_training_is_the_same_to_the_last_bit():
    with server_of(fibre) as server:
        weights, probabilities = trained(remote(server))
    expected_weights, expected = trained(fibre())
    assert weights == expected_weights
    np.testing.assert_array_equal(probabilities, expected)


@pytest.mark.parametrize(
    ("stimulus", "kind", "text"),
    [
        (0.1, hwloop.DeviceTimeout, "no answer of the lamp"),
        (0.2, hwloop.BadReading, "a dark reading"),
        (0.3, hwloop.DeviceCrashed, "the lamp's process died"),
        (0.4, DeviceError, "ZeroDivisionError: in its driver"),
    ],
)
def test_errors_of_the_device_arrive_as_what_they_are(stimulus, kind, text):
    with server_of(Lamp) as server, remote(server) as device:
        with pytest.raises(kind, match=text) as caught:
            device.measure([[stimulus, 0.0]])
        assert type(caught.value) is kind
        np.testing.assert_array_equal(
            device.measure([[0.5, 1.0]]), [[1.5] * 3]
        )  # the connection is as good as ever


def test_limits_are_checked_at_the_server_again():
    """A client that checks nothing gets nothing past them."""
    with server_of(Lamp) as server:
        device = RemoteDevice(str(server.address))
        device.open()
        ask = device._link.ask
        for inputs, kind in (
            ([[0.0, 2.5]], hwloop.LimitError),
            ([[0.0, np.nan]], hwloop.StimulusError),
            ([[0.0]], hwloop.StimulusError),
            ([0.0, 0.0], hwloop.StimulusError),
            (np.zeros((1, 2), dtype=np.int8), None),
        ):
            deadline = hwloop.deadline.Deadline.after(5)
            if kind is None:
                assert ask("measure", deadline, arrays={"inputs": np.asarray(inputs)})
                continue
            with pytest.raises(kind) as caught:
                ask("measure", deadline, arrays={"inputs": np.asarray(inputs)})
            assert type(caught.value) is kind
        device.close()


def test_a_second_client_is_told_who_has_the_device_and_may_wait_for_it():
    with server_of(Lamp) as server:
        first, second = remote(server), remote(server)
        with first:
            first.measure([[0.0, 0.0]])
            with pytest.raises(DeviceError, match=r"in use by .* \(process \d+\), since \d\d:.*, 1 rows so far"):
                second.open()
            assert second.spec == Lamp.spec  # it may ask
            patient = remote(server, wait_seconds=30.0)
            opened = threading.Event()
            thread = threading.Thread(target=lambda: (patient.open(), opened.set()))
            thread.start()
            assert not opened.wait(0.3)
        assert opened.wait(20)
        thread.join()
        patient.close()


def test_what_the_device_tells_reaches_the_session_here():
    class Flaky(Lamp):
        calls = 0

        def _measure(self, inputs):
            Flaky.calls += 1
            if Flaky.calls == 2:
                raise TimeoutError("once")
            return super()._measure(inputs)

    heard = []
    with (
        server_of(lambda: Retrying(Flaky(), backoff_seconds=0.0, plausible=[])) as server,
        remote(server) as device,
    ):
        device.listener = heard.append
        device.measure([[0.0, 0.0]])
        device.measure([[0.5, 0.0]])
    (fault,) = heard
    assert isinstance(fault, DeviceFault)
    assert (fault.fault, fault.rows) == (1, 1)
    assert "once" in fault.error


def test_a_server_that_now_serves_another_device_is_noticed():
    with server_of(fibre) as server:
        device = remote(server)
        device.open()
        device.close()
        server._access._make_device = Lamp
        with pytest.raises(DeviceError, match="another device is served"):
            device.open()
        device.close()


def test_nobody_there_is_said_so():
    with server_of(Lamp) as server:
        device = remote(server)
    with pytest.raises(hwloop.DeviceDisconnected, match="no server answers at 127"):
        device.open()
    device.close()
    with pytest.raises(hwloop.DeviceDisconnected, match="open it"):
        RemoteDevice(str(server.address))._measure(ROWS)


def test_a_connection_that_failed_is_asked_nothing_any_more():
    with server_of(Lamp) as server:
        device = remote(server)
        device.open()
        device.measure([[0.0, 0.0]])
        link = device._link
        link._channel.hang_up()
        with pytest.raises(hwloop.DeviceDisconnected, match="is lost"):
            device.measure([[0.0, 0.0]])
        assert isinstance(link, RemoteLink)
        with pytest.raises(hwloop.DeviceDisconnected, match="open it"):
            device.measure([[0.0, 0.0]])
        device.close()  # confirmed over a connection of its own
        assert Lamp.lit == 0
