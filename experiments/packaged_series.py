"""Measured series that other Python packages ship: read where they are installed, nothing copied or imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hwloop.device.spec import Float64Array
from hwloop.errors import DatasetError
from hwloop.experiments.dataset import Dataset
from hwloop.experiments.time_series import series_of_values

LASER_VALUES = 10_093
RESERVOIRPY = "pip install 'hwloop[series]'"
# Its own requirements would put older pandas and numba in the place of these; its files need neither.
AEON = "pip install --no-deps aeon==1.6.0"
SPEAKERS = {str(number): f"speaker {number}" for number in range(1, 10)}
HANDS = {"1": "draws a gun", "2": "points"}


def santa_fe_laser() -> Float64Array:
    """Intensity of a far-infrared laser in a chaotic state, (10093,): the numbers 0 to 255 of an 8-bit converter.

    Read from the package reservoirpy: series A of the Santa Fe competition, 1,000 values and their continuation
    (Weigend and Gershenfeld, "Time Series Prediction", 1994; Huebner et al., Phys. Rev. A 40, 6354, 1989).

    Raises
    ------
    DatasetError
        The package is not installed, or holds another series.
    """
    file = _packaged("santa-fe", "reservoirpy", "datasets/santafe_laser.npy", RESERVOIRPY)
    try:
        series = np.asarray(np.load(file, allow_pickle=False), dtype=np.float64).ravel()
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file} cannot be read as the Santa Fe laser series: {error}; {RESERVOIRPY}"
        ) from error
    if series.shape != (LASER_VALUES,) or series.min() < 0 or series.max() > 255:
        raise DatasetError(f"{file} is not the Santa Fe laser series of {LASER_VALUES:,} values; {RESERVOIRPY}")
    return series


def santa_fe(values: int = 6000, steps: int = 500, washout: int = 50, ahead: int = 1) -> Dataset:
    """Santa Fe laser: 6,000 measured intensities of a chaotic laser (0 to 255), predicted one step (reservoirpy).

    One series in time, cut into sequences that follow one another; see :func:`santa_fe_laser` for its source.

    Parameters
    ----------
    values
        How many from the start of the series, at most 10,093.
    steps, washout
        Of a sequence, and how many at its start are neither trained on nor scored.
    ahead
        How many steps are predicted, at least 1.
    """
    if not 1 <= ahead < values <= LASER_VALUES:
        raise DatasetError(
            f"santa-fe: values must be at most {LASER_VALUES:,} and more than the steps ahead, at least 1; "
            f"not {values} and {ahead}"
        )
    count = (values - ahead) // steps if steps > 0 else 0
    if count < 2:
        raise DatasetError(f"santa-fe: {values} values make no two sequences of {steps} steps; take shorter ones")
    series = santa_fe_laser()[:values]
    inputs, targets = (series[start : start + count * steps].reshape(count, steps, 1) for start in (0, ahead))
    what = f"intensity of a far-infrared laser, 0 to 255, {ahead} ahead (Santa Fe A, reservoirpy)"
    return series_of_values("santa-fe", inputs, targets, washout, (f"x(t+{ahead})",), what, in_time=True)


def japanese_vowels(steps: int = 29) -> Dataset:
    """Japanese vowels: 270 + 370 utterances, 12 cepstrum coefficients in 7 to 29 frames, 9 speakers (aeon).

    Cepstrum coefficients of a linear prediction of 9 men saying /ae/, without a unit; the test set is the authors'
    (Kudo, Toyama and Shimbo, Pattern Recognit. Lett. 20, 1103, 1999; UCI). Frames are stretched to ``steps`` by
    linear interpolation, so that utterances of all lengths begin and end together; features are
    (steps * 12) in the order of time.

    Parameters
    ----------
    steps
        Frames of a row, at least 2.
    """
    return _classes_of("JapaneseVowels", "japanese-vowels", SPEAKERS, steps, "cepstra of /ae/ by 9 speakers")


def basic_motions(steps: int = 100) -> Dataset:
    """Basic motions: 40 + 40 recordings of a watch, 6 channels in 100 steps of 0.1 s, 4 activities (aeon).

    Three axes of an accelerometer and three of a gyroscope, in units that the authors do not state; standing,
    walking, running, badminton. The test set is the archive's (Bagnall et al., arXiv:1811.00075). Features are
    (steps * 6) in the order of time.

    Parameters
    ----------
    steps
        Of a row, at least 2: the 100 are stretched by linear interpolation.
    """
    return _classes_of("BasicMotions", "basic-motions", {}, steps, "accelerometer and gyroscope of a watch")


def gun_point(steps: int = 150) -> Dataset:
    """Gun point: 50 + 150 traces of a hand in 150 steps, 2 classes: draws a gun or points (aeon).

    Horizontal position of the right hand, standardised a row by the authors; their test set (Ratanamahatana and
    Keogh, "Everything you know about dynamic time warping is wrong", 2004; UCR archive).

    Parameters
    ----------
    steps
        Of a row, at least 2: the 150 are stretched by linear interpolation.
    """
    return _classes_of("GunPoint", "gun-point", HANDS, steps, "position of a hand that draws a gun or points")


def _classes_of(folder: str, name: str, names: Mapping[str, str], steps: int, what: str) -> Dataset:
    """A classification of the archive's, its training rows before its test rows; ``names`` of its class labels."""
    if not isinstance(steps, int) or steps < 2:
        raise DatasetError(f"{name}: steps must be a whole number of at least 2, not {steps!r}")
    rows: list[Float64Array] = []
    named: list[str] = []
    lengths = []
    for part in ("TRAIN", "TEST"):
        file = _packaged(name, "aeon", f"datasets/data/{folder}/{folder}_{part}.ts", AEON)
        before = len(rows)
        for series, label in read_ts(file):
            rows.append(_stretched(series, steps).ravel())
            named.append(label)
        lengths.append(len(rows) - before)
    classes = sorted(set(named))
    return Dataset(
        name,
        np.stack(rows),
        np.array([classes.index(label) for label in named]),
        tuple(names.get(each, each) for each in classes),
        description=f"{lengths[0]} + {lengths[1]} series of {steps} steps: {what} (aeon, UEA and UCR archive)",
        test_rows=np.arange(lengths[0], len(rows)),
    )


def read_ts(file: Path) -> list[tuple[Float64Array, str]]:
    """The series of a ``.ts`` file of the UEA and UCR archive, each (steps, channels), with its class.

    A line behind ``@data`` is a series: channels apart by ``:``, values by ``,``, and the class at its end.

    Raises
    ------
    DatasetError
        The file cannot be read, has no such lines, or a channel of another length; file and line are named.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        start = next((k for k, line in enumerate(lines) if line.strip().lower() == "@data"), len(lines))
        found = []
        for number, line in enumerate(lines[start + 1 :], start + 2):
            if line.strip():
                *channels, label = line.split(":")
                try:
                    series = np.array([channel.split(",") for channel in channels], dtype=np.float64).T
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from error
                if series.ndim != 2 or not np.all(np.isfinite(series)):
                    raise ValueError(f"line {number}: no series of finite values")
                found.append((series, label.strip()))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read as series of the archive: {error}") from error
    if not found:
        raise DatasetError(f"{file} holds no series behind a line @data")
    return found


def _stretched(series: Float64Array, steps: int) -> Float64Array:
    """(steps, channels): first and last value stay, those between are interpolated."""
    if len(series) == steps:
        return series
    places = np.linspace(0, len(series) - 1, steps)
    return np.stack([np.interp(places, np.arange(len(series)), channel) for channel in series.T], axis=1)


def _packaged(dataset: str, package: str, path: str, command: str) -> Path:
    """A file of an installed package, which is found but not imported."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a package that stands half loaded
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(
            f"the dataset {dataset} is read from the package {package}, which is missing: {command}"
        )
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise DatasetError(f"the dataset {dataset} needs {file}, which this {package} does not have: {command}")
    return file
