"""A new SCPI instrument and its virtual counterpart are two files and an entry point: docs/write-a-driver.md."""

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import hwloop
from hwloop import LimitError
from hwloop.simulators.bench.misbehaviour import AtExchanges, Garble, StaleReply
from hwloop.simulators.bench.scpi.instrument import BenchClock
from hwloop.simulators.bench.server import LINKS, serve

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-driver.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# ([\w/]+\.py)\n(.*?)```", PAGE, re.DOTALL))
DRIVER, COUNTERPART, TEST = "devices/bulb.py", "simulators/bench/supply.py", "tests/integration/test_bulb.py"


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The page's files in a folder of their own, which becomes part of the two packages."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    for path in (DRIVER, COUNTERPART):
        package = importlib.import_module("hwloop." + path.rpartition("/")[0].replace("/", "."))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str((tmp_path / path).parent)])
    entries = re.findall(r'```toml\n\[project\.entry-points\.("[\w.]+")\]\n(\w+) = "(.*)"\n```', PAGE)
    information = tmp_path / "bulb-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: bulb\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "".join(f"[{group[1:-1]}]\n{name} = {value}\n" for group, name, value in entries)
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for path in (DRIVER, COUNTERPART):
        sys.modules.pop("hwloop." + path.removesuffix(".py").replace("/", "."), None)


def test_the_page_adds_two_files_beside_the_test():
    assert set(FILES) == {DRIVER, COUNTERPART, TEST}


@pytest.mark.parametrize("link", LINKS)
def test_the_test_of_the_page_passes_on_every_link(added, link):
    spec = importlib.util.spec_from_file_location("test_bulb", added / TEST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_a_bulb_obeys_ohm(link)


def test_faults_of_the_wire_are_survived_and_limits_hold(added):
    virtual = importlib.import_module("hwloop.simulators.bench.supply").VirtualSupply(BenchClock())
    server = serve(virtual)
    try:
        device = hwloop.open_device("bulb", resource=server.resource_name)
        with hwloop.Retrying(device, retries=5, backoff_seconds=0.0) as bulb:
            assert "bulb" in hwloop.registry.DEVICES.entries()
            assert "E3610" in bulb.identify()
            with pytest.raises(LimitError):
                bulb.measure([[5.5]])
            server.misbehaviour = AtExchanges({1: Garble(), 6: StaleReply()})
            np.testing.assert_allclose(bulb.measure([[0.3], [0.1]]), [[0.015], [0.005]])
            assert server.misbehaviour.count > 12
    finally:
        server.close()
