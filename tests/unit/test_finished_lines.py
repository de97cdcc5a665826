"""A long comparison goes on with the device that it began with, and with no other of the same name."""

import json

import pytest

import hwloop
from hwloop.devices.calibrated import Calibrated
from hwloop.experiments.arena.run import CellStore
from hwloop.experiments.drift.run import CourseStore

SETTINGS = {"experiment": {"device": {"name": "rig.toml"}}, "policies": ["recall"]}


def device(seed=0, low=-0.5):
    return Calibrated(hwloop.open_device("optical-fibre", n_inputs=2, n_outputs=2, seed=seed), input_low=low)


def opened(store, folder, *devices):
    with store(folder, SETTINGS, [each.describe() for each in devices]):
        pass


@pytest.mark.parametrize("store", [CellStore, CourseStore])
def test_another_device_of_the_same_name_is_refused_by_what_differs(store, tmp_path):
    opened(store, tmp_path, device(), device())
    opened(store, tmp_path, device(), device())
    opened(store, tmp_path, device(seed=3), device(seed=3))  # more seeds may join
    with pytest.raises(hwloop.ConfigError, match=r"Calibrated\.input_low: -0\.5, not -0\.25"):
        opened(store, tmp_path, device(), device(low=-0.25))
    opened(store, tmp_path, device(), device())


@pytest.mark.parametrize(("store", "name"), [(CellStore, "arena.json"), (CourseStore, "drift-settings.json")])
def test_a_folder_from_before_descriptions_goes_on(store, name, tmp_path):
    opened(store, tmp_path)
    table = json.loads((tmp_path / name).read_text())
    del table["devices"]
    (tmp_path / name).write_text(json.dumps(table))
    opened(store, tmp_path, device())
