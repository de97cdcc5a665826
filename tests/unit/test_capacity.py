"""Information processing capacity against what is known exactly."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hwloop.passport.capacity import Samples, StateSpace, capacity, legendre, linear_memory, remembered


def driven(step, nodes, sequences=4, steps=330, washout=30, channels=1, seed=0):
    """Samples of ``step(state, input)``, which gives the next state, from rest."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (sequences, steps, channels))
    state, states = np.zeros((sequences, nodes)), []
    for t in range(steps):
        state = step(state, inputs[:, t])
        states.append(state)
    return Samples(inputs, np.stack(states, axis=1)[:, washout:])


def linear_system(matrix, weights):
    """x <- W x + w u, and its memory function v_k' C^-1 v_k with v_k = W^k w and C = sum v_k v_k'."""
    answers = [weights]
    for _ in range(400):
        answers.append(matrix @ answers[-1])
    past = np.stack(answers)
    exact = np.einsum("ki,ij,kj->k", past, np.linalg.pinv(past.T @ past, rcond=1e-12), past)
    return lambda state, u: state @ matrix.T + u * weights, exact


def ring(nodes, kept):
    """A delay line whose last node comes back, weaker."""
    matrix = kept * np.roll(np.eye(nodes), 1, axis=0)
    weights = np.zeros(nodes)
    weights[0] = 1.0
    return matrix, weights


def shift_register(nodes):
    matrix, weights = ring(nodes, 1.0)
    matrix[0] = 0.0
    return matrix, weights


def leaky_ring(nodes):
    """Every node leaks, as neighbours of a delay loop run into each other."""
    matrix, _ = ring(nodes, 0.6)
    return matrix + 0.3 * np.eye(nodes), np.linspace(1.0, 0.3, nodes) * (-1.0) ** np.arange(nodes)


@pytest.mark.parametrize(
    "system", [shift_register(8), ring(6, 0.8), leaky_ring(5)], ids=["shift", "ring", "leaky"]
)
def test_a_linear_memory_is_what_the_theory_gives(system):
    step, exact = linear_system(*system)
    samples = driven(step, len(system[1]), steps=5100, washout=100)
    found = linear_memory(samples, StateSpace(samples.rows), 30)
    held = exact[:30] > 0.2
    assert_allclose(found.value[held], exact[:30][held], rtol=0.05)
    assert np.mean(found.covers(exact[:30])) > 0.8
    assert_allclose(found.value.sum(), exact.sum(), rtol=0.05)
    assert_allclose(exact.sum(), len(system[1]), rtol=1e-6)  # no linear system has less, or more


def test_a_shift_register_computes_nothing_but_the_past():
    step, _ = linear_system(*shift_register(6))
    found = capacity(driven(step, 6, steps=230), degrees=2, delays=8)
    assert_allclose(found.memory.value, 6, rtol=0.05)
    assert found.nonlinear.low == 0
    assert found.total.value <= found.rank == 6


def test_outputs_that_are_noise_have_no_capacity():
    noise = np.random.default_rng(1)
    samples = driven(lambda state, u: noise.standard_normal(state.shape), 30, steps=230)
    found = capacity(samples, degrees=3, delays=6)
    assert np.abs(found.total.value) < 3  # a plain fit would find 30 * 83 / 800 = 3 and more
    assert found.total.covers(0.0)
    assert found.by_degree.covers(0.0).all()


def test_a_degree_that_comes_out_below_zero_counts_as_nothing():
    """Outputs of degree 2 alone, many functions, few samples: degrees 3 and 4 fall below what chance explains."""
    rng = np.random.default_rng(14)
    inputs, mixed = rng.uniform(-1, 1, (150, 1, 12)), rng.standard_normal((2, 12, 24))
    outputs = np.square(inputs @ mixed[0]) + np.square(inputs @ mixed[1])
    found = capacity(Samples(inputs, outputs), degrees=4, delays=1)
    assert (found.below_zero[2:] > 1).all()
    assert (found.by_degree.value[2:] == 0).all()
    assert found.by_degree.covers([0, 24, 0, 0])[[0, 2, 3]].all()
    assert_allclose(found.total.value, found.by_degree.value.sum())
    assert found.total.covers(24)


def test_a_product_is_of_its_degree_and_its_longest_delay():
    past = []

    def step(state, u):
        past.append(u)
        return u * past[-4] if len(past) > 3 else 0 * u

    found = capacity(driven(step, 1, steps=230), degrees=3, delays=6).table.value
    assert_allclose(found[1, 3], 1, atol=0.06)
    found[1, 3] = 0
    assert np.abs(found).max() < 0.1


def test_the_kernels_hold_every_function_of_several_channels():
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (240, 1, 3))
    states = np.tanh(inputs[:, 0] @ rng.standard_normal((3, 12)) + 0.4)[:, None]
    samples, space = Samples(inputs, states), StateSpace(states[:, 0])
    found = capacity(samples, degrees=3, delays=1)
    polynomials = legendre(inputs[:, 0], 3)
    for degree in (2, 3):
        listed = []
        for channels in combinations_with_replacement(range(3), degree):
            powers = np.bincount(channels, minlength=3)
            listed.append(np.prod([polynomials[power, :, k] for k, power in enumerate(powers)], axis=0))
        y = np.stack(listed, axis=1)
        others = space.basis @ space.basis.T
        np.fill_diagonal(others, 0.0)
        mean_square = np.square(y).mean()
        plain = np.einsum("ik,ij,jk->", y, others, y) / space.freedom / mean_square
        assert found.functions[degree - 1, 0] == y.shape[1]
        # The surrogates' mean is taken off, and no more.
        assert abs(float(found.by_degree.value[degree - 1]) - plain) < 4 * 12 / 240 * np.sqrt(y.shape[1])


@pytest.mark.parametrize("seed", range(6))
def test_no_capacity_is_more_than_the_independent_outputs(seed):
    """benchmarks/capacity_bound.py does a thousand."""
    found = random_device(seed)
    assert found.total.value <= found.rank + 1e-9
    assert found.by_degree.value.sum() <= found.rank + 1e-9
    assert found.uncapped.low <= found.rank


def random_device(seed):
    """Capacities of a random recurrent device, with noise or without, its outputs dependent or not."""
    rng = np.random.default_rng(seed)
    nodes, read = int(rng.integers(2, 12)), int(rng.integers(2, 16))
    matrix = rng.standard_normal((nodes, nodes)) * rng.uniform(0.1, 1.1) / np.sqrt(nodes)
    weights, bias = rng.uniform(0.1, 1.5) * rng.standard_normal(nodes), 0.5 * rng.standard_normal(nodes)
    samples = driven(lambda x, u: np.tanh(x @ matrix.T + u * weights + bias), nodes, 3, 150, 30, seed=seed)
    mixed = samples.states @ rng.standard_normal((nodes, read))
    mixed = mixed + rng.choice([0.0, 0.05]) * rng.standard_normal(mixed.shape)
    return capacity(Samples(samples.inputs, mixed), degrees=3, delays=8, seed=seed)


def test_how_far_it_looks_back_is_how_far_anything_is_seen():
    step, _ = linear_system(*shift_register(7))
    samples = driven(step, 7)
    assert remembered(samples, StateSpace(samples.rows), 2, 20) == 7


def test_outputs_that_never_vary_hold_nothing():
    samples = driven(lambda state, u: state + 0.0, 4, steps=130)
    found = capacity(samples, degrees=2, delays=2)
    assert found.rank == 0
    assert found.total.value == 0


def test_too_few_samples_are_refused():
    rng = np.random.default_rng(0)
    samples = Samples(rng.uniform(-1, 1, (50, 1, 2)), rng.standard_normal((50, 1, 40)))
    with pytest.raises(ValueError, match="50 samples are too few for 40 independent states; at least 120"):
        capacity(samples, degrees=2, delays=1)
    with pytest.raises(ValueError, match="a delay of 1 steps reaches before the first of 0 steps"):
        samples.delayed(samples.inputs, 1)
