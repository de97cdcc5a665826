"""A loss of power: files end where they were synced, names that were not synced vanish, and the run goes on."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.experiment import conclusion as ending
from hwloop.journal import DiskJournal, ReadOnlyJournal

SYNC_SECONDS = 0.5
CALLS = 60  # that a run makes to write and sync, about
SLACK_SECONDS = 2.0  # for a busy machine; a whole digital phase is what used to be lost
EXPERIMENT = f"""
name = "power"
dataset = "digits"
device = "lab:Restless"
trainer = {{ name = "local", settings = {{ epochs = 3 }} }}
[network]
stages = 2
width = 20
[evidence]
floors = false
[journal]
sync_seconds = {SYNC_SECONDS}
"""
# What it measured once it will never measure again: a row that is lost cannot be had back by measuring.
DEVICE = '''
import time
import numpy as np
import hwloop

class Restless(hwloop.Device):
    """Noise of its own in every process."""

    def __init__(self, n_inputs):
        self.spec = hwloop.DeviceSpec(n_inputs=n_inputs, n_outputs=20, input_low=0.0, input_high=1.0)
        self.mixing = np.random.default_rng(0).normal(size=(n_inputs, 20))
        self.rng = np.random.default_rng()

    def _measure(self, inputs):
        time.sleep(0.02)
        return np.abs(inputs @ self.mixing) + 0.01 * self.rng.normal(size=(len(inputs), 20))
'''
JOURNAL = Path("journal", "seed-0-device-0")


class Disk:
    """What a folder would hold after a loss of power, by what was synced in it."""

    def __init__(self, monkeypatch, root):
        self.root = root
        self.calls = 0
        self.cut_at: set[int] = set()
        self.images: list[tuple[float, Path]] = []
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._held: dict[int, int] = {}  # a file that is held open keeps its number for itself
        self._lock = threading.RLock()
        self._note(os.open(root, os.O_RDONLY))
        for name, syncs in (("writev", False), ("fdatasync", True), ("fsync", True)):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name), syncs))

    def _watched(self, really, syncs):
        def call(file, *arguments):
            with self._lock:
                self.calls += 1
                if self.calls in self.cut_at:
                    self._cut()
                if syncs and os.readlink(f"/proc/self/fd/{file}").startswith(str(self.root)):
                    self._note(file)
            return really(file, *arguments)

        return call

    def _note(self, file):
        status = os.fstat(file)
        self._held.setdefault(status.st_ino, os.dup(file))
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if path.is_dir():
            self._names[status.st_ino] = {
                entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)
            }
        else:
            self._contents[status.st_ino] = Path(f"/proc/self/fd/{file}").read_bytes()

    def _cut(self):
        image = self.root.parent / f"after-cut-{len(self.images)}"
        self._rebuild(self.root.stat().st_ino, image)
        self.images.append((time.monotonic(), image))

    def _rebuild(self, folder, target):
        target.mkdir()
        for name, (number, is_folder) in self._names.get(folder, {}).items():
            if is_folder:
                self._rebuild(number, target / name)
            else:
                (target / name).write_bytes(self._contents.get(number, b""))

    def close(self):
        for file in self._held.values():
            os.close(file)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The report takes most of a small run's time, and is none of what is tried here."""
    monkeypatch.setattr(ending, "write_report", lambda *parts: parts[-1].joinpath("report.html").write_text("-"))
    (tmp_path / "power.toml").write_text(EXPERIMENT)
    (tmp_path / "lab.py").write_text(DEVICE)
    (tmp_path / "disk").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("lab", None)


@pytest.fixture
def acknowledged(monkeypatch):
    """When how many rows had been acknowledged, over the whole run."""
    moments: list[tuple[float, int]] = []
    really_append = DiskJournal.append

    def append(journal, record):
        really_append(journal, record)
        moments.append((time.monotonic(), journal.rows))

    monkeypatch.setattr(DiskJournal, "append", append)
    return moments


@pytest.mark.parametrize("cuts", [1, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_goes_on_after_a_loss_of_power_at_any_moment(lab, acknowledged, cuts):
    with pytest.MonkeyPatch.context() as patched:
        disk = Disk(patched, lab / "disk")
        disk.cut_at = set((1 + np.random.default_rng(cuts).choice(CALLS, cuts, replace=False)).tolist())
        assert command("run", "power.toml", "--out", "disk/run").exit_code == 0
        disk.close()
    assert len(disk.images) > 0.5 * cuts, disk.calls
    for moment, image in disk.images:
        held = rows_in(image / "run")
        in_use = [rows for when, rows in acknowledged if when < moment - SYNC_SECONDS - SLACK_SECONDS]
        assert len(held) >= max(in_use, default=0)
        assert (image / "run" / "run.toml").exists() or not len(held)
        if (image / "run" / "run.toml").exists():
            assert_goes_on(image / "run", held)
        shutil.rmtree(image)


def assert_goes_on(run, held):
    resumed = command("resume", str(run))
    if resumed.exit_code == 2:
        assert "is finished" in resumed.stderr
    else:
        assert resumed.exit_code == 0, resumed.stderr
    np.testing.assert_array_equal(rows_in(run)[: len(held)], held)
    verified = command("verify", str(run))
    damaged = [line for line in verified.stdout.splitlines() if line.startswith("damaged")]
    # A seed that was finished is taken as it is, and its index, a copy, stays as the loss of power left it.
    assert all("index.sqlite" in line and "made again" in line for line in damaged), verified.output


def rows_in(run):
    """Every response in a run's journal; all of them can be read, but for a torn tail."""
    if not (run / JOURNAL).is_dir():
        return np.zeros((0, 20))
    journal = ReadOnlyJournal(run / JOURNAL)
    assert all(damage.torn for damage in journal.damage)
    responses = journal.read_rows(np.arange(journal.rows))[1] if journal.rows else np.zeros((0, 20))
    journal.close()
    return responses


@pytest.mark.slow
def test_a_checkpoint_of_rows_that_were_lost_is_set_aside_with_a_line(lab):
    """The rows are measured again and differ: no version has changed, and the run has not left its path."""
    assert command("run", "power.toml", "--out", "run").exit_code == 0
    chunk = Path("run", JOURNAL, "000000.rows")
    os.truncate(chunk, chunk.stat().st_size // 2)
    state = Path("run", "state.json")
    state.write_text(state.read_text().replace("finished", "running"))
    resumed = command("resume", "run")
    assert resumed.exit_code == 0, resumed.stderr
    lines = [line for line in resumed.stderr.splitlines() if "set aside" in line]
    assert any("more rows than the journal holds" in line for line in lines), resumed.stderr
    assert "Versions" not in resumed.stderr
    assert list(Path("run", "checkpoints").glob("set-aside-*.safetensors"))
    assert "CheckpointSetAside" in Path("run", "metrics.jsonl").read_text()
    assert command("verify", "run").exit_code == 0


def command(*words):
    return CliRunner().invoke(app, list(words))
