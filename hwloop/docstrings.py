"""What docstrings say: their first lines, read from source files, and the meanings of parameters.

An entry point is described without importing it: its package may import torch. Nothing is cached between calls,
so the text is that of the file that an import would take now.
"""

from __future__ import annotations

import ast
import gc
import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint

SECTIONS = ("Parameters", "Attributes")
NAMES_END = re.compile(r"\s*:|\s+=")  # behind it stands a type, or a default


def summary_of(docstring: str) -> str:
    """Its text before the first section: what it is, its equations, its source."""
    lines = inspect.cleandoc(docstring).splitlines()
    below = [*lines[1:], ""]
    end = next((n for n, line in enumerate(lines) if line and below[n] and set(below[n]) == {"-"}), len(lines))
    return "\n".join(lines[:end]).strip()


def parameter_meanings(docstring: str, sections: Iterable[str] = SECTIONS) -> dict[str, str]:
    """What a docstring says of each parameter, on one line each.

    Parameters
    ----------
    sections
        Titles, underlined with dashes as numpydoc has them, of the sections that count.
    """
    found: dict[str, str] = {}
    names: list[str] = []
    counts = False
    lines = inspect.cleandoc(docstring).splitlines()
    for line, below in itertools.pairwise([*lines, ""]):
        if below and set(below) == {"-"}:
            counts, names = line in sections, []
        elif counts and line and not line.startswith((" ", "-")):
            names = [name.strip() for name in NAMES_END.split(line)[0].split(",")]
        elif counts and line.strip() and names:
            found |= {name: f"{found.get(name, '')} {line.strip()}".strip() for name in names}
    return found


def first_lines(entries: Iterable[EntryPoint]) -> dict[str, str | None]:
    """The first line of the docstring of what each entry point names, by its value ``package.module:Name``.

    ``None`` where the source does not tell, and an import would: there is no such module, it is no Python file,
    or the object is made in another way than by ``class``, ``def`` or an import, or has no docstring of its own.
    """
    reader = _SourceReader()
    with _no_collection():
        return {entry.value: reader.first_line(entry.module, entry.attr) for entry in entries}


@contextmanager
def _no_collection() -> Iterator[None]:
    """Trees are all kept until the end: looking for garbage among them takes a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _SourceReader:
    """Reads each module once; modules that import an object from each other end the search."""

    def __init__(self) -> None:
        self._trees: dict[str, ast.Module | None] = {}

    def first_line(self, module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> str | None:
        if (module, name) in seen:
            return None
        if module not in self._trees:
            self._trees[module] = _parsed(module)
        tree = self._trees[module]
        for node in () if tree is None else tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return (ast.get_docstring(node) or "").partition("\n")[0] or None
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.first_line(node.module, alias.name, seen | {(module, name)})
        return None


def _parsed(module: str) -> ast.Module | None:
    spec = _found(module)
    get_source = getattr(getattr(spec, "loader", None), "get_source", None)
    try:
        source = get_source(module) if get_source else None
        return None if source is None else ast.parse(source)
    except (ImportError, OSError, SyntaxError, ValueError):
        return None  # importing it says what is wrong


def _found(module: str) -> ModuleSpec | None:
    """Where a module lies; unlike :func:`importlib.util.find_spec` this imports no package that it lies in."""
    found: ModuleSpec | None = None
    places = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        found = _spec(".".join(parts[:end]), places)
        if found is None:
            return None
        places = found.submodule_search_locations
    return found


def _spec(name: str, places: list[str] | None) -> ModuleSpec | None:
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__spec__ is not None:
        return loaded.__spec__
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, places) if find_spec else None
        if spec is not None:
            return spec
    return None
