"""Graph networks: aggregation against its formula, what a prediction depends on, and tasks that need the graph."""

import numpy as np
import pytest
import torch
from examples import each_row
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop.errors import BudgetExceeded, CheckpointError, ConfigError, DatasetError
from hwloop.experiments.graphs import karate_club, simple_graph_convolution, stochastic_blocks
from hwloop.layers import Stage
from hwloop.layers.graph import Graph, GraphNetwork, nearest_neighbour_graph, no_edges
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.training.nodes import fit_nodes


def network_on(graph, n_features, stages=2, noiseless=True, budget=None, n_outputs=80):
    device = OpticalFibre(n_inputs=n_features + 8, n_outputs=n_outputs, seed=1)
    session = hwloop.Session(device.noiseless() if noiseless else device, budget=budget)
    return GraphNetwork(session, [Stage(12) for _ in range(stages)], graph, seed=2)


def quick_local():
    return hwloop.trainer("local", seed=3, min_steps=100)


@given(st.integers(1, 12), st.data())
def test_aggregation_is_the_published_normalisation(n_nodes, data):
    node = st.integers(0, n_nodes - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=30))
    adjacency = np.eye(n_nodes)
    for a, b in edges:
        adjacency[a, b] = adjacency[b, a] = 1.0
    inverse_root = np.diag(adjacency.sum(axis=1) ** -0.5)
    features = np.random.default_rng(0).normal(size=(n_nodes, 3))
    found = Graph(n_nodes, edges).aggregate(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(found, inverse_root @ adjacency @ inverse_root @ features, atol=1e-12)


def test_the_karate_club_has_the_counts_of_its_paper():
    task = karate_club()
    assert task.graph.normalised.nnz == 2 * 78 + 34
    degree = np.diff(task.graph.normalised.indptr) - 1
    assert (degree[0], degree[33], degree.min()) == (16, 17, 1)
    assert np.bincount(task.labels).tolist() == [17, 17]


def test_blocks_have_the_chances_that_were_asked_for():
    task = stochastic_blocks(150, 3, p_within=0.2, p_between=0.02, seed=5)
    joined = task.graph.normalised.toarray() > 0
    same = task.labels[:, None] == task.labels
    off = ~np.eye(len(joined), dtype=bool)
    assert joined[same & off].mean() == pytest.approx(0.2, abs=0.01)
    assert joined[~same].mean() == pytest.approx(0.02, abs=0.003)


def test_nearest_neighbours_on_a_line():
    graph = nearest_neighbour_graph([[0.0], [1.0], [1.9], [10.0]], 1)
    joined = graph.normalised.toarray() > 0
    np.testing.assert_array_equal(joined, [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]])


def test_neighbours_alone_tell_the_club_apart():
    """One known member a side, as in Kipf and Welling (2017): their graph network gets nearly all others."""
    task, accuracies = karate_club(), {}
    for name, graph in (("graph", task.graph), ("no edges", no_edges(34))):
        network = network_on(graph, 34)
        fit_nodes(quick_local(), network, task.features, [0, 33], [0, 1])
        right = network.predict(task.features) == task.labels
        accuracies[name] = np.delete(right, [0, 33]).mean()
    assert accuracies["graph"] >= 0.85
    assert accuracies["no edges"] < 0.75


@pytest.mark.parametrize("trainer", each_row(["local", "readout"], "readout"))
def test_aggregation_pays_on_blocks(trainer):
    task = stochastic_blocks(60, 3, p_within=0.2, p_between=0.02, signal=1.0, seed=4)
    known = np.random.default_rng(0).permutation(180)[:45]
    rest = np.setdiff1d(np.arange(180), known)

    def accuracy(graph):
        network = network_on(graph, 16, noiseless=False)
        fit_nodes(hwloop.trainer(trainer, seed=3), network, task.features, known, task.labels[known])
        assert network.sessions[0].ledger["train"] == 2 * 180  # one row a node a stage
        found = (network.predict(task.features) == task.labels)[rest].mean()
        assert network.sessions[0].ledger["evaluate"] == 0  # remembered
        return found

    assert accuracy(task.graph) > 0.85
    assert accuracy(no_edges(180)) < 0.75


def test_a_prediction_depends_on_nodes_within_as_many_steps_as_stages_and_on_no_other():
    path = Graph(9, [(k, k + 1) for k in range(8)])
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(9, 5)), np.arange(9) % 2
    network = network_on(path, 5, stages=2)
    fit_nodes(hwloop.trainer("local", seed=3, epochs=1, min_steps=20), network, features, np.arange(9), labels)
    before = network.predict_proba(features)
    changed = features.copy()
    changed[0] += 1.0
    moved = np.any(network.predict_proba(changed) != before, axis=1)
    np.testing.assert_array_equal(moved, np.arange(9) <= 2)


def test_unlabelled_nodes_classes_are_never_seen():
    task = stochastic_blocks(20, 2, seed=1)
    known = np.arange(0, 40, 4)
    first = network_on(task.graph, 16)
    fit_nodes(quick_local(), first, task.features, known, task.labels[known])
    second = network_on(task.graph, 16)
    shuffled = np.random.default_rng(0).permutation(len(known))
    fit_nodes(quick_local(), second, task.features, known[shuffled], task.labels[known[shuffled]])
    # Only the order in which labelled nodes were given differs: no node beyond them can say anything.
    agree = (first.predict(task.features) == second.predict(task.features)).mean()
    assert agree > 0.9


def test_the_linear_floor_without_a_hop_is_a_softmax_and_with_hops_uses_the_graph():
    task = stochastic_blocks(60, 3, p_within=0.2, p_between=0.02, signal=1.0, seed=4)
    known = np.random.default_rng(0).permutation(180)[:45]
    alone, hops = (simple_graph_convolution(task, known, count) == task.labels for count in (0, 2))
    assert alone.mean() < 0.75 < 0.85 < hops.mean()


def test_a_checkpoint_that_would_forget_the_graph_is_refused(tmp_path):
    network = network_on(karate_club().graph, 34)
    network.build(34)
    with pytest.raises(CheckpointError, match="graph"):
        hwloop.save_network(network, tmp_path / "network.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_trained_is_refused_before_the_first_row():
    task = karate_club()
    network = network_on(task.graph, 34, budget=67)
    local = hwloop.trainer("local")
    with pytest.raises(BudgetExceeded):
        fit_nodes(local, network, task.features, [0, 33], [0, 1])
    with pytest.raises(ConfigError, match="local or readout"):
        fit_nodes(hwloop.trainer("phyll"), network, task.features, [0, 33], [0, 1])
    for nodes in ([0, 0], [0, 34], [-1, 3], [0.0, 33.0], []):
        with pytest.raises(DatasetError):
            fit_nodes(local, network, task.features, nodes, [0, 1])
    assert network.sessions[0].ledger.total == 0
    with pytest.raises(ConfigError, match="34 nodes"):
        network.graph.aggregate(torch.zeros(33, 2))
    with pytest.raises(ConfigError, match="edge"):
        Graph(3, [(0, 3)])
