"""Digits through a chip with faults: trained on it (in situ), or on the ideal chip and burned in.

python benchmarks/in_situ_or_burned_in.py [mesh] [crossbar] [--short] [--plot FOLDER]

Of the digits' principal components a mesh of 8 modes takes 8, a crossbar of 17 rows 16 and a bias; softmax reads
the outputs. All are trained alike, by Adam at one step size, on 1,000 digits, and tested on the other 797 once.
Faults grow together; 1 is what each line of FAULTS names. In situ nobody looks into the chip. The mesh is
trained by gradients of the ideal mesh at measured responses (physics-aware), and at one strength by the
parameter shift, which needs no model but two rows for each phase; the crossbar by perturbing all conductances at
once, each output's own difference times its own error. Training ends with epochs in which the tuning stays and
the readout alone learns.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from sizes import sized
from sklearn.datasets import load_digits
from table import print_table

import hwloop

SEEDS = sized(5, short=1)
EPOCHS, LAST_EPOCHS, BATCH = sized(24, short=1), sized(8, short=1), 100
TRAINED = sized(1000, short=200)
STRENGTHS = {
    "mesh": sized((0.0, 0.25, 0.5, 1.0, 2.0), short=(0.0, 1.0)),
    "crossbar": sized((0.0, 1.0, 2.0, 4.0, 8.0), short=(0.0, 1.0)),
}
SHIFTED = 1.0  # the strength at which phases are shifted one after the other
READOUT_STEP = 0.03
FAULTS = {
    "mesh": {"splitter_error": 0.05, "phase_error": 0.1, "crosstalk": 0.01, "loss_db": 0.2},
    "crossbar": {"write_noise": 0.02, "stuck_share": 0.02, "wire_ohms": 10.0},
}
SIZES = {"mesh": {"n_modes": 8}, "crossbar": {"n_inputs": 17, "n_outputs": 20}}
NAMES = {"mesh": "mach-zehnder-mesh", "crossbar": "memristor-crossbar"}
STEP = {"mesh": 0.05, "crossbar": 2e-6}  # of Adam on the tuning: rad, S
PERTURBED = 1e-5  # S


def chip(kind, strength, seed):
    faults = {name: strength * value for name, value in FAULTS[kind].items()}
    return hwloop.open_device(NAMES[kind], **SIZES[kind], **faults, seed=seed)


def digits(kind, seed):
    """Stimuli and classes for training and testing; components and scales follow from the training rows."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:TRAINED], order[1000:]
    mean = images[train].mean(axis=0)
    axes = np.linalg.svd(images[train] - mean, full_matrices=False)[2]
    count = 8 if kind == "mesh" else 16
    parts = [(images[rows] - mean) @ axes[:count].T for rows in (train, test)]
    limit = 1.0 if kind == "mesh" else 0.2
    stimuli = [np.clip(part / (2.5 * parts[0].std()), -1, 1) * limit for part in parts]
    if kind == "crossbar":
        stimuli = [np.column_stack([rows, np.full(len(rows), limit)]) for rows in stimuli]
    return stimuli[0], classes[train], stimuli[1], classes[test]


class Adam:
    """Of one array, with a step that falls to 0."""

    def __init__(self, values, step, steps):
        self.values, self._step, self._steps, self._k = values, step, steps, 0
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)

    def __call__(self, gradient):
        self._k += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.01 * (gradient**2 - self._square)
        mean, square = self._mean / (1 - 0.9**self._k), self._square / (1 - 0.99**self._k)
        step = self._step * np.cos(np.pi / 2 * min(self._k / self._steps, 1.0))
        self.values -= step * mean / (np.sqrt(square) + 1e-12)


class Readout:
    """Softmax of standardised outputs, one step of Adam at a time."""

    def __init__(self, outputs, steps):
        self._mean, self._scale = outputs.mean(axis=0), outputs.std(axis=0) + 1e-3
        self._adam = Adam(np.zeros((outputs.shape[1] + 1, 10)), READOUT_STEP, steps)

    def _features(self, outputs):
        return np.column_stack([(outputs - self._mean) / self._scale, np.ones(len(outputs))])

    def scores(self, outputs):
        return self._features(outputs) @ self._adam.values

    def errors(self, outputs, classes):
        """Derivative of the mean cross-entropy by the outputs, and one step of the weights."""
        features, scores = self._features(outputs), self.scores(outputs)
        wrong = np.exp(scores - scores.max(axis=1, keepdims=True))
        wrong /= wrong.sum(axis=1, keepdims=True)
        wrong[np.arange(len(classes)), classes] -= 1
        wrong /= len(classes)
        by_outputs = (wrong @ self._adam.values[:-1].T) / self._scale
        self._adam(features.T @ wrong)
        return by_outputs


# -- what tells the gradient: each gives the outputs at a tuning, and a function of their errors ------------------


def exact(device, tuning, rows):
    device.tune(tuning)
    return device.measure(rows), lambda errors: device.pull_back_tuning(rows, errors)


def parameter_shift(device, tuning, rows):
    """Two tunings a quarter turn from this one, for each phase; a turn more or less is the same phase."""
    device.tune(tuning)
    outputs, shifted = device.measure(rows), []
    for place, frequency in enumerate(device.tuning_frequencies):
        both = []
        for sign in (1, -1):
            moved = tuning.copy()
            moved[place] += sign * np.pi / (2 * frequency)
            moved[place] -= 2 * np.pi / frequency * np.round(moved[place] / (4 * np.pi / frequency))
            device.tune(device.spec.nearest_tuning(moved))
            both.append(device.measure(rows))
        shifted.append(frequency * (both[0] - both[1]) / 2)
    return outputs, lambda errors: np.einsum("kro,ro->k", np.array(shifted), errors)


def physics_aware(ideal):
    def gradient(device, tuning, rows):
        device.tune(tuning)
        ideal.tune(tuning)
        return device.measure(rows), lambda errors: ideal.pull_back_tuning(rows, errors)

    return gradient


def own_differences(rng):
    """All tunables perturbed at once; each takes the difference of the output that it acts on."""

    def gradient(device, tuning, rows):
        signs = rng.choice([-1.0, 1.0], len(tuning))
        both, asked = [], []
        for sign in (1, -1):
            asked.append(device.spec.nearest_tuning(tuning + sign * PERTURBED * signs))
            device.tune(asked[-1])
            both.append(device.measure(rows))
        apart = asked[0] - asked[1]
        apart[apart == 0] = np.inf

        def of(errors):
            return (errors * (both[0] - both[1])).sum(axis=0)[device.tunable_outputs] / apart

        return (both[0] + both[1]) / 2, of

    return gradient


def trained(kind, device, gradient, data, seed):
    """Tuning and readout, after epochs of both and the last epochs of the readout alone."""
    rows, classes, rng = data[0], data[1], np.random.default_rng(seed)
    steps, spec = len(rows) // BATCH, device.spec
    adam = Adam(np.array(spec.tunable_rest), STEP[kind], EPOCHS * steps)
    device.tune(spec.tunable_rest)
    readout = Readout(device.measure(rows), (EPOCHS + LAST_EPOCHS) * steps)
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(len(rows)), steps):
            outputs, of = gradient(device, spec.nearest_tuning(adam.values), rows[batch])
            adam(of(readout.errors(outputs, classes[batch])))
            if kind == "mesh":  # a turn more or less is the same phase
                adam.values -= 2 * np.pi * np.round(adam.values / (4 * np.pi))
            np.clip(adam.values, spec.tunable_low, spec.tunable_high, out=adam.values)
    tuning = spec.nearest_tuning(adam.values)
    fit_readout(device, tuning, readout, data, rng, LAST_EPOCHS)
    return tuning, readout


def fit_readout(device, tuning, readout, data, rng, epochs):
    device.tune(tuning)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(TRAINED), TRAINED // BATCH):
            readout.errors(device.measure(data[0][batch]), data[1][batch])


def accuracy(device, tuning, readout, data):
    device.tune(tuning)
    return 100 * float((readout.scores(device.measure(data[2])).argmax(axis=1) == data[3]).mean())


def compared(kind, seed):
    """Accuracy in percent by (way, strength)."""
    data, ideal = digits(kind, seed), chip(kind, 0.0, seed)
    model = trained(kind, ideal, exact, data, seed)
    found = {("ideal chip, exact gradient", 0.0): accuracy(ideal, *model, data)}
    for strength in STRENGTHS[kind]:
        device, rng = chip(kind, strength, seed), np.random.default_rng(seed + 1)
        found["burned in", strength] = accuracy(device, *model, data)
        device.tune(model[0])
        refitted = Readout(device.measure(data[0]), (EPOCHS + LAST_EPOCHS) * (TRAINED // BATCH))
        fit_readout(device, model[0], refitted, data, rng, EPOCHS + LAST_EPOCHS)
        found["burned in, readout fitted on the chip", strength] = accuracy(device, model[0], refitted, data)
        ways = {"in situ, own differences": own_differences(rng)}
        if kind == "mesh":
            ways = {"in situ, physics-aware": physics_aware(ideal)}
            if strength == SHIFTED:
                ways["in situ, parameter shift"] = parameter_shift
        for name, gradient in ways.items():
            found[name, strength] = accuracy(device, *trained(kind, device, gradient, data, seed), data)
    return found


def plot(kind, found, folder):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
    ideal = [each["ideal chip, exact gradient", 0.0] for each in found]
    axis.axhline(np.mean(ideal), color="0.6", linestyle="--", label="ideal chip, exact gradient")
    for way in dict.fromkeys(name for name, _ in found[0] if not name.startswith("ideal")):
        at = [strength for strength in STRENGTHS[kind] if (way, strength) in found[0]]
        scores = np.array([[each[way, strength] for strength in at] for each in found])
        spread = scores.std(axis=0, ddof=1) if len(found) > 1 else None
        axis.errorbar(at, scores.mean(axis=0), spread, marker="o", capsize=3, label=way)
    axis.set_xlabel("strength of the faults")
    axis.set_ylabel("test accuracy, %")
    axis.set_title({"mesh": "mesh of 8 modes, digits", "crossbar": "crossbar of 17 x 40, digits"}[kind])
    axis.legend(fontsize=7)
    figure.savefig(Path(folder) / f"in-situ-{kind}.png", dpi=120)


def main() -> None:
    words = sys.argv[1:]
    for kind in [kind for kind in NAMES if kind in words] or NAMES:
        begin = time.perf_counter()
        found = [compared(kind, seed) for seed in range(SEEDS)]
        rows = []
        for way in dict.fromkeys(name for name, _ in found[0]):
            cells = []
            for strength in STRENGTHS[kind]:
                scores = [each[way, strength] for each in found if (way, strength) in each]
                spread = f" ± {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
                cells.append(f"{np.mean(scores):.1f}{spread}" if scores else "")
            rows.append([way, *cells])
        faults = ", ".join(f"{name} {value:g}" for name, value in FAULTS[kind].items())
        print_table(
            f"{kind}, digits, test accuracy in % over {SEEDS} seeds by strength; 1 is {faults}; "
            f"{time.perf_counter() - begin:.0f} s",
            ["way", *(f"{strength:g}" for strength in STRENGTHS[kind])],
            rows,
        )
        if "--plot" in words:
            plot(kind, found, words[words.index("--plot") + 1])


if __name__ == "__main__":
    main()
