"""Neurons for Brian2 before Brian2 sees them: what is refused in words, and noise that belongs to a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import open_device
from hwloop.errors import ConfigError
from hwloop.simulators.spiking.brian2.neuron_models import (
    MODELS,
    NeuronModel,
    RowNoise,
    discrete_lif,
    with_row_noise,
)
from hwloop.simulators.spiking.neuron import DiscreteLIF

OWN = {"equations": "dv/dt = (I - v)/tau : 1\nI : 1", "threshold": "v > 1", "reset": "v = 0"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"neuron": "adx"}, "adex"),
        ({"neuron": 3}, "lif-continuous"),
        ({"neuron": {**OWN, "treshold": "v > 1"}}, "did you mean 'threshold'"),
        ({"neuron": {"equations": "v : 1"}}, "lacks its threshold"),
        ({"neuron": {**OWN, "equations": 7}}, "equations must be text"),
        ({"neuron": {**OWN, "method": "exct"}}, "did you mean 'exact'"),
        ({"neuron": {**OWN, "reset": "v = rand()"}}, "write the noise as xi"),
        ({"neuron": {**OWN, "equations": "dv/dt = randn()/ms : 1"}}, "write the noise as xi"),
        ({"neuron": {**OWN, "parameters": {"tau": "20*(ms)"}}}, "parameter tau"),
        ({"neuron": {**OWN, "parameters": "tau"}}, "parameters must be a table"),
        ({"neuron": "adex", "parameters": {"tau_ww": "1*ms"}}, "did you mean 'tau_w'"),
        ({"neuron": "adex", "tau_membrane_seconds": 0.01}, "belongs to neuron 'lif'"),
        ({"parameters": {"tau": "1*ms"}}, "neuron 'lif' takes no parameters"),
        ({"target": "cpp"}, "cython"),
        ({"white_noise": -1.0}, "nearest allowed value is 0"),
        ({"nueron": "lif"}, "did you mean 'neuron'"),
    ],
)
def test_a_wrong_setting_is_refused_before_any_process_starts(settings, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        open_device("spiking-brian2", **settings)


def test_every_named_neuron_says_its_units():
    for model in MODELS.values():
        assert model.input_unit
        assert model.with_parameters({}) == model


def test_the_shared_neuron_keeps_per_neuron_values_apart():
    model, own = discrete_lif(DiscreteLIF(0.5, 0.25, np.arange(3.0), np.inf), 3)
    assert model.parameters == {"keep_u": 0.5, "keep_v": 0.75}
    np.testing.assert_array_equal(own["bias"], [0, 1, 2])
    np.testing.assert_array_equal(own["threshold"], [np.inf] * 3)


def test_each_white_noise_becomes_a_parameter_of_its_own():
    equations, names = with_row_noise("dv/dt = xi*a + xi_slow*b + maxi : 1")
    assert names == ["white_noise_of_xi", "white_noise_of_xi_slow"]
    assert "dv/dt = white_noise_of_xi*a + white_noise_of_xi_slow*b + maxi : 1" in equations
    assert NeuronModel(**{**OWN, "equations": "dv/dt = xi/ms**0.5 : 1"}).noisy
    assert not NeuronModel(**{**OWN, "equations": "dv/dt = maxi/ms : 1"}).noisy


@given(st.integers(1, 5), st.integers(0, 4), st.integers(1, 3))
def test_noise_does_not_depend_on_the_place_in_a_block(rows, place, sources):
    def normals(rngs, rows):
        noise = RowNoise(rngs, 9, sources, rows, 7, 2.0)
        return np.array([noise.next_step().reshape(sources, rows, 7).copy() for _ in range(9)])

    place = min(place, rows - 1)
    among_others = normals([np.random.default_rng(row) for row in range(rows)], rows + 2)
    alone = normals([np.random.default_rng(place)], 1)
    np.testing.assert_array_equal(among_others[:, :, place], alone[:, :, 0])
    assert not among_others[:, :, rows:].any()


def test_noise_goes_on_across_chunks(monkeypatch):
    def steps():
        noise = RowNoise([np.random.default_rng(3)], 11, 1, 1, 5, 1.0)
        return np.array([noise.next_step()[0].copy() for _ in range(11)])

    whole = steps()
    monkeypatch.setattr("hwloop.simulators.spiking.brian2.neuron_models.CHUNK_NUMBERS", 20)
    np.testing.assert_array_equal(steps(), whole)
