"""NARMA10 and the Santa Fe laser through loops of 20 to 300 nodes, tuned on validation steps, beside rivals.

python benchmarks/series_tuned.py [narma10|santa-fe] [nodes ...] [both]

Every method gets the same number of trials on training and validation steps. The best of each is then fitted and
judged on test steps that nothing has seen: of NARMA10 five times, on other sequences and other noise each time; of
the laser, which is one series, with other noise (a digital rival has one figure there). Read noise is 0.3 % of
full scale. NARMA10 goes through a passive cavity, the laser through an optoelectronic loop; with the word ``both``
each through both.
"""

import sys

import numpy as np
from loops import draw_cavity, draw_sine, narma_parts, santa_fe_parts, scored, search
from series_rivals import RIVALS, best_rival
from sizes import sized
from table import print_table

NOISE = {"read_noise": 0.003, "dac_bits": None, "adc_bits": None}
TRIALS = {20: 240, 50: 240, 100: 150, 200: 80, 300: 60}
STEPS, WASHOUT, SEEDS = sized((600, 100, 5), short=(60, 20, 2))
ROWS = sized((8, 4, 8), short=(2, 1, 1))
KINDS = {"passive cavity": draw_cavity, "delay loop": draw_sine}
USUAL = {"narma10": "passive cavity", "santa-fe": "delay loop"}


def narma10(number: int):
    """Training, validation and test sequences; those of number 0 are searched on, their test is never read."""
    return narma_parts(STEPS, WASHOUT, ROWS, seed=7 + number)


def santa_fe(number: int):
    """Steps 100 to 3,600 of the laser to train on, then 1,000 to validate and 1,000 to test."""
    return santa_fe_parts(STEPS, WASHOUT, sized([(100, 3600), (3700, 4700), (4800, 5800)], short=[(20, 180)] * 3))


TASKS = {"narma10": (narma10, (50, 300)), "santa-fe": (santa_fe, (20, 50, 100, 200))}


def shown(errors) -> str:
    """NMSE, in brackets NRMSE, mean and spread of the seeds."""
    spread = f" ± {np.std(errors, ddof=1):.4f}" if len(errors) > 1 else ""
    return f"{np.mean(errors):.4f}{spread} ({np.mean(np.sqrt(errors)):.3f})"


def compared(task: str, nodes: int) -> list[list[str]]:
    """The lines of one number of nodes."""
    parts, trials, lines = TASKS[task][0], sized(TRIALS[nodes], short=2), []
    train, validation, _ = parts(0)
    kinds = KINDS if "both" in sys.argv else {USUAL[task]: KINDS[USUAL[task]]}
    for name, draw in kinds.items():
        error, loop = search(lambda rng, d=draw: d(rng, nodes), trials, train, validation, seed=0, **NOISE)
        errors = []
        for number in range(1, SEEDS + 1):
            fitted, _, test = parts(number)
            errors.append(scored(fitted, test, loop.states([fitted, test], after=1000 * number, **NOISE)))
        lines.append([f"{name}, {nodes} nodes", str(nodes), f"{error:.4f}", shown(errors)])
        print(*lines[-1], loop.settings, flush=True)
    for name, draw in RIVALS.items():
        rival = best_rival(draw, nodes, trials, train, validation, seed=0)
        once = task == "santa-fe"
        errors = [rival.score(fitted, test) for fitted, _, test in map(parts, range(1, 2 if once else SEEDS + 1))]
        validated = rival.score(train, validation)
        lines.append([name, f"{rival.multiply_adds:,}", f"{validated:.4f}", shown(errors)])
        print(*lines[-1], flush=True)
    return lines


def main() -> None:
    tasks = [word for word in sys.argv[1:] if word in TASKS] or list(TASKS)
    asked = [int(word) for word in sys.argv[1:] if word.isdigit()]
    for task in tasks:
        lines = [line for nodes in sized(asked or TASKS[task][1], short=(20,)) for line in compared(task, nodes)]
        print_table(
            f"{task}: NMSE (NRMSE); {', '.join(f'{n} nodes {t} trials' for n, t in TRIALS.items())}",
            ["method", "multiply-adds a step", "validation NMSE", "test"],
            lines,
        )


if __name__ == "__main__":
    main()
