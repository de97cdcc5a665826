"""The arena as a user runs it: one command, a table, a plot, a folder to go on with, anybody's trainer."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.experiment import digital
from hwloop.experiment.config import validated
from hwloop.experiments.arena import ArenaSettings, run_arena
from hwloop.experiments.arena.report import write_arena_report
from hwloop.experiments.arena.run import CellStore

SMALL = {
    "name": "small",
    "dataset": "digits",
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 40}},
    "trainer": "local",
    "network": {"width": 20},
    "split": {"validation": 0.4},
    "seeds": 2,
}
OPTIONS = ["--set", "device.settings.n_outputs=40", "--set", "network.width=20"]

pytestmark = pytest.mark.slow


def hwloop(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "hwloop.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def small_arena(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arena")
    settings = ArenaSettings(validated(SMALL, "test"), ("local", "readout", "phyll"), (2, 4), trials=3)
    with pytest.MonkeyPatch.context() as patch:  # the digital network in a hundredth of its steps
        patch.setattr(digital, "CANDIDATES", (replace(digital.STRONG, epochs=1, min_steps=12),))
        return settings, folder, run_arena(settings, folder)


def test_everybody_trains_within_the_budget_and_is_tested_on_the_same_rows(small_arena):
    _, _, standings = small_arena
    by_name = {(entry.trainer, entry.budget): entry for entry in standings.entries}
    assert set(by_name) == {("local", 2), ("local", 4), ("readout", 2), ("readout", 4), ("phyll", 4)}
    assert "4 rows" in standings.refused["phyll", 2]
    for (_, budget), entry in by_name.items():
        assert not entry.refused
        assert entry.rows_a_sample <= budget
        assert entry.score.mean > 0.6
    assert len(standings.trained) == 3  # nothing changes for local and readout at 4 rows
    assert standings.reference("linear").mean > 0.9


def test_the_same_again_runs_nothing_again_and_says_the_same(small_arena):
    settings, folder, standings = small_arena
    before = (folder / CellStore.lines_file).read_bytes()
    again = run_arena(settings, folder)
    assert (folder / CellStore.lines_file).read_bytes() == before
    assert again.as_json() == standings.as_json()


def test_its_report_holds_table_plot_and_refusals(small_arena):
    _, folder, standings = small_arena
    page = write_arena_report(standings, folder).read_text(encoding="utf-8")
    for text in ("Standings", "data:image/png;base64,", "needs 4 rows a sample", "phyll", "linear softmax"):
        assert text in page
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert table.count("\n| ") == 3 + len(standings.reference_names)
    assert json.loads((folder / "arena-result.json").read_text(encoding="utf-8"))["entries"]


def test_two_processes_of_dask_find_what_one_finds(tmp_path):
    pytest.importorskip("distributed")
    script = f"""
from hwloop.experiment.config import validated
from hwloop.experiments.arena import ArenaSettings, run_arena
from hwloop.experiments.arena.jobs import workers
from pathlib import Path
import json
if __name__ == "__main__":
    settings = ArenaSettings(validated({SMALL!r}, "test"), ("readout", "local"), (2,), trials=2)
    for count in (1, 2):
        with workers(count) as where:
            print(json.dumps(run_arena(settings, Path(f"arena-{{count}}"), where).as_json()))
"""
    (tmp_path / "both.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "both.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (json.loads(line) for line in done.stdout.splitlines())
    for entry in (*one["entries"], *two["entries"]):
        del entry["digital_seconds"]
    assert one == two


TRAINER = '''
from hwloop.training.schedules.stage_by_stage import StageByStage
from hwloop.training.plans import PlainRows
from hwloop.training.readouts.linear import RidgeBuilder
from hwloop.training.rules import RandomInterface
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, tunable

@tunable(flavour=Choice(("mild", "hot")))
def spicy(*, flavour="mild", seed=0):
    """A third party's rule."""
    return Trainer(PlainRows(), StageByStage(RandomInterface()), RidgeBuilder, seed)
'''


def test_a_third_partys_trainer_takes_part_with_no_change_here(tmp_path):
    site = tmp_path / "site"
    info = site / "spicy_rules-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "spicy_rules.py").write_text(TRAINER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spicy-rules\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hwloop.trainers]\nspicy = spicy_rules:spicy\n")
    done = hwloop(
        "arena", "--device", "optical-fibre", "--dataset", "digits", "--budget", "2", "--trials", "2",
        "--trainers", "spicy,readout", "--seeds", "1", *OPTIONS, "--out", "arena",
        cwd=tmp_path, PYTHONPATH=str(site),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "spicy" in done.stdout
    entries = json.loads((tmp_path / "arena/arena-result.json").read_text(encoding="utf-8"))["entries"]
    accuracy = {entry["trainer"]: entry["accuracy"]["mean"] for entry in entries}
    assert accuracy["spicy"] == accuracy["readout"] > 0.8


def test_a_killed_arena_goes_on_where_it_was(tmp_path):
    command = [
        sys.executable, "-m", "hwloop.cli", "arena", "digits-optical", "--budget", "2", "--trainers",
        "readout", "--seeds", "2", "--trials", "1", *OPTIONS, "--out", "arena",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cells = tmp_path / "arena" / CellStore.lines_file
    deadline = time.monotonic() + 120
    while not (cells.is_file() and cells.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = cells.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert kept
    assert cells.read_bytes().startswith(kept)
    keys = [json.loads(line)["key"] for line in cells.read_bytes().splitlines()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--budget", "two"], "no list of numbers"),
        (["--trainers", "lokal"], "did you mean 'local'"),
        (["--device", "optical-fiber"], "did you mean 'optical-fibre'"),
        (["--seeds", "0"], "number of seeds"),
        (["--trials", "0"], "at least 1 trial"),
        (["--workers", "0"], "at least one worker"),
        (["--set", "device.settings.n_outptus=3"], "'n_outptus': did you mean 'n_outputs'? Known: adc_bits"),
    ],
)
def test_a_wrong_option_is_one_line_that_says_what_to_do(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["arena", "digits-optical", *arguments, "--out", "arena"])
    assert done.exit_code == 2, done.stderr
    assert reason in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "goes on" not in done.stderr
    assert not (tmp_path / "arena").exists()


def test_a_device_without_a_dataset_is_refused(tmp_path):
    done = hwloop("arena", "--device", "optical-fibre", cwd=tmp_path)
    assert done.returncode == 2
    assert "both --device and --dataset" in done.stderr
