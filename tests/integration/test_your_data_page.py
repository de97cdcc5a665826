"""docs/your-data.md, typed word for word in an empty folder; only the runs are made short."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.experiment import runner
from hwloop.experiment.config import load_experiment, validated

pytestmark = pytest.mark.usefixtures("unpainted_figures")

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text(encoding="utf-8")
SHORT = {
    "seeds": [0],
    "trainer": "readout",
    "network": {"stages": 1, "width": 8},
    "evidence": {"floors": False},
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 40}},
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_runs_as_it_is_typed(tmp_path, monkeypatch):
    whole = runner.run_experiment
    ran = []

    def short(config, *arguments, **options):
        ran.append(config)
        table = {key: value for key, value in config.as_table().items() if key not in SHORT}
        return whole(validated(table | SHORT, "the page"), *arguments, **options)

    monkeypatch.setattr(runner, "run_experiment", short)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    (tmp_path / "mine.toml").write_text(blocks("toml")[0])
    lines = "".join(blocks("bash")).splitlines()
    assert sum(line.startswith("hwloop") for line in lines) >= 3
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        if program == "python":
            subprocess.run([sys.executable, *arguments], check=True, timeout=120)
            continue
        if "runs/*" in line:
            arguments = [
                str(next(Path("runs").glob("*-wine"))) if "runs/*" in word else word for word in arguments
            ]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (line, result.output, result.stderr)
        for words in (
            ("178 rows of 13 columns", "the last column", "3 classes") if "--data wine.csv" in line else ()
        ):
            assert words in " ".join(result.stderr.split())
    assert {config.name for config in ran} >= {"wine", "spirals"}
    dataset = load_experiment("mine.toml").dataset
    assert (dataset.file, dataset.target) == (str(tmp_path / "wine.csv"), "target")
    dataset.build()
