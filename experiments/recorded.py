"""Devices made of recordings: a real acoustic cavity and a real multimode fibre, without the laboratory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwloop import twin
from hwloop.device import Device
from hwloop.device.settings import whole_number
from hwloop.errors import ConfigError
from hwloop.experiments import data_files
from hwloop.registry import check_settings
from hwloop.simulators.fibre_series import FibreSeries
from hwloop.simulators.optical_fibre import OpticalFibre


def acoustic_recorded(seed: int = 0, data: str | Path | None = None, noise: bool = True) -> Device:
    """Real acoustic cavity, 20 drives in and 20 amplitudes out: a twin fitted to 8,000 measured rows.

    Parameters
    ----------
    seed
        Seed of the noise; the fit itself is always the same, and is done once a process.
    data
        The folder of measured data; by default as :func:`hwloop.experiments.data_files.find` says.
    noise
        Whether responses carry the residual noise of the fit; without it the device is deterministic.

    Raises
    ------
    DatasetError
        The recording is not there (the message says where to get it), or is not the published one.
    """
    fitted = _acoustic_twin(data_files.find(data_files.ACOUSTIC_CAVITY, data).absolute().parents[1])
    return fitted.reseeded(seed) if noise else fitted.noiseless()


def fibre_recorded(
    position: int | None = None,
    schedule: Sequence[Sequence[int]] | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    **optics: Any,
) -> Device:
    """Real multimode fibre, 110 modes in and out: a measured transmission matrix, a simulated camera.

    Parameters
    ----------
    position
        Which of the 27 matrices, 0 unless told: the fibre is pressed a little more at each, and the last one
        correlates by only 0.15 with the first.
    schedule
        Instead of one position, pairs of a position and the rows measured there, such as
        ``[[0, 2000], [9, 2000], [26, 1]]``: the fibre goes from one to the next by rows measured, and stays at
        the last.
    data
        The folder of measured data; by default as :func:`hwloop.experiments.data_files.find` says.
    seed
        Seed of the camera's noise.
    optics
        Other settings of the device ``optical-fibre``: encoding, converters, noise, saturation.

    Raises
    ------
    DatasetError
        The recording is not there (the message says where to get it), or is not the published one.
    ConfigError
        No such setting.
    ValueError
        No such position, or a schedule that is none.
    """
    check_settings(OpticalFibre, optics, "device 'fibre-recorded'")
    if "matrix" in optics:
        raise ConfigError("device 'fibre-recorded': its matrix is the recorded one; leave the setting out")
    if schedule is not None and position is not None:
        raise ConfigError("device 'fibre-recorded': a schedule holds the positions; leave position out")
    matrices = data_files.read_arrays(data_files.MULTIMODE_FIBRE, data)["matrices"]
    last = len(matrices) - 1
    if schedule is None:
        chosen = whole_number("position", 0 if position is None else position, low=0, high=last)
        return OpticalFibre(matrix=matrices[chosen], seed=seed, **optics)
    turns = [(matrices[whole_number("position", where, 0, last)], rows) for where, rows in _pairs(schedule)]
    return FibreSeries(turns, seed=seed, **optics)


def _pairs(schedule: Any) -> list[Sequence[int]]:
    if (
        not isinstance(schedule, list | tuple)
        or not schedule
        or any(not isinstance(turn, list | tuple) or len(turn) != 2 for turn in schedule)
    ):
        raise ValueError(
            f"schedule must be a list of pairs [position, rows], such as [[0, 2000], [26, 1]], not {schedule!r}"
        )
    return list(schedule)


@lru_cache(maxsize=2)
def _acoustic_twin(folder: Path) -> twin.Twin:
    measured = data_files.read_arrays(data_files.ACOUSTIC_CAVITY, folder)
    return twin.fit(measured["inputs"], measured["outputs"], seed=0)
