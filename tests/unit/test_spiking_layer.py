"""Synaptic sums have no order, windows are whole steps, and the recurrence is what its page says."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.layer import SpikingLayer, stimulus_on_grid
from hwloop.simulators.spiking.lif import TorchLIF
from hwloop.simulators.spiking.neuron import DiscreteLIF, LIFNeuron


@given(
    seed=st.integers(0, 2**32),
    terms=st.integers(1, 700),
    magnitude=st.integers(-300, 300),
    spread=st.floats(0, 12),
)
def test_synaptic_sums_are_exact_in_any_order(seed, terms, magnitude, spread):
    rng = np.random.default_rng(seed)
    weights = np.ldexp(rng.normal(size=(terms, 2)) * 10.0 ** rng.uniform(-spread, 0, (terms, 1)), magnitude)
    recurrent = np.ldexp(rng.normal(size=(2, 2)), magnitude)
    layer = SpikingLayer(weights, DiscreteLIF(0.1, 0.1), recurrent)
    stimuli = stimulus_on_grid(rng.uniform(-1, 1, terms))
    assert (stimuli == stimuli.astype(np.float32)).all()
    products = np.concatenate([layer.weights[:, 0] * stimuli, layer.recurrent[:, 0]])
    sums = {float(np.cumsum(rng.permutation(products))[-1]) for _ in range(5)}
    assert len(sums) == 1
    largest = max(np.abs(weights).max(), np.abs(recurrent).max())
    assert np.abs(layer.weights - weights).max() <= largest * 2.0**-20


def test_layers_without_weights_are_silent():
    layer = SpikingLayer(np.zeros((3, 2)), DiscreteLIF(1.0, 0.1))
    assert TorchLIF(layer, Window(1e-3, 10)).run(np.ones((1, 3)), ["counts"])["counts"].max() == 0


@given(step=st.floats(1e-6, 1e-2), window=st.floats(1e-6, 1.0), settle=st.floats(0, 1.0))
def test_the_nearest_allowed_time_is_allowed(step, window, settle):
    times = {"step_seconds": step, "window_seconds": window, "settle_seconds": settle}
    for _ in range(4):
        try:
            found = Window.from_seconds(**times)
        except ValueError as error:
            name, nearest = str(error).split()[0], float(str(error).rpartition(" ")[2])
            assert times[name] != nearest
            times[name] = nearest
        else:
            break
    assert found.total_steps == found.steps + found.settle_steps
    assert found.seconds == pytest.approx(times["window_seconds"], rel=1e-5)


def stepped(layer, window, drive):
    """The recurrence of DiscreteLIF, written out."""
    neuron, n = layer.neuron, layer.n_neurons
    u, v, fired, held = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    recurrent = np.zeros((n, n)) if layer.recurrent is None else layer.recurrent
    trains = np.zeros((window.total_steps, n), dtype=np.uint8)
    for step in range(window.total_steps):
        u = u * (1 - neuron.du) + (drive[step] @ layer.weights + fired @ recurrent)
        v = np.where(held > 0, 0.0, v * (1 - neuron.dv) + u + neuron.bias)
        held = np.maximum(held - 1, 0)
        fired = (v > neuron.threshold).astype(float)
        v = np.where(fired > 0, v - neuron.threshold if neuron.subtract else 0.0, v)
        held = np.where(fired > 0, neuron.refractory_steps, held)
        trains[step] = fired
    return trains, v


@given(
    seed=st.integers(0, 2**32),
    refractory=st.integers(0, 4),
    subtract=st.booleans(),
    recurrent=st.booleans(),
    settle=st.integers(0, 5),
    per_neuron=st.booleans(),
    constant=st.booleans(),
)
def test_torch_runs_the_recurrence(seed, refractory, subtract, recurrent, settle, per_neuron, constant):
    rng = np.random.default_rng(seed)
    shape = (6,) if per_neuron else ()
    du, dv, bias = rng.uniform(0.05, 1, shape), rng.uniform(0.01, 0.5, shape), rng.uniform(-0.1, 0.3, shape)
    threshold = rng.uniform(0.5, 2, shape)
    neuron = DiscreteLIF(du, dv, bias, threshold, 0 if subtract else refractory, subtract)
    feedback = rng.normal(size=(6, 6)) if recurrent else None
    layer, window = SpikingLayer(rng.normal(size=(4, 6)), neuron, feedback), Window(1e-3, 40, settle)
    drive = stimulus_on_grid(rng.uniform(-1, 1, (3, 4) if constant else (3, 40 + settle, 4)))
    found = TorchLIF(layer, window).run(drive, ["spikes", "membrane", "counts", "first_spike"])
    for row in range(3):
        steps = np.broadcast_to(drive[row], (40 + settle, 4))
        trains, v = stepped(layer, window, steps)
        np.testing.assert_array_equal(found["spikes"][row], trains[settle:])
        np.testing.assert_array_equal(found["membrane"][row], v)
    np.testing.assert_array_equal(found["counts"], found["spikes"].sum(axis=1))
    first = np.where(found["spikes"].any(axis=1), found["spikes"].argmax(axis=1), 40)
    np.testing.assert_array_equal(found["first_spike"], first)


@given(
    seed=st.integers(0, 2**32),
    precision=st.sampled_from(["double", "single"]),
    du=st.sampled_from([1.0, 0.3, 1e-3, 1e-7]),
    dv=st.sampled_from([0.5, 0.02, 1e-4, 1e-8, 0.0]),
    bias=st.sampled_from([-0.5, 0.0, 0.999, 1.0, 1.001]),
)
@examples(50)
def test_neurons_that_are_left_out_would_not_have_fired(seed, precision, du, dv, bias):
    rng = np.random.default_rng(seed)
    drive = stimulus_on_grid(np.concatenate([np.zeros((1, 1)), rng.uniform(-1, 1, (30, 1))]))
    currents = rng.choice([0.5, 1.0, 1.001, 2.0], 9) * du * max(dv, 1e-3)  # many at or about the rheobase
    neuron = DiscreteLIF(du, dv, bias * max(dv, 1e-3))
    engine = TorchLIF(SpikingLayer(currents[np.newaxis], neuron), Window(1e-3, 400), precision=precision)
    names = ["counts", "first_spike", "spikes"]
    fewer, every = engine.run(drive, names), engine.run(drive, [*names, "membrane"])
    for name in names:
        np.testing.assert_array_equal(fewer[name], every[name])


def test_single_precision_moves_few_spikes():
    rng = np.random.default_rng(0)
    neuron = LIFNeuron().discrete(5e-4, 1.0)
    layer, window = SpikingLayer(rng.normal(size=(20, 50)) * 0.003, neuron), Window(5e-4, 200)
    drive = stimulus_on_grid(rng.uniform(-1, 1, (50, 20)))
    double, single = (
        TorchLIF(layer, window, precision=precision).run(drive, ["spikes"])["spikes"]
        for precision in ("double", "single")
    )
    assert double.sum() > 5000
    assert (double != single).sum() < 1e-3 * double.sum()
