"""Arithmetic rounds otherwise in another order: a rig without noise is not to blame for its last bits."""

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.conformance import check_device


class Product(hwloop.Device):
    """The modulus of a matrix product; the library takes another path for one row than for many."""

    def __init__(self, n_inputs, n_outputs, dtype, deterministic=False):
        self.spec = hwloop.DeviceSpec(n_inputs, n_outputs, deterministic=deterministic)
        self.matrix = np.random.default_rng(0).normal(size=(n_inputs, n_outputs)).astype(dtype)

    def _measure(self, inputs):
        return np.abs(inputs.astype(self.matrix.dtype) @ self.matrix).astype(np.float64)


class Misplaced(Product):
    """Loses the order of the last rows of a long call."""

    def _measure(self, inputs):
        responses = super()._measure(inputs)
        responses[40:] = responses[40:][::-1].copy()
        return responses


@pytest.mark.parametrize(
    ("n_inputs", "n_outputs", "dtype"),
    each_row([(20, 20, np.float64), (200, 300, np.float32), (7, 3, np.float32)], (7, 3, np.float32)),
)
def test_a_rig_of_plain_arithmetic_keeps_its_promises(n_inputs, n_outputs, dtype):
    report = check_device(lambda: Product(n_inputs, n_outputs, dtype))
    assert {name: report[name] for name in report.broken} == {}


def test_rows_in_the_wrong_places_are_still_found():
    assert "full-calls" in check_device(lambda: Misplaced(20, 20, np.float64)).broken
