"""What a function of the user's may return, as a table: arrays, a Bunch, a frame, a dataset of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import DatasetError
from hwloop.experiments.own_data.raw import MOST_VALUES, RawTable, made_up_names, require_size

if TYPE_CHECKING:
    import pandas as pd

RETURNS = "a hwloop.Dataset, (X, y), a scikit-learn Bunch, a pandas or polars frame, or a torch.utils.data.Dataset"
TARGET = "target"  # the column of targets that have no name


def raw_of_object(found: Any, where: str) -> RawTable:
    """The table in an object.

    Raises
    ------
    DatasetError
        It is nothing that is known; the message lists what is.
    """
    for is_one, read in KINDS:
        if is_one(found):
            return read(found, where)
    size = f" of {len(found)}" if isinstance(found, tuple | list) else ""
    raise DatasetError(f"{where} gave a {type(found).__name__}{size}; a dataset is {RETURNS}")


def table_of_arrays(
    where: str, inputs: Any, targets: Any, names: Sequence[str] | None = None, test: RawTable | None = None
) -> RawTable:
    """Rows of features with their targets.

    Parameters
    ----------
    inputs
        Array or frame (rows, ...); all that stands behind the first axis are the features of a row.
    targets
        Array, series or frame (rows,) or (rows, n).
    names
        Of the features.

    Raises
    ------
    DatasetError
        Other shapes, or more or fewer targets than rows.
    """
    import pandas as pd

    features, named, shape = _features(inputs, where, names)
    learned = _target_frame(targets, where)
    if len(features) != len(learned):
        raise DatasetError(
            f"{where}: X has {len(features):,} rows, y {len(learned):,}; give a target to every row"
        )
    for name in learned.columns:
        if name in features.columns:
            raise DatasetError(f"{where}: X has a column {name!r}, like y; give one of them another name")
    frame = pd.concat([features.reset_index(drop=True), learned.reset_index(drop=True)], axis=1)
    targets_of = tuple(learned.columns)
    return RawTable(where, frame, named, targets_of, alike=bool(shape), test=test, shape=shape)


def _features(inputs: Any, where: str, names: Sequence[str] | None) -> tuple[pd.DataFrame, bool, tuple[int, ...]]:
    """The frame of features, whether its names are its own, and the shape of a row where it is no flat one."""
    import pandas as pd

    if _is_frame(inputs):
        return _frame(inputs, where).frame, True, ()
    array = _array(inputs, f"{where}: X")
    if array.ndim < 2:
        raise DatasetError(f"{where}: X has shape {array.shape}; give it a row a sample, (rows, features)")
    width = math.prod(array.shape[1:])
    require_size(where, len(array), width)
    named = names is not None and len(names) == width
    labels = [str(name) for name in names or ()] if named else made_up_names(width)
    return pd.DataFrame(array.reshape(len(array), width), columns=labels), named, shape_of_row(array)


def shape_of_row(array: NDArray[Any]) -> tuple[int, ...]:
    """What stands behind the first axis; empty where that is one axis."""
    return array.shape[1:] if array.ndim > 2 else ()


def _target_frame(targets: Any, where: str) -> pd.DataFrame:
    import pandas as pd

    if isinstance(targets, pd.Series):
        return targets.to_frame(TARGET if targets.name is None else str(targets.name))
    if _is_frame(targets):
        return _frame(targets, where).frame
    array = targets if isinstance(targets, pd.Categorical) else _array(targets, f"{where}: y")
    if array.ndim > 2 or array.ndim == 0:
        raise DatasetError(f"{where}: y has shape {array.shape}; give it (rows,) or (rows, targets)")
    if array.ndim == 1 or array.shape[1] == 1:
        return pd.DataFrame({TARGET: array if array.ndim == 1 else array[:, 0]})
    return pd.DataFrame(array, columns=made_up_names(array.shape[1], TARGET))


def _array(values: Any, what: str) -> NDArray[Any]:
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
    if hasattr(values, "todense"):
        raise DatasetError(f"{what} is a sparse matrix; give a dense one (.toarray())")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(f"{what} is no array ({error})") from error
    if array.dtype.kind not in "biufUSOmM":
        raise DatasetError(f"{what} is of type {array.dtype}, neither numbers nor text")
    return array


def _is_frame(found: Any) -> bool:
    """Of pandas or polars; neither is imported for the question."""
    return type(found).__name__ == "DataFrame" and hasattr(found, "columns")


def _frame(found: Any, where: str) -> RawTable:
    import pandas as pd

    if not isinstance(found, pd.DataFrame):  # polars; its own to_pandas needs pyarrow
        found = pd.DataFrame({name: found[name].to_list() for name in found.columns})
    frame = found.set_axis([str(name) for name in found.columns], axis=1).reset_index(drop=True)
    require_size(where, len(frame), len(frame.columns))
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DatasetError(f"{where}: two columns are called {twice!r}; give every column its own name")
    return RawTable(where, frame)


def _is_bunch(found: Any) -> bool:
    return isinstance(found, Mapping) and "data" in found


def _bunch(found: Mapping[str, Any], where: str) -> RawTable:
    """scikit-learn's: the names of features and classes with the arrays."""
    import pandas as pd

    targets, classes = found.get("target"), found.get("target_names")
    if targets is None:
        raise DatasetError(f"{where} gave a Bunch without a target; there is nothing to learn")
    if classes is not None and getattr(targets, "ndim", 0) == 1 and np.asarray(targets).dtype.kind in "iu":
        targets = pd.Categorical.from_codes(np.asarray(targets), [str(name) for name in classes])
    names = found.get("feature_names")
    return table_of_arrays(where, found["data"], targets, None if names is None else list(names))


def _is_pair(found: Any) -> bool:
    return isinstance(found, tuple | list) and len(found) == 2


def _pair(found: Any, where: str) -> RawTable:
    return table_of_arrays(where, *found)


def _is_torch_dataset(found: Any) -> bool:
    """Known by the name of a class that it is derived from, so that torch is not imported for the question."""
    return any(f"{base.__module__}.{base.__qualname__}" == TORCH_DATASET for base in type(found).__mro__)


TORCH_DATASET = "torch.utils.data.dataset.Dataset"


def _torch_dataset(found: Any, where: str) -> RawTable:
    """Samples (x, y), one after the other."""
    samples = islice(found if hasattr(found, "__iter__") else _by_number(found, where), MOST_VALUES)
    inputs: list[NDArray[Any]] = []
    targets: list[NDArray[Any]] = []
    held = 0
    for number, sample in enumerate(samples):
        if not _is_pair(sample):
            raise DatasetError(f"{where}: sample {number} is a {type(sample).__name__}; give (x, y)")
        x = _array(sample[0], f"{where}: x of sample {number}")
        if inputs and x.shape != inputs[0].shape:
            raise DatasetError(f"{where}: x of sample {number} has shape {x.shape}, the first {inputs[0].shape}")
        held += x.size
        require_size(where, 1, held)
        inputs.append(np.atleast_1d(x))
        targets.append(_array(sample[1], f"{where}: y of sample {number}"))
    if not inputs:
        raise DatasetError(f"{where} gave a dataset without samples")
    return table_of_arrays(where, np.stack(inputs), np.array(targets))


def _by_number(found: Any, where: str) -> Any:
    try:
        rows = len(found)
    except TypeError as error:
        raise DatasetError(f"{where} gave a {type(found).__name__} without a length") from error
    return (found[number] for number in range(rows))


KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, str], RawTable]], ...] = (
    (_is_frame, _frame),
    (_is_bunch, _bunch),
    (_is_pair, _pair),
    (_is_torch_dataset, _torch_dataset),
)
