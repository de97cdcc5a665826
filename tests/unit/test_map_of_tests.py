"""tests/README.md says where each promise is held: it names every test file once, and no other."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
MAP = (TESTS / "README.md").read_text(encoding="utf-8")


def test_every_test_file_is_in_the_map_once_and_every_file_of_the_map_exists():
    named = Counter(re.findall(r"`(\w+/test_\w+)`", MAP))
    there = {path.relative_to(TESTS).with_suffix("").as_posix() for path in TESTS.glob("*/test_*.py")}
    assert sorted(there - set(named)) == [], "name them in tests/README.md, at the promise that they hold"
    assert sorted(set(named) - there) == [], "tests/README.md names files that are not there"
    assert [name for name, times in named.items() if times > 1] == []


def test_every_helper_is_in_the_map():
    modules = [*TESTS.glob("*.py"), *TESTS.glob("faults/*.py")]
    helpers = {path.name for path in modules if not path.name.startswith("test_")}
    named = {name.rpartition("/")[2] for name in re.findall(r"`([\w/]+\.py)`", MAP)}
    assert sorted(helpers - named) == []


def test_every_marker_is_in_the_map():
    pyproject = (TESTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    markers = re.findall(r'^    "(\w+): ', pyproject.partition("\nmarkers = [")[2].partition("\n]")[0], re.M)
    assert markers
    for marker in markers:
        assert f"| `{marker}` |" in MAP, marker
