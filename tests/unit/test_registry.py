"""Devices by name, by module and class, and from TOML files, good and bad."""

import sys

import numpy as np
import pytest

from hwloop import Averaged, ConfigError, Device, DeviceSpec, Quantized, open_device
from hwloop.registry import DATASETS, DEVICES, WRAPPERS, Registry, nearest, paths_beside
from hwloop.simulators.optical_fibre import OpticalFibre


class Lamp(Device):
    """A lamp of the lab's own."""

    def __init__(self, watts=1.0):
        self.watts = watts
        self.spec = DeviceSpec(1, 1)

    def _measure(self, inputs):
        return inputs * self.watts


def not_a_device():
    return "lamp"


@pytest.fixture
def lab(monkeypatch):
    """This module under the name that a lab's own package would have."""
    monkeypatch.setitem(sys.modules, "lab_devices", sys.modules[__name__])


def toml(tmp_path, text):
    path = tmp_path / "rig.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_substrate_is_found_by_name():
    device = open_device("optical-fibre", n_inputs=5, n_outputs=7)
    assert isinstance(device, OpticalFibre)
    assert (device.spec.n_inputs, device.spec.n_outputs) == (5, 7)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown device 'optical-fiber': did you mean 'optical-fibre'"):
        open_device("optical-fiber")


def test_a_module_that_lies_elsewhere_is_looked_for_where_the_command_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"in the folder that holds cols_of_mine.py; looked in {tmp_path}"):
        DATASETS.load("cols_of_mine:data")


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match="no setting 'n_output': did you mean 'n_outputs'"):
        open_device("optical-fibre", n_output=7)


def test_a_refused_setting_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"read_noise must be at least 0.*nearest allowed value is 0"):
        open_device("optical-fibre", read_noise=-1.0)


@pytest.mark.usefixtures("lab")
class TestModuleAndClass:
    def test_opens(self):
        assert open_device("lab_devices:Lamp", watts=3.0).measure([[0.5]]) == 1.5

    @pytest.mark.parametrize("name", ["lab_devices:Lump", "no_such_package:Lamp", "lab_devices:"])
    def test_that_cannot_be_imported(self, name):
        with pytest.raises(ConfigError):
            open_device(name)

    def test_that_is_no_device(self):
        with pytest.raises(ConfigError, match=r"gave a str, not a hwloop\.Device"):
            open_device("lab_devices:not_a_device")

    def test_unknown_setting(self):
        with pytest.raises(ConfigError, match="did you mean 'watts'"):
            open_device("lab_devices:Lamp", wats=1.0)


class TestToml:
    def test_device_settings_and_wrappers_from_the_inside_out(self, tmp_path):
        path = toml(
            tmp_path,
            """
            device = "optical-fibre"
            [settings]
            n_inputs = 6
            n_outputs = 4
            [[wrap]]
            name = "averaged"
            n = 3
            [[wrap]]
            name = "quantized"
            dac_bits = 4
            """,
        )
        device = open_device(path)
        assert isinstance(device, Quantized)
        assert isinstance(device.device, Averaged)
        assert device.device.n == 3
        assert device.measure(np.zeros((2, 6))).shape == (2, 4)
        assert open_device(str(path), n_outputs=9).spec.n_outputs == 9  # the caller's settings win

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "device ="),
            ("device = 3", "device ="),
            ('device = "other.toml"', "device ="),
            ('device = "optical-fibr"', "did you mean 'optical-fibre'"),
            ('devise = "optical-fibre"', "did you mean 'device'"),
            ('device = "optical-fibre"\nsettings = 3', r"\[settings\] must be a table"),
            ('device = "optical-fibre"\n[settings]\nn_input = 3', "did you mean 'n_inputs'"),
            ('device = "optical-fibre"\nwrap = "averaged"', r"\[\[wrap\]\]"),
            ('device = "optical-fibre"\n[[wrap]]\nn = 3', r"\[\[wrap\]\]"),
            ('device = "optical-fibre"\n[[wrap]]\nname = "average"\nn = 3', "did you mean 'averaged'"),
            ('device = "optical-fibre"\n[[wrap]]\nname = "averaged"\nm = 3', "no setting 'm'"),
            ('device = "optical-fibre"\n[[wrap]]\nname = "averaged"', "n"),
            ('device = "optical-fibre"\n[[wrap]]\nname = "averaged"\nn = 0', "nearest allowed value is 1"),
            ('device = "optical-fibre"\n[[wrap]]\nname = "averaged"\nn = 3\ndevice = 1', "device"),
            ('device = "optical-fibre', "not a valid TOML file"),
        ],
    )
    def test_bad_files(self, tmp_path, text, message):
        with pytest.raises(ConfigError, match=message):
            open_device(toml(tmp_path, text))

    @pytest.mark.parametrize("named", ["rig.py", "rig.py:Rig", "shelf", "absent", "/etc", "", "no\0path", 3])
    def test_paths_count_from_the_file_where_something_lies_there(self, tmp_path, monkeypatch, named):
        (tmp_path / "shelf").mkdir()
        (tmp_path / "rig.py").write_text("")
        monkeypatch.setattr(Lamp, "path_settings", frozenset({"file", "folders"}))
        monkeypatch.setattr(DEVICES, "load", lambda name: Lamp)
        found = f"{tmp_path}/{named}" if named in ("rig.py", "rig.py:Rig", "shelf") else named
        settings = {"file": named, "folders": [named, "shelf"], "name": "shelf"}
        expected = {"file": found, "folders": [found, f"{tmp_path}/shelf"], "name": "shelf"}
        assert paths_beside(tmp_path, "lamp", settings) == expected

    def test_a_worker_is_found_beside_its_file(self, tmp_path):
        (tmp_path / "rig.py").write_text("class Rig:\n    spec = {'n_inputs': 2, 'n_outputs': 3}\n")
        device = open_device(toml(tmp_path, 'device = "worker:"\n[settings]\ntarget = "rig.py:Rig"'))
        assert device.spec.n_outputs == 3

    def test_absent_file_directory_and_binary_file(self, tmp_path):
        with pytest.raises(ConfigError, match="no such file"):
            open_device(tmp_path / "absent.toml")
        with pytest.raises(ConfigError, match="cannot be read"):
            open_device(tmp_path)
        (tmp_path / "rig.toml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="not a valid TOML file"):
            open_device(tmp_path / "rig.toml")


def test_every_wrapper_is_registered_and_described():
    assert {"averaged", "drifting", "quantized"} <= set(WRAPPERS.entries())
    assert all(line and not line.startswith("unavailable") for line in WRAPPERS.describe().values())


def test_a_broken_entry_is_described_not_raised():
    lines = DEVICES.describe()
    assert lines["optical-fibre"].startswith("Simulated multimode fibre")


def test_a_setting_of_any_name_reaches_the_device_or_is_refused(tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text('device = "optical-fibre"\n\n[settings]\nname = "quantized"\n')
    with pytest.raises(ConfigError, match="no setting 'name'"):
        open_device(rig)


def test_an_empty_group_says_so():
    with pytest.raises(ConfigError, match="Known: none"):
        Registry("thing", "hwloop.no-such-group").load("any")


def test_nearest_without_a_close_name_lists_all():
    assert nearest("zzz", ["alpha", "beta"]) == "Known: alpha, beta."


def test_a_scheme_takes_the_rest_of_the_name(monkeypatch, tmp_path):
    """``remote:HOST:PORT`` and its like: an entry point of its own group, called with what follows the colon."""
    (tmp_path / "schemed-1.dist-info").mkdir()
    (tmp_path / "schemed-1.dist-info" / "METADATA").write_text("Name: schemed\nVersion: 1\n")
    (tmp_path / "schemed-1.dist-info" / "entry_points.txt").write_text(
        "[hwloop.device_schemes]\nelsewhere = schemed:Elsewhere\n"
    )
    (tmp_path / "schemed.py").write_text(
        "import hwloop\n"
        "class Elsewhere(hwloop.Device):\n"
        "    spec = hwloop.DeviceSpec(1, 1)\n"
        "    def __init__(self, address, *, key=''):\n"
        "        self.address, self.key = address, key\n"
        "    def _measure(self, inputs):\n"
        "        return inputs\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    device = open_device("elsewhere:host:5025", key="k")
    assert (device.address, device.key) == ("host:5025", "k")
    with pytest.raises(ConfigError, match="no setting 'kay': did you mean 'key'"):
        open_device("elsewhere:host:5025", kay="k")
    rig = tmp_path / "rig.toml"
    rig.write_text('device = "elsewhere:[::1]:7"\n')
    assert open_device(rig).address == "[::1]:7"
