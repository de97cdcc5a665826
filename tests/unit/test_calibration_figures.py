"""Each estimator of a calibration against a case whose answer is known."""

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from hwloop import BudgetExceeded, DeviceSpec
from hwloop.calibration.figure_table import with_interval
from hwloop.calibration.memory import memory_figures, rows_until
from hwloop.calibration.plan import least_rows, longest_call, plan_rows
from hwloop.calibration.recommendation import rising
from hwloop.calibration.transfer_curve import LevelMeans, effective_bits, transfer_figures
from hwloop.probing.statistics import (
    Estimate,
    effective_rank,
    greatest_magnitude,
    rank_figures,
    standard_deviation,
)
from hwloop.probing.timing import TimedCall, timing_figures


def curve_of(function, levels=17, low=-1.0, high=1.0, error=0.0):
    x = np.linspace(low, high, levels)
    return LevelMeans(x, function(x), error**2 * np.eye(levels), 1000.0)


def test_a_straight_line_has_gain_and_offset_and_nothing_else():
    figures = transfer_figures([curve_of(lambda x: 3 * x - 0.5)], "V", "A")
    assert figures["gain"].value == pytest.approx(3.0)
    assert figures["gain"].unit == "A/V"
    assert figures["offset"].value == pytest.approx(-0.5)
    for name in ("inl", "dnl", "quadratic", "cubic", "compression_low", "compression_high"):
        assert np.allclose(figures[name].value, 0.0, atol=1e-12)


def test_a_polynomials_orders_are_found_in_a_range_that_is_not_centred():
    # u = (x - 3) / 2 over [1, 5]
    figures = transfer_figures(
        [curve_of(lambda x: 4 * ((x - 3) / 2 + 0.1 * ((x - 3) / 2) ** 2), low=1, high=5)], "", ""
    )
    assert figures["small_signal_gain"].value == pytest.approx(2.0)
    assert figures["quadratic"].value == pytest.approx(0.1)
    assert np.allclose(figures["cubic"].value, 0.0, atol=1e-12)


def test_inl_and_dnl_of_one_level_that_is_off():
    # Of three levels 0, 1.3, 2 the least-squares line is y = 0.1 + x: spans 2, leaves -0.1, 0.2, -0.1.
    figures = transfer_figures(
        [LevelMeans(np.arange(3.0), np.array([0.0, 1.3, 2.0]), np.zeros((3, 3)), 9)] * 2, "", ""
    )
    assert np.allclose(figures["inl"].value[0], [-0.05, 0.1, -0.05])
    assert np.allclose(figures["dnl"].value[0], [0.3, -0.3])
    assert figures["inl_max"].value[0] == pytest.approx(0.1)


def test_compression_of_a_clipped_line():
    figures = transfer_figures([curve_of(lambda x: np.clip(x, -2, 0.75))], "", "")
    assert figures["compression_high"].value == pytest.approx(0.25)
    assert np.allclose(figures["compression_low"].value, 0.0, atol=1e-12)


def test_errors_of_the_line_are_those_of_ordinary_regression():
    error = 0.01
    figures = transfer_figures([curve_of(lambda x: x, error=error)], "", "")
    x = np.linspace(-1, 1, 17)
    assert figures["gain"].half_width / 1.962 == pytest.approx(error / np.sqrt(np.sum(x**2)), rel=1e-3)
    assert figures["offset"].half_width / 1.962 == pytest.approx(error / np.sqrt(17), rel=1e-3)


def test_the_greatest_of_pure_noise_may_be_zero():
    found = greatest_magnitude(np.array([0.01, -0.02]), np.array([0.01, 0.01]), np.inf, "")
    assert found.low == 0.0
    assert found.high > 0.04


@pytest.mark.parametrize("values", [np.ones(5), np.array([1.0, 0, 0, 0])])
def test_effective_rank_of_equal_values_is_their_number(values):
    assert effective_rank(values) == pytest.approx(np.count_nonzero(values))


def test_effective_rank_by_hand():
    assert effective_rank(np.array([3.0, 1.0])) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )


def test_the_rank_that_noise_adds_is_taken_off():
    rng = np.random.default_rng(0)
    clean = np.outer(rng.standard_normal(300), [1.0, 2.0, -1.0])
    noisy = clean + 0.05 * rng.standard_normal(clean.shape)
    found = rank_figures(noisy, np.full(clean.shape, 0.05))
    assert found["effective_rank"].covers(1.0)
    assert found["effective_rank"].value < 1.15 < effective_rank(np.linalg.svd(noisy, compute_uv=False))
    assert np.linalg.svd(clean, compute_uv=False)[0] == pytest.approx(found["singular_values"].value[0], rel=0.01)


def test_an_ideal_converter_has_its_bits():
    noise = Estimate(*[np.array([1 / 2**10 / np.sqrt(12)])] * 3)
    nothing = Estimate(*[np.zeros(1)] * 3)
    assert effective_bits(noise, nothing, np.ones(1)).value[0] == pytest.approx(10.0)


def test_standard_deviation_of_heavy_tails_has_a_wider_interval():
    rng = np.random.default_rng(0)
    normal = standard_deviation(rng.standard_normal((4000, 1)), 4000, "")
    heavy = standard_deviation(rng.standard_t(5, (4000, 1)), 4000, "")
    assert normal.half_width / normal.value == pytest.approx(1.96 / np.sqrt(8000), rel=0.1)
    assert heavy.half_width / heavy.value > 1.3 * normal.half_width / normal.value


def test_a_geometric_kernel_gives_its_factor():
    kernel = 0.2 * 0.3 ** np.arange(6)
    figures = memory_figures([(kernel, 1e-8 * np.eye(6))], np.inf)
    assert figures["settling_factor"].value[0] == pytest.approx(0.3)
    assert figures["settling_rows"].value[0] == pytest.approx(-1 / math.log(0.3))
    assert rows_until(kernel, 0.01) == 3  # 0.286, 0.086, 0.026, then 0.0077


def test_latency_and_row_time_in_spite_of_a_busy_machine():
    rng = np.random.default_rng(0)
    calls = [
        TimedCall(n, (2e-3 + n * 1e-4) * (1 + 0.02 * rng.standard_normal())) for n in [1, 2, 4, 8, 16, 32, 64] * 5
    ]
    calls[3] = TimedCall(8, 0.5)
    figures = timing_figures(calls)
    assert figures["latency"].value == pytest.approx(2e-3, rel=0.03)
    assert figures["row_time"].value == pytest.approx(1e-4, rel=0.03)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_rising_is_sklearns_isotonic_regression(values):
    expected = IsotonicRegression().fit_transform(np.arange(len(values)), values)
    assert np.allclose(rising(np.array(values)), expected, atol=1e-9)


@examples(200)
@given(st.integers(1, 300), st.integers(1, 2000), st.none() | st.integers(1, 500), st.integers(0, 3000))
def test_a_plan_spends_the_budget_and_no_more(n_inputs, n_outputs, max_rows, extra):
    spec = DeviceSpec(n_inputs, n_outputs, max_rows=max_rows)
    least = least_rows(spec)
    plan = plan_rows(spec, least + extra)
    assert plan.rows == least + extra
    assert max(plan.call_sizes) <= longest_call(spec)
    assert plan.main - plan.reference >= min(4 * n_inputs, 90)
    with pytest.raises(BudgetExceeded, match=f"--budget {least} "):
        plan_rows(spec, least - 1)


@pytest.mark.parametrize(
    ("ends", "text"),
    [((1.23456, 1.2334, 1.2356), "1.2346 ± 0.0011"), ((5.0, 4.0, 9.0), "5.0 (4.0 to 9.0)"), ((math.nan,) * 3, "–"),
     ((12345.6, 12300.0, 12391.2), "12,346 ± 46")],
)  # fmt: skip
def test_a_figure_is_written_with_the_digits_of_its_interval(ends, text):
    assert with_interval(*ends) == text
