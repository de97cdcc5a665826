"""The tests behind ``hwloop check``, against known truth."""

import itertools

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop.conformance.crossover import SUSPICION, Crossover, confirmed
from hwloop.conformance.report import FAMILY_ALPHA, Status, Undecided, decide, failed, passed
from hwloop.probing.statistics import holm, label_p_value, sign_flip_p_value

REPETITIONS, PAIRS_HERE = 400, 12


def by_enumeration(differences):
    sums = [np.sum((np.array(s) @ differences) ** 2) for s in itertools.product([1, -1], repeat=len(differences))]
    observed = np.sum(differences.sum(axis=0) ** 2)
    return np.mean([value >= observed * (1 - 1e-9) for value in sums])


@given(pairs=st.integers(2, 9), values=st.integers(1, 4), seed=st.integers(0, 1000))
@examples(30)
def test_the_p_value_is_that_of_counting_all_sign_patterns(pairs, values, seed):
    # Directions alone: all lengths are 1, so that no pair is capped.
    differences = np.random.default_rng(seed).normal(size=(pairs, values))
    differences /= np.linalg.norm(differences, axis=1, keepdims=True)
    assert sign_flip_p_value(differences) == pytest.approx(by_enumeration(differences))


def test_twenty_pairs_that_agree_have_the_smallest_p_value_and_equal_ways_have_one():
    assert sign_flip_p_value(np.ones((20, 3))) == 2 / 2**20
    assert sign_flip_p_value(np.zeros((20, 3))) == 1.0


@pytest.mark.parametrize("kind", ["normal", "glitching", "drifting", "on a grid", "correlated outputs"])
def test_p_values_of_equal_ways_are_no_smaller_than_uniform(kind):
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(REPETITIONS):
        trace = rng.normal(size=(PAIRS_HERE, 1))  # what the device does over time, whichever way is measured
        if kind == "glitching":
            trace = trace + 100 * (rng.random((PAIRS_HERE, 1)) < 0.1)
        elif kind == "drifting":
            trace = trace + np.arange(PAIRS_HERE)[:, None]
        elif kind == "on a grid":
            trace = np.round(trace)
        elif kind == "correlated outputs":
            trace = trace * np.ones((1, 5))
        lots = rng.choice([-1.0, 1.0], size=(PAIRS_HERE, 1))  # which way came first
        p_values.append(sign_flip_p_value(lots * trace))
    for level in (0.01, 0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level * (1 - level) / REPETITIONS)


def test_one_glitch_does_not_hide_an_effect():
    differences = np.ones((20, 1)) + 0.1 * np.random.default_rng(0).normal(size=(20, 1))
    differences[7] = -1000.0
    assert sign_flip_p_value(differences) < SUSPICION / 10  # so the comparison is made again


def test_too_few_or_too_many_pairs_are_refused():
    for pairs in (1, 25):
        with pytest.raises(ValueError, match="2 to 24 pairs"):
            sign_flip_p_value(np.ones((pairs, 1)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_plain_p_value_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for plain, corrected in zip(p_values, adjusted, strict=True):
        assert plain <= corrected <= min(1.0, len(p_values) * plain) or corrected == max(adjusted)
    assert [adjusted[i] for i in np.argsort(p_values)] == sorted(adjusted)


def test_holm_of_a_textbook_case():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_label_p_value_is_never_zero():
    assert label_p_value(5.0, [1.0] * 99) == pytest.approx(0.01)
    assert label_p_value(1.0, [1.0] * 99) == 1.0


def undecided(p_value, matters=True):
    return Undecided(failed("broken", "mend it"), passed("kept"), "a test", p_value, matters)


def test_a_threshold_depends_on_how_many_tests_there_are():
    p_value = 0.5 * FAMILY_ALPHA
    assert decide([undecided(p_value)])[0].status is Status.FAIL
    assert {f.status for f in decide([undecided(p_value), undecided(0.3), undecided(0.6)])} == {Status.PASS}
    assert decide([undecided(1e-12, matters=False)])[0].status is Status.PASS
    finding = decide([passed("first"), undecided(p_value)])[1]
    assert (finding.p_value, finding.test, finding.status) == (p_value, "a test", Status.FAIL)


def test_a_suspicious_comparison_is_made_twice_and_others_once():
    def comparison(*p_values):
        answers = iter(p_values)
        return confirmed(lambda: Crossover(next(answers), 0.1, 1.0)).p_value, len(list(answers))

    assert comparison(0.3, 0.001) == (0.3, 1)
    combined, left = comparison(0.005, 0.5)
    assert left == 0
    assert combined == pytest.approx(0.0025 * (1 - np.log(0.0025)))
    assert comparison(1e-5, 1e-5)[0] < 1e-8


def test_two_p_values_combined_are_no_smaller_than_uniform():
    pairs = np.random.default_rng(0).random((20_000, 2)) * [SUSPICION, 1.0]  # the first was suspicious

    def combined(pair):
        answers = iter(pair)
        return confirmed(lambda: Crossover(next(answers), 0.1, 1.0)).p_value

    p_values = np.array([combined(pair) for pair in pairs])
    for level in (1e-3, 1e-4):  # a share SUSPICION of all comparisons gets here
        assert SUSPICION * np.mean(p_values <= level) <= 1.2 * level
