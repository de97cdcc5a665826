"""The datasets that ship with hwloop, read or generated offline, and the names of its experiments."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from hwloop.errors import ConfigError, DatasetError
from hwloop.experiments.dataset import Dataset, Split, split
from hwloop.registry import nearest

__all__ = ["Dataset", "Split", "diabetes", "digits", "mnist1d", "split", "vowels", "wine"]


def __getattr__(name: str) -> Any:
    """Series in time bear their names here too; they are read where they are used."""
    if name in ("mackey_glass", "narma10", "nmse"):
        from hwloop.experiments import time_series

        return getattr(time_series, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def digits() -> Dataset:
    """Handwritten digits: 1,797 images of 8 x 8 pixels, 10 classes (scikit-learn, embedded).

    Pixels count 0 to 16, as they are in the UCI "Optical Recognition of Handwritten Digits" test set.
    """
    from sklearn.datasets import load_digits

    stored = load_digits()
    return Dataset(
        name="digits",
        inputs=stored.data,
        labels=stored.target,
        class_names=tuple(str(digit) for digit in range(10)),
        description="1,797 handwritten digits of 8 x 8 pixels, values 0 to 16 (scikit-learn, UCI)",
    )


def mnist1d() -> Dataset:
    """One-dimensional digits: 5,000 signals of 40 points, 10 classes, 1,000 of them the authors' test set.

    Generated offline by the ``mnist1d`` package with its default settings and seed (Greydanus and Kobak,
    "Scaling down deep learning with MNIST-1D", ICML 2024).

    Raises
    ------
    DatasetError
        The package is not installed.
    """
    stored = _generated_mnist1d()
    rows = len(stored["y"]) + len(stored["y_test"])
    return Dataset(
        name="mnist1d",
        inputs=np.concatenate([stored["x"], stored["x_test"]]),
        labels=np.concatenate([stored["y"], stored["y_test"]]),
        class_names=tuple(str(digit) for digit in range(10)),
        description="4,000 + 1,000 one-dimensional digits of 40 points (mnist1d package, default seed)",
        test_rows=np.arange(len(stored["y"]), rows),
    )


def diabetes(error: str = "squared") -> Dataset:
    """Diabetes: 442 patients, 10 columns, the progression of the disease a year later (scikit-learn, embedded).

    Columns are age in years, sex (1, 2), body mass index in kg/m2, mean arterial pressure in mmHg and six values
    of the blood serum, unscaled; the progression is a score from 25 to 346 (Efron et al., Ann. Statist. 32, 407,
    2004).

    Parameters
    ----------
    error
        What heads minimise, as :class:`hwloop.tasks.Regression` says: ``"squared"`` or ``"huber"``.
    """
    from sklearn.datasets import load_diabetes

    from hwloop.tasks import Regression

    stored = load_diabetes(scaled=False)
    return Dataset(
        name="diabetes",
        inputs=stored.data,
        targets=stored.target,
        task=Regression(("progression",), error),
        description="442 patients, 10 columns; progression of diabetes a year later, 25 to 346 (scikit-learn)",
    )


def wine() -> Dataset:
    """Wines: 178 Italian wines of 3 cultivars, 13 columns of their chemistry in units of their own (scikit-learn).

    The example of a table of one's own: ``docs/your-data.md`` writes the same as a CSV file.
    """
    from sklearn.datasets import load_wine

    stored = load_wine()
    return Dataset(
        name="wine",
        inputs=stored.data,
        labels=stored.target,
        class_names=tuple(str(name) for name in stored.target_names),
        description="178 wines of 3 cultivars, 13 columns of chemistry (scikit-learn, UCI)",
    )


def vowels(path: str | Path | None = None) -> Dataset:
    """Spoken vowels: 258 rows of 12 formants, 7 classes, 48 women speakers (Hillenbrand et al. 1995).

    Formants F1 to F3 in Hz at steady state and at 20, 50 and 80 % of the vowel. Groups are the speakers.

    Parameters
    ----------
    path
        The CSV file, or the data folder that holds it as ``vowels/vowels.csv``. Without one, the folder is
        found as :func:`hwloop.experiments.data_files.find` says. The checksum of a file that you name
        yourself is not compared.

    Raises
    ------
    DatasetError
        The file is absent (the message says where to get it) or is no such table.
    """
    from hwloop.experiments import data_files

    file = Path(path) if path is not None and Path(path).is_file() else data_files.find(data_files.VOWELS, path)
    names, inputs = _read_vowels(file)
    vowel_of_row = [name[3:] for name in names]
    class_names = tuple(sorted(set(vowel_of_row)))
    return Dataset(
        name="vowels",
        inputs=np.array(inputs),
        labels=np.array([class_names.index(vowel) for vowel in vowel_of_row]),
        class_names=class_names,
        description="258 spoken vowels, 12 formants in Hz, grouped by speaker (Hillenbrand et al. 1995)",
        groups=np.array([name[:3] for name in names]),
    )


@cache
def _generated_mnist1d() -> dict[str, Any]:
    try:
        from mnist1d.data import make_dataset
    except ImportError as error:
        raise DatasetError(
            "the dataset mnist1d needs the package of the same name: pip install mnist1d "
            f"(or the extra hwloop[test]); importing it failed with: {error}"
        ) from error
    with _global_random_state_kept():
        return dict(make_dataset())


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Give ``random`` and ``numpy.random`` back as they were: the mnist1d package seeds both."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _read_vowels(file: Path) -> tuple[list[str], list[list[float]]]:
    """First column (speaker and vowel, as in ``w01ae``) and the 12 formants of every row."""
    from hwloop.experiments import data_files

    names, inputs = [], []
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            table = csv.reader(stream)
            next(table, None)
            for row in table:
                if len(row) != 13 or len(row[0]) < 4:
                    raise ValueError(f"line {table.line_num} is not a name such as w01ae and 12 formants")
                names.append(row[0])
                inputs.append([float(value) for value in row[1:]])
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{file} cannot be read as the table of vowels: {error}; it is published at {data_files.VOWELS.source}"
        ) from error
    if not names:
        raise DatasetError(f"{file} holds no rows of vowels; it is published at {data_files.VOWELS.source}")
    return names, inputs


def shipped_experiments() -> dict[str, Path]:
    """Experiment files by name, sorted."""
    folder = Path(str(files("hwloop.experiments")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def experiment_file(name: str) -> Path:
    """The file of a shipped experiment's name, or the file that the name is (it ends in ``.toml``).

    Raises
    ------
    ConfigError
        No such experiment; the nearest is named.
    """
    if name.endswith(".toml"):
        return Path(name)
    shipped = shipped_experiments()
    if name not in shipped:
        raise ConfigError(f"unknown experiment {name!r}: {nearest(name, shipped)}")
    return shipped[name]
