"""One stream of events: what happens in a run reaches metrics, journal, report and TensorBoard alike."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re

import numpy as np
import pytest
from helpers import Sleepless

import hwloop
from hwloop import ConfigError, Faulty, Retrying
from hwloop.devices.faults import FAULTS
from hwloop.events import EpochFinished, RowsMeasured
from hwloop.experiment.config import check_names, validated
from hwloop.experiment.events import MethodScored, SeedStarted, TensorBoardLog
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.datasets import split
from hwloop.journal import ReadOnlyJournal

pytestmark = pytest.mark.usefixtures("unpainted_figures")

TEN_PERCENT = dict.fromkeys(FAULTS, 0.1 / len(FAULTS))
RIGS = []


class Quadratic(hwloop.Device):
    """Squares of fixed sums, a row a call."""

    spec = hwloop.DeviceSpec(6, 12, -1.0, 1.0, max_rows=1, deterministic=True)
    weights = np.random.default_rng(0).normal(size=(6, 12))

    def _measure(self, inputs):
        return (inputs @ self.weights) ** 2


def faulty(seed=0):
    """The device of a lab where one call in ten fails, made to answer."""
    clock = Sleepless()
    RIGS.append(Faulty(Quadratic(), TEN_PERCENT, seed, slow_seconds=5.0, output_range=(0, 1e3), clock=clock))
    return Retrying(RIGS[-1], retries=6, stop_after=8, slow_seconds=1.0, clock=clock)


def rings():
    """Two classes that differ in their squared radius."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(200, 6))
    return Dataset("rings", inputs, (np.sum(inputs**2, axis=1) > 5.3).astype(np.int64), class_names=("in", "out"))


def config(device, **changes):
    table = {
        "name": "stream",
        "dataset": f"{__name__}:rings",
        "device": f"{__name__}:{device}",
        "trainer": {"name": "local", "settings": {"epochs": 3, "min_steps": 40}},
        "network": {"width": 10},
        "split": {"test": 0.25, "validation": 0.25},
        "seeds": 2,
        "evidence": {"floors": False},
    }
    return validated(table | changes, "stream.toml")


@pytest.fixture(autouse=True)
def no_rigs_yet():
    RIGS.clear()


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def device_faults(entries):
    return [{k: e[k] for k in ("fault", "error", "rows", "action")} for e in entries]


def test_every_fault_of_a_run_is_told_once_and_no_weight_sees_one(tmp_path):
    whole = run_experiment(config("Quadratic"), split, out=tmp_path / "whole")
    flawed = run_experiment(config("faulty"), split, out=tmp_path / "flawed")
    assert [seed.losses for seed in flawed.seeds] == [seed.losses for seed in whole.seeds]
    final = "checkpoints/final.safetensors"
    assert (tmp_path / "flawed" / final).read_bytes() == (tmp_path / "whole" / final).read_bytes()

    told = [line for line in lines(tmp_path / "flawed") if line["event"] == "DeviceFault"]
    rigs = [rig for rig in RIGS if rig.calls]  # one was built to forecast, and never measured
    injected = [fault for rig in rigs for fault in rig.injected]
    assert len(injected) > 30
    assert {fault.kind for fault in injected} == set(FAULTS)
    assert len(told) == len(injected)
    assert [line["rows"] for line in told] == [fault.rows for fault in injected]
    assert all(line["time"] > 1e9 for line in told)

    journalled = []
    for seed in (0, 1):
        journal = ReadOnlyJournal(tmp_path / "flawed" / "journal" / f"seed-{seed}-device-0")
        journalled += [note.details for note in journal.notes() if note.kind == "event"]
    assert device_faults(journalled) == device_faults(told)

    report = html.unescape((tmp_path / "flawed" / "report.html").read_text())
    section = report.split("<h2>Faults and retries</h2>")[1].split("<h2>")[0]
    assert f"{len(told)} faults of the device met {sum(line['rows'] for line in told)} rows" in section
    assert re.search(r"\d+ DeviceTimeout", section)
    assert told[-1]["error"] in section
    assert "Faults and retries" not in (tmp_path / "whole" / "report.html").read_text()


def test_everything_that_happens_is_a_line_with_its_time(tmp_path):
    evidence = run_experiment(config("Quadratic"), split, out=tmp_path / "run")
    told = lines(tmp_path / "run")
    assert [line["time"] for line in told] == sorted(line["time"] for line in told)
    names = [line["event"] for line in told]
    for name, count in (
        ("RunForecast", 1),
        ("SeedStarted", 2),
        ("StageStarted", 4),
        ("EpochFinished", sum(len(losses) for seed in evidence.seeds for losses in seed.losses)),
        ("StageFinished", 4),
        ("MethodScored", 2),
        ("SeedFinished", 2),
    ):
        assert names.count(name) == count, name
    assert names.count("CheckpointSaved") >= 4
    rows = sum(line["rows"] for line in told if line["event"] == "RowsMeasured")
    assert rows == sum(evidence.rows.values())


@pytest.mark.slow
def test_tensorboard_shows_the_same_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    evidence = run_experiment(config("faulty", run={"tensorboard": True}), split, out=tmp_path / "run")
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()

    def curve(tag):
        return [(point.step, point.value) for point in read.Scalars(tag)]

    for seed in evidence.seeds:
        for stage, losses in enumerate(seed.losses, start=1):
            expected = [(epoch, np.float32(loss)) for epoch, loss in enumerate(losses, start=1)]
            assert curve(f"seed-{seed.seed}/stage-{stage}/loss") == expected
        accuracies = list(enumerate(map(np.float32, seed.validation_scores), start=1))
        assert curve(f"seed-{seed.seed}/validation_accuracy") == accuracies
    test = [(seed.seed, np.float32(seed.scores["network"]["accuracy"])) for seed in evidence.seeds]
    assert curve("test_accuracy/network") == test
    rows = sum(evidence.rows.values())
    assert curve("device/rows")[-1] == (rows, rows)
    assert all(rate > 0 for _, rate in curve("device/rows_per_second"))
    faults = sum(line["event"] == "DeviceFault" for line in lines(tmp_path / "run"))
    assert [value for _, value in curve("device/faults")] == list(range(1, faults + 1))


def test_a_run_that_goes_on_draws_no_point_of_its_curves_twice(tmp_path):
    """It is executed again from its start or a checkpoint: either way it comes past points that are drawn."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, last in ((1, 4), (1, 6), (3, 9)):
        log = TensorBoardLog(tmp_path)
        log(SeedStarted(0, 1, 1, 100))
        for epoch in range(first, last):
            log(EpochFinished(0, epoch, 10, 1.0 / epoch))
        log(MethodScored(0, "network", 0.5))
        log.close()
        newest = max((tmp_path / "tensorboard").iterdir(), key=os.path.getmtime)
        newest.write_bytes(newest.read_bytes() + b"torn")  # as a killed writer leaves it
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [point.step for point in read.Scalars("seed-0/stage-1/loss")] == list(range(1, 9))
    assert len(read.Scalars("test_accuracy/network")) == 1


def test_rows_that_an_earlier_process_measured_make_no_pace(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    now = [100.0]
    monkeypatch.setattr("hwloop.experiment.events.time.monotonic", lambda: now[0])
    for rows_at_once in ([10] * 100, [1000, 10, 10]):  # the second goes on from a checkpoint
        log = TensorBoardLog(tmp_path)
        for rows in rows_at_once:
            now[0] += 0.01 if rows == 1000 else 1.0
            log(RowsMeasured("train", rows))
        log.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [point.step for point in read.Scalars("device/rows")] == list(range(10, 1021, 10))
    assert {point.value for point in read.Scalars("device/rows_per_second")} == {10.0}


def test_without_the_extra_one_error_names_it_before_anything_is_measured(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else find(name, *rest)
    )
    wanted = config("Quadratic", run={"tensorboard": True})
    for attempt in (lambda: check_names(wanted), lambda: run_experiment(wanted, split, out=tmp_path / "run")):
        with pytest.raises(ConfigError, match=r"hwloop\[tensorboard\]"):
            attempt()
    assert not (tmp_path / "run" / "journal").exists()
