"""From a graph to populations in the order of the signal, each with what comes into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np

from hwloop.errors import ConfigError
from hwloop.simulators.nir.graph_file import NIRGraph, NIRNode
from hwloop.simulators.nir.populations import KINDS, MOST_WEIGHTS, Population, WeightedSum, population

STATELESS = ("Input", "Output", "Linear", "Affine", "Scale", "Flatten")


@dataclass(frozen=True)
class FeedForwardWiring:
    """A feed-forward network.

    Attributes
    ----------
    input_name, n_channels
        The graph's input.
    populations
        By name, in the order of the signal.
    inputs
        What comes into each of them.
    output
        What leaves the graph.
    """

    input_name: str
    n_channels: int
    populations: dict[str, Population]
    inputs: dict[str, WeightedSum]
    output: WeightedSum


def wired(graph: NIRGraph, step_seconds: float, integration: str, input_gain: float = 1.0) -> FeedForwardWiring:
    """The network of a graph.

    Raises
    ------
    ConfigError
        A node of a kind that is not simulated here, a recurrent graph (both are named), widths that do not fit, or
        a graph without one input, one output and neurons between them, or a parameter that cannot be read.
    """
    for name, node in graph.nodes.items():
        if node.kind not in (*STATELESS, *KINDS):
            raise ConfigError(
                f"node {name!r} is a {node.kind}, which is not simulated here; known are "
                f"{', '.join(sorted((*STATELESS, *KINDS)))}"
            )
    before = _predecessors(graph)
    source, sink = _only(graph, "Input"), _only(graph, "Output")
    n_channels = _size(graph.nodes[source], source)
    order = _in_order(before, sink)
    require_readable(graph, {source, *order})
    signals: dict[str, WeightedSum] = {}
    populations: dict[str, Population] = {}
    inputs: dict[str, WeightedSum] = {}
    for name in order:
        node = graph.nodes[name]
        if name == source:
            signals[name] = WeightedSum.straight_from(name, n_channels, input_gain)
            continue
        signal = _merged(name, [signals[start] for start in before[name]])
        if node.kind in KINDS:
            populations[name] = population(name, node, signal.width, step_seconds, integration)
            inputs[name] = signal.scaled(populations[name].gain)
            signal = WeightedSum.straight_from(name, signal.width)
        signals[name] = _passed(name, node, signal)
    if not populations:
        raise ConfigError("the graph has no neurons between its input and its output")
    return FeedForwardWiring(source, n_channels, populations, inputs, signals[sink])


def leading_to_the_output(graph: NIRGraph) -> set[str]:
    """Names of the nodes that the output of a graph depends on, and of its input."""
    return {_only(graph, "Input"), *_in_order(_predecessors(graph), _only(graph, "Output"))}


def _passed(name: str, node: NIRNode, signal: WeightedSum) -> WeightedSum:
    """A signal behind a node without a state; behind any other as it is."""
    if node.kind == "Scale":
        scale = node.parameters.get("scale", np.empty(0)).ravel()
        if scale.size not in (1, signal.width):
            raise ConfigError(f"node {name!r} (Scale) has {scale.size} factors for {signal.width} channels")
        return signal.scaled(np.broadcast_to(scale, (signal.width,)))
    if node.kind not in ("Linear", "Affine"):
        return signal
    weights = node.parameters.get("weight", np.empty(0))
    if weights.ndim != 2 or weights.shape[1] != signal.width or not weights.size:
        raise ConfigError(
            f"node {name!r} ({node.kind}) has weights of shape {weights.shape}; for {signal.width} channels they "
            "must be (outputs, inputs)"
        )
    if len(weights) * max(matrix.shape[0] for matrix in signal.terms.values()) > MOST_WEIGHTS:
        raise ConfigError(f"node {name!r} ({node.kind}) leads to more than {MOST_WEIGHTS:,} weights")
    signal = signal.through(weights.T)
    if node.kind == "Linear":
        return signal
    bias = node.parameters.get("bias", np.empty(0)).ravel()
    if bias.size not in (1, signal.width):
        raise ConfigError(f"node {name!r} (Affine) has {bias.size} biases for {signal.width} channels")
    return signal.shifted(np.broadcast_to(bias, (signal.width,)))


def _predecessors(graph: NIRGraph) -> dict[str, list[str]]:
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for start, end in dict.fromkeys(graph.edges):
        for name in (start, end):
            if name not in graph.nodes:
                raise ConfigError(f"an edge leads from {start!r} to {end!r}, but there is no node {name!r}")
        before[end].append(start)
    return before


def _in_order(before: dict[str, list[str]], sink: str) -> list[str]:
    """The nodes that the output depends on, each behind all that it depends on."""
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        cycle = " -> ".join(repr(name) for name in reversed(error.args[1]))
        raise ConfigError(
            f"the graph is recurrent ({cycle}); only feed-forward graphs are simulated here"
        ) from error
    needed, ahead = {sink}, [sink]
    while ahead:
        new = [start for start in before[ahead.pop()] if start not in needed]
        needed.update(new)
        ahead += new
    return [name for name in order if name in needed]


def _merged(name: str, signals: list[WeightedSum]) -> WeightedSum:
    if not signals:
        raise ConfigError(f"nothing leads to node {name!r}")
    total = signals[0]
    for signal in signals[1:]:
        if signal.width != total.width:
            raise ConfigError(f"signals of {total.width} and {signal.width} channels meet at node {name!r}")
        total = total.plus(signal)
    return total


def _only(graph: NIRGraph, kind: str) -> str:
    names = [name for name, node in graph.nodes.items() if node.kind == kind]
    if len(names) != 1:
        raise ConfigError(f"the graph must have one {kind}, not {len(names)}")
    return names[0]


def _size(node: NIRNode, name: str) -> int:
    shape = node.parameters.get("shape", np.empty(0)).ravel()
    size = float(np.prod(shape)) if shape.size else 0.0
    if not 1 <= size <= 1_000_000 or (shape != np.rint(shape)).any() or (shape < 1).any():
        raise ConfigError(f"node {name!r} (Input) has the shape {shape.tolist()}, which is none")
    return int(size)


# -- what is not understood or has no effect: refused where it is needed, and said where it is not --------------

NEURON = frozenset({"r", "v_leak"})
FIRES = frozenset({"v_threshold", "v_reset"})
CUBA = frozenset({"tau_mem", "tau_syn", "w_in"})
PARAMETERS = {
    "Input": frozenset({"shape"}),
    "Output": frozenset({"shape"}),
    "Linear": frozenset({"weight"}),
    "Affine": frozenset({"weight", "bias"}),
    "Scale": frozenset({"scale"}),
    "Flatten": frozenset({"start_dim", "end_dim"}),
    "LIF": NEURON | FIRES | {"tau"},
    "CubaLIF": NEURON | FIRES | CUBA,
    "IF": FIRES | {"r"},
    "LI": NEURON | {"tau"},
    "CubaLI": NEURON | CUBA,
}
# What files say once more: shapes, which follow from the weights.
REPEATED = frozenset({"input_type", "output_type"})


def require_readable(graph: NIRGraph, names: set[str]) -> None:
    """Refuse a parameter that counts and cannot be read: its default would be another network.

    Raises
    ------
    ConfigError
        Names node and parameter.
    """
    for name in sorted(names):
        node = graph.nodes[name]
        for parameter, what in node.unread.items():
            if parameter in PARAMETERS[node.kind]:
                raise ConfigError(
                    f"node {name!r} ({node.kind}): its parameter {parameter!r} is {what}, not real numbers; write "
                    "them into the file itself"
                )


def what_has_no_effect(graph: NIRGraph, names: set[str]) -> Iterator[str]:
    """Notes on everything in a graph that is not looked at; ``names`` are the nodes that lead to the output."""
    for what in graph.unread:
        yield f"{what} is not known here and has no effect"
    for name, node in graph.nodes.items():
        if name not in names:
            yield f"node {name!r} ({node.kind}) does not lead to the output and has no effect"
            continue
        unknown = {*node.parameters, *node.unread} - PARAMETERS[node.kind] - REPEATED
        for parameter in sorted(unknown):
            yield (
                f"node {name!r} ({node.kind}): the parameter {parameter!r} is not known here and has no effect; "
                "the network may answer otherwise than in the tool that wrote the file"
            )
