"""NIR graphs: what they compute against steps written out, what is refused by name, and damaged files."""

import re
from itertools import pairwise

import h5py
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop import open_device
from hwloop.errors import ConfigError, HwloopWarning
from hwloop.simulators.nir import device as nir_device
from hwloop.simulators.nir.graph_file import graph_in_file, read_graph
from hwloop.simulators.nir.wiring import PARAMETERS
from hwloop.simulators.spiking.engine import ENGINES

STEP = 1e-3


def lif(n, **more):
    values = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, **more}
    return {"type": "LIF", **{name: np.broadcast_to(value, (n,)) for name, value in values.items()}}


def li(n, v_leak=0.0):
    return {"type": "LI", "tau": np.full(n, 0.01), "r": np.ones(n), "v_leak": np.full(n, v_leak)}


def linear(weight):
    return {"type": "Linear", "weight": np.asarray(weight, dtype=float)}


def write_graph(path, nodes, edges, n_inputs=3):
    ends = {
        "input": {"type": "Input", "shape": np.array([n_inputs])},
        "output": {"type": "Output", "shape": np.array([3])},
    }
    with h5py.File(path, "w") as file:
        file["node/type"] = "NIRGraph"
        for name, node in {**ends, **nodes}.items():
            for key, value in node.items():
                file[f"node/nodes/{name}/{key}"] = value
        file["node/edges"] = np.array(edges, dtype="S50")
    return path


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Builds the device of nodes one behind the other, named n0, n1, ..."""
    monkeypatch.setattr(nir_device, "read_graph", graph_in_file)  # a sound file needs no process of its own

    def build(*nodes, n_inputs=3, **settings):
        names = ["input", *(f"n{number}" for number in range(len(nodes))), "output"]
        edges = list(pairwise(names))
        path = write_graph(tmp_path / "net.nir", dict(zip(names[1:-1], nodes, strict=True)), edges, n_inputs)
        return open_device(f"nir:{path}", **{"step_seconds": STEP, "window_seconds": 0.1, **settings})

    return build


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def stepped_lif(currents, tau=0.02, v_leak=0.0, v_threshold=1.0, v_reset=0.0):
    """Spikes and last potentials of LIF neurons by NIR's equations in Euler steps; (steps, rows, neurons)."""
    v, spikes = np.full(currents.shape[1:], v_reset), np.zeros(currents.shape)
    for step, current in enumerate(currents):
        v = v + STEP / tau * (v_leak - v + current)
        spikes[step] = v > v_threshold
        v = np.where(spikes[step] > 0, v_reset, v)
    return spikes, v


class TestWhatIsComputed:
    def test_a_layer_is_eulers_steps(self, chain, rng):
        weights, bias = rng.normal(size=(7, 3)) * 3, rng.normal(size=7)
        affine = {"type": "Affine", "weight": weights, "bias": bias}
        neuron = {"v_leak": 0.1, "v_threshold": 1.2, "v_reset": -0.3}
        rows = rng.uniform(-1, 1, (20, 3))
        currents = np.broadcast_to(rows @ weights.T + bias, (100, 20, 7))
        spikes, v = stepped_lif(currents, **neuron)
        for output, expected in (("counts", spikes.sum(axis=0)), ("membrane", v)):
            device = chain(affine, lif(7, **neuron), output=output)
            np.testing.assert_allclose(device.measure(rows), expected, atol=1e-5)

    def test_spikes_go_through_two_layers_in_a_step(self, chain, rng):
        first, second = rng.normal(size=(9, 3)) * 4, rng.normal(size=(4, 9)) * 40
        rows = rng.uniform(-1, 1, (20, 3))
        hidden, _ = stepped_lif(np.broadcast_to(rows @ first.T, (100, 20, 9)))
        expected, _ = stepped_lif(hidden @ second.T)
        device = chain(linear(first), lif(9), linear(second), lif(4))
        np.testing.assert_allclose(device.measure(rows), expected.sum(axis=0) / 0.1)
        np.testing.assert_array_equal(device.spikes(rows), expected.swapaxes(0, 1))
        settled = chain(
            linear(first),
            lif(9),
            linear(second),
            lif(4),
            settle_seconds=0.03,
            window_seconds=0.07,
            output="counts",
        )
        np.testing.assert_array_equal(settled.measure(rows), expected[30:].sum(axis=0))

    def test_scale_flatten_and_a_linear_readout(self, chain, rng):
        readout = rng.normal(size=(2, 3))
        scale, flatten = (
            {"type": "Scale", "scale": np.array([1.0, 2.0, -3.0])},
            {"type": "Flatten", "start_dim": 0},
        )
        device = chain(scale, flatten, lif(3), linear(readout), output="counts", input_gain=2.0)
        rows = rng.uniform(-1, 1, (10, 3))
        spikes, _ = stepped_lif(np.broadcast_to(2 * rows * [1, 2, -3], (100, 10, 3)))
        np.testing.assert_allclose(device.measure(rows), spikes.sum(axis=0) @ readout.T, atol=1e-6)
        assert device.spec.n_outputs == 2

    def test_a_leaky_integrator_reads_potentials(self, chain, rng):
        first, second = rng.normal(size=(9, 3)) * 4, rng.normal(size=(2, 9))
        rows = rng.uniform(-1, 1, (10, 3))
        hidden, _ = stepped_lif(np.broadcast_to(rows @ first.T, (100, 10, 9)))
        v = np.full((10, 2), 0.2)
        for spikes in hidden:
            v = v + STEP / 0.01 * (0.2 - v + spikes @ second.T)
        device = chain(linear(first), lif(9), linear(second), li(2, v_leak=0.2))
        assert device.spec.output_unit == "of the threshold"
        np.testing.assert_allclose(device.measure(rows), v, atol=1e-5)

    def test_potentials_go_through_a_readout(self, chain, rng):
        readout, rows = rng.normal(size=(2, 3)), rng.uniform(-1, 1, (10, 3))
        potentials = chain(li(3)).measure(rows)
        np.testing.assert_allclose(potentials, rows * (1 - 0.9**100), atol=1e-6)
        device = chain(li(3), linear(readout))
        np.testing.assert_allclose(device.measure(rows), potentials @ readout.T, atol=1e-6)
        with pytest.raises(ValueError, match="does not end in neurons that fire"):
            device.spikes(rows)

    def test_potentials_drive_neurons(self, chain, rng):
        rows = rng.uniform(0, 1, (10, 3))
        v, currents = np.zeros((10, 3)), []
        for _ in range(100):
            v = v + STEP / 0.01 * (3 * rows - v)
            currents.append(v)
        expected, _ = stepped_lif(np.array(currents))
        scale = {"type": "Scale", "scale": np.full(3, 3.0)}
        np.testing.assert_array_equal(
            chain(scale, li(3), lif(3), output="counts").measure(rows), expected.sum(axis=0)
        )

    def test_edges_that_meet_are_added(self, tmp_path, rng):
        path = tmp_path / "net.nir"
        nodes = {"a": linear(np.diag([2.0, 3.0, 0.0])), "b": linear(np.diag([1.0, -2.0, 1.5])), "n": lif(3)}
        edges = [("input", "a"), ("input", "b"), ("a", "n"), ("b", "n"), ("n", "output")]
        device = open_device(f"nir:{write_graph(path, nodes, edges)}", step_seconds=STEP, output="counts")
        rows = rng.uniform(-1, 1, (10, 3))
        spikes, _ = stepped_lif(np.broadcast_to(rows * [3.0, 1.0, 1.5], (100, 10, 3)))
        np.testing.assert_array_equal(device.measure(rows), spikes.sum(axis=0))

    @pytest.mark.parametrize("encoding", ["current", "poisson", "raw"])
    def test_a_row_is_the_same_in_every_batch(self, chain, rng, encoding):
        weights = rng.normal(size=(30, 3)) * 3
        last = linear(rng.normal(size=(5, 30)))
        device = chain(
            linear(weights), lif(30), last, li(5), encoding=encoding, window_seconds=0.02, max_rate_hz=500.0
        )
        rows = rng.uniform(device.spec.low, device.spec.high, (270, device.spec.n_inputs))
        together = device.measure(rows)
        device.continue_from(99)
        np.testing.assert_array_equal(device.measure(rows[99:258]), together[99:258])

    def test_an_integrator_and_exact_decays(self, chain):
        integrator = {"type": "IF", "r": np.array([40.0]), "v_threshold": np.array([1.0])}
        assert chain(integrator, n_inputs=1, output="counts").measure([[0.5]]) == [[1]]  # 2 charges in 0.1 s
        exact = chain(lif(1, v_threshold=9.0), n_inputs=1, output="membrane", integration="exact")
        assert exact.measure([[1.0]])[0, 0] == pytest.approx(1 - np.exp(-5), rel=1e-6)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("nodes", "said"),
        [
            ([{"type": "Conv2d", "weight": np.ones((1, 1, 3, 3))}, lif(3)], r"node 'n0' is a Conv2d"),
            ([{"type": "NIRGraph"}, lif(3)], r"node 'n0' is a NIRGraph"),
            ([linear(np.ones((3, 4))), lif(3)], r"node 'n0' \(Linear\).*shape \(3, 4\); for 3 channels"),
            ([lif(4)], r"node 'n0' \(LIF\): 'r' has 4 values, but 3 channels"),
            ([lif(3, tau=0.0)], "'tau' must be positive"),
            ([lif(3, tau=1e-4)], "nearest allowed value of step_seconds is 0.0001"),
            ([{"type": "LIF"}], "lacks its parameter 'r'"),
            ([linear(np.eye(3))], "no neurons"),
            ([lif(3, r=np.nan)], "not finite"),
        ],
    )
    def test_nodes_by_name(self, chain, nodes, said):
        with pytest.raises(ConfigError, match=said):
            chain(*nodes)

    @pytest.mark.parametrize(
        ("edges", "said"),
        [
            (
                [("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")],
                r"recurrent \('n' -> 'w' -> 'n'\)|recurrent",
            ),
            ([("input", "n"), ("n", "n"), ("n", "output")], "recurrent"),
            ([("input", "n"), ("n", "m")], "no node 'm'"),
            ([("input", "n"), ("w", "output")], "nothing leads to node 'w'"),
        ],
    )
    def test_graphs(self, tmp_path, edges, said):
        path = write_graph(tmp_path / "net.nir", {"n": lif(3), "w": linear(np.eye(3))}, edges)
        with pytest.raises(ConfigError, match=said):
            open_device(f"nir:{path}", step_seconds=STEP)

    def test_outputs_that_do_not_leave_the_graph(self, chain):
        with pytest.raises(ConfigError, match="nearest allowed value is 'membrane'"):
            chain(lif(3), li(3), output="rate")
        with pytest.raises(ConfigError, match="nearest allowed value is 'rate'"):
            chain(lif(3), linear(np.ones((2, 3))), output="first-spike")

    def test_settings(self, chain):
        with pytest.raises(ConfigError, match="did you mean 'window_seconds'"):
            chain(lif(3), window_second=1.0)
        with pytest.raises(ConfigError, match="unknown spiking engine 'torhc': did you mean 'torch'"):
            chain(lif(3), engine="torhc")
        with pytest.raises(ConfigError, match="nearest allowed value is 'cpu'"):
            chain(lif(3), engine_settings={"device": "abacus"})

    def test_files_that_are_none(self, tmp_path):
        with pytest.raises(ConfigError, match="no such file"):
            open_device(f"nir:{tmp_path / 'none.nir'}")
        (tmp_path / "text.nir").write_text("nodes = 3")
        with pytest.raises(ConfigError, match="not a readable NIR file"):
            open_device(f"nir:{tmp_path / 'text.nir'}")

    def test_a_file_that_says_more_than_may_be_read(self, tmp_path):
        path = write_graph(tmp_path / "net.nir", {"n": lif(3)}, [("input", "n"), ("n", "output")])
        with h5py.File(path, "a") as file:  # terabytes, in a few bytes of the file
            file.create_dataset("node/nodes/n/w", shape=(2**20, 2**20), chunks=(64, 64), dtype="f8")
        with pytest.raises(ConfigError, match="holds more than 50,000,000 numbers"):
            open_device(f"nir:{path}")

    def test_links_out_of_the_file(self, tmp_path):
        path = write_graph(tmp_path / "net.nir", {"n": lif(3)}, [("input", "n"), ("n", "output")])
        with h5py.File(path, "a") as file:
            del file["node/edges"]
            file["node/edges"] = h5py.ExternalLink("other.h5", "/edges")
        with pytest.raises(ConfigError, match="points elsewhere"):
            open_device(f"nir:{path}")


class TestWhatIsNotUnderstood:
    """Nothing of a file is passed over in silence: it is refused where it counts, and said where it does not."""

    @pytest.mark.parametrize(
        ("kind", "parameter"),
        [
            *(("LIF", parameter) for parameter in ("tau", "r", "v_leak", "v_threshold", "v_reset")),
            *(("CubaLIF", parameter) for parameter in ("tau_mem", "tau_syn", "w_in", "v_reset")),
            *(("IF", parameter) for parameter in ("r", "v_threshold", "v_reset")),
            *(("LI", parameter) for parameter in ("tau", "r", "v_leak")),
            *(("CubaLI", parameter) for parameter in ("tau_syn", "w_in")),
            ("Affine", "bias"),
            ("Linear", "weight"),
            ("Scale", "scale"),
        ],
    )
    @pytest.mark.parametrize(
        "unreadable",
        ["text", *(pytest.param(what, marks=pytest.mark.slow) for what in ("complex", "a link", "a group"))],
    )
    def test_a_parameter_that_counts_is_refused(self, tmp_path, monkeypatch, kind, parameter, unreadable):
        monkeypatch.setattr(nir_device, "read_graph", graph_in_file)
        numbers = ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset", "scale", "bias")
        node = {"type": kind, "weight": np.eye(3), **{name: np.ones(3) for name in numbers}}
        node = {key: node[key] for key in ("type", *PARAMETERS[kind])}
        edges = [("input", "x"), ("x", "n"), ("n", "output")]
        path = write_graph(tmp_path / "net.nir", {"x": node, "n": lif(3)}, edges)
        with h5py.File(path, "a") as file:
            place = f"node/nodes/x/{parameter}"
            del file[place]
            file["elsewhere"] = np.ones(3)
            if unreadable == "a link":
                file[place] = h5py.SoftLink("/elsewhere")
            elif unreadable == "a group":
                file.create_group(place)
            else:
                file[place] = "ones" if unreadable == "text" else np.ones(3) * 1j
            del file["elsewhere"]
        with pytest.raises(
            ConfigError, match=rf"node 'x' \({kind}\): its parameter '{parameter}' is {unreadable}"
        ):
            open_device(f"nir:{path}", step_seconds=STEP)

    @pytest.mark.parametrize("value", ["subtract", 0.002, np.full(3, 2.0), 1j], ids=str)
    @pytest.mark.parametrize("parameter", ["refractory", "reset_mechanism", "dt"])
    def test_an_unknown_parameter_is_said(self, chain, parameter, value):
        with pytest.warns(
            HwloopWarning, match=rf"net.nir: node 'n0' \(LIF\): the parameter '{parameter}' is not kno"
        ):
            chain(lif(3, r=2.0) | {parameter: value})

    def test_nodes_that_do_not_reach_the_output_and_what_stands_beside_the_graph_are_said(self, tmp_path):
        nodes = {"n": lif(3, r=2.0), "aside": lif(3)}
        edges = [("input", "n"), ("n", "output"), ("n", "aside")]
        path = write_graph(tmp_path / "net.nir", nodes, edges)
        with h5py.File(path, "a") as file:
            file["dt"] = 1e-4
            file["node/refractory"] = 2
        with pytest.warns(HwloopWarning) as said:
            open_device(f"nir:{path}", step_seconds=STEP)
        assert [str(one.message).removeprefix(f"{path}: ") for one in said] == [
            "'dt' is not known here and has no effect",
            "'node/refractory' is not known here and has no effect",
            "node 'aside' (LIF) does not lead to the output and has no effect",
        ]


class TestTheProbe:
    @pytest.mark.parametrize(
        ("nodes", "said"),
        [
            (
                [lif(3)],
                [r"none of the 3 neurons of node 'n0' \(LIF\) fires at any of 17 stimuli .* the time step"],
            ),
            (
                [{"type": "IF", "r": np.ones(3), "v_threshold": np.ones(3)}, lif(3, r=5.0)],
                ["IF adds dt r S in a step of dt = 0.001 s.*input_gain = 1000", "that node 'n0' is silent too"],
            ),
            ([lif(3, v_leak=1e6)], [r"all of the 3 neurons of node 'n0' \(LIF\) fire in every step.*too large"]),
        ],
    )
    def test_neurons_that_never_fire_or_always_are_said_once(self, chain, nodes, said):
        device = chain(*nodes)
        with pytest.warns(HwloopWarning) as told, device:
            pass
        assert len(told) == len(said)
        for one, expected in zip(told, said, strict=True):
            assert re.search(expected, str(one.message))
        with device:  # told already
            assert device.rows_measured == 0

    def test_a_network_that_fires_has_nothing_said_and_answers_as_ever(self, chain, rng):
        stimuli = rng.uniform(-1, 1, (4, 3))
        plain = chain(lif(3, r=5.0), lif(3, r=9.0)).measure(stimuli)
        with chain(lif(3, r=5.0), lif(3, r=9.0)) as device:
            np.testing.assert_array_equal(device.measure(stimuli), plain)


def test_engines_are_found_by_entry_point():
    assert "torch" in ENGINES.entries()


@pytest.fixture(scope="module")
def sound_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("nir") / "net.nir"
    nodes = {"w": linear(np.ones((3, 3))), "n": lif(3)}
    return write_graph(path, nodes, [("input", "w"), ("w", "n"), ("n", "output")])


def test_a_child_reads_the_same_graph(sound_file):
    here, there = graph_in_file(sound_file), read_graph(sound_file)
    assert there.edges == here.edges
    assert [node.kind for node in there.nodes.values()] == [node.kind for node in here.nodes.values()]
    for name, node in here.nodes.items():
        assert list(there.nodes[name].parameters) == list(node.parameters)
        for key, values in node.parameters.items():
            np.testing.assert_array_equal(there.nodes[name].parameters[key], values)


@pytest.mark.slow
@given(data=st.data())
@examples(20)  # each starts a process
def test_damaged_files_are_one_kind_of_error(sound_file, data):
    sound = sound_file.read_bytes()
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(sound)))] if data.draw(st.booleans()) else damaged
    other = sound_file.with_name("damaged.nir")
    other.write_bytes(damaged)
    try:
        graph = read_graph(other)
    except ConfigError:  # any other error fails the test
        return
    assert all(np.isfinite(v).all() for node in graph.nodes.values() for v in node.parameters.values())


def test_a_crash_of_the_hdf5_library_is_an_error_like_any_other(sound_file, tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"crashed on it \(SIGABRT\); the file is damaged"):
        read_graph(sound_file)
