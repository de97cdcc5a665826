"""Tunables: checked before a write, walked, asserted again after a loss, at rest before the device is closed."""

import copy
import threading

import numpy as np
import pytest
from helpers import in_forked_process
from tuned_devices import OTHER, TunedLayer, TunedRig

from hwloop import Device, DeviceError, DeviceSpec, LimitError, Retrying, Session, Tunable, TuningError

X = np.full((2, 4), 0.25)
REST = np.zeros(7)
SET = np.array([0.5, -0.5, 0.25, 1, 0, 1, 1])


WRONG = [
    *(("name", ""), ("count", 0), ("count", True), ("count", 1 << 25), ("low", np.inf), ("high", [1.0, 1.0])),
    *(("low", 2.0), ("step", 0.0), ("step", 3.0), ("max_change", -1.0), ("max_change", 0.1), ("rest", 1.5)),
    *(("rest", 0.75), ("settling_seconds", -1.0), ("settling_seconds", np.nan), ("unit", 3)),
    *(("settling_seconds", "1"), ("max_change", "1"), ("step", 1j), ("low", "0"), ("high", 2j), ("rest", [[0.0]])),
]


def test_a_tunable_that_protects_nothing_is_refused():
    for field, value in WRONG:
        with pytest.raises(ValueError, match=f"Tunable.*{field}"):
            Tunable(**{"name": "gain", "count": 3, "step": 0.5, field: value})


def test_names_are_unique_and_tables_are_tunables():
    with pytest.raises(ValueError, match="two are named 'a'"):
        DeviceSpec(1, 1, tunables=(Tunable("a"), Tunable("a", 2)))
    with pytest.raises(TypeError, match=r"must hold hwloop\.Tunable"):
        DeviceSpec(1, 1, tunables=("a",))
    spec = TunedLayer().spec
    assert DeviceSpec(**spec.as_dict()) == spec
    assert "tunables" not in DeviceSpec(1, 1).as_dict()


def test_flat_and_named_are_the_same_values():
    spec = TunedLayer().spec
    flat = spec.flat_tuning(OTHER)
    np.testing.assert_array_equal(flat, SET)
    np.testing.assert_array_equal(spec.flat_tuning(spec.named_tuning(flat)), flat)
    np.testing.assert_array_equal(spec.flat_tuning({"pixels": [1, 1, 1, 1]}, flat)[:3], flat[:3])
    np.testing.assert_array_equal(spec.nearest_tuning([2, -9, 0.3, 0.4, 0.6, 7, -1]), [1, -1, 0.3, 0, 1, 1, 0])


def test_steps_far_from_zero_are_as_fine_as_numbers_show():
    spec = DeviceSpec(1, 1, tunables=(Tunable("hertz", 4, 1e9, 1e9 + 1, step=1e-3, rest=1e9 + 0.123),))
    nearest = spec.nearest_tuning(1e9 + np.array([0.4567, 0.9996, 1.0, 0.123]))
    spec.all_tunables.refuse_out_of_limits(nearest, "synthesizer")
    np.testing.assert_allclose(nearest - 1e9, [0.457, 1.0, 1.0, 0.123], atol=1e-6)
    with pytest.raises(ValueError, match="step is finer than numbers as large as the limits"):
        Tunable("hertz", 1, 1e9, 1e9 + 1, step=1e-6)


REFUSED = [
    ({"phase": [0, 0, 0]}, TuningError, "no tunable 'phase'; this device has: phases, pixels"),
    ({"phases": [0, 0]}, TuningError, r"'phases' must have shape \(3,\)"),
    (np.zeros(6), TuningError, r"must have shape \(7,\)"),
    ({"phases": [0, np.nan, 0]}, TuningError, "'phases', value 1, is nan"),
    ({"phases": [0, 0, 1.1]}, LimitError, "'phases', value 2: 1.1 rad lies above the upper limit of 1.0 rad"),
    ({"pixels": [0, 0.5, 0, 0]}, TuningError, "'pixels', value 1: 0.5 lies between two steps"),
    ("phases", TuningError, "real numbers"),
]


def test_what_cannot_be_set_reaches_nothing():
    rig = TunedRig()
    with rig:
        rig.tune(OTHER)
        before = list(rig.events)
        for values, kind, words in REFUSED:
            with pytest.raises(kind, match=words):
                rig.tune(values)
        np.testing.assert_array_equal(rig.tuning, SET)
        assert rig.events == before


def test_open_rests_and_close_rests_before_the_driver_closes():
    rig = TunedRig()
    with rig:
        rig.open()  # once more, which writes nothing
        np.testing.assert_array_equal(rig.tuning, REST)
        rig.tune(OTHER)
        rig.tune(OTHER)  # is set
    assert rig.events == ["open", REST.tolist(), "open", SET.tolist(), REST.tolist(), "close"]
    np.testing.assert_array_equal(rig.tuning, REST)
    assert not rig.tuning.flags.writeable


def test_a_large_change_is_walked():
    rig = TunedRig()
    with rig:
        rig.tune({"phases": [1.0, -1.0, 0.0], "pixels": [1, 1, 0, 0]})
        rig.tune({"phases": [-1.0, -1.0, 0.0]})
    steps = np.diff(rig.writes, axis=0)
    assert np.abs(steps[:, :3]).max() <= 0.5
    assert set(np.unique(np.array(rig.writes)[:, 3:])) <= {0.0, 1.0}
    assert len(rig.writes) == 1 + 2 + 4 + 2


def test_neither_tune_nor_measure_can_be_overridden_and_hardware_needs_its_write():
    with pytest.raises(TypeError, match=r"overrides tune\(\).*_tune\(\)"):
        type("Sly", (TunedRig,), {"tune": lambda self, values: None})

    class Forgetful(Device):
        spec = DeviceSpec(1, 1, tunables=(Tunable("gain"),))

        def _measure(self, inputs):
            return inputs

    with pytest.raises(DeviceError, match=r"no _tune\(\)"):
        Forgetful().open()


def test_a_failed_write_leaves_what_was_set_and_writes_it_again():
    rig = TunedRig()
    with rig:
        rig.tune(OTHER)
        rig.failing = [None, TimeoutError("gone")]
        with pytest.raises(DeviceError, match="TimeoutError: gone"):
            rig.tune({"phases": [-1.0, -1.0, -1.0]})
        np.testing.assert_array_equal(rig.tuning, SET)
        rig.measure(X)
        assert rig.writes[-1] == SET.tolist()
        largest = np.abs(np.diff([write[:3] for write in rig.writes], axis=0)).max()
        assert largest <= 0.5


def test_a_rig_that_could_not_be_brought_to_rest_is_not_written_to_in_one_leap():
    rig = TunedRig()
    rig.open()
    rig.tune({"phases": [1.0, 0.0, 0.0]})
    rig.failing = [TimeoutError("gone")]
    with pytest.raises(DeviceError, match="could not be brought to rest"):
        rig.close()
    writes = len(rig.writes)
    with pytest.raises(DeviceError, match=r"Nothing was written\. Bring them to rest by hand"):
        rig.open()
    assert len(rig.writes) == writes


def test_a_rig_that_loses_its_connection_in_the_middle_of_a_walk_goes_on_from_there():
    rig = TunedRig()
    with Retrying(rig, backoff_seconds=0.0) as device:
        device.tune({"phases": [1.0, 0.0, 0.0]})
        rig.failing = [ConnectionError("cable")] * 2  # once more while it is closed
        device.tune({"phases": [-1.0, 0.0, 0.0]})
        np.testing.assert_array_equal(device.tuning[:3], [-1.0, 0.0, 0.0])
    assert np.abs(np.diff([write[:3] for write in rig.writes], axis=0)).max() <= 0.5


def test_a_rig_that_was_tuned_before_it_was_opened_is_walked_to_rest():
    for end in (TunedRig.open, TunedRig.close):
        rig = TunedRig()
        rig.tune({"phases": [1.0, 0.0, 0.0]})
        end(rig)
        assert rig.writes[-1] == REST.tolist()
        assert np.abs(np.diff([write[:3] for write in rig.writes], axis=0)).max() <= 0.5


def test_a_rig_that_lost_its_power_is_tuned_again_before_the_next_row():
    rig = TunedRig()
    device = Retrying(rig, backoff_seconds=0.0)
    with device:
        device.tune(OTHER)
        expected = device.measure(X)
        rig.lose_power()
        rig.failing_rows = [ConnectionError("power")]
        np.testing.assert_array_equal(device.measure(X), expected)
        np.testing.assert_array_equal(device.tuning, SET)
        rig.failing_rows = [ConnectionError("power")]
        rig.lose_power()
        with pytest.raises(DeviceError):
            rig.measure(X)
        rig.measure(X)  # without being opened again
    assert rig.writes[-1] == REST.tolist()


def test_nothing_of_another_owner_or_process_is_tuned():
    rig = TunedRig()
    with Session(rig) as session:
        session.measure(X, tuning=OTHER)
        with pytest.raises(DeviceError, match="in use by a session"):
            rig.tune(REST)
        np.testing.assert_array_equal(rig.tuning, SET)
        said, _ = in_forked_process(lambda: rig.tune(REST))
        assert said.startswith("DeviceError: TunedRig was opened in process")
        said, _ = in_forked_process(rig.close)
        assert said == "None"
    assert rig.events[-2:] == [REST.tolist(), "close"]


def test_closing_at_once_waits_for_no_call_and_writes_beside_none():
    going_on, called = threading.Event(), threading.Event()

    class Slow(TunedRig):
        def _measure(self, inputs):
            called.set()
            going_on.wait(10)
            return super()._measure(inputs)

    rig = Slow()
    rig.open()
    rig.tune(OTHER)
    thread = threading.Thread(target=lambda: rig.measure(X))
    thread.start()
    called.wait(10)
    with pytest.raises(DeviceError, match=r"a call was still under way, so nothing was written.*check it by hand"):
        rig.close()
    assert rig.events[-2:] == [SET.tolist(), "close"]
    going_on.set()
    thread.join(10)
    rig.open()
    assert rig.events[-3:] == ["open", SET.tolist(), REST.tolist()]  # from wherever it stands by now


def test_a_copy_of_a_simulation_is_tuned_apart():
    device = TunedLayer()
    device.tune(OTHER)
    for twin in (copy.copy(device), copy.deepcopy(device)):
        np.testing.assert_array_equal(twin.tuning, SET)
        twin.tune({"phases": [0, 0, 0]})
        np.testing.assert_array_equal(device.tuning, SET)
    with device:
        device.tune(OTHER)
        with copy.deepcopy(device) as twin:  # which nobody has opened
            np.testing.assert_array_equal(twin.tuning, REST)


def test_only_what_is_no_simulation_waits_for_settling(monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    rig = TunedRig((Tunable("slow", settling_seconds=2.0), Tunable("quick", 6, settling_seconds=0.5)))
    with rig:
        rig.tune({"quick": np.ones(6)})
        rig.tune({"slow": 1.0})
    assert waits == [2.0, 0.5, 2.0, 2.0]  # at the opening nobody knows what changes; at the end both do
    rig = TunedLayer()
    rig.tune(OTHER)
    assert len(waits) == 4
