"""One more setting of a trainer, beside what an arena chose: on the arena's test rows, paired by seed.

    python benchmarks/arena_setting.py FOLDER --trainer exact-gradient \
        --options '{"epochs": 64, "interface_noise": 0.4}' --against lookahead --against-options '{}'

FOLDER is the ``--out`` of ``hwloop arena``; finished trainings are kept there, and not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy and torch are loaded

from hwloop.experiment.intervals import Summary, paired_difference  # noqa: E402
from hwloop.experiments.arena.cell import TEST, Cell, run_cell  # noqa: E402
from hwloop.experiments.arena.run import CellStore  # noqa: E402


def accuracies(folder: Path, trainer: str, options: str) -> Summary:
    """Test accuracy of each seed of the arena."""
    settings = json.loads((folder / CellStore.settings_file).read_text())
    found = []
    with CellStore(folder, settings) as store:
        for seed in settings["experiment"]["seeds"]:
            cell = Cell(trainer, json.loads(options), seed, TEST)
            result = store.find(cell)
            if result is None:
                result = run_cell(settings["experiment"], cell)
                store.keep(cell, result)
            if result.refused:
                raise SystemExit(result.refused)
            print(f"{trainer} {options} seed {seed}: {100 * result.network_score:.1f}", file=sys.stderr)
            found.append(result.network_score)
    return Summary(tuple(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--options", default="{}", help="as JSON, its epochs among them")
    parser.add_argument("--against", required=True)
    parser.add_argument("--against-options", default="{}")
    arguments = parser.parse_args()
    own = accuracies(arguments.folder, arguments.trainer, arguments.options)
    other = accuracies(arguments.folder, arguments.against, arguments.against_options)
    for name, score in ((arguments.trainer, own), (arguments.against, other)):
        print(f"{name}: {100 * score.mean:.1f} ± {100 * score.std:.1f} %")
    gap = paired_difference(other, own)
    if gap.low is not None and gap.high is not None:
        interval = f" ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
        print(f"{arguments.against} is ahead by {100 * gap.mean:+.1f} points{interval}")
