"""Read a NIR file in a process of its own: the HDF5 library crashes, hangs or swallows memory on damaged files.

The child writes one archive of plain arrays to its standard output, or what is wrong with the file.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from signal import Signals

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.simulators.nir.graph_file import Graph, Node, graph_in_file

DEADLINE_SECONDS = 60.0
MOST_FILE_BYTES = 2_000_000_000
MOST_MEMORY_BYTES = 8_000_000_000
REFUSED = 3  # exit code of a child that says why


def read_graph(path: str | os.PathLike[str]) -> Graph:
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
    """The child: ``python -m hwloop.simulators.nir.reading FILE``."""
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


def _packed(graph: Graph) -> bytes:
    nodes: list[tuple[str, str, list[str], dict[str, str]]] = []
    arrays: list[Float64Array] = []
    for name, node in graph.nodes.items():
        nodes.append((name, node.kind, list(node.parameters), node.unread))
        arrays += node.parameters.values()
    index = json.dumps({"nodes": nodes, "edges": graph.edges, "unread": graph.unread})
    archive = io.BytesIO()
    np.savez(archive, np.array(index), *arrays, allow_pickle=False)
    return archive.getvalue()


def _unpacked(packed: bytes) -> Graph:
    with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
        index, *arrays = [archive[f"arr_{number}"] for number in range(len(archive.files))]
    table, values = json.loads(str(index)), iter(arrays)
    nodes = {
        name: Node(kind, {key: next(values) for key in keys}, unread)
        for name, kind, keys, unread in table["nodes"]
    }
    return Graph(nodes, [(start, end) for start, end in table["edges"]], table["unread"])


if __name__ == "__main__":
    sys.exit(main())
