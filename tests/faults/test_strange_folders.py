"""A run that came from elsewhere: looking at it imports nothing, and no link is followed or written through."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from examples import each_row
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.errors import JournalError
from hwloop.experiments.arena.cell import Cell, CellResult
from hwloop.experiments.arena.run import CellStore
from hwloop.journal import DiskJournal, ReadOnlyJournal
from hwloop.runs.recording_folder import RecordingFolder

RUN = """
name = "by-hand"
dataset = "digits"
device = "evil:Device"
trainer = "evil:trainer"
"""
EVIL = "from pathlib import Path\nPath(__file__).with_name('imported').write_text('yes')\n"
SECRET = "precious words\n"
JOURNAL = "journal/seed-0-device-0"
FILES = ["state.json", "metrics.jsonl", "environment.json", "run.toml.part", "state.json.part", "lock"]
FILES += [
    f"{JOURNAL}/{name}" for name in ("000000.rows", "000001.rows", "index.sqlite", "index.sqlite-wal", "lock")
]
FILES += ["checkpoints/final.safetensors", "checkpoints/final.json", "checkpoints/seed-0-stage-1.safetensors.part"]
FILES += ["plots/accuracy.svg", "report.html", "report.html.part", "tensorboard/events.out.tfevents.1"]
FOLDERS = ["journal", JOURNAL, "checkpoints", "plots", "tensorboard", "reused", "reused.part"]
# What every command reads, what it appends to, what it replaces, and a folder.
TELLING = ("state.json", "metrics.jsonl", f"{JOURNAL}/000000.rows", f"{JOURNAL}/index.sqlite", "checkpoints")


@pytest.fixture
def strange(tmp_path, make_run, monkeypatch):
    """An interrupted run, beside a file and a folder that are none of its business."""
    make_run(tmp_path / "run", "interrupted")
    (tmp_path / "run" / "run.toml").write_text(RUN)
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "secret").write_text(SECRET)
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("evil", None)


def everything_in(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def replaced_by_link(run, name, target):
    path = run / name
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def command(*words):
    return CliRunner().invoke(app, list(words))


def test_runs_verify_and_export_import_nothing_that_a_folder_names(strange):
    """In a process of its own, where nothing is imported yet."""
    script = """
import sys
from typer.testing import CliRunner
from hwloop.cli.app import app
for words in ("runs .", "runs run", "verify run", "export run --to hdf5"):
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
assert not {"evil", "torch"} & set(sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(strange)}
    subprocess.run([sys.executable, "-c", script], cwd=strange, env=environment, check=True)
    assert not (strange / "imported").exists()


@pytest.mark.parametrize("name", each_row([*FILES, *FOLDERS], *TELLING))
def test_whoever_looks_at_a_folder_follows_no_link_out_of_it(strange, name):
    run, elsewhere = strange / "run", strange / "elsewhere"
    target = (
        elsewhere / name if (elsewhere / name).exists() else elsewhere if name in FOLDERS else strange / "secret"
    )
    replaced_by_link(run, name, target)
    outputs = [
        command("verify", "run"),
        command("runs", "run", "--json"),
        command("export", "run", "--to", "hdf5"),
    ]
    assert f"{name} is a symbolic link" in " ".join(outputs[0].stdout.split())
    assert outputs[0].exit_code == 3
    assert all("Traceback" not in each.output and "precious" not in each.output for each in outputs)
    if name in (
        "journal",
        JOURNAL,
        f"{JOURNAL}/000000.rows",
    ):  # the rows that lie elsewhere are none of this run's
        assert '"rows": 20' not in outputs[1].stdout
        assert outputs[2].exit_code != 0


@pytest.mark.parametrize("name", each_row([*FILES, *FOLDERS], *TELLING))
def test_resume_writes_through_no_link(strange, name):
    run, elsewhere = strange / "run", strange / "elsewhere"
    (run / "run.toml").write_text(RUN.replace("evil:Device", "optical-fibre").replace("evil:trainer", "readout"))
    replaced_by_link(run, name, elsewhere if name in FOLDERS else strange / "secret")
    before = everything_in(elsewhere)
    resumed = command("resume", "run")
    assert resumed.exit_code in (2, 3)
    (line,) = resumed.stderr.strip().splitlines()
    assert "symbolic link" in line
    assert (strange / "secret").read_text() == SECRET
    assert everything_in(elsewhere) == before


@pytest.mark.parametrize("name", ["000000.rows", "index.sqlite", "index.sqlite-wal", "lock", "lock.guard"])
def test_a_journal_is_neither_written_nor_read_through_a_link(strange, name):
    folder = strange / "run" / JOURNAL
    replaced_by_link(folder, name, strange / "secret")
    with pytest.raises(JournalError, match="symbolic link"):
        DiskJournal(folder)
    assert (strange / "secret").read_text() == SECRET
    if name == "000000.rows":
        with pytest.raises(JournalError, match="symbolic link"):
            ReadOnlyJournal(folder)


@pytest.mark.parametrize("name", ["request.json.part", "state.json", "journal", "report.html"])
def test_calibrations_and_checks_are_not_written_through_links(strange, name):
    folder = strange / "calibration"
    folder.mkdir()
    (folder / "request.json").write_text("{}")
    replaced_by_link(folder, name, strange / "elsewhere" if name == "journal" else strange / "secret")
    before = everything_in(strange / "elsewhere")
    with pytest.raises(JournalError, match="symbolic link"):
        RecordingFolder(folder, "calibration", "rig", {}, finished_too=True)
    assert (strange / "secret").read_text() == SECRET
    assert everything_in(strange / "elsewhere") == before


@pytest.mark.parametrize("name", ["cells.jsonl", "arena.json.part", "rows", "figures.png"])
def test_comparisons_are_not_written_through_links(strange, name):
    with CellStore(strange / "arena", {}) as store:
        store.keep(Cell("local", {}, 0, "test"), CellResult({}))
    target = strange / "secret"
    replaced_by_link(strange / "arena", name, strange / "elsewhere" if name == "rows" else target)
    with pytest.raises(JournalError, match="symbolic link"):
        CellStore(strange / "arena", {})
    assert target.read_text() == SECRET
