"""What is installed is what lies in the tree, and what README.md shows really runs."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import hwloop

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS = {"hwloop": "hwloop", **{f"hwloop.{name}": name for name in ("devices", "simulators", "experiments")}}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def package_folders():
    """Every folder with an __init__.py, by the name that it is imported by."""
    return {
        ".".join([package, *init.parent.relative_to(ROOT / folder).parts]): init.parent
        for package, folder in FOLDERS.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }


def entry_points():
    return [
        EntryPoint(name=name, value=value, group=group)
        for group, entries in PYPROJECT["project"]["entry-points"].items()
        for name, value in entries.items()
    ] + [
        EntryPoint(name=name, value=value, group="console_scripts")
        for name, value in PYPROJECT["project"]["scripts"].items()
    ]


def run_python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


def test_every_package_folder_is_listed():
    assert SETUPTOOLS["package-dir"] == FOLDERS
    assert sorted(SETUPTOOLS["packages"]) == sorted(package_folders())


def test_every_folder_with_python_files_is_a_package():
    with_python = {path.parent for folder in FOLDERS.values() for path in (ROOT / folder).rglob("*.py")}
    assert with_python == set(package_folders().values())


def test_every_data_file_is_packaged():
    """What is no Python file is left out of the wheel unless a pattern of package-data names it."""
    packages = package_folders()
    for folder in FOLDERS.values():
        for path in (ROOT / folder).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts or path.suffix == ".py":
                continue
            patterns = [
                packages[package] / pattern
                for package, patterns in SETUPTOOLS["package-data"].items()
                for pattern in patterns
            ]
            assert any(path.match(str(pattern)) for pattern in patterns), f"{path} would be missing from the wheel"


@pytest.mark.parametrize("entry", entry_points(), ids=lambda entry: f"{entry.group}:{entry.name}")
def test_every_entry_point_loads(entry):
    assert entry.load() is not None if entry.group == "pytest11" else callable(entry.load())


def test_every_public_name_resolves():
    for name in hwloop.__all__:
        assert getattr(hwloop, name) is not None
    assert set(hwloop.__all__) <= set(dir(hwloop))
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_that_name'"):
        _ = hwloop.nothing_of_that_name


def test_the_version_is_the_installed_one():
    assert importlib.metadata.version("hwloop") == hwloop.__version__


@pytest.mark.parametrize("module", ["hwloop", "hwloop.session", "hwloop.simulators.optical_fibre", "hwloop.cli"])
def test_import_loads_no_torch(module):
    code = (
        f"import sys, {module}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'sklearn', 'matplotlib'}))"
    )
    result = run_python(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_the_command_answers_without_torch():
    code = (
        "import sys\n"
        "from hwloop.cli import main\n"
        "sys.argv = ['hwloop', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code and 'torch' not in sys.modules\n"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert "run" in result.stdout


def test_the_constraints_pin_every_requirement():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins), "a name and a version a line"
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {canonical(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in wanted} - {"hwloop"}
    assert names <= {canonical(pin.partition("==")[0]) for pin in pins}


def test_the_documents_tell_of_every_extra_and_of_no_other():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    words = " ".join(page.read_text(encoding="utf-8") for page in pages)
    told = re.findall(r"(?:hwloop|\.)\[([a-z,]+)\]", words) + re.findall(r"\bextra `([a-z]+)`", words)
    told += [name for pair in re.findall(r"\bextras `([a-z]+)` and `([a-z]+)`", words) for name in pair]
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    assert {name for names in told for name in names.split(",")} == extras


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


class TestReadme:
    def test_begins_with_the_two_commands(self):
        commands = [line.partition("#")[0].strip() for line in code_blocks("bash")[0].splitlines()]
        assert commands == [
            "pip install -c constraints.txt -e . && hwloop run",
            'pip install -c constraints.txt -e ".[test]" && pytest -n 2',
        ]
        assert README.index("pip install") < 600

    def test_ci_runs_those_commands_and_no_copy_of_them(self):
        script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
        assert '"$tree/README.md"' in script
        assert "-e ." not in script
        function = re.search(r"^readme_commands\(\) \{.*?^\}", script, flags=re.MULTILINE | re.DOTALL)[0]
        printed = subprocess.run(
            ["bash", "-c", f"{function}\nreadme_commands"],
            env={**os.environ, "tree": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert printed == code_blocks("bash")[0]

    @pytest.mark.slow
    def test_the_ten_line_device_runs(self, tmp_path):
        block = code_blocks("python")[0]
        assert "class MyRig(hwloop.Device)" in block
        result = run_python("import warnings; warnings.simplefilter('error')\n" + block, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        accuracy, rows = (float(number) for number in result.stdout.split())
        assert accuracy > 0.9
        assert rows == 2 * 133  # one row a sample a stage; no two samples are alike

    def test_every_file_that_it_names_exists(self):
        for target in re.findall(r"\]\(([^)#]+)", README):
            if "://" not in target:
                assert (ROOT / target).exists(), target
        for script in re.findall(r"python (benchmarks/\S+\.py)", README):
            assert (ROOT / script).is_file(), script


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"
