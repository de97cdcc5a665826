"""A hwloop device under Bluesky's RunEngine."""

import contextlib
import threading
import time

import numpy as np
import pytest

from hwloop import Device, DeviceError, DeviceSpec, LimitError, StimulusError, open_device
from hwloop.devices.adapters import BlueskyDetector, OphydAsyncDevice

pytest.importorskip("bluesky", reason="bluesky is not installed: pip install 'hwloop[lab]'")

from bluesky import (
    RunEngine,
    protocols,
)
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky import preprocessors as bpp
from bluesky.simulators import check_limits
from bluesky.utils import FailedStatus, RunEngineInterrupted


class Doubler(Device):
    """Answers twice the stimulus; notes rows, threads, and whether it is open."""

    def __init__(self):
        self.spec = DeviceSpec(
            2, 2, input_low=[-1.0, 0.5], input_high=[1.0, 2.0], input_unit="V", output_unit="mW"
        )
        self.rows, self.threads, self.is_open, self.fails = [], set(), False, False

    def open(self):
        self.is_open = True
        self.threads.add(threading.get_ident())

    def close(self):
        self.is_open = False
        self.threads.add(threading.get_ident())

    def identify(self):
        return "doubler 7"

    def _measure(self, inputs):
        assert self.is_open
        self.threads.add(threading.get_ident())
        if self.fails:
            raise TimeoutError("no answer")
        self.rows.extend(inputs.tolist())
        return 2 * inputs


@pytest.fixture(scope="module")
def run_engine():
    engine = RunEngine()
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@pytest.fixture
def rig():
    return BlueskyDetector(Doubler(), "rig")


def documents(run_engine, plan):
    found = []
    run_engine(plan, lambda name, document: found.append((name, document)))
    return found


def data_of(found):
    return [document["data"] for name, document in found if name == "event"]


def test_a_scan_moves_one_input_and_reads_stimulus_and_response(run_engine, rig):
    data = data_of(documents(run_engine, bp.scan([rig], rig.inputs[0], -1, 1, 3)))
    assert [row["rig-input-0"] for row in data] == [-1, 0, 1]
    np.testing.assert_array_equal([row["rig-stimulus"] for row in data], [[-1, 0.5], [0, 0.5], [1, 0.5]])
    np.testing.assert_array_equal([row["rig-response"] for row in data], [[-2, 1], [0, 1], [2, 1]])


def test_two_inputs_in_a_grid(run_engine, rig):
    documents(run_engine, bp.grid_scan([rig], rig.inputs[0], -1, 1, 2, rig.inputs[1], 1, 2, 2))
    assert rig.device.rows == [[-1, 1], [-1, 2], [1, 1], [1, 2]]


def test_the_documents_state_units_limits_and_identity(run_engine, rig):
    (descriptor,) = [
        d for name, d in documents(run_engine, bp.scan([rig], rig.inputs[0], 0, 1, 2)) if name == "descriptor"
    ]
    keys = descriptor["data_keys"]
    assert (keys["rig-stimulus"]["units"], keys["rig-stimulus"]["shape"]) == ("V", [2])
    assert (keys["rig-response"]["units"], keys["rig-response"]["shape"]) == ("mW", [2])
    assert keys["rig-input-0"]["limits"]["control"] == {"low": -1.0, "high": 1.0}
    assert descriptor["configuration"]["rig"]["data"] == {"rig-identity": "doubler 7"}


def test_trigger_and_read_in_a_plan_of_ones_own(run_engine, rig):
    readings = []

    @bpp.stage_decorator([rig])
    @bpp.run_decorator()
    def plan():
        yield from bps.mv(rig.inputs[0], 0.25, rig.inputs[1], 1.5)
        readings.append((yield from bps.trigger_and_read([rig])))
        yield from bps.abs_set(rig, [1.0, 2.0], wait=True)
        readings.append((yield from bps.trigger_and_read([rig])))

    documents(run_engine, plan())
    assert [reading["rig-stimulus"]["value"].tolist() for reading in readings] == [[0.25, 1.5], [1, 2]]
    assert [reading["rig-response"]["value"].tolist() for reading in readings] == [[0.5, 3], [2, 4]]


def test_one_thread_calls_the_device_and_it_is_closed_at_the_end(run_engine, rig):
    documents(run_engine, bp.scan([rig], rig.inputs[0], 0, 1, 3))
    assert len(rig.device.threads) == 1
    assert not rig.device.is_open


@pytest.mark.filterwarnings("ignore")
def test_out_of_limits_fails_the_plan_and_closes_the_device(run_engine, rig):
    with pytest.raises(LimitError, match="rig-input-0"):
        run_engine(bp.scan([rig], rig.inputs[0], 0, 3, 4))
    assert rig.device.rows == [[0, 0.5], [1, 0.5]]
    assert not rig.device.is_open


def test_limits_can_be_checked_before_a_scan(rig):
    with pytest.raises(LimitError):
        check_limits(bp.scan([rig], rig.inputs[0], 0, 3, 4))
    check_limits(bp.scan([rig], rig.inputs[0], 0, 1, 4))
    assert rig.device.rows == []


def test_a_device_that_fails_fails_the_plan(run_engine, rig):
    rig.device.fails = True
    with pytest.raises(Exception, match="no answer") as caught:
        run_engine(bp.count([rig]))
    assert any(
        isinstance(error, DeviceError) for error in (caught.value, caught.value.__cause__, *caught.value.args)
    )
    assert not rig.device.is_open


def test_a_failed_trigger_leaves_no_old_reading(rig):
    rig.stage().exception(5)
    rig.trigger().exception(5)
    rig.device.fails = True
    assert isinstance(rig.trigger().exception(5), DeviceError)
    with pytest.raises(RuntimeError, match="trigger it first"):
        rig.read()
    rig.unstage().exception(5)


@pytest.mark.parametrize("stimulus", [[0.0], [0.0, np.nan], [2.0, 1.0], "ab"])
def test_a_row_that_the_device_would_refuse_is_refused_when_it_is_set(rig, stimulus):
    with pytest.raises((StimulusError, LimitError)):
        rig.set(stimulus)
    assert rig.stimulus.tolist() == [0.0, 0.5]


def test_it_keeps_blueskys_protocols(rig):
    for protocol in ("Readable", "Triggerable", "Movable", "Stageable", "Configurable", "HasHints"):
        assert isinstance(rig, getattr(protocols, protocol)), protocol
    for protocol in ("Readable", "Movable", "Checkable", "NamedMovable"):
        assert isinstance(rig.inputs[0], getattr(protocols, protocol)), protocol
    assert isinstance(rig.stage(), protocols.Status)


def test_one_output_is_a_number_that_live_plots_show(run_engine):
    fibre = open_device("optical-fibre", n_inputs=1, n_outputs=1)
    detector = BlueskyDetector(fibre, "fibre")
    data = data_of(documents(run_engine, bp.scan([detector], detector.inputs[0], 0, 1, 2)))
    assert isinstance(data[0]["fibre-response"], float)
    assert detector.hints == {"fields": ["fibre-response"]}


def test_an_ophyd_async_device_goes_round(run_engine):
    """A signal as a hwloop device as a Bluesky detector, all in one event loop."""
    core = pytest.importorskip(
        "ophyd_async.core", reason="ophyd-async is not installed: pip install 'hwloop[lab]'"
    )
    power = core.soft_signal_rw(float, name="power", units="mW")
    detector = BlueskyDetector(OphydAsyncDevice([(power, 0, 5)], [power]), "laser")
    data = data_of(documents(run_engine, bp.scan([detector], detector.inputs[0], 1, 5, 3)))
    assert [row["laser-response"] for row in data] == [1, 3, 5]


class Hanging(Doubler):
    """Answers one row, then hangs until it is closed."""

    def __init__(self):
        super().__init__()
        self.closed = threading.Event()

    def close(self):
        super().close()
        self.closed.set()

    def _measure(self, inputs):
        if self.rows:
            self.closed.wait(60)
            raise ConnectionError("closed under way")
        return super()._measure(inputs)


def test_an_abort_closes_a_device_that_hangs(run_engine):
    device = Hanging()
    rig = BlueskyDetector(device, "rig", stop_seconds=0.2)

    def pause():
        while len(device.rows) < 1:
            time.sleep(0.01)
        time.sleep(0.1)
        run_engine.request_pause(defer=False)

    pauser = threading.Thread(target=pause)
    pauser.start()
    with pytest.raises(RunEngineInterrupted):
        run_engine(bp.count([rig], num=3))
    pauser.join()
    begin = time.monotonic()
    with contextlib.suppress(FailedStatus):  # the row that was broken off
        run_engine.abort()
    assert device.closed.wait(10)
    assert time.monotonic() - begin < 10
    assert not device.is_open


def test_a_pause_leaves_the_device_open_and_stop_closes_it_from_another_thread():
    device = Hanging()
    rig = BlueskyDetector(device, "rig", stop_seconds=0.1)
    rig.stage().exception(10)
    rig.trigger().exception(10)
    hanging = rig.trigger()
    rig.inputs[0].stop(success=True)
    assert device.is_open
    rig.inputs[0].stop(success=False)
    assert device.closed.wait(10)
    assert isinstance(hanging.exception(10), DeviceError)
    rig.unstage().exception(10)
    assert rig.stage().exception(10) is None  # and it can be used again
    rig.unstage().exception(10)


def test_a_detector_leaves_no_thread_behind():
    before = set(threading.enumerate())
    rig = BlueskyDetector(Doubler(), "rig")
    rig.unstage().exception(10)
    for _ in range(3):
        rig.stage().exception(10)
        rig.trigger().exception(10)
        rig.unstage().exception(10)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
