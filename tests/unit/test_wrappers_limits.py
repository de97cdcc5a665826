"""No request, through any wrapper or stack of wrappers, drives a device beyond its limits.

A wrapper that is registered in the group ``hwloop.wrappers`` without a strategy here fails the test.
"""

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from hwloop import ConfigError, Device, DeviceError, DeviceSpec, HwloopError
from hwloop.devices.faults import FAULTS
from hwloop.registry import WRAPPERS

BITS = st.none() | st.integers(1, 24)
RATE = st.floats(-10, 10)

# How each wrapper is built around a device: drawn settings by the wrapper's registered name.
WRAPPER_SETTINGS = {
    "averaged": st.fixed_dictionaries({"n": st.integers(1, 5)}),
    # A narrowed range would refuse what the device allows: tests/unit/test_calibrated_device.py has it.
    "calibrated": st.fixed_dictionaries({"rows_per_call": st.none() | st.integers(1, 5)}),
    "drifting": st.fixed_dictionaries(
        {
            "gain_per_row": RATE,
            "offset_per_row": RATE,
            "kind": st.sampled_from(["linear", "random-walk"]),
            "seed": st.integers(0, 5),
        }
    ),
    "faulty": st.fixed_dictionaries(
        {
            "plan": st.dictionaries(st.sampled_from(sorted(FAULTS)), st.floats(0, 0.1)),
            "seed": st.integers(0, 5),
            "slow_seconds": st.just(0.0),
        }
    ),
    "quantized": st.one_of(
        st.fixed_dictionaries({"dac_bits": BITS}),
        st.fixed_dictionaries(
            {"dac_bits": BITS, "adc_bits": st.integers(1, 24), "adc_range": st.just((-1.0, 2.0))}
        ),
    ),
    "slew-limited": st.fixed_dictionaries({"per_row_max": st.floats(2e5, 1e6)}),
    "settled": st.fixed_dictionaries({"rows": st.integers(0, 4)}),
    "retrying": st.fixed_dictionaries(
        {
            "retries": st.integers(0, 3),
            "backoff_seconds": st.just(0.0),
            "deadline_seconds": st.none() | st.floats(0, 10),
            "stop_after": st.integers(1, 3),
            "plausible": st.lists(st.sampled_from(["not-repeated", "not-constant"])),
        }
    ),
}
# These may fail on a request that is allowed: one on purpose, one because it doubts an answer.
MAY_FAIL = {"faulty", "retrying"}


class Guarded(Device):
    """Notes every row that reached it; a row that should not have is kept as evidence."""

    def __init__(self, spec):
        self.spec = spec
        self.rows = 0
        self.violations = []

    def _measure(self, inputs):
        self.rows += len(inputs)
        sound = (
            inputs.shape[1:] == (self.spec.n_inputs,)
            and inputs.dtype == np.float64
            and len(inputs) <= (self.spec.max_rows or len(inputs))
            and bool(np.all((inputs >= self.spec.low) & (inputs <= self.spec.high)))
        )
        if not sound:
            self.violations.append(inputs.copy())
        return np.zeros((len(inputs), self.spec.n_outputs))


@st.composite
def specs(draw):
    n_inputs = draw(st.integers(1, 4))
    low = draw(st.floats(-1e6, 1e6))
    width = draw(st.floats(1e-3, 1e6))
    if draw(st.booleans()):  # limits of each channel, one of them symmetric about zero
        lows = [low, -width / 2, 0.0, low / 3][:n_inputs]
        highs = [low + width, width / 2, width, low / 3 + width][:n_inputs]
        limits = {"input_low": lows, "input_high": highs}
    else:
        limits = {"input_low": low, "input_high": low + width}
    return DeviceSpec(n_inputs, draw(st.integers(1, 3)), max_rows=draw(st.none() | st.integers(1, 4)), **limits)


# A value as a place: a fraction of the channel's range, or something beside it.
PLACES = st.one_of(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["low", "high", "just below", "just above", "far", math.nan, math.inf, -math.inf]),
)


def value_at(place, low, high):
    named = {
        "low": low,
        "high": high,
        "just below": np.nextafter(low, -np.inf),
        "just above": np.nextafter(high, np.inf),
        "far": 1e30,
    }
    if isinstance(place, str):
        return float(named[place])
    return min(low + place * (high - low), high) if 0 <= place <= 1 else place


@st.composite
def requests(draw, spec):
    """An array of stimuli, mostly of the right shape and mostly within limits."""
    rows = draw(st.integers(0, 5))
    columns = draw(st.sampled_from([spec.n_inputs] * 9 + [spec.n_inputs + 1]))
    if draw(st.booleans()):
        places = draw(st.lists(st.floats(0, 1), min_size=rows * columns, max_size=rows * columns))
    else:
        places = draw(st.lists(PLACES, min_size=rows * columns, max_size=rows * columns))
    channels = [i % columns % spec.n_inputs for i in range(rows * columns)]
    values = [
        value_at(place, spec.low[channel], spec.high[channel])
        for place, channel in zip(places, channels, strict=True)
    ]
    array = np.array(values, dtype=np.float64).reshape(rows, columns)
    return array.astype(draw(st.sampled_from([np.float64] * 4 + [np.float32])))


def request_and_check(data, names):
    spec = data.draw(specs())
    guarded = Guarded(spec)
    device = guarded
    try:
        for name in names:
            device = WRAPPERS.build(name, device, **data.draw(WRAPPER_SETTINGS[name]))
    except ConfigError:
        assume(False)  # an order that is refused: tests/unit/test_wrapper_orders.py says which
    request = data.draw(requests(spec))
    allowed = request.shape[1] == spec.n_inputs and bool(
        np.all((request.astype(np.float64) >= spec.low) & (request.astype(np.float64) <= spec.high))
    )
    try:
        responses = device.measure(request)
    except DeviceError:
        assert allowed
        assert MAY_FAIL & set(names)
    except HwloopError:
        assert not allowed
        assert guarded.rows == 0
    else:
        assert allowed
        assert responses.shape == (len(request), spec.n_outputs)
        assert guarded.rows >= len(request)
    assert guarded.violations == []


def test_every_registered_wrapper_has_a_strategy():
    missing = set(WRAPPERS.entries()) - set(WRAPPER_SETTINGS)
    assert not missing, f"add settings of {sorted(missing)} to WRAPPER_SETTINGS in this file"


QUICK = examples(100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
A_TENTH = settings(QUICK, max_examples=1000, derandomize=False, database=None)
EVERY_WRAPPER = sorted(WRAPPERS.entries())


@pytest.mark.parametrize("name", EVERY_WRAPPER)
@QUICK
@given(st.data())
def test_limits_hold_through_every_wrapper(name, data):
    request_and_check(data, [name])


@QUICK
@given(st.data(), st.lists(st.sampled_from(EVERY_WRAPPER), max_size=3))
def test_limits_hold_through_stacks_of_wrappers(data, names):
    request_and_check(data, names)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY_WRAPPER)
def test_limits_hold_through_every_wrapper_10_000_requests(name, tenths):
    try_thousands(st.just([name]), tenths)


@pytest.mark.slow
def test_limits_hold_through_stacks_of_wrappers_10_000_requests(tenths):
    try_thousands(st.lists(st.sampled_from(EVERY_WRAPPER), max_size=3), tenths)


def try_thousands(stacks, tenths):
    for tenth in tenths:
        seed(tenth)(A_TENTH(given(st.data(), stacks)(request_and_check)))()
