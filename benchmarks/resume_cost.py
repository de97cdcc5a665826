"""What resuming costs, beside the run itself: processor time of both, each in a process of its own.

    python benchmarks/resume_cost.py            # digits-optical, 5 seeds, twice each way
    python benchmarks/resume_cost.py --short    # wine-optical, one seed of a small network, once

Three ways to end a run whose rows are all recorded: as it was stopped after its last seed (``finished``), as it
was stopped before the floors of its last seed (``last-floors``), and ``--from-start``, which executes all again.
The processor time of a command holds that of starting it. Ratios are those of one call on one machine: a busy one
slows both sides.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from sizes import sized

SMALL = ["seeds=1", "evidence.floors=false", "trainer.settings.min_steps=20", "device.settings.n_outputs=40"]
EXPERIMENT = sized("digits-optical", short="wine-optical")
ROUNDS, SETTINGS = sized((2, ["seeds=5"]), short=(1, SMALL))


def processor_seconds(*words: str) -> float:
    """User and system time of a command and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "hwloop.cli", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"hwloop {' '.join(words)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stopped(whole: Path, copy: Path) -> Path:
    """The same run, as if it had been stopped just before it ended."""
    shutil.copytree(whole, copy)
    state = json.loads((copy / "state.json").read_text())
    (copy / "state.json").write_text(json.dumps(state | {"state": "interrupted"}))
    return copy


def without_last_floors(run: Path) -> Path:
    """The same, with nothing finished of its last seed but the training."""
    newest = max((run / "finished").glob("seed-*.json"), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    return run


def measured(folder: Path) -> dict[str, float]:
    """Processor seconds of the run and of each way to end it."""
    whole = folder / "whole"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    found = {"run": processor_seconds("run", EXPERIMENT, *settings, "--out", str(whole))}
    found["finished"] = processor_seconds("resume", str(stopped(whole, folder / "finished")))
    found["last-floors"] = processor_seconds("resume", str(without_last_floors(stopped(whole, folder / "floors"))))
    found["from-start"] = processor_seconds("resume", "--from-start", str(stopped(whole, folder / "start")))
    found["replay"] = processor_seconds("replay", str(whole))
    return found


def main() -> None:
    """Print processor seconds and ratios."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(measured(Path(folder)))
    for name in rounds[0]:
        seconds = [each[name] for each in rounds]
        shares = [each[name] / each["run"] for each in rounds]
        print(f"{name:12} {statistics.mean(seconds):7.1f} s   {100 * statistics.mean(shares):6.1f} % of the run")


if __name__ == "__main__":
    main()
