"""What the killed processes of ``test_kill_at_checkpoints`` run: an experiment that kills itself, or goes on."""

from __future__ import annotations

import os
import signal

from hwloop.events import EpochFinished
from hwloop.experiment import checkpoints
from hwloop.experiment.config import load_experiment
from hwloop.experiment.events import CheckpointSaved
from hwloop.experiment.runner import resume_experiment, run_experiment
from hwloop.experiments.datasets import split

BORDER, MIDST = "border", "midst"


def begin(config, run, where):
    """Run, and kill -9 oneself at the first checkpoint, at the second epoch after it, or (``""``) never."""
    checkpoints.EPOCH_SECONDS = 0.0  # one an epoch, for these fits take no 30 s
    saved, epochs = 0, 0

    def kill(event):
        nonlocal saved, epochs
        saved += isinstance(event, CheckpointSaved)
        epochs += saved > 0 and isinstance(event, EpochFinished)
        if saved and (where == BORDER or epochs == 2):
            os.kill(os.getpid(), signal.SIGKILL)

    run_experiment(load_experiment(config), split, out=run, listeners=[kill] if where else [])


def go_on(run, events):
    """Resume, and say on a pipe which epochs were trained."""
    trained = []

    def listen(event):
        if isinstance(event, EpochFinished):
            trained.append((event.stage, event.epoch))

    resume_experiment(run, split, [listen])
    events.send(trained)
