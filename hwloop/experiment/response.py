"""How the device answers: a sample of the training responses, and a sweep through its range, for the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.journal import Journal
from hwloop.session import Session

SAMPLE_ROWS = 512


def training_responses(journal: Journal, rows: int = SAMPLE_ROWS) -> Float64Array | None:
    """The first training rows that a journal holds, shape (rows, n_outputs); ``None`` if it has none."""
    kept: list[Float64Array] = []
    for record in journal.records():
        if record.purpose == "train":
            kept.append(record.responses)
        if sum(len(part) for part in kept) >= rows:
            break
    return np.concatenate(kept)[:rows] if kept else None


@dataclass(frozen=True)
class Sweep:
    """Responses along a straight line through the middle of the device's range.

    ``position`` (rows,) runs from -1 to 1: the most driven channel goes from one limit to the other.
    ``responses`` has shape (rows, n_outputs).
    """

    position: Float64Array
    responses: Float64Array


@dataclass(frozen=True)
class DeviceResponse:
    """What the report shows of one device."""

    spec: DeviceSpec
    identity: str
    sample: Float64Array | None
    sweep: Sweep | None


def sweep_stimuli(spec: DeviceSpec, rows: int, seed: int) -> tuple[Float64Array, Float64Array]:
    """Positions (rows,) and stimuli (rows, n_inputs) of a sweep, within the device's limits.

    Every channel moves by its own seeded share of its range, up or down, and rests at mid-range in the middle.
    """
    share = np.random.default_rng(seed).uniform(-1.0, 1.0, spec.n_inputs)
    share /= np.abs(share).max()
    position = np.linspace(-1.0, 1.0, rows)
    middle, half = (spec.low + spec.high) / 2, (spec.high - spec.low) / 2
    return position, np.clip(middle + position[:, np.newaxis] * share * half, spec.low, spec.high)


def measure_sweep(session: Session, rows: int, seed: int) -> Sweep | None:
    """Sweep a device, purpose ``calibrate``; ``None`` for 0 rows."""
    if rows == 0:
        return None
    position, stimuli = sweep_stimuli(session.device.spec, rows, seed)
    return Sweep(position, session.measure(stimuli, "calibrate"))


def effective_rank(responses: Float64Array) -> float:
    """Participation ratio of the principal variances, (sum v)^2 / sum v^2: directions that carry the signal."""
    variances = np.square(np.linalg.svd(responses - responses.mean(axis=0), compute_uv=False))
    total = float(np.sum(np.square(variances)))
    return float(np.sum(variances)) ** 2 / total if total > 0 else 0.0
