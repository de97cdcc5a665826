"""Settling and correction around a device, against what they must give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import Averaged, ConfigError, Device, DeviceSpec, LimitError, open_device
from hwloop.devices.calibrated import Calibrated
from hwloop.devices.monotone_curve import MonotoneCurve
from hwloop.devices.settled import Settled
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.simulators.linear_instrument import LinearInstrument


class Echo(Device):
    """Answers the stimulus before last half way, and counts the rows."""

    def __init__(self, max_rows=None):
        self.spec = DeviceSpec(2, 2, -1.0, 1.0, input_unit="V", output_unit="mV", max_rows=max_rows)
        self.sent = []

    def _measure(self, inputs):
        self.sent.append(inputs)
        return 1000 * inputs


def test_settled_rows_are_thrown_away_after_a_change_only():
    device = Echo()
    rows = np.array([[0.1, 0.0], [0.1, 0.0], [0.2, 0.0]])
    assert np.array_equal(Settled(device, rows=2).measure(rows), 1000 * rows)
    assert np.array_equal(device.sent[0][:, 0], [0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2])


def test_averages_of_a_settled_row_settle_once():
    device = Echo()
    Averaged(Settled(device, rows=3), n=4).measure([[0.5, 0.5]])
    assert sum(len(sent) for sent in device.sent) == 3 + 4


def test_settled_keeps_to_the_rows_that_a_call_may_carry():
    device = Echo(max_rows=7)
    Settled(device, rows=2).measure(np.random.default_rng(0).uniform(-1, 1, (9, 2)))
    assert max(len(sent) for sent in device.sent) == 6


def test_settling_removes_the_memory_of_the_row_before():
    quiet = {"gain": 1.0, "cubic": 0.0, "offset": 0.0, "noise": 0.0, "crosstalk": 0.0}
    drift = {"gain_drift_per_row": 0.0, "offset_drift_per_row": 0.0}
    device = LinearInstrument(**quiet, **drift)
    rows = np.random.default_rng(0).uniform(-1, 1, (20, 4))
    assert np.abs(device.measure(rows) - rows).max() > 0.05
    assert np.abs(Settled(device, rows=9).measure(rows) - rows).max() < 1e-4


def test_an_affine_correction_answers_in_the_input_unit():
    device = Calibrated(Echo(), {"kind": "affine", "gain": [1000.0, 500.0], "offset": [0.0, 100.0]})
    assert np.allclose(device.measure([[0.5, 0.5]]), [[0.5, 0.8]])
    assert device.spec.output_unit == "V"


def test_a_narrowed_range_is_a_limit_and_cannot_widen():
    device = Calibrated(Echo(), input_low=[-0.5, -1.0], input_high=0.5, rows_per_call=3)
    assert device.spec.max_rows == 3
    assert device.spec.output_unit == "mV"
    with pytest.raises(LimitError, match="channel 0"):
        device.measure([[-0.6, 0.0]])
    with pytest.raises(ValueError, match="narrow"):
        Calibrated(Echo(), input_low=-2.0)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"kind": "afine"}, "affine"),
        ({"kind": "affine", "gain": [1.0]}, "offset"),
        ({"kind": "affine", "gain": [1.0], "offset": [0.0]}, "1 outputs"),
        ({"kind": "affine", "gain": [1.0, 0.0], "offset": [0.0, 0.0]}, "channel 1 is 0"),
        ({"kind": "monotone", "readings": [[0, 1], [1, 0]], "values": [[0, 1], [0, 1]]}, "rise"),
        ({"kind": "monotone", "readings": [[0, 1, 2]] * 2, "values": [[0, 1, 0]] * 2}, "all the way"),
        ({"kind": "monotone", "readings": [["x"]], "values": [[0]]}, "numbers"),
        ({"gain": [1.0]}, "kind"),
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(table, reason, tmp_path):
    from hwloop.toml_text import toml_text

    text = toml_text({"device": "linear-instrument", "settings": {"n_channels": 2},
                      "wrap": [{"name": "calibrated", "correction": table}]})  # fmt: skip
    (tmp_path / "rig.toml").write_text(text)
    with pytest.raises(ConfigError, match=reason):
        open_device(tmp_path / "rig.toml")


points = st.lists(st.integers(-1000, 1000), min_size=2, max_size=12, unique=True).map(sorted)


@given(points, st.data())
def test_a_monotone_curve_never_turns_and_meets_its_points(x, data):
    steps = data.draw(st.lists(st.floats(0, 10), min_size=len(x) - 1, max_size=len(x) - 1))
    knots, values = np.array(x, dtype=float), np.concatenate([[0.0], np.cumsum(steps)])
    curve = MonotoneCurve(knots, values)
    assert np.allclose(curve(knots), values, atol=1e-9)
    fine = curve(np.linspace(knots[0] - 5, knots[-1] + 5, 400))
    assert (np.diff(fine) >= -1e-9).all()
    assert np.allclose(MonotoneCurve(knots, -values)(knots), -values, atol=1e-9)


def test_a_monotone_curve_rises_through_steps_too_small_to_divide_by():
    knots = np.array([-1.0, 0.0, 1.0, 2.0])
    curve = MonotoneCurve(knots, np.array([0.0, 0.0, 2.2250738585e-313, 1.0]))
    assert np.isfinite(curve.slopes).all()
    assert (np.diff(curve(np.linspace(-1, 2, 100))) >= 0).all()


def test_a_monotone_curve_is_scipys_within_its_points():
    from scipy.interpolate import PchipInterpolator

    x = np.array([-1.0, -0.6, 0.0, 0.3, 1.0])
    y = np.array([-2.0, -1.0, 0.0, 0.2, 2.0])
    inner = np.linspace(-0.6, 0.3, 50)  # the two differ in the slope at the ends alone
    assert np.allclose(MonotoneCurve(x, y)(inner), PchipInterpolator(x, y)(inner))


@pytest.mark.parametrize("n_features", [3, 64, 100])
def test_a_calibrated_device_file_is_built_to_fit_the_data(tmp_path, n_features):
    """As the bare device is, though the wrapper gives its limits one a channel."""
    path, wrap = tmp_path / "calibrated.toml", '[[wrap]]\nname = "calibrated"\nrows_per_call = 21\n'
    path.write_text(f'device = "optical-fibre"\n[settings]\nn_outputs = 10\n{wrap}', encoding="utf-8")
    bare = open_fitting_device("optical-fibre", {"n_outputs": 10}, n_features, {})
    assert open_fitting_device(str(path), {}, n_features, {}).spec.n_inputs == bare.spec.n_inputs > n_features
