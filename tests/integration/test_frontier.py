"""``hwloop frontier``: both sides, a page, JSON, what is kept; a rival is one file, as its page's example."""

import importlib
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.experiments.frontier import networks, rival
from hwloop.experiments.frontier import run as running

PAGE = Path(__file__).parents[2] / "docs" / "frontier.md"
EXPERIMENT = """
name = "small"
seeds = 2
[dataset]
name = "wine"
[device]
name = "optical-fibre"
settings = { n_outputs = 20 }
[trainer]
name = "readout"
[network]
stages = 1
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("HWLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(networks, "STEPS", 40)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(EXPERIMENT)
    before = list(rival.all_rivals())
    yield tmp_path
    rival.RIVALS[:] = before


def frontier(*options):
    result = CliRunner().invoke(app, ["frontier", *options], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.slow
def test_a_rival_is_a_file_and_a_second_call_computes_nothing(small, monkeypatch):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    (small / "first_features.py").write_text(code)
    monkeypatch.syspath_prepend(str(small))
    importlib.import_module("first_features")
    options = ("small.toml", "--effort", "6", "--seeds", "2", "--multiply-adds", "20,40", "--json", "--out")

    status, first = frontier(*options, str(small / "one"))
    assert status == 0
    found = json.loads(next(line for line in first.splitlines() if line.startswith("{")))["frontiers"][0]
    assert [point["budget"] for point in found["points"]] == [20, 40]
    for point in found["points"]:
        for side in ("physics", "digital"):
            assert len(point[side]["scores"]) == 2
            assert max(point[side]["multiply_adds"]) <= point["budget"]
    page = (small / "one" / "frontier.html").read_text(encoding="utf-8")
    assert "wine, optical-fibre" in page
    assert "effective MACs" in page
    assert (small / "one" / "frontier.png").stat().st_size > 5_000

    monkeypatch.setattr(running, "digital_side", None)  # would fail if it were asked
    monkeypatch.setattr(running, "physical_side", None)
    status, second = frontier(*options, str(small / "two"))
    assert status == 0
    assert json.loads(next(line for line in second.splitlines() if line.startswith("{")))["frontiers"] == [found]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("small.toml", "--effort", "1"), "at least 4 trials"),
        (("small.toml", "--seeds", "many"), "no list of whole numbers"),
        (("nothing-here",), "nothing-here"),
        (("narma10:delay-lop",), "delay-loop"),
        (("--set", "seeds=3"), "name one"),
    ],
)
def test_a_mistake_is_one_line(small, options, said):
    status, output = frontier(*options)
    assert status == 2
    assert said in " ".join(output.split())
