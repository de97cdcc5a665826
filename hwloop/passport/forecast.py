"""What a device will score on a task, predicted before anything is trained: to choose between settings.

A series: its target is a function of the inputs up to now. That function is found digitally (a polynomial of the
last inputs, on the task's own data), and its capacity is measured on the passport's random rows, as that of any
other. What the device does not hold of it, it will get wrong. No row of the task is measured.

Other tasks: some of their rows are measured, and a ridge readout of the responses is scored on each row by a fit
without it, which has a closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hwloop.calibration.figure_table import with_interval
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.input_scaling import AUTO, decided
from hwloop.layers.encode import Encoder, SequenceEncoder
from hwloop.layers.standardise import KEPT_SHARE
from hwloop.passport.capacity import Samples, StateSpace
from hwloop.passport.drive import Drive
from hwloop.probing.statistics import Estimate, quantile
from hwloop.tasks.sequence import SequenceTask

TAPS, PAIRED_TAPS, MOST_TERMS = 30, 14, 600
PENALTIES = 10.0 ** np.arange(-8, 3)
HELD_OUT = 1 / 3


@dataclass(frozen=True, eq=False)
class TaskForecast:
    """A predicted score.

    Attributes
    ----------
    task, score
        Names of the dataset, and of the score.
    value
        Predicted, with its interval.
    higher_is_better
        As of the score.
    how
        In words.
    alignment
        Of the responses' kernel with the targets' (Cristianini et al. 2001), from 0 to 1; ``None`` for a series.
    """

    task: str
    score: str
    value: Estimate
    higher_is_better: bool
    how: str
    alignment: float | None = None

    @property
    def merit(self) -> float:
        """Higher is better, whatever the score: what settings are ranked by."""
        return float(self.value.value) * (1 if self.higher_is_better else -1)

    @property
    def shown(self) -> str:
        """With its interval; an NMSE with its root, since print confuses the two."""
        text = with_interval(*(float(end) for end in self.value.ends)) + (" %" if self.value.unit == "%" else "")
        return f"{text} (NRMSE {np.sqrt(max(float(self.value.value), 0.0)):.3f})" if self.score == "NMSE" else text

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": self.task,
            "score": self.score,
            **self.value.as_dict(),
            "higher_is_better": self.higher_is_better,
            "how": self.how,
            **({} if self.alignment is None else {"kernel_target_alignment": self.alignment}),
        }


# -- series ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _BestFunction:
    """A polynomial of the last inputs that gives the target.

    ``explained`` is the share of each value's variance that it gives on steps that it was not fitted to.
    """

    taps: int
    weights: Float64Array
    explained: Float64Array

    def __call__(self, sequences: Float64Array) -> Float64Array:
        """Of inputs (sequences, steps, channels) in half ranges: (sequences, steps - taps + 1, values)."""
        found = _terms(sequences, self.taps) @ self.weights
        return np.asarray(found.reshape(len(sequences), -1, self.weights.shape[1]))


def _terms(sequences: Float64Array, taps: int) -> Float64Array:
    """Monomials of the last inputs, up to the third degree, (sequences * steps, terms)."""
    _, steps, channels = sequences.shape
    shifted = [sequences[:, taps - 1 - k : steps - k] for k in range(taps)]
    last = np.stack(shifted, axis=2).reshape(-1, taps * channels)
    near = last[:, : min(PAIRED_TAPS, taps) * channels]
    width = near.shape[1]
    while width > 1 and width * (width + 1) // 2 > MOST_TERMS:  # of many channels the nearest steps alone
        width -= 1
    i, j = np.triu_indices(width)
    cubes = [near[:, : width - k] ** 2 * near[:, k:width] for k in range(min(2, width))]
    cubes += [near[:, 1:width] ** 2 * near[:, : width - 1]] if width > 1 else []
    return np.concatenate([np.ones((len(last), 1)), last, near[:, i] * near[:, j], *cubes], axis=1)


def _best_function(dataset: Any, taps: int) -> _BestFunction:
    """Fitted to two thirds of the sequences with the penalty that does best on the others."""
    task: SequenceTask = dataset.task
    inputs = _scaled(np.asarray(dataset.inputs, dtype=np.float64), task.steps)
    targets = np.asarray(task.encode(dataset.labels), dtype=np.float64).reshape(len(inputs), task.steps, -1)
    held_out = max(1, round(HELD_OUT * len(inputs)))
    first = max(task.washout, taps - 1)
    parts = []
    for part in (slice(None, -held_out), slice(-held_out, None)):
        y = targets[part, first:].reshape(-1, targets.shape[2])
        parts.append((_terms(inputs[part, first - taps + 1 :], taps), y))
    (x, y), (x_held, y_held) = parts
    gram, cross = x.T @ x, x.T @ y
    variance = y_held.var(axis=0)
    best: tuple[float, Float64Array, Float64Array] | None = None
    for penalty in PENALTIES:
        weights = np.linalg.solve(gram + penalty * len(x) * np.eye(len(gram)), cross)
        share = 1 - np.mean(np.square(y_held - x_held @ weights), axis=0) / np.where(variance > 0, variance, 1.0)
        if best is None or share.mean() > best[0]:
            best = float(share.mean()), weights, share
    assert best is not None
    return _BestFunction(taps, best[1], np.clip(best[2], 0.0, 1.0))


def _scaled(rows: Float64Array, steps: int) -> Float64Array:
    """Sequences (rows, steps, features) in half ranges of the device, as an experiment encodes them."""
    sequences = rows.reshape(len(rows), steps, -1)
    deviations = sequences - sequences.mean(axis=(0, 1))
    scale = float(np.quantile(np.abs(deviations), KEPT_SHARE))
    return np.asarray(np.clip(deviations / (scale or 1.0), -1.0, 1.0))


def _series_forecast(dataset: Any, samples: Samples, space: StateSpace, amplitude: float) -> TaskForecast:
    taps = max(1, min(TAPS, samples.first + 1, dataset.task.steps // 2))
    function = _best_function(dataset, taps)
    wanted = function(amplitude * samples.inputs)[:, -samples.states.shape[1] :]
    share = space.explained(wanted.reshape(samples.count, -1))
    held = np.clip(share, 0.0, 1.0)
    error = np.sqrt(space.chance**2 + 4 * held * np.square(1 - held) / samples.count)
    missing = 1 - function.explained * share
    value = float(missing.mean())
    reach = quantile() * float(np.sqrt(np.square(function.explained * error).sum())) / len(share)
    return TaskForecast(
        task=dataset.name,
        score="NMSE",
        value=Estimate.within(value, reach, 0.0),
        higher_is_better=False,
        how=(
            f"the best polynomial of the last {taps} inputs gives {100 * float(function.explained.mean()):.1f} % "
            f"of the target's variance, the device {100 * float(share.mean()):.1f} % of that polynomial"
        ),
    )


# -- rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RowTask:
    """A task whose rows are measured.

    Parameters
    ----------
    dataset
        With rows of features and targets.
    drive
        How the device is driven.
    """

    dataset: Any
    drive: Drive

    def stimuli(self, rows: int, spec: DeviceSpec, seed: int) -> Float64Array:
        """Stimuli of rows drawn by lot."""
        inputs = torch.from_numpy(np.array(self.dataset.inputs[self.chosen(rows, seed)], dtype=np.float64))
        steps = self.drive.steps
        name = decided(AUTO, inputs.numpy(), steps).name
        encoder = (
            SequenceEncoder(spec, inputs.shape[1], steps, scaling_name=name)
            if steps > 1
            else Encoder(spec, inputs.shape[1], scaling_name=name, seed=seed)
        )
        encoder.fit(inputs)
        return np.asarray(encoder(inputs), dtype=np.float64)

    def chosen(self, rows: int, seed: int) -> Any:
        """Their numbers; none of a test set that the dataset's authors chose."""
        free = np.setdiff1d(np.arange(len(self.dataset.inputs)), self._test_rows)
        return np.random.default_rng(seed).permutation(free)[:rows]

    @property
    def _test_rows(self) -> Any:
        found = getattr(self.dataset, "test_rows", None)
        return [] if found is None else found

    def forecast(self, responses: Float64Array, seed: int) -> TaskForecast:
        """From the responses to :meth:`stimuli`."""
        targets = np.asarray(self.dataset.labels)[self.chosen(len(responses), seed)]
        codes = _codes(self.dataset, targets)
        predicted, alignment = _left_out(responses, codes)
        if targets.dtype.kind in "iu":
            hits = (predicted.argmax(axis=1) == codes.argmax(axis=1)).astype(np.float64)
            value, reach = 100 * hits.mean(), 100 * quantile() * hits.std() / np.sqrt(len(hits))
            estimate = Estimate.within(value, reach, 0.0, 100.0, "%")
            return TaskForecast(self.dataset.name, "accuracy", estimate, True, self._how(len(hits)), alignment)
        errors = np.mean(np.square(predicted - codes) / codes.var(axis=0), axis=1)
        reach = quantile() * errors.std() / np.sqrt(len(errors))
        estimate = Estimate.within(errors.mean(), reach, 0.0)
        return TaskForecast(self.dataset.name, "NMSE", estimate, False, self._how(len(errors)), alignment)

    @staticmethod
    def _how(rows: int) -> str:
        return f"ridge readout of {rows:,} measured rows, each predicted by a fit to the others"


def _codes(dataset: Any, targets: Any) -> Float64Array:
    """Targets as columns: one a class, or the values."""
    if targets.dtype.kind in "iu":
        return np.asarray(np.eye(len(dataset.class_names) or int(targets.max()) + 1)[targets])
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)


def _left_out(responses: Float64Array, codes: Float64Array) -> tuple[Float64Array, float]:
    """Each row predicted by a ridge fit to all others, with the penalty that does best; and the alignment."""
    rows, mean = len(responses), codes.mean(axis=0)
    centred = responses - responses.mean(axis=0)
    spread = centred.std(axis=0)
    x = centred[:, spread > 0] / spread[spread > 0]
    y = codes - mean
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    along, best = left.T @ y, None
    for penalty in PENALTIES * rows:
        shrunk = np.square(values) / (np.square(values) + penalty)
        fitted = left @ (shrunk[:, None] * along)
        leverage = np.minimum(np.square(left) @ shrunk + 1 / rows, 1 - 1e-9)[:, None]
        residual = (y - fitted) / (1 - leverage)
        error = float(np.mean(np.square(residual)))
        if best is None or error < best[0]:
            best = error, y - residual + mean
    assert best is not None
    kernel = float(np.sqrt(np.sum(values**4)) * np.linalg.norm(y.T @ y))
    alignment = float(np.square(np.linalg.norm(y.T @ x)) / kernel) if kernel > 0 else 0.0
    return best[1], alignment


# -- all ---------------------------------------------------------------------------------------------------------


def row_tasks(tasks: Sequence[Any], drive: Drive) -> dict[str, RowTask]:
    """The tasks that measure rows of their own, by name.

    Raises
    ------
    ConfigError
        A task does not suit the device, or how it is driven.
    """
    found = {}
    for dataset in tasks:
        if isinstance(dataset.task, SequenceTask):
            features = dataset.inputs.shape[1] // dataset.task.steps
            if not drive.remembers:
                raise ConfigError(
                    f"{dataset.name} is a series, and this device is driven without memory; give it steps "
                    "(--steps, or the device's own sequence_length), or feed its answers back (--feedback)"
                )
            if features != drive.channels:
                raise ConfigError(
                    f"{dataset.name} has {features} values a step, and the device takes {drive.channels}; "
                    "give it as many"
                )
        elif not np.isfinite(dataset.inputs).all():
            raise ConfigError(f"{dataset.name} has missing values; fill them in before a score is predicted")
        elif drive.rows_a_sequence > 1:
            raise ConfigError(f"{dataset.name} is no series, and this device's answers are fed back step by step")
        else:
            found[dataset.name] = RowTask(dataset, drive)
    return found


def task_forecasts(
    tasks: Sequence[Any],
    drive: Drive,
    samples: Samples,
    space: StateSpace,
    amplitude: float,
    answers: Mapping[str, Float64Array],
    seed: int,
) -> tuple[TaskForecast, ...]:
    """A predicted score a task, in their order.

    Parameters
    ----------
    answers
        Responses to the stimuli of the row tasks, by their names.
    """
    measured = row_tasks(tasks, drive)
    return tuple(
        measured[dataset.name].forecast(answers[dataset.name], seed)
        if dataset.name in measured
        else _series_forecast(dataset, samples, space, amplitude)
        for dataset in tasks
    )
