"""What of a graph is not understood or has no effect: refused where it is needed, and said where it is not."""

from __future__ import annotations

from collections.abc import Iterator

from hwloop.errors import ConfigError
from hwloop.simulators.nir.graph_file import Graph

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


def require_readable(graph: Graph, names: set[str]) -> None:
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


def what_has_no_effect(graph: Graph, names: set[str]) -> Iterator[str]:
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
