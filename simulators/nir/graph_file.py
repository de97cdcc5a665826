"""Read a NIR graph from its HDF5 file, as nodes and edges, within bounds.

The format: Pedersen et al., "Neuromorphic intermediate representation", Nature Communications 15, 8122 (2024), and
the package ``nir``, whose files these are. A file is data from outside: nothing of it is believed, how much it may
hold is checked before it is read, and every way in which it can be wrong is one kind of error.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError

if TYPE_CHECKING:
    import h5py

MOST_NODES = 10_000
MOST_NUMBERS = 50_000_000  # of all parameters together
MOST_TEXT_BYTES = 100_000_000  # of the names of all edges
LONGEST_TEXT = 1_000
MOST_UNREAD = 100  # parameters of a node, or things beside the graph, that are told
KNOWN_AT_THE_TOP = ("node", "version", "metadata")
KNOWN_OF_A_GRAPH = ("type", "nodes", "edges", "metadata", "input_type", "output_type")
NO_NUMBERS = {"O": "text", "S": "text", "U": "text", "c": "complex", "V": "a compound"}
DEADLINE_SECONDS = 60.0
MOST_FILE_BYTES = 2_000_000_000
MOST_MEMORY_BYTES = 8_000_000_000
REFUSED = 3  # exit code of a child that says why


@dataclass(frozen=True, eq=False)
class NIRNode:
    """A node as the file has it: its kind, such as ``"LIF"``, and its parameters by name.

    ``unread`` holds the others by name, with what they are: text, a link.
    """

    kind: str
    parameters: dict[str, Float64Array]
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NIRGraph:
    """Nodes by name, and edges from one name to another; ``unread`` is what else there is, in words."""

    nodes: dict[str, NIRNode]
    edges: list[tuple[str, str]]
    unread: list[str] = field(default_factory=list)


def graph_in_file(path: str | os.PathLike[str]) -> NIRGraph:
    """The graph in a NIR file, read in this process, which the HDF5 library may crash: see :func:`read_graph`.

    Raises
    ------
    ConfigError
        It is no NIR file, it holds more than is allowed, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(
            "NIR files are read with h5py, which is not installed; run: pip install 'hwloop[nir]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return _Reader(h5py).graph(file)
    except ConfigError:
        raise
    except Exception as error:  # h5py raises almost anything on a damaged file
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"not a readable NIR file ({what[:200]})") from error


class _Reader:
    """Reads one file, and keeps count of what it has taken in."""

    def __init__(self, h5py_module: Any) -> None:
        self._h5py = h5py_module
        self._numbers_left = MOST_NUMBERS

    def graph(self, file: h5py.File) -> NIRGraph:
        root = self._group(file, "node")
        if (kind := self._text(root, "type")) != "NIRGraph":
            raise ConfigError(f"holds a {kind!r}, not a 'NIRGraph'")
        nodes = self._group(root, "nodes")
        if len(nodes) > MOST_NODES:
            raise ConfigError(f"has {len(nodes):,} nodes; at most {MOST_NODES:,} are read")
        unread = [
            *(f"'{key!s:.50}'" for key in file if key not in KNOWN_AT_THE_TOP),
            *(f"'node/{key!s:.50}'" for key in root if key not in KNOWN_OF_A_GRAPH),
        ]
        return NIRGraph(
            {str(name): self._node(nodes, name) for name in nodes}, self._edges(root), unread[:MOST_UNREAD]
        )

    def _node(self, nodes: h5py.Group, name: str) -> NIRNode:
        group = self._group(nodes, name)
        kind = self._text(group, "type")
        parameters: dict[str, Float64Array] = {}
        unread: dict[str, str] = {}
        for key in group:
            if key in ("type", "metadata"):
                continue
            if (what := self._what_is_no_number(group, key)) is None:
                parameters[str(key)] = self._numbers(group, key)
            elif len(unread) < MOST_UNREAD:
                unread[str(key)] = what
        return NIRNode(kind, parameters, unread)

    def _what_is_no_number(self, group: h5py.Group, key: str) -> str | None:
        """What a parameter is that does not hold real numbers."""
        if not isinstance(group.get(key, getlink=True), self._h5py.HardLink):
            return "a link to elsewhere"
        if not isinstance(group[key], self._h5py.Dataset):
            return "a group"
        kind = group[key].dtype.kind
        return None if kind in "fiub" else NO_NUMBERS.get(kind, f"of type {group[key].dtype}")

    def _edges(self, root: h5py.Group) -> list[tuple[str, str]]:
        data = self._dataset(root, "edges")
        if data.size == 0:
            return []
        if data.ndim != 2 or data.shape[1] != 2 or data.shape[0] > MOST_NODES**2 // 1000:
            raise ConfigError(f"'edges' must be pairs of names, not of shape {data.shape}")
        return [(_as_text(start), _as_text(end)) for start, end in data[()]]

    def _numbers(self, group: h5py.Group, key: str) -> Float64Array:
        data = self._dataset(group, key, most_bytes=np.inf)
        self._numbers_left -= max(1, int(data.size))
        if self._numbers_left < 0:
            raise ConfigError(f"holds more than {MOST_NUMBERS:,} numbers; '{group.name}/{key}' is beyond that")
        values: NDArray[Any] = np.asarray(data[()], dtype=np.float64)
        if not np.isfinite(values).all():
            raise ConfigError(f"'{group.name}/{key}' has values that are not finite")
        return values

    def _text(self, group: h5py.Group, key: str) -> str:
        data = self._dataset(group, key)
        if data.shape != ():
            raise ConfigError(f"'{group.name}/{key}' must be one text, not of shape {data.shape}")
        return _as_text(data[()])

    def _group(self, parent: h5py.Group, key: str) -> h5py.Group:
        item = self._item(parent, key)
        if not isinstance(item, self._h5py.Group):
            raise ConfigError(f"'{parent.name}/{key}' is no group")
        return item

    def _dataset(self, parent: h5py.Group, key: str, most_bytes: float = MOST_TEXT_BYTES) -> h5py.Dataset:
        item = self._item(parent, key)
        if not isinstance(item, self._h5py.Dataset):
            raise ConfigError(f"'{parent.name}/{key}' is no dataset")
        if item.is_virtual or item.external:
            raise ConfigError(f"'{parent.name}/{key}' lies in another file; only what is in this one is read")
        if item.nbytes > most_bytes:
            raise ConfigError(
                f"'{parent.name}/{key}' holds {item.nbytes:,} bytes; at most {most_bytes:,} are read"
            )
        return item

    def _item(self, parent: h5py.Group, key: str) -> Any:
        link = parent.get(key, getlink=True)
        if link is None:
            raise ConfigError(f"lacks '{parent.name}/{key}', so it is no NIR file")
        if not isinstance(link, self._h5py.HardLink):
            raise ConfigError(f"'{parent.name}/{key}' points elsewhere; only what is in this file is read")
        return parent[key]


def _as_text(value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise ConfigError(f"has {str(value)[:50]!r} where a name must be")
    return text


# -- in a process of its own: the HDF5 library crashes, hangs or swallows memory on damaged files -----------------
#
# The child writes one archive of plain arrays to its standard output, or what is wrong with the file.


def read_graph(path: str | os.PathLike[str]) -> NIRGraph:
    """The graph in a NIR file.

    Raises
    ------
    ConfigError
        There is no such file, it is no NIR file, it holds more than is allowed, or h5py is not installed.
    """
    if not Path(path).is_file():
        raise ConfigError(f"{path}: no such file")
    if Path(path).stat().st_size > MOST_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MOST_FILE_BYTES:,} bytes, which no network here needs")
    command = [sys.executable, "-P", "-m", __name__, os.path.abspath(path)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=DEADLINE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{path}: not read within {DEADLINE_SECONDS:g} s; the file is damaged") from error
    if child.returncode == 0:
        return _unpacked(child.stdout)
    if child.returncode == REFUSED:
        raise ConfigError(f"{path}: {child.stdout.decode(errors='replace')}")
    if child.returncode < 0:
        signal = Signals(-child.returncode).name
        raise ConfigError(f"{path}: the HDF5 library crashed on it ({signal}); the file is damaged")
    last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
    raise ConfigError(f"{path}: cannot be read ({' '.join(last)[:200]})")


def main() -> int:
    """The child: ``python -m hwloop.simulators.nir.graph_file FILE``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft > MOST_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, hard))
    try:
        packed = _packed(graph_in_file(sys.argv[1]))
    except (ConfigError, MemoryError) as error:
        sys.stdout.write(str(error) or "does not fit into memory")
        return REFUSED
    sys.stdout.buffer.write(packed)
    return 0


def _packed(graph: NIRGraph) -> bytes:
    nodes: list[tuple[str, str, list[str], dict[str, str]]] = []
    arrays: list[Float64Array] = []
    for name, node in graph.nodes.items():
        nodes.append((name, node.kind, list(node.parameters), node.unread))
        arrays += node.parameters.values()
    index = json.dumps({"nodes": nodes, "edges": graph.edges, "unread": graph.unread})
    archive = io.BytesIO()
    np.savez(archive, np.array(index), *arrays, allow_pickle=False)
    return archive.getvalue()


def _unpacked(packed: bytes) -> NIRGraph:
    with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
        index, *arrays = [archive[f"arr_{number}"] for number in range(len(archive.files))]
    table, values = json.loads(str(index)), iter(arrays)
    nodes = {
        name: NIRNode(kind, {key: next(values) for key in keys}, unread)
        for name, kind, keys, unread in table["nodes"]
    }
    return NIRGraph(nodes, [(start, end) for start, end in table["edges"]], table["unread"])


if __name__ == "__main__":
    sys.exit(main())
