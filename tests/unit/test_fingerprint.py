"""A saved network knows its device again, and says by how much another one answers differently."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.errors import CheckpointError, HwloopWarning
from hwloop.reference import Fingerprint, Noise, Responses

ROWS = np.random.default_rng(0).uniform(-1, 1, (60, 8))
LABELS = np.arange(60) % 2


def fibre(**settings):
    return hwloop.open_device("optical-fibre", **{"n_inputs": 10, "n_outputs": 30, "seed": 1, **settings})


@pytest.fixture
def saved(tmp_path):
    """A network that was trained on a watched device."""
    session = hwloop.Session(fibre(), reference=hwloop.Reference(every_rows=0))
    network = hwloop.PhysicalNetwork(session, [hwloop.Stage(5), hwloop.Stage(5)])
    hwloop.trainer("readout").fit(network, ROWS, LABELS)
    path = tmp_path / "net.safetensors"
    hwloop.save_network(network, path)
    return path


def loaded(path, device):
    session = hwloop.Session(device)
    hwloop.load_network(path, session, device_changed="warn")
    return session


def test_the_same_device_is_known_again_for_a_few_rows(saved):
    session = loaded(saved, fibre())
    assert session.ledger.rows["reference"] == session.ledger.total == 8


def test_another_gain_is_named_with_its_size(saved):
    louder = hwloop.Drifting(fibre(), gain_per_row=0.05)
    louder.rows_measured = 4  # 1.2 to 1.55 times, 1.375 in the mean
    another = pytest.warns(HwloopWarning, match="device: OpticalFibre, not Drifting around OpticalFibre")
    gain = pytest.warns(HwloopWarning, match=r"otherwise .* by \d+\.?\d* % .* gain is 1\.[34]\d+ times")
    with another, gain as said:
        loaded(saved, louder)
    assert len(said) == 2
    assert "Drifting(" in str(said[1].message)


def test_another_piece_of_the_same_kind_is_told_apart(saved):
    lost = pytest.warns(
        HwloopWarning, match=r"9\d(\.\d)? % of the correlation is lost|1e\+02 % of the correlation"
    )
    with pytest.warns(HwloopWarning, match=r"OpticalFibre\.seed: 1, not 2"), lost:
        loaded(saved, fibre(seed=2))


def test_a_device_of_other_limits_cannot_be_compared(saved):
    with pytest.warns(HwloopWarning, match='encoding: "amplitude", not "phase"'), pytest.warns(match="not known"):
        session = loaded(saved, fibre(encoding="phase"))
    assert session.ledger.total == 0


def test_nothing_is_measured_where_the_device_is_not_at_hand(saved):
    session = hwloop.Session(fibre(seed=2))
    hwloop.load_network(saved, session, compare_device=False)
    assert session.ledger.total == 0


def test_a_network_that_was_not_watched_costs_no_row(tmp_path):
    network = hwloop.PhysicalNetwork(hwloop.Session(fibre()), [hwloop.Stage(5)])
    network.build(8)
    hwloop.save_network(network, tmp_path / "net.safetensors")
    assert loaded(tmp_path / "net.safetensors", fibre()).ledger.total == 0


def test_each_device_is_compared_with_its_own_fingerprint(tmp_path):
    def sessions(*seeds, **settings):
        return [hwloop.Session(fibre(seed=seed), **settings) for seed in seeds]

    network = hwloop.PhysicalNetwork(
        sessions(1, 2, reference=hwloop.Reference()), [hwloop.Stage(5), hwloop.Stage(5)]
    )
    hwloop.trainer("readout").fit(network, ROWS, LABELS)
    path = tmp_path / "net.safetensors"
    hwloop.save_network(network, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hwloop.load_network(path, sessions(1, 2))
    with pytest.warns(HwloopWarning) as said:
        hwloop.load_network(path, sessions(2, 1), device_changed="warn")
    assert len(said) == 4  # of each device its description, and how it answers


def test_a_fingerprint_survives_json_to_the_last_bit():
    rng = np.random.default_rng(0)
    fingerprint = Fingerprint("rig", 3, "abc", Responses(rng.random((5, 7)), 4), Noise(0.1 / 3, 11.5, 4))
    again = Fingerprint.from_dict(json.loads(json.dumps(fingerprint.as_dict())))
    np.testing.assert_array_equal(again.responses.mean, fingerprint.responses.mean)
    assert (again.identity, again.seed, again.stimuli_hash) == ("rig", 3, "abc")
    assert (again.noise, again.responses.passes) == (fingerprint.noise, 4)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
VALID = Fingerprint("rig", 3, "abc", Responses(np.ones((4, 2)), 4), Noise(0.1, 2.0, 4)).as_dict()


@given(st.sampled_from([*VALID, "noise.power", "noise.freedom", "noise.passes"]), json_values)
def test_whatever_a_file_holds_it_is_a_fingerprint_or_one_clear_error(key, value):
    table, noise = dict(VALID), dict(VALID["noise"])
    table["noise"] = noise
    outer, _, inner = key.partition(".")
    (noise if inner else table)[inner or outer] = value
    try:
        found = Fingerprint.from_dict(table)
    except CheckpointError:
        pass
    else:
        assert np.isfinite(found.responses.mean).all()
        assert found.noise.power >= 0
        assert len(found.responses.mean) >= 2


@given(json_values)
def test_something_else_altogether_is_one_clear_error(value):
    with pytest.raises(CheckpointError):
        Fingerprint.from_dict(value)


@pytest.mark.parametrize("devices", [5, [3], [{"stages": [9]}], [{"stages": [0], "fingerprint": 2}], {"a": 1}])
def test_a_damaged_checkpoint_says_so(saved, devices):
    beside = saved.with_suffix(".json")
    described = json.loads(beside.read_text())
    beside.write_text(json.dumps({**described, "devices": devices}))
    with pytest.raises(CheckpointError):
        loaded(saved, fibre())
