"""Loihi's fixed point and the twin of Lava's arithmetic, without Lava."""

import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.lava.loihi.fixed_point import fixed_point
from hwloop.simulators.spiking.lava.loihi.twin import FixedPointTwin, FloatingTwin
from hwloop.simulators.spiking.layer import SpikingLayer, stimulus_on_grid
from hwloop.simulators.spiking.lif import TorchLIF
from hwloop.simulators.spiking.neuron import DiscreteLIF

EVERYTHING = ["counts", "first_spike", "membrane", "spikes"]


def a_layer(seed=0, n_inputs=8, neurons=12, recurrent=0.0, **neuron):
    rng = np.random.default_rng(seed)
    parameters = {"du": 0.2, "dv": 0.05, "bias": rng.normal(0.05, 0.03, neurons), **neuron}
    weights = rng.normal(0, 0.02, (n_inputs, neurons))
    between = rng.normal(0, recurrent, (neurons, neurons)) if recurrent else None
    return SpikingLayer(weights, DiscreteLIF(**parameters), between)


def stimuli(rows, n_inputs=8, seed=1):
    return stimulus_on_grid(np.random.default_rng(seed).uniform(-1, 1, (rows, n_inputs)))


def one_neuron_in_whole_numbers(activations, du, dv, threshold, bias):
    """Loihi's neuron with Python's integers, as its documentation has it; spikes and the last membrane."""
    u = v = 0
    spikes = []
    for activation in activations:
        u = (1 if u > 0 else -1) * (abs(u) * (4096 - du - 1) // 4096) + 64 * activation
        u = u - 2**24 if u > 2**23 else u + 2**24 if u <= -(2**23) else u
        v = (1 if v > 0 else -1) * (abs(v) * (4096 - dv) // 4096) + u + bias
        v = max(1 - 2**23, min(2**23 - 1, v))
        spikes.append(v > 64 * threshold)
        v = 0 if spikes[-1] else v
    return spikes, v


@examples(20)
@given(st.integers(0, 50), st.booleans())
def test_the_fixed_point_twin_does_what_whole_numbers_do(seed, stepwise):
    steps, layer = 25, a_layer(seed).arrays()
    rng = np.random.default_rng(seed)
    drive = rng.uniform(-1, 1, (2, steps, 8)) if stepwise else rng.uniform(-1, 1, (2, 8))
    twin = FixedPointTwin(layer, 7, steps)
    integers = twin.layer
    found = twin.run(drive, EVERYTHING)
    for row in range(2):
        for neuron in range(12):
            frames = drive[row] if stepwise else np.repeat(drive[row][None], steps, axis=0)
            sent = [[round(float(x) * 2**integers.message_bits) for x in frame] for frame in frames]
            column = [int(weight) for weight in integers.weights[:, neuron]]
            sums = [sum(w * x for w, x in zip(column, frame, strict=True)) for frame in sent]
            shift = integers.weight_exp
            activations = [s << shift if shift > 0 else s >> -shift for s in sums]
            bias = int(integers.bias[neuron]) << int(integers.bias_exp[neuron])
            spikes, membrane = one_neuron_in_whole_numbers(
                activations, integers.du, integers.dv, integers.threshold, bias
            )
            assert found["spikes"][row, :, neuron].tolist() == spikes
            assert found["membrane"][row, neuron] * integers.scale == pytest.approx(membrane, abs=1e-3)


@given(
    st.integers(0, 1000),
    st.floats(2e-4, 1.0),
    st.floats(0.0, 1.0),
    st.floats(1e-3, 1e3),
    st.floats(0.1, 10.0),
    st.sampled_from([0.0, 0.3]),
)
def test_integers_stay_within_the_chip_and_currents_never_wrap_around(seed, du, dv, size, threshold, recurrent):
    layer = a_layer(seed, du=du, dv=dv, threshold=threshold, recurrent=recurrent).arrays()
    for name in {"weights", "recurrent", "bias"} & set(layer):
        layer[name] = layer[name] * size
    try:
        integers = fixed_point(layer)
    except ValueError as error:
        assume("weight" not in str(error))  # too small, or too large, for the exponents: refused
        raise
    synapses = [(integers.weights, integers.weight_exp), (integers.recurrent, integers.recurrent_exp)]
    for weights, exponent in synapses:
        if weights is not None:
            assert (weights % 2 == 0).all()
            assert np.abs(weights).max() <= 254
            assert -8 <= exponent <= 7
    assert 0 <= integers.du <= 4095
    assert 0 <= integers.dv <= 4095
    assert 1 <= integers.threshold < 2**17
    assert np.abs(integers.bias).max() <= 4095
    assert 0 <= integers.bias_exp.min() <= integers.bias_exp.max() <= 7
    # The worst stimulus for the hungriest neuron, while all others fire at every step.
    currents = 0
    columns = [integers.weights * 2**integers.message_bits] + [integers.recurrent] * ("recurrent" in layer)
    exponents = [integers.weight_exp, integers.recurrent_exp]
    for _ in range(200):
        activations = sum(
            np.ceil(np.abs(weights).sum(axis=0) * 2.0**exponent)
            for weights, exponent in zip(columns, exponents, strict=False)
        )
        currents = np.floor(currents * (1 - (integers.du + 1) / 4096)) + 64 * activations
        assert currents.max() < 2**23


@given(st.integers(0, 1000), st.floats(0.2, 5.0))
def test_integers_stand_for_the_layer_they_are_made_of(seed, threshold):
    layer = a_layer(seed, threshold=threshold).arrays()
    integers = fixed_point(layer)
    per_unit = integers.scale / (64 * 2.0 ** (integers.weight_exp + integers.message_bits))
    assert np.abs(integers.weights - layer["weights"] * per_unit).max() <= 1 + 1e-9  # weights are even
    bias = integers.bias * 2.0**integers.bias_exp / integers.scale
    assert np.allclose(bias, layer["bias"], rtol=1 / 4000, atol=1 / integers.scale)
    assert abs(integers.threshold * 64 / integers.scale - threshold) <= 33 / integers.scale
    assert (integers.du + 1) / 4096 == pytest.approx(layer["du"], abs=2e-4)
    assert integers.dv / 4096 == pytest.approx(layer["dv"], abs=2e-4)


def test_more_bits_come_nearer_to_the_exact_neuron():
    layer = a_layer(neurons=200, du=0.5, dv=0.1).arrays()
    exact = FloatingTwin(layer, 200).run(stimuli(40), ["counts"])["counts"]
    errors = []
    for bits in (2, 4, 7):
        found = FixedPointTwin(layer, bits, 200).run(stimuli(40), ["counts"])["counts"]
        errors.append(float(np.abs(found - exact).mean()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.02 * exact.mean()


@pytest.mark.parametrize(
    "neuron",
    [
        {},
        {"refractory_steps": 3},
        {"subtract": True},
        {"du": np.linspace(0.05, 1, 12), "dv": np.linspace(0.01, 0.5, 12), "threshold": np.linspace(0.2, 2, 12)},
        {"threshold": np.inf},
    ],
)
@pytest.mark.parametrize("recurrent", [0.0, 0.3])
def test_the_floating_twin_agrees_with_torch_in_every_spike(neuron, recurrent):
    layer, window = a_layer(recurrent=recurrent, **neuron), Window(1e-3, 40, 5)
    spikes = (np.random.default_rng(3).random((300, 45, 8)) < 0.3).astype(np.uint8)
    for drive in (stimuli(300), spikes):
        expected = TorchLIF(layer, window).run(drive, EVERYTHING)
        found = FloatingTwin(layer.arrays(), 40, 5).run(drive, EVERYTHING)
        for name in EVERYTHING:
            assert found[name].dtype == expected[name].dtype
            assert np.array_equal(found[name], expected[name]), name


@pytest.mark.parametrize(
    ("neuron", "what"),
    [
        ({"du": np.linspace(0.1, 0.2, 12)}, "share one finite du"),
        ({"threshold": np.inf}, "share one finite threshold"),
        ({"threshold": 0.0}, "threshold above 0"),
        ({"du": 1e-5}, "du of at least 0.00024"),
        ({"refractory_steps": 2}, "no refractory time"),
        ({"subtract": True}, "reset to zero"),
        ({"threshold": 1e5}, "the largest weight"),
    ],
)
def test_what_the_chip_cannot_is_refused_by_name(neuron, what):
    with pytest.raises(ValueError, match=what):
        fixed_point(a_layer(**neuron).arrays())


def test_a_drive_that_could_wrap_currents_around_is_refused():
    twin = FixedPointTwin(a_layer().arrays(), 7, 10)
    assert twin.run(np.ones((1, 8)), ["counts"])["counts"].shape == (1, 12)
    for value in (1.001, -2.0, np.nan):
        with pytest.raises(ValueError, match="at most 1 in size"):
            twin.run(np.full((1, 8), value), ["counts"])


def test_recurrent_weights_that_no_exponent_reaches_are_refused():
    layer = a_layer(recurrent=0.1).arrays()
    layer["weights"] = layer["weights"] * 1e-9
    with pytest.raises(ValueError, match="weight"):
        fixed_point(layer)
