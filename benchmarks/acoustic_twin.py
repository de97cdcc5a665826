"""A twin of the recorded acoustic cavity, fitted on its first 7,000 rows, judged on the last 1,000.

python benchmarks/acoustic_twin.py
"""

import time

from sizes import sized
from table import print_table

from hwloop import twin
from hwloop.experiments import data_files

FITTED_ROWS = sized(7000, short=300)


def main() -> None:
    measured = data_files.read_arrays(data_files.ACOUSTIC_CAVITY)
    inputs, outputs = measured["inputs"], measured["outputs"]
    begin = time.perf_counter()
    device = twin.fit(inputs[:FITTED_ROWS], outputs[:FITTED_ROWS])
    seconds = time.perf_counter() - begin
    predicted = device.noiseless().measure(inputs[FITTED_ROWS:])
    score = twin.CandidateScore.of("twin", predicted, outputs[FITTED_ROWS:].astype(float))
    print_table(
        f"twin of the acoustic cavity, {FITTED_ROWS:,} rows fitted, {len(inputs) - FITTED_ROWS:,} rows judged",
        ["winner", "NRMSE, variance-weighted", "R2, uniform", "lowest R2 of an output", "seconds"],
        [
            [
                device.report.winner,
                f"{score.nrmse:.4f}",
                f"{score.r2_uniform:.4f}",
                f"{score.r2_per_output.min():.3f}",
                f"{seconds:.1f}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
