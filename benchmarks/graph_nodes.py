"""Node classification through a simulated fibre: with the graph, without it, and the linear floor.

python benchmarks/graph_nodes.py
"""

import numpy as np
from sizes import sized
from sklearn.datasets import load_digits
from table import print_table

import hwloop
from hwloop.experiments.graphs import NodeTask, karate_club, simple_graph_convolution, stochastic_blocks
from hwloop.layers import Stage
from hwloop.layers.graph import GraphNetwork, nearest_neighbour_graph, no_edges
from hwloop.training.nodes import fit_nodes

SEEDS = sized(3, short=2)
DIGITS = sized(None, short=60)
OPTIONS = sized({}, short={"epochs": 1, "min_steps": 2})
STAGES = 2


def digits_task() -> NodeTask:
    """All digits, each joined with its 5 nearest; transductive: the test images' pixels are in the graph."""
    pixels, labels = (part[:DIGITS] for part in load_digits(return_X_y=True))
    return NodeTask(nearest_neighbour_graph(pixels, 5), pixels, labels)


def a_class(labels, count, seed):
    """``count`` random nodes of every class."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:count] for c in np.unique(labels)])


def through_the_fibre(task, graph, nodes, seed, trainer):
    features = task.features.shape[1]
    device = hwloop.open_device("optical-fibre", n_inputs=round(1.15 * features) + 2, n_outputs=200, seed=seed)
    network = GraphNetwork(hwloop.Session(device), [Stage(32) for _ in range(STAGES)], graph, seed)
    built = hwloop.trainer(trainer, seed=seed, **(OPTIONS if trainer == "local" else {}))
    fit_nodes(built, network, task.features, nodes, task.labels[nodes])
    return network.predict(task.features)


def main() -> None:
    tasks = {
        "karate club, 1 a class known": (lambda seed: karate_club(), lambda task, seed: np.array([0, 33])),
        "4 blocks of 100, 10 a class known": (
            lambda seed: stochastic_blocks(seed=seed, p_within=0.1, p_between=0.02, signal=1.0),
            lambda task, seed: a_class(task.labels, 10, seed),
        ),
        "digits, 5 nearest, 10 a class known": (
            lambda seed: digits_task(),
            lambda task, seed: a_class(task.labels, 10, seed),
        ),
    }
    methods = {
        "local": lambda t, n, s: through_the_fibre(t, t.graph, n, s, "local"),
        "local, no edges": lambda t, n, s: through_the_fibre(t, no_edges(t.graph.n_nodes), n, s, "local"),
        "readout": lambda t, n, s: through_the_fibre(t, t.graph, n, s, "readout"),
        "SGC, 2 hops": lambda t, n, s: simple_graph_convolution(t, n, STAGES),
        "softmax": lambda t, n, s: simple_graph_convolution(t, n, 0),
    }
    lines = []
    for name, (make, choose) in tasks.items():
        cells = []
        for method in methods.values():
            right = []
            for seed in range(SEEDS):
                task = make(seed)
                nodes = choose(task, seed)
                right.append(np.delete(method(task, nodes, seed) == task.labels, nodes).mean())
            cells.append(f"{100 * np.mean(right):.1f} ± {100 * np.std(right, ddof=1):.1f}")
        lines.append([name, *cells])
        print(name, *cells, flush=True)
    print_table(f"accuracy (%) on the other nodes, {SEEDS} seeds, {STAGES} stages", ["task", *methods], lines)


if __name__ == "__main__":
    main()
