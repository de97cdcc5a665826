"""Does a prediction depend on the rows beside it? The same rows in batches of many sizes, on a noiseless device.

python benchmarks/batch_independence.py
"""

import numpy as np
from sizes import sized
from table import print_table

import hwloop
from hwloop.experiments.datasets import digits, split

BATCH_ROWS = sized((1, 2, 7, 64, 127, 129, 300), short=(127,))
TRAINERS = sized(("local", "phyll", "readout"), short=("readout",))
QUIET = {"read_noise": 0.0}


def main() -> None:
    dataset = digits()
    parts = split(dataset, 0, test=0.25)
    test = dataset.inputs[parts.test]
    lines = []
    for trainer in TRAINERS:
        classifier = hwloop.PhysicalClassifier(trainer=trainer, device_settings=QUIET, random_state=0)
        classifier.fit(dataset.inputs[parts.train], dataset.labels[parts.train])
        memory = classifier.network_.sessions[0].memory
        together = classifier.predict_proba(test)
        for rows in BATCH_ROWS:
            memory.forget()  # or every row would only be remembered
            starts = range(0, len(test), rows)
            apart = np.concatenate([classifier.predict_proba(test[start : start + rows]) for start in starts])
            lines.append([f"{trainer}, {rows} a batch", len(test), np.count_nonzero(apart != together)])
    print_table(
        "class probabilities that differ in any bit from those of one batch", ["", "rows", "differ"], lines
    )


if __name__ == "__main__":
    main()
