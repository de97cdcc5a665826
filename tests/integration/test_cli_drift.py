"""``hwloop drift``: its table, its files, and what it refuses before anything is measured."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from hwloop.cli.app import app
from hwloop.errors import ConfigError, HwloopError
from hwloop.experiments.drift.run import CourseStore, PolicySeed, SeedCourse, parsed_positions
from hwloop.journal import ReadOnlyJournal

SMALL = [
    "drift", "digits-optical", "--seeds", "2", "--through", "device.settings.drift_per_row=0.0,0.00001",
    "--set", "device.settings.n_outputs=40", "--set", "network.width=20", "--set", "trainer.settings.epochs=2",
    "--set", "trainer.settings.min_steps=20", "--rows", "120",
]  # fmt: skip


def drift(*arguments):
    return CliRunner().invoke(app, [*arguments])


@pytest.mark.slow
def test_the_table_and_the_files_say_what_every_policy_made_of_it(tmp_path):
    done = drift(*SMALL, "--policies", "none,restandardise:unlabelled,recall+heads", "--out", str(tmp_path / "d"))
    assert done.exit_code == 0, done.output
    for name in ("none", "restandardise:unlabelled", "recall+heads"):
        assert name in done.stdout
    figures = json.loads((tmp_path / "d" / "drift.json").read_text())
    assert figures["seeds"] == [0, 1]
    assert figures["policies"]["none"]["rows"] == [[0, 0], [0, 0]]
    assert all(0 < rows <= 120 for _, rows in figures["policies"]["recall+heads"]["rows"])
    assert figures["correlation"][0][0] == pytest.approx(1.0)
    assert (tmp_path / "d" / "drift.png").stat().st_size > 10_000
    assert (tmp_path / "d" / "table.md").read_text().count("\n") == 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--policies", "recal"], "did you mean 'recall'"),
        (["--policies", "recall:labelled"], ":unlabelled or nothing"),
        (["--policies", ","], "at least one"),
        (["--through", "position"], "0..26"),
        (["--rows", "3"], "rows_a_step"),
        (["--gate", "-1"], "gate"),
    ],
)
def test_mistakes_are_refused_in_one_line_before_any_training(change, says, tmp_path):
    done = drift(*SMALL, *change, "--out", str(tmp_path / "d"))
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("text", ["", "key", "key=", "=1..2", "key=3..1", "key=1", "key=a..b", "key=2..2"])
def test_what_moves_must_be_a_setting_and_two_values(text):
    with pytest.raises(ConfigError):
        parsed_positions(text)


def test_ranges_and_lists_of_values():
    assert parsed_positions("device.settings.position=0..3") == ("device.settings.position", (0, 1, 2, 3))
    assert parsed_positions("a.b=0.1,0.2") == ("a.b", ("0.1", "0.2"))


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_gives_what_an_undisturbed_one_does(tmp_path):
    command = [*SMALL, "--policies", "none,recall,warm"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert drift(*command, "--out", str(whole)).exit_code == 0
    running = subprocess.Popen(
        [sys.executable, "-m", "hwloop.cli", *command, "--out", str(stopped)], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline and not _lines(stopped):
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    finished = _lines(stopped)
    assert 1 <= finished <= 6
    if finished < 6:  # else it was too quick to be stopped
        assert running.returncode == 130
        assert f"--out {stopped} goes on" in " ".join(said.split())
    os.truncate(
        stopped / CourseStore.lines_file, (stopped / CourseStore.lines_file).stat().st_size - 3
    )  # as a power cut tears it
    done = drift(*command, "--out", str(stopped))
    assert done.exit_code == 0, done.output
    assert (stopped / "drift.json").read_bytes() == (whole / "drift.json").read_bytes()


@pytest.mark.slow
def test_kills_lose_and_double_no_row_and_change_no_bit(tmp_path):
    """The rows of simulations are dropped when a seed is done; until then a killed run finds them again."""
    command = [*SMALL, "--policies", "none,recall,warm", "--set", "device.settings.read_noise=0.01"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert drift(*command, "--out", str(whole)).exit_code == 0
    rows, seen = 0, []
    for _ in range(5):
        running = subprocess.Popen(
            [sys.executable, "-m", "hwloop.cli", *command, "--out", str(stopped)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline and _rows(stopped) <= rows + 300:
            time.sleep(0.02)
        running.kill()
        running.wait()
        rows = _rows(stopped)
        seen.append(rows)
    assert max(seen) > 300
    assert drift(*command, "--out", str(stopped)).exit_code == 0
    assert not list((stopped / "rows").iterdir())
    for name in ("drift.json", CourseStore.lines_file):
        assert (stopped / name).read_text() == (whole / name).read_text()


def _rows(folder):
    """Rows on disk of the seed that is under way, whoever is writing them."""
    found = 0
    for journal in folder.glob("rows/*/*/device-*"):
        with contextlib.suppress(HwloopError, OSError):
            found += ReadOnlyJournal(journal).rows
    return found


def _lines(folder):
    path = folder / CourseStore.lines_file
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_more_policies_and_seeds_may_join_but_another_device_may_not(tmp_path):
    settings = {"experiment": {"device": "a", "seeds": [0]}, "policies": ["none"], "rows_a_step": 200}
    course = SeedCourse(False, [0.9, 0.5], [0, 0], [None, None], [1.0, 0.4])
    with CourseStore(tmp_path, settings) as store:
        store.keep(PolicySeed("none", 0), course)
    more = {"experiment": {"device": "a", "seeds": [0, 1]}, "policies": ["none", "recall"], "rows_a_step": 200}
    with CourseStore(tmp_path, more) as store:
        assert store.find(PolicySeed("none", 0)) == course
        assert store.find(PolicySeed("recall", 0)) is store.find(PolicySeed("none", 1)) is None
    for other in ({**more, "rows_a_step": 100}, {**more, "experiment": {"device": "b", "seeds": [0]}}):
        with pytest.raises(ConfigError, match="another device"):
            CourseStore(tmp_path, other)
    whole = (tmp_path / CourseStore.lines_file).read_bytes()
    for cut in range(len(whole)):
        (tmp_path / CourseStore.lines_file).write_bytes(whole[:cut])
        with CourseStore(tmp_path, more) as store:
            assert store.find(PolicySeed("none", 0)) is None
        assert not (tmp_path / CourseStore.lines_file).read_bytes()
