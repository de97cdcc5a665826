"""Environments of workers: what counts as whole, where they lie, Lava's import mended. Nothing is installed."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import ConfigError
from hwloop.devices.worker.environments import (
    MANIFEST,
    Environment,
    Manifest,
    State,
    environment_python,
    environments_folder,
    list_environments,
)
from hwloop.devices.worker.installing import checked_python, find_python, recipe_for, version_of
from hwloop.devices.worker.recipes import LAVA, mended_lava_import

SOUND = {
    "python": sys.executable,
    "python_version": "3.11.7",
    "built": "2026-01-01T00:00:00+00:00",
    "requirements": "numpy\n",
    "installed": {"numpy": "1.0"},
    "imports": ["json"],
    "format": 1,
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HWLOOP_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "environments"


def made(name="lab", manifest=None, python=sys.executable):
    """An environment whose interpreter is this one."""
    environment = Environment(name)
    (environment.folder / "bin").mkdir(parents=True)
    if python is not None:
        environment.python.symlink_to(python)
    if manifest is not None:
        (environment.folder / MANIFEST).write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return environment


def test_where_they_lie(monkeypatch, tmp_path):
    assert environments_folder() == tmp_path / "home" / "environments"
    monkeypatch.delenv("HWLOOP_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert environments_folder() == tmp_path / "data" / "hwloop" / "environments"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # to be ignored, says its specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environments_folder() == tmp_path / ".local" / "share" / "hwloop" / "environments"


@given(st.text(max_size=70))
def test_a_name_never_leaves_the_folder(name):
    try:
        environment = Environment(name)
    except ConfigError:
        return
    assert environment.folder.parent == environments_folder()
    assert environment.folder.name == name
    assert not name.startswith((".", "-"))


def test_states():
    installed = {
        (found.metadata["Name"] or "").lower().replace("_", "-"): found.version
        for found in metadata.distributions()
    }
    installed = {name: version for name, version in installed.items() if name not in ("pip", "setuptools", "")}
    whole = {**SOUND, "installed": installed}
    # As a virtual environment has it: what tells Python that its packages are beside it.
    venv = Path(sys.prefix) / "pyvenv.cfg"

    def in_venv(name, manifest):
        environment = made(name, manifest)
        if venv.exists():
            (environment.folder / "pyvenv.cfg").write_text(venv.read_text())
            (environment.folder / "lib").symlink_to(Path(sys.prefix) / "lib")
        return environment

    assert in_venv("whole", whole).state()[0] is State.WHOLE
    assert in_venv("lacking", {**whole, "imports": ["no_such_module"]}).state() == (
        State.BROKEN,
        "its Python fails: ModuleNotFoundError: No module named 'no_such_module'",
    )
    state, why = in_venv("altered", {**whole, "installed": {**installed, "numpy": "0.1", "gone": "1"}}).state()
    assert state is State.BROKEN
    assert f"gone 1 -> absent, numpy 0.1 -> {installed['numpy']}" in why
    assert made("no-python", whole, python=None).state()[0] is State.BROKEN
    assert made("no-such-python", whole, python="/nowhere/python").state()[0] is State.BROKEN
    assert made("false", whole, python="/bin/false").state()[0] is State.BROKEN
    assert made("true", whole, python="/bin/true").state()[0] is State.BROKEN
    assert made("half").state()[0] is State.HALF_BUILT
    assert [environment.name for environment in list_environments()] == sorted(
        ["whole", "lacking", "altered", "no-python", "no-such-python", "false", "true", "half"]
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.one_of(st.text(), json_values.map(json.dumps), st.tuples(st.sampled_from(sorted(SOUND)), json_values)))
def test_a_manifest_that_hwloop_did_not_write_is_none(tmp_path_factory, text):
    if isinstance(text, tuple):
        text = json.dumps({**SOUND, text[0]: text[1]})
    environment = Environment("lab")
    environment.folder = tmp_path_factory.mktemp("environment")
    (environment.folder / MANIFEST).write_text(text, encoding="utf-8")
    manifest = environment.manifest()
    if manifest is not None:
        assert all(isinstance(name, str) for name in [*manifest.imports, *manifest.installed.values()])


def test_a_manifest_reads_as_it_was_written(tmp_path):
    environment = made()
    Manifest(**SOUND).write(environment.folder)
    assert environment.manifest() == Manifest(**SOUND)
    assert sorted(path.name for path in environment.folder.iterdir()) == ["bin", MANIFEST]


def test_a_worker_is_started_in_a_whole_environment_only():
    with pytest.raises(ConfigError, match=r"not installed .* with: hwloop worker install lava$"):
        environment_python("lava")
    with pytest.raises(ConfigError, match=r"install lab --requirements FILE$"):
        environment_python("lab")
    environment = made()
    with pytest.raises(ConfigError, match="half-built"):
        environment_python("lab")
    Manifest(**SOUND).write(environment.folder)
    assert environment_python("lab") == environment.python


def test_removing():
    environment = made("lab", SOUND)
    environment.log.write_text("pip")
    environment.remove()
    assert not environment.exists()
    assert not environment.log.exists()
    with pytest.raises(ConfigError, match="no environment 'lab'"):
        environment.remove()


def test_recipes(tmp_path):
    assert recipe_for("lava", None) is LAVA
    with pytest.raises(ConfigError, match="no recipe is known for 'lab'"):
        recipe_for("lab", None)
    with pytest.raises(ConfigError, match="has its own requirements"):
        recipe_for("lava", tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        recipe_for("lab", tmp_path / "absent.txt")


def test_every_package_of_lava_is_pinned():
    lines = [line for line in LAVA.requirements.read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert pins["lava-nc"] == "0.10.0"
    assert pins["numpy"].startswith("1.")
    needed = {"asteval", "networkx", "numpy", "scikit-learn", "scipy", "joblib", "threadpoolctl", "cloudpickle"}
    assert needed | {"lava-nc"} == set(pins)


def test_pythons_are_found_by_what_they_say_not_by_their_name(tmp_path, monkeypatch):
    """The shims of pyenv are there for every version, and start none that is not chosen."""
    for folder, script in (("shims", "echo 'command not found' >&2; exit 127"), ("bin", "echo 3 9")):
        (tmp_path / folder).mkdir()
        python = tmp_path / folder / "python3.9"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_python([(3, 9), (3, 11)]) == tmp_path / "bin" / "python3.9"
    assert find_python([(3, 2), sys.version_info[:2]]) == Path(sys.executable)
    assert find_python([]) == Path(sys.executable)
    with pytest.raises(ConfigError, match=r"no Python 3\.2, 3\.3 is found"):
        find_python([(3, 2), (3, 3)])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert checked_python(Path("python3.9"), []) == tmp_path / "bin" / "python3.9"
    with pytest.raises(ConfigError, match=r"is Python 3\.9, but this needs one of 3\.10"):
        checked_python(Path("python3.9"), [(3, 10)])
    with pytest.raises(ConfigError, match="does not start as a Python"):
        checked_python(tmp_path / "shims" / "python3.9", [])
    assert version_of(tmp_path) is None


def test_lavas_import_is_mended_and_no_other(tmp_path):
    """Its dataclass with a default that cannot be hashed is defined; the same elsewhere is still refused."""
    for name in ("lava", "lava/magma", "lava/magma/compiler"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    code = (
        "from dataclasses import dataclass, field\n"
        "@dataclass\nclass Encoder:\n    x: int = 0\n"
        "@dataclass\nclass Address:\n    a: Encoder = Encoder()\n    b: int = 2\n"
        "    c: list = field(default_factory=list)\n"
        "    d: int = field(default=4)\n"
    )
    (tmp_path / "lava/magma/compiler/var_model.py").write_text(code)
    (tmp_path / "lava/magma/compiler/other.py").write_text(code)
    mend = Path(mended_lava_import.__file__).parent
    check = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(mend)!r}]\n"
        "import mended_lava_import; mended_lava_import.mend(); mended_lava_import.mend()\n"
        "assert sum(type(f).__name__ == 'MendingFinder' for f in sys.meta_path) == (sys.version_info >= (3, 11))\n"
        "from lava.magma.compiler.var_model import Address\n"
        "first, second = Address(), Address(b=3)\n"
        "assert first.a is second.a and (first.b, second.b, first.d) == (2, 3, 4)\n"
        "assert first.c is not second.c\n"
        "try:\n    import lava.magma.compiler.other\n"
        "except ValueError: pass\n"
        "else: assert sys.version_info < (3, 11)\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
