"""Kill -9 at 40 random times, resumed each time: no row is lost or doubled, and the weights are the same bits."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hwloop.experiment.config import validated
from hwloop.experiment.runner import resume_experiment, run_experiment
from hwloop.experiments.datasets import split
from hwloop.journal import ReadOnlyJournal

# The fibre's camera is noisy: whatever is measured twice, or in another order, gives other responses.
DEVICE = '''
from pathlib import Path
from hwloop.simulators.optical_fibre import OpticalFibre

class CountingFibre(OpticalFibre):
    """Counts, on disk, every row that it measures."""

    def _measure(self, inputs):
        responses = super()._measure(inputs)
        with Path(__file__).with_name("measured").open("ab") as file:
            file.write(b"." * len(inputs))
        return responses
'''
MAX_ROWS_A_CALL = 64
TRAINERS = {
    "local": {"epochs": 2, "min_steps": 50},
    "phyll": {"epochs": 2, "min_steps": 50},
    "readout": {},
}
JOURNAL = Path("journal", "seed-0-device-0")


@dataclass
class Bench:
    """Where the runs of one test lie, and what it has done to them."""

    processes: multiprocessing.context.ForkServerContext
    folder: Path
    trainer: str
    killed: int = 0
    kills_of_resumes: int = 0
    seconds: float = 0.0  # that a run takes

    def begin(self, run):
        """Start a run, or go on with it."""
        if (run / "state.json").exists():
            return self._process(resume_experiment, run, split), True
        assert not (run / "journal").exists()
        shutil.rmtree(run, ignore_errors=True)  # it was killed before there was a run
        config = validated(
            {
                "name": "killed",
                "dataset": "digits",
                "device": {"name": "counting:CountingFibre", "settings": {"n_outputs": 40}},
                "trainer": {"name": self.trainer, "settings": TRAINERS[self.trainer]},
                "network": {"width": 20},
                "evidence": {"floors": False},
                "seeds": [0],
            },
            "test",
        )
        return self._process(run_experiment, config, split, out=run), False

    def _process(self, target, *arguments, **options):
        process = self.processes.Process(target=target, args=arguments, kwargs=options)
        process.start()
        return process

    def finish(self, run):
        process, _ = self.begin(run)
        begin = time.monotonic()
        process.join(120)
        assert process.exitcode == 0
        return time.monotonic() - begin

    def kill_after(self, run, seconds):
        """Kill -9 a run in progress; one that was quicker than that is left finished."""
        process, resumed = self.begin(run)
        begin = time.monotonic()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            self.killed += 1
            self.kills_of_resumes += resumed
        else:  # the machine is quicker than it was: so must we be
            self.seconds = time.monotonic() - begin
        process.join()
        assert process.exitcode in (0, -9)
        state = run / "state.json"
        return state.exists() and json.loads(state.read_text())["state"] == "finished"

    def rows_measured(self):
        count = self.folder / "measured"
        rows = count.stat().st_size if count.exists() else 0
        count.unlink(missing_ok=True)
        return rows


def journal_of(run):
    journal = ReadOnlyJournal(run / JOURNAL)
    assert not journal.damage
    return journal.read_rows(np.arange(journal.rows))


def weights(run):
    return (run / "checkpoints" / "final.safetensors").read_bytes()


def assert_as_if_never_killed(run, whole):
    for part, expected in zip(journal_of(run), journal_of(whole), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert weights(run) == weights(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "kills"), [("local", 14), ("phyll", 13), ("readout", 13)])
def test_killed_and_resumed_it_ends_as_if_it_had_never_been(tmp_path, monkeypatch, processes, trainer, kills):
    (tmp_path / "counting.py").write_text(DEVICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    bench = Bench(processes, tmp_path, trainer)
    whole = tmp_path / "whole"
    bench.seconds = bench.finish(whole)
    total = len(journal_of(whole)[0])
    assert bench.rows_measured() == total
    rng = np.random.default_rng(kills)
    runs = 0
    while bench.killed < kills:
        runs += 1
        run, before = tmp_path / f"killed-{runs}", bench.killed
        finished = False
        while bench.killed < kills and not finished:
            finished = bench.kill_after(run, rng.uniform(0.0, 0.9) * bench.seconds)
        if not finished:
            bench.finish(run)
        assert_as_if_never_killed(run, whole)
        # Only what a call in flight had measured when it was killed is measured again.
        assert total <= bench.rows_measured() <= total + MAX_ROWS_A_CALL * (bench.killed - before)
    assert bench.killed == kills
    assert bench.kills_of_resumes >= 3
