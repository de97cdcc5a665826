"""Tasks learned in sequence, no gradient through the device: what is left of the first ones.

Split digits, class-incremental: five tasks of two classes each through a simulated fibre of 200 outputs, one row
a sample. Every method scores all classes seen so far at once and is never told the task. Average accuracy after
the last task, and forgetting: how far a task's accuracy has fallen since it was learned, mean over the first four
(Chaudhry et al., ECCV 2018). The setting is that of ZeroFlow (Feng et al., 2025), tasks in sequence under a ban on
gradients; here because a device stands in their way.

    python benchmarks/continual.py [seeds]
"""

import sys
from collections.abc import Callable

import numpy as np
import torch
from sizes import sized
from table import print_table
from torch.nn import functional

import hwloop
from hwloop.adapt.local_heads import RecursiveLeastSquares, fine_tune, with_constant
from hwloop.experiments.dataset import split
from hwloop.layers import Stage
from hwloop.registry import DATASETS
from hwloop.tasks import Classification
from hwloop.training.objectives.class_scores import Head
from hwloop.training.optimiser import AdamSettings

TASKS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
CLASSES, WIDTH = 10, 100
KEPT_A_CLASS = 10
SETTINGS = sized(AdamSettings(min_steps=300), short=AdamSettings(epochs=1, min_steps=2))
SPSA_STEPS, SPSA_RATE, SPSA_SIZE = sized(4000, short=4), 0.002, 0.01


class Learner:
    """Sees the measured features of one task after the other."""

    def __init__(self, stage: Stage, rng: torch.Generator) -> None:
        self.stage, self.rng = stage, rng
        self.head = Head(WIDTH, Classification(CLASSES), 0.1, rng)

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        raise NotImplementedError

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        return self.head.linear(self.stage.linear(features))


class FineTuned(Learner):
    """Local heads go on with the new task alone."""

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        fine_tune(self.stage, self.head, features, labels, SETTINGS, self.rng)


class Rehearsed(Learner):
    """The same, with a few stored responses of every class seen before; they are not measured again."""

    def __init__(self, stage: Stage, rng: torch.Generator) -> None:
        super().__init__(stage, rng)
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        per_class = len(labels) // 2
        old = [(f.repeat(per_class // KEPT_A_CLASS, 1), c.repeat(per_class // KEPT_A_CLASS)) for f, c in self.kept]
        rows, classes = (torch.cat(part) for part in zip(*old, (features, labels), strict=True))
        fine_tune(self.stage, self.head, rows, classes, SETTINGS, self.rng)
        for number in labels.unique():
            chosen = torch.nonzero(labels == number)[:KEPT_A_CLASS, 0]
            self.kept.append((features[chosen], labels[chosen]))


class Recursive(Learner):
    """Recursive least squares on the responses, nothing forgotten: ridge regression on all tasks so far."""

    def __init__(self, stage: Stage, rng: torch.Generator) -> None:
        super().__init__(stage, rng)
        self.recursion = RecursiveLeastSquares(torch.zeros(stage.n_features + 1, CLASSES), strength=10.0)

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        self.recursion.update(with_constant(features), Classification(CLASSES).head_targets(labels, 0.1))

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        return with_constant(features).to(torch.float64) @ self.recursion.weights


class LinearHead(Learner):
    """A linear head on the responses; the map stays as drawn."""

    def __init__(self, stage: Stage, rng: torch.Generator) -> None:
        super().__init__(stage, rng)
        self.weights = torch.zeros(stage.n_features + 1, CLASSES)

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        return with_constant(features) @ self.weights


class FirstOrder(LinearHead):
    """Plain gradient descent of the head: what SPSA estimates, known exactly."""

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        rows = with_constant(features)
        for step in range(SPSA_STEPS):
            chosen = torch.randint(len(rows), (64,), generator=self.rng)
            missed = torch.softmax(rows[chosen] @ self.weights, dim=1) - functional.one_hot(
                labels[chosen], CLASSES
            )
            rate = SPSA_RATE * (1 - step / SPSA_STEPS)
            self.weights = self.weights - rate * rows[chosen].T @ missed / len(chosen)


class ZerothOrder(LinearHead):
    """SPSA of the head: two losses a step along one random sign vector (Spall 1992)."""

    def learn(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        rows = with_constant(features)
        for step in range(SPSA_STEPS):
            signs = 2.0 * torch.randint(0, 2, self.weights.shape, generator=self.rng) - 1.0
            chosen = torch.randint(len(rows), (64,), generator=self.rng)
            above, below = (
                functional.cross_entropy(rows[chosen] @ (self.weights + side * SPSA_SIZE * signs), labels[chosen])
                for side in (1, -1)
            )
            rate = SPSA_RATE * (1 - step / SPSA_STEPS)
            self.weights = self.weights - rate * (above - below) / (2 * SPSA_SIZE) * signs


METHODS: dict[str, Callable[[Stage, torch.Generator], Learner]] = {
    "recursive least squares": Recursive,
    f"local heads, {KEPT_A_CLASS} stored responses a class": Rehearsed,
    "local heads, fine-tuned": FineTuned,
    "linear head, fine-tuned by SPSA": ZerothOrder,
    "linear head, fine-tuned by its gradient": FirstOrder,
}


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else sized(3, short=2)
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {}
    rows = 0
    for seed in range(seeds):
        parts, stage, rows = measured(seed)
        for name, make in METHODS.items():
            found.setdefault(name, []).append(in_sequence(make, stage, parts, seed))
        found.setdefault("local heads, all tasks at once (ceiling)", []).append(at_once(stage, parts, seed))
    lines = []
    for name, figures in found.items():
        accuracy, forgetting = 100 * np.array(figures).T
        lost = "" if np.isnan(forgetting).any() else f"{forgetting.mean():.1f} ± {forgetting.std(ddof=1):.1f}"
        lines.append([name, f"{accuracy.mean():.1f} ± {accuracy.std(ddof=1):.1f}", lost])
    print_table(
        f"split digits, 5 tasks of 2 classes, {seeds} seeds, {rows:,} training rows in all (1 a sample)",
        ["", "average accuracy (%)", "forgetting (points)"],
        lines,
    )


Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def measured(seed: int) -> tuple[Parts, Stage, int]:
    """Features of all rows, measured once; pixel ranges are known, the standardiser knows the first task only."""
    data = DATASETS.build("digits")
    chosen = split(data, seed)
    train, test = (torch.from_numpy(data.inputs[part]) for part in (chosen.train, chosen.test))
    train_labels, test_labels = (torch.from_numpy(data.labels[part]) for part in (chosen.train, chosen.test))
    session = hwloop.Session(hwloop.open_device("optical-fibre", n_inputs=80, n_outputs=200, seed=seed))
    stage = Stage(WIDTH)
    stage.build(session.device.spec, train.shape[1], seed)
    stage.encoder.fit(train)
    responses = session.measure(stage.encoder(train), "train")
    first = np.isin(train_labels.numpy(), TASKS[0])
    stage.fit_standardisers(train[first], torch.from_numpy(responses[first]))
    tested = session.measure(stage.encoder(test), "evaluate")
    features, judged = stage.features(train, responses), stage.features(test, tested)
    return (features, train_labels, judged, test_labels), stage, session.ledger["train"]


def in_sequence(make: Callable[[Stage, torch.Generator], Learner], stage: Stage, parts: Parts, seed: int):
    """Average accuracy after the last task, and forgetting."""
    features, labels, judged, truth = parts
    rng = torch.Generator().manual_seed(seed)
    stage.reset_map(rng)
    learner = make(stage, rng)
    accuracy = np.full((len(TASKS), len(TASKS)), np.nan)  # after learning the row's task, of the column's
    for done, task in enumerate(TASKS):
        mine = torch.isin(labels, torch.tensor(task))
        learner.learn(features[mine], labels[mine])
        seen = sum(TASKS[: done + 1], ())
        for earlier, classes in enumerate(TASKS[: done + 1]):
            accuracy[done, earlier] = correct(learner, judged, truth, classes, seen)
    lost = np.nanmax(accuracy[:-1, :-1], axis=0) - accuracy[-1, :-1]
    return float(accuracy[-1].mean()), float(lost.mean())


def at_once(stage: Stage, parts: Parts, seed: int) -> tuple[float, float]:
    """One training on all tasks."""
    features, labels, judged, truth = parts
    rng = torch.Generator().manual_seed(seed)
    stage.reset_map(rng)
    learner = FineTuned(stage, rng)
    learner.learn(features, labels)
    everything = tuple(range(CLASSES))
    return float(np.mean([correct(learner, judged, truth, t, everything) for t in TASKS])), float("nan")


def correct(
    learner: Learner, judged: torch.Tensor, truth: torch.Tensor, classes: tuple[int, ...], seen: tuple[int, ...]
) -> float:
    """Accuracy on some classes, among those seen."""
    mine = torch.isin(truth, torch.tensor(classes))
    with torch.no_grad():
        scores = learner.scores(judged[mine])[:, list(seen)]
    return float((torch.tensor(seen)[scores.argmax(dim=1)] == truth[mine]).double().mean())


if __name__ == "__main__":
    main()
