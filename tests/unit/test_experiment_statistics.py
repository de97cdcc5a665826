"""Statistics against closed forms and tables."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.experiment.intervals import Summary, paired_difference, t_interval
from hwloop.tasks.classification import binomial_interval

finite = st.floats(-1e3, 1e3)


def test_mean_and_sample_standard_deviation():
    summary = Summary((2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0))
    assert summary.mean == 5.0
    assert summary.std == pytest.approx(math.sqrt(32 / 7))  # squared deviations sum to 32


def test_one_seed_has_no_spread_and_no_interval():
    assert Summary((0.9,)).std == 0.0
    interval = t_interval([0.03])
    assert (interval.mean, interval.low, interval.high) == (0.03, None, None)


def test_interval_of_two_values_is_that_of_the_cauchy_distribution():
    # One degree of freedom: t is Cauchy, its 97.5 % quantile is tan(0.475 pi); s / sqrt(2) = |a - b| / 2.
    interval = t_interval([1.0, 3.0])
    half = math.tan(0.475 * math.pi)
    assert interval.low == pytest.approx(2.0 - half)
    assert interval.high == pytest.approx(2.0 + half)


def test_interval_of_three_values_has_a_closed_form():
    # Two degrees of freedom: t_p = (2p - 1) sqrt(2 / (4 p (1 - p))), and s = 1 for 1, 2, 3.
    p = 0.975
    t = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    interval = t_interval([1.0, 2.0, 3.0])
    assert interval.high == pytest.approx(2.0 + t / math.sqrt(3))


def test_five_seeds_use_the_tabulated_quantile():
    values = [0.98, 0.99, 0.985, 0.987, 0.981]
    half = 2.776445 * Summary(tuple(values)).std / math.sqrt(5)
    assert t_interval(values).high == pytest.approx(Summary(tuple(values)).mean + half, rel=1e-7)


def test_pairing_cancels_what_a_split_costs_both():
    ours, theirs = Summary((0.90, 0.95, 0.99)), Summary((0.88, 0.93, 0.97))
    difference = paired_difference(ours, theirs)
    assert difference.mean == pytest.approx(0.02)
    assert difference.high - difference.low == pytest.approx(0.0, abs=1e-12)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="shorter"):
        paired_difference(Summary((0.1, 0.2)), Summary((0.1,)))


def test_a_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Summary(())


@given(st.lists(finite, min_size=2, max_size=20), finite)
def test_a_shift_moves_the_interval_and_nothing_else(values, shift):
    before, after = t_interval(values), t_interval([value + shift for value in values])
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-6)
    assert after.high - after.low == pytest.approx(before.high - before.low, abs=1e-6)
    assert before.low <= before.mean <= before.high


def test_intervals_of_resplits_are_corrected_as_nadeau_and_bengio_say():
    # By hand: 1 to 5 have s^2 = 2.5; splits into three parts and one have n_test / n_train = 1/3; t_4 = 2.776445.
    found = t_interval([1.0, 2.0, 3.0, 4.0, 5.0], overlap=1 / 3)
    assert found.high - found.mean == pytest.approx(2.776445 * math.sqrt((1 / 5 + 1 / 3) * 2.5), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_wilsons_interval_of_published_examples():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert binomial_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert binomial_interval(0.0, 0) == (0.0, 1.0)
    assert binomial_interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def _advantage(seen, labels, unseen, truth):
    """Hits of the nearest mean of all features, less those of the first feature alone."""
    means = [seen[labels == label].mean(axis=0) for label in (0, 1)]
    hits = []
    for used in (seen.shape[1], 1):
        distances = [np.square(unseen[:, :used] - mean[:used]).sum(axis=1) for mean in means]
        hits.append(np.mean((distances[1] < distances[0]) == truth))
    return hits[0] - hits[1]


@pytest.mark.slow
def test_corrected_intervals_cover_where_plain_ones_do_not():
    """Two classifiers on re-splits of small sets: the difference that fresh rows would show, and its intervals."""
    rng = np.random.default_rng(0)
    sets, rows, train, splits = 600, 120, 90, 5

    def drawn(count):
        labels = rng.integers(0, 2, count)
        return rng.standard_normal((count, 3)) + 0.7 * labels[:, None], labels

    fresh = drawn(20_000)
    expected = np.mean([_advantage(*drawn(train), *fresh) for _ in range(200)])
    covered = {0.0: 0, (rows - train) / train: 0}
    for _ in range(sets):
        both, values = drawn(rows), []
        for _ in range(splits):
            order = rng.permutation(rows)
            parts = [array[part] for part in (order[:train], order[train:]) for array in both]
            values.append(_advantage(*parts))
        for overlap in covered:
            found = t_interval(values, overlap=overlap)
            covered[overlap] += found.low <= expected <= found.high
    plain, corrected = (count / sets for count in covered.values())
    assert plain < 0.90
    assert corrected > 0.92
