"""The columns of a file in time, cut into sequences."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.own_data.prepared import PreparedColumn, SeriesPreparation
from hwloop.registry import nearest
from hwloop.tasks import SequenceOfValues


def series_dataset(
    name: str,
    table: Float64Array,
    columns: Sequence[str],
    target: str | Sequence[str],
    *,
    horizon: int = 1,
    steps: int = 200,
    washout: int = 50,
) -> Dataset:
    """One series, cut into sequences that follow one another; it is split into contiguous stretches.

    What is left of the series after the last whole sequence is not used. Every column is an input. With a
    ``horizon`` of 0 the targets are not: they would be given away.

    Parameters
    ----------
    name
        Of the dataset.
    table
        Shape (times, columns), in the order of time, at equal distances.
    columns
        Their names.
    target
        The column, or columns, whose value ``horizon`` steps later is predicted at every step.
    horizon
        At least 0.
    steps, washout
        Of a sequence, and how many at its start are neither trained on nor scored: the device, which begins every
        sequence at rest, still knows how it began.

    Raises
    ------
    DatasetError
        An unknown column, or a series that is too short for two sequences.
    """
    wanted = [target] if isinstance(target, str) else list(target)
    for each in wanted:
        if each not in columns:
            raise DatasetError(f"{name}: unknown target {each!r}: {nearest(each, columns)}")
    if horizon < 0:
        raise DatasetError(f"{name}: the horizon must not be negative, not {horizon}")
    places = [list(columns).index(each) for each in wanted]
    used = [k for k in range(len(columns)) if horizon > 0 or k not in places]
    if not used:
        raise DatasetError(f"{name}: with a horizon of 0 nothing is left to predict {', '.join(wanted)} from")
    count = (len(table) - horizon) // steps if steps > 0 else 0
    if count < 2:
        raise DatasetError(
            f"{name}: {len(table)} times are too few for two sequences of {steps} steps with a horizon of "
            f"{horizon}; take shorter sequences (steps)"
        )
    end = count * steps
    names = tuple(f"{each}(t+{horizon})" if horizon else each for each in wanted)
    return Dataset(
        name,
        table[:end, used].reshape(count, -1),
        table[horizon : horizon + end, places].reshape(count, -1),
        description=f"one series of {len(table):,} times, cut into {count} sequences of {steps:,} steps",
        task=SequenceOfValues(steps, washout, in_time=True, names=names),
        preparation=SeriesPreparation(
            tuple(PreparedColumn(columns[k]) for k in used),
            tuple(columns),
            () if horizon > 0 else tuple(wanted),
        ),
    )
