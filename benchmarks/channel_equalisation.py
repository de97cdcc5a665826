"""Symbol errors against noise of the equaliser on a delay loop, beside its digital floors.

python benchmarks/channel_equalisation.py
"""

import tempfile

from sizes import sized
from table import print_table

from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import experiment_file, split
from hwloop.tasks.classification import binomial_interval

NAME = "channel-equalisation-delay-loop"
DECIBELS = sized((12, 16, 20, 24, 28, 32), short=(16,))
SMALL = ["dataset.settings.steps=60", "device.settings.n_inputs=60", "device.settings.sequence_length=60"]
SMALL += ["dataset.settings.sequences=4", "device.settings.n_nodes=8"]
METHODS = {
    "network": "delay loop",
    "shift_register": "shift register",
    "polynomial_memory": "polynomial memory",
    "digital_echo_state": "digital echo state",
}


def main() -> None:
    lines = []
    for decibels in DECIBELS:
        settings = [f"dataset.settings.snr_db={decibels}.0", "seeds=1", *sized([], short=SMALL)]
        with tempfile.TemporaryDirectory() as folder:
            evidence = run_experiment(load_experiment(experiment_file(NAME), settings), split, out=f"{folder}/run")
        errors, symbols, _ = (int(number) for number in evidence.details["symbol_errors"])
        low, high = binomial_interval(errors / symbols, symbols)
        scores = evidence.seeds[0].scores
        cells = [f"{100 * scores[method]['symbol_error_rate']:.3g}" for method in METHODS]
        lines.append([f"{decibels} dB", f"{cells[0]} ({100 * low:.3g} to {100 * high:.3g})", *cells[1:]])
        print(*lines[-1], flush=True)
    title = f"symbol errors in %, of {symbols:,} test symbols; in brackets Wilson's 95 % interval"
    print_table(title, ["signal to noise", *METHODS.values()], lines)


if __name__ == "__main__":
    main()
