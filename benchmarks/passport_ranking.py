"""How well a passport ranks settings that nothing was trained on yet: predicted against trained, three tasks.

python benchmarks/passport_ranking.py [TASK ...]

Settings are drawn at random. Predicted: ``hwloop.passport.characterise`` with at most 5,000 rows; the series'
targets from sequences that no run sees, rows of digits from those that are not test rows. Trained: the shipped
experiment with these settings, scored on its test rows. Spearman's correlation of the two, with its bootstrap
interval.
"""

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sizes import sized
from table import print_table

import hwloop
from hwloop.passport import characterise
from hwloop.registry import DATASETS

SETTINGS, SEEDS = sized((20, 1), short=(2, 1))
SHORT = sized({}, short={"network.width": 10})
BUDGET = sized(5000, short=700)
OTHER_SEED = 1001  # of the sequences that a passport's target is found on
QUIET = {"dac_bits": 12, "adc_bits": 12, "read_noise": 0.001}


def loop(rng, **settings):
    """A delay loop of whatever strength; the settings of a shipped experiment are among those that it may be."""
    return {
        **QUIET,
        "readout": "all",
        "laps_per_step": 1,
        "full_scale": 1.0,
        "n_nodes": int(rng.integers(20, sized(120, short=25))),
        "node_spacing": float(np.exp(rng.uniform(np.log(0.1), np.log(1.5)))),
        "gain": float(rng.uniform(0.4, 1.1)),
        "bias": float(rng.uniform(0.05, 0.8)),
        "input_scale": float(np.exp(rng.uniform(np.log(0.05), np.log(2.0)))),
        "mask": str(rng.choice(["binary", "uniform"])),
        **settings,
    }


def fibre(rng):
    """A fibre with few or many pixels, dim or bright, quiet or noisy."""
    return {
        "n_outputs": int(np.exp(rng.uniform(np.log(40), np.log(sized(800, short=60))))),
        "exposure": float(np.exp(rng.uniform(np.log(0.1), np.log(10.0)))),
        "read_noise": float(np.exp(rng.uniform(np.log(0.003), np.log(0.1)))),
        "encoding": str(rng.choice(["amplitude", "phase"])),
    }


STEPS = sized({"narma10": 600, "channel": 1000}, short={"narma10": 160, "channel": 160})
TASKS = {
    "narma10": (
        "narma10-delay-loop",
        "delay-loop",
        lambda rng: loop(rng, n_inputs=STEPS["narma10"], sequence_length=STEPS["narma10"]),
    ),
    "channel": (
        "channel-equalisation-delay-loop",
        "delay-loop",
        lambda rng: loop(
            rng, n_inputs=STEPS["channel"], sequence_length=STEPS["channel"], model="mackey-glass", exponent=2.0
        ),
    ),
    "mnist1d": ("mnist1d-optical", "optical-fibre", fibre),
}


def predicted(task, device, settings):
    """The passport's forecast, its merit and rows."""
    own = {"steps": STEPS[task], "seed": OTHER_SEED} if task in STEPS else {}
    data = DATASETS.build(task, **own)
    passport = characterise(
        hwloop.open_device(device, **settings), BUDGET, degrees=1, delays=1, tasks=[data], seed=OTHER_SEED
    )
    return passport.forecasts[0], passport.plan.rows


def trained(task, experiment, settings, folder):
    """The experiment's score on its test rows, mean over the seeds, and its sign."""
    changed = {f"device.settings.{key}": value for key, value in settings.items()}
    changed |= {"evidence.floors": False, "network.stages": 1}
    if task in STEPS:
        changed |= {"dataset.settings.steps": STEPS[task]}
    else:
        changed |= {"trainer.name": "readout", **SHORT}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        evidence = hwloop.run(experiment, settings=changed, seeds=SEEDS, out=folder)
    return evidence.score_interval.mean, evidence.metric.higher_is_better


def interval(one, other):
    """Of Spearman's correlation: settings drawn again, with replacement."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(500):
        rows = rng.integers(0, len(one), len(one))
        if len({one[row] for row in rows}) > 1 and len({other[row] for row in rows}) > 1:
            drawn.append(spearmanr(np.array(one)[rows], np.array(other)[rows]).statistic)
    return np.nanpercentile(drawn, [2.5, 97.5])


def ranked(task):
    """A line for the table."""
    experiment, device, draw = TASKS[task]
    rng, forecasts, scores, rows = np.random.default_rng(7), [], [], 0
    begun, seconds = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SETTINGS):
            settings = draw(rng)
            start = time.perf_counter()
            forecast, used = predicted(task, device, settings)
            seconds += time.perf_counter() - start
            score, higher = trained(task, experiment, settings, Path(folder) / str(number))
            forecasts.append(forecast)
            scores.append(score)
            rows = max(rows, used)
            print(f"{task} {number}: predicted {forecast.shown}, trained {score:.4g}", file=sys.stderr, flush=True)
    merits = [forecast.merit for forecast in forecasts]
    truth = scores if higher else [-score for score in scores]
    low, high = interval(merits, truth)
    best = int(np.argmax(merits))
    return [
        task,
        SETTINGS,
        f"{rows:,}",
        f"{spearmanr(merits, truth).statistic:.3f}",
        f"{low:.2f} to {high:.2f}",
        f"{scores[best]:.4g}",
        f"{(max if higher else min)(scores):.4g}",
        f"{np.median(scores):.4g}",
        f"{seconds / SETTINGS:.1f} / {(time.perf_counter() - begun - seconds) / SETTINGS:.1f}",
    ]


if __name__ == "__main__":
    print_table(
        f"predicted and trained ranking of {SETTINGS} settings",
        ["task", "settings", "rows", "Spearman", "95 %", "predicted best", "best", "median", "s predict / train"],
        [ranked(task) for task in sys.argv[1:] or TASKS],
    )
