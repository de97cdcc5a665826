"""Digits on a recorded fibre that is pressed through its 27 measured matrices: every policy, step by step.

With a relu interface, and every shipped policy; writes docs/pictures/drift-adaptation.png.
Needs the measured data; about three minutes a seed on one core. With a folder it goes on where it was stopped.

    python benchmarks/drift_adaptation.py [seeds, such as 5 or [60,61] [folder]]
"""

import sys
import tempfile
from pathlib import Path

from sizes import SHORT, sized
from table import print_table

from hwloop.experiment.config import load_experiment
from hwloop.experiments.datasets import experiment_file
from hwloop.experiments.drift.report import HEADINGS, course_line, write_drift_report
from hwloop.experiments.drift.run import DriftSettings, parsed_positions, run_drift

POLICIES = (
    "none", "twin", "twin:unlabelled", "kriging", "recall", "heads", "warm", "restandardise",
    "restandardise:unlabelled", "restandardise+heads", "hebbian:unlabelled",
)[: sized(None, short=2)]  # fmt: skip
LAST_STEP = sized(26, short=2)
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "drift-adaptation.png"


def main() -> None:
    seeds = sys.argv[1] if len(sys.argv) > 1 else sized("3", short="[0]")
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    config = load_experiment(experiment_file("digits-fibre"), [f"seeds={seeds}", "network.activation=relu"])
    settings = DriftSettings(config, *parsed_positions(f"device.settings.position=0..{LAST_STEP}"), POLICIES)
    result = run_drift(settings, folder, lambda name, done, of: print(name, done, of, file=sys.stderr))
    picture = write_drift_report(result, folder)
    if not SHORT:
        PICTURE.write_bytes(picture.read_bytes())
    print_table(
        f"{len(config.seeds)} seeds, {LAST_STEP} steps",
        HEADINGS,
        [course_line(course, result.metric) for course in result.courses],
    )
    print_table(
        "mean accuracy (%) at",
        ["policy", *range(result.correlation.shape[1])],
        [[c.policy, *(f"{100 * a:.0f}" for a in c.scores.mean(axis=0))] for c in result.courses],
    )
    print("correlation of responses", result.correlation.mean(axis=0).round(2).tolist())


if __name__ == "__main__":
    main()
