"""hwloop.run: what the command does, from Python."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from rich.console import Console

import hwloop
from hwloop.cli.running import RunView, configured
from hwloop.errors import ConfigError
from hwloop.toml_text import parse_setting, setting_text

SMALL = """
name = "small"
dataset = "small_data:blobs"
trainer = { name = "local", settings = { epochs = 2 } }

[device]
name = "relu-layer"
settings = { n_outputs = 8 }

[network]
stages = 1
width = 4

[evidence]
floors = false
"""
DATA = """
import numpy as np
from hwloop.experiments.dataset import Dataset

def blobs():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return Dataset("blobs", rng.normal(size=(60, 5)) + 2.0 * np.eye(3, 5)[labels], labels, ("a", "b", "c"))
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    (tmp_path / "small_data.py").write_text(DATA)
    (tmp_path / "small.toml").write_text(SMALL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "small.toml"


def test_settings_are_a_mapping_or_text_as_the_command_takes_it(small):
    mapping = {"device.settings.n_outputs": 9, "trainer.settings.lr": 1e-3, "name": "other", "seeds": [4, 5]}
    text = ["device.settings.n_outputs=9", "trainer.settings.lr=0.001", "name=other", "seeds=[4, 5]"]
    assert configured(small, mapping) == configured(str(small), text)
    options = configured(small, seeds=3, floors=True)
    assert options.seeds == [0, 1, 2]
    assert options.evidence.floors
    assert configured(small, seeds=[7, 9]).seeds == [7, 9]


def test_numbers_of_numpy_and_no_settings_are_taken():
    plain = configured("digits-optical", {"device.settings.n_outputs": 50, "network.width": 3}, seeds=[2, 3])
    given = {"device.settings.n_outputs": np.int64(50), "network.width": np.array(3)}
    assert configured("digits-optical", given, seeds=np.arange(2, 4)) == plain
    assert configured("digits-optical", None, seeds=np.int64(2)) == configured("digits-optical", seeds=2)


def test_one_note_and_one_tag_are_one(small):
    stopped = mock.patch("hwloop.cli.running.configured", side_effect=ConfigError("seen"))
    with stopped as seen, pytest.raises(ConfigError, match="seen"):
        hwloop.run(small, notes="my note", tags="demo")
    assert seen.call_args.args[-1] == {"about.notes": ["my note"], "about.tags": ["demo"]}


@pytest.mark.parametrize("value", [True, 3, -0.1, 1e300, "text", 'quo"te\n=', "0.5", [1, 2], {"name": "local"}])
def test_a_setting_goes_through_its_text_unchanged(value):
    assert parse_setting(setting_text("a.b", value)) == (("a", "b"), value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"settings": {"network.widht": 3}}, "widht"),
        ({"settings": {"network.width": object()}}, "TOML cannot hold a object"),
        ({"settings": "network.width=3"}, "not the text"),
        ({"reuse": ["nowhere"]}, "nowhere"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 1.0}, "seeds are a whole number, how many, or a list of whole numbers; not 1.0"),
        ({"settings": 3}, "settings are a mapping, or a list of texts; not 3"),
        ({"data": 3}, "data is a file, module:function, or the entries of .dataset.; not 3"),
        ({"reuse": "nowhere"}, "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(small, given, said):
    with pytest.raises(ConfigError, match=said):
        hwloop.run(small, **given)
    assert not (small.parent / "runs").exists()


@pytest.mark.slow
def test_the_evidence_comes_back_and_is_shown_as_the_command_shows_it(small, capsys):
    heard = []
    evidence = hwloop.run(small, settings={"network.width": 5}, out="shown", listeners=[heard.append])
    printed = capsys.readouterr()
    assert "physical, 1 stage, local" in printed.out
    assert "shown/report.html" in printed.err
    assert evidence.config.network.width == 5
    assert heard
    again = hwloop.run(small, settings=["network.width=5"], show=False)
    assert capsys.readouterr() == ("", "")
    figures = ("test_accuracy", "rows")
    assert [again.as_json()[name] for name in figures] == [evidence.as_json()[name] for name in figures]


@pytest.mark.slow
def test_a_view_of_ones_own_sees_folder_events_and_evidence(small):
    class Kept(RunView):
        def begun(self, folder):
            self.folder = folder

        def finished(self, evidence):
            self.evidence = evidence

    view = Kept()
    assert hwloop.run(small, show=view) is view.evidence
    assert str(view.folder) == view.evidence.run_dir


@pytest.mark.parametrize(
    ("terminal", "notebook", "widgets", "moves"),
    [
        (True, False, False, True),
        (False, False, True, False),
        (False, True, True, True),
        (False, True, False, False),  # rich would only warn there
    ],
)
def test_a_bar_is_shown_where_it_can_be_drawn(terminal, notebook, widgets, moves, monkeypatch):
    from hwloop.cli import run_display

    monkeypatch.setattr(run_display, "find_spec", lambda name: object() if widgets else None)
    console = Console(force_terminal=terminal, force_jupyter=notebook)
    assert run_display.RunProgress(console)._bar.disable is not moves
