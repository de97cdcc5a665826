"""The glossary defines no word twice; what it and the architecture name in code is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs"
PAGE = (PAGES / "glossary.md").read_text(encoding="utf-8")
ENTRIES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| word ")
]


def _resolve(name: str) -> object:
    """Import the longest part of a dotted name that is a module, and get the rest from it."""
    parts = name.split(".")
    for n_module in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:n_module]))
        except ModuleNotFoundError:
            continue
        for part in parts[n_module:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"nothing of {name} can be imported")


def test_no_word_is_defined_twice():
    words = [word.strip() for entry in ENTRIES for word in entry[0].split(",")]
    assert len(words) > 40
    assert sorted(words) == sorted(set(words))


def test_names_in_code_exist():
    names = [name for entry in ENTRIES for name in re.findall(r"`(hwloop(?:\.\w+)+)", entry[2])]
    assert len(names) > 10
    for name in names:
        _resolve(name)
    owners = [name for entry in ENTRIES for name in re.findall(r"`((?:Device|DeviceSpec)\.\w+)", entry[2])]
    for name in owners:
        owner, attribute = name.split(".")
        kind = getattr(importlib.import_module("hwloop"), owner)
        assert hasattr(kind, attribute) or attribute in kind.__dataclass_fields__, name


def test_files_that_the_architecture_names_exist():
    page = PAGES / "architecture.md"
    text = page.read_text(encoding="utf-8")
    files = re.findall(r"`((?:hwloop|devices|simulators|experiments|tests)/[\w/]+(?:\.py|/))`", text)
    assert len(files) > 40
    assert [file for file in files if not (PAGES.parent / file).exists()] == []
