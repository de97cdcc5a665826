"""A fixed graph over the rows of a dataset, and networks whose stages see a node's neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from hwloop.errors import ConfigError
from hwloop.layers.network import PhysicalNetwork
from hwloop.layers.stage import Stage
from hwloop.session import Session


class Graph:
    """An undirected graph of ``n_nodes``, each its own neighbour too.

    Aggregation is digital and fixed: S = D^-1/2 (A + I) D^-1/2 (Kipf and Welling, ICLR 2017).

    Parameters
    ----------
    n_nodes
        At least 1.
    edges
        Pairs of node numbers, shape (edges, 2); direction and repetition say nothing.

    Raises
    ------
    ConfigError
        An edge to a node that is none.
    """

    def __init__(self, n_nodes: int, edges: Any) -> None:
        pairs: NDArray[np.int64] = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
        if n_nodes < 1 or (len(pairs) and not 0 <= pairs.min() <= pairs.max() < n_nodes):
            raise ConfigError(f"every edge must join two of the nodes 0 to {n_nodes - 1}")
        self.n_nodes = n_nodes
        ends = np.concatenate([pairs, pairs[:, ::-1], np.repeat(np.arange(n_nodes)[:, None], 2, axis=1)])
        present = sparse.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (n_nodes, n_nodes)).tocsr()
        present.data[:] = 1.0  # an edge named twice, or a node's edge to itself, is there once
        scale = sparse.diags_array(1 / np.sqrt(present.sum(axis=1)))
        self.normalised = sparse.csr_array(scale @ present @ scale)

    def aggregate(self, features: Tensor) -> Tensor:
        """S X for the features X of all nodes, shape (n_nodes, n), float64.

        A node's sum runs over its neighbours in their order, so it depends on nothing else.
        """
        if len(features) != self.n_nodes:
            raise ConfigError(f"the graph has {self.n_nodes} nodes, but features of {len(features)} were given")
        return torch.from_numpy(np.asarray(self.normalised @ features.detach().to(torch.float64).numpy()))


def no_edges(n_nodes: int) -> Graph:
    """A graph in which nobody has a neighbour: the same network without aggregation."""
    return Graph(n_nodes, np.empty((0, 2)))


def nearest_neighbour_graph(inputs: Any, neighbours: int) -> Graph:
    """Joins every row of (rows, n) with its nearest others in Euclidean distance.

    Built from training and test inputs together it makes a task transductive: no label is used, but the test
    inputs must be there when the network is trained. Say so beside a figure.
    """
    rows = np.asarray(inputs, dtype=np.float64)
    if not 1 <= neighbours < len(rows):
        raise ConfigError(f"neighbours must be 1 to {len(rows) - 1}, not {neighbours}")
    found = NearestNeighbors(n_neighbors=neighbours).fit(rows).kneighbors(return_distance=False)
    return Graph(len(rows), np.stack([np.repeat(np.arange(len(rows)), neighbours), found.ravel()], axis=1))


class GraphNetwork(PhysicalNetwork):
    """A physical network over the nodes of a graph: aggregate, encode, measure, standardise, map, in each stage.

    Its rows are all nodes, in their order. A node's prediction depends on its neighbours, as many steps away as
    there are stages, and on nothing else. Every nonlinearity is physical; aggregation is digital and linear.

    Parameters
    ----------
    session, layers, seed
        See :class:`hwloop.layers.PhysicalNetwork`.
    graph
        The nodes and their neighbours.
    """

    not_to_be_saved = (
        "a graph network cannot be saved: a checkpoint holds no graph, so it would load without one; "
        "keep the graph's edges and train again on the recorded rows"
    )

    def __init__(
        self, session: Session | Sequence[Session], layers: Iterable[Stage], graph: Graph, seed: int = 0
    ) -> None:
        super().__init__(session, layers, seed)
        self.graph = graph

    def passes(
        self, inputs: Tensor, purpose: str = "evaluate", stages: int | None = None
    ) -> Iterator[tuple[Stage, Tensor, Tensor]]:
        """Send all nodes through the first ``stages`` trained stages, one after the other: a node needs them all.

        Yields (stage, features, z) of each in turn.
        """
        for _, stage, session in islice(self, stages):
            aggregated = self.graph.aggregate(inputs)
            features = stage.features(
                aggregated, session.measure(stage.encoder(aggregated), purpose, tuning=stage.tuning)
            )
            inputs = stage.map(features)
            yield stage, features, inputs

    @property
    def multiply_adds(self) -> int:
        """Of one node's prediction, its share of the aggregation (the mean number of neighbours) with it."""
        widths = [self.n_features, *(stage.width for _, stage, _ in self)][: len(self)]
        neighbours = float(self.graph.normalised.nnz) / self.graph.n_nodes
        return super().multiply_adds + round(neighbours * sum(widths))
