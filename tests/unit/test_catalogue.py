"""``hwloop list`` and ``hwloop info``: every name, and every setting with its values and its meaning."""

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.cli.catalogue_command import REGISTERED, TITLES, WHEN_ASKED, registry_of
from hwloop.docstrings import first_lines, parameter_meanings, summary_of

HEAVY = ("torch", "scipy", "sklearn", "pandas", "pyvisa", "matplotlib")


def said(*words):
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def loaded(words):
    """The heavy packages that a command has imported."""
    code = (
        "import sys\nfrom hwloop.cli import main\n"
        f"sys.argv = {['hwloop', *words]!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()[-1], done.stderr


@pytest.mark.parametrize("words", [["list"], ["run", "--help"]])
def test_it_imports_nothing_heavy(words):
    assert loaded(words) == ("loaded []", "")


def test_every_kind_is_listed():
    code, text = said("list", "--json")
    assert code == 0
    found = json.loads(text)
    assert list(found) == [kind for kind in TITLES if kind not in WHEN_ASKED]
    assert all(lines and all(lines.values()) for lines in found.values()), "a name without a line"
    assert not any(line.startswith("unavailable") for lines in found.values() for line in lines.values())
    one = json.loads(said("list", "devices", "--json")[1])
    assert one == {"devices": found["devices"]}
    assert "backprop" in json.loads(said("list", "floors", "--json")[1])["floors"]


def test_a_kind_that_is_none_names_the_nearest():
    code, text = said("list", "devises")
    assert (code, "did you mean 'devices'" in text) == (2, True)


@pytest.mark.parametrize("kind", REGISTERED)
def test_every_setting_has_values_and_a_meaning(kind):
    for name in registry_of(kind).entries():
        code, text = said("info", name, "--json")
        assert code == 0, text
        for found in json.loads(text):
            assert found["text"], name
            silent = [each["name"] for each in found["settings"] if not each["meaning"] or not each["takes"]]
            assert not silent, f"{name}: document these in the docstring's section Parameters, and annotate them"


def test_what_is_known_of_a_setting():
    found = json.loads(said("info", "optical-fibre", "--json")[1])[0]
    settings = {each["name"]: each for each in found["settings"]}
    assert settings["drift_per_row"]["takes"] == "number, 0 to 1"
    assert settings["drift_per_row"]["default"] == 0.0
    assert settings["encoding"]["takes"] == "amplitude or phase"
    assert "photo-electrons" in settings["full_well_electrons"]["meaning"].lower()  # of a group of settings
    assert found["object"] == "hwloop.simulators.optical_fibre:OpticalFibre"
    epochs = next(
        e for e in json.loads(said("info", "local", "--json")[1])[0]["settings"] if e["name"] == "epochs"
    )
    assert (epochs["takes"], epochs["default"]) == ("a whole number of at least 1", 30)


@pytest.mark.parametrize("name", ["digits-optical", "backprop", "classification", "averaged", "heads", "remote"])
def test_a_name_of_every_kind_is_shown(name):
    code, text = said("info", name)
    assert (code, name in text) == (0, True)
    assert max(map(len, text.splitlines())) <= 115


def test_a_name_that_nothing_has():
    code, text = said("info", "optical-fibr")
    assert (code, "did you mean 'optical-fibre'" in text) == (2, True)


class TestThirdParties:
    @pytest.fixture(autouse=True)
    def package(self, tmp_path, monkeypatch):
        (tmp_path / "theirs-1.dist-info").mkdir()
        (tmp_path / "theirs-1.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1\n")
        (tmp_path / "theirs-1.dist-info" / "entry_points.txt").write_text(
            "[hwloop.devices]\ntheir-rig = theirs.sub:Rig\nmade = theirs.sub:made\ngone = theirs.absent:Rig\n"
        )
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (tmp_path / "theirs" / "sub.py").write_text("from theirs.rig import Rig\nmade = Rig\n")
        (tmp_path / "theirs" / "rig.py").write_text('class Rig:\n    """Their rig.\n\n    More.\n    """\n')
        self.folder = tmp_path
        monkeypatch.syspath_prepend(str(tmp_path))

    def test_a_package_is_described_without_importing_it(self):
        entries = [EntryPoint("their-rig", "theirs.sub:Rig", "hwloop.devices")]
        assert first_lines(entries) == {"theirs.sub:Rig": "Their rig."}

    def test_a_changed_file_is_told_as_it_is(self):
        entries = [EntryPoint("their-rig", "theirs.rig:Rig", "hwloop.devices")]
        first_lines(entries)
        (self.folder / "theirs" / "rig.py").write_text('class Rig:\n    """Another."""\n')
        assert first_lines(entries) == {"theirs.rig:Rig": "Another."}

    @pytest.mark.parametrize("value", ["theirs.sub:made", "theirs.absent:Rig", "theirs.rig:Absent", "no_such:Rig"])
    def test_what_the_source_does_not_tell(self, value):
        assert first_lines([EntryPoint("x", value, "hwloop.devices")]) == {value: None}

    def test_the_command_shows_it_and_says_what_cannot_be_loaded(self):
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        words = [sys.executable, "-m", "hwloop.cli", "list", "devices", "--json"]
        (self.folder / "theirs" / "__init__.py").write_text("")
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
        lines = json.loads(done.stdout)["devices"]
        assert lines["their-rig"] == lines["made"] == "Their rig."
        assert lines["gone"].startswith("unavailable: device 'gone' (theirs.absent:Rig) cannot be imported")


DOCSTRING = """What it is.

More of it.

Parameters
----------
a, b : int
    Of both.

    Again.
c = 3
    Its own.

Returns
-------
d
    Not a parameter.
"""


def test_parameters_of_a_docstring():
    assert parameter_meanings(DOCSTRING) == {"a": "Of both. Again.", "b": "Of both. Again.", "c": "Its own."}
    assert summary_of(DOCSTRING) == "What it is.\n\nMore of it."
    assert parameter_meanings("") == {}
    assert summary_of("") == ""
