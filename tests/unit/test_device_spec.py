"""DeviceSpec refuses a contract that could not protect a device."""

import json

import numpy as np
import pytest

from hwloop import DeviceSpec


@pytest.mark.parametrize("name", ["n_inputs", "n_outputs", "max_rows"])
@pytest.mark.parametrize("value", [0, -1, 2.5, 3.0, "3", True, np.nan])
def test_counts_are_whole_and_positive(name, value):
    with pytest.raises(ValueError, match=f"DeviceSpec.{name} must be a whole number"):
        DeviceSpec(**{"n_inputs": 3, "n_outputs": 2, name: value})


def test_numpy_integers_are_counts():
    spec = DeviceSpec(np.int64(3), np.int32(2), max_rows=np.int16(7))
    assert (type(spec.n_inputs), type(spec.n_outputs), type(spec.max_rows)) == (int, int, int)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, [0.0, 0.0], np.zeros((3, 1))])
@pytest.mark.parametrize("name", ["input_low", "input_high"])
def test_limits_are_finite_and_fit_the_channels(name, value):
    with pytest.raises(ValueError, match=f"DeviceSpec.{name} must"):
        DeviceSpec(3, 2, **{name: value})


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), ([0.0, 0.0, 5.0], 1.0), (0.0, [1.0, 0.0, 1.0])])
def test_limits_must_leave_a_range_on_every_channel(low, high):
    with pytest.raises(ValueError, match="below input_high on every channel"):
        DeviceSpec(3, 2, input_low=low, input_high=high)


@pytest.mark.parametrize("seconds", [-1.0, np.nan, np.inf])
def test_row_seconds_is_a_time(seconds):
    with pytest.raises(ValueError, match="row_seconds"):
        DeviceSpec(3, 2, row_seconds=seconds)


def test_limits_cannot_be_moved_afterwards():
    high = np.ones(3)
    spec = DeviceSpec(3, 2, input_high=high)
    high[:] = 100.0
    assert (spec.high == 1.0).all()
    for limits in (spec.input_high, spec.high, spec.low):
        with pytest.raises(ValueError, match="read-only"):
            limits[0] = 100.0
    with pytest.raises(AttributeError):
        spec.input_high = 5.0


def test_low_and_high_have_one_limit_a_channel():
    spec = DeviceSpec(3, 2, input_low=-1.0, input_high=[1.0, 2.0, 3.0])
    np.testing.assert_array_equal(spec.low, [-1.0, -1.0, -1.0])
    np.testing.assert_array_equal(spec.high, [1.0, 2.0, 3.0])


def test_equality_hash_and_json():
    one, same = (DeviceSpec(3, 2, input_high=[1.0, 2.0, 3.0], input_unit="V") for _ in range(2))
    other = DeviceSpec(3, 2, input_high=[1.0, 2.0, 4.0], input_unit="V")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "spec"
    assert json.loads(json.dumps(one.as_dict()))["input_high"] == [1.0, 2.0, 3.0]
