"""A run knows its device's file by its whole path, so it goes on from whatever folder it is resumed."""

from __future__ import annotations

import pytest

from hwloop.events import StageFinished
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import resume_experiment, run_experiment
from hwloop.experiments.datasets import split

pytestmark = pytest.mark.usefixtures("unpainted_figures")

RIG = 'device = "optical-fibre"\n[settings]\nn_outputs = 30\n'
EXPERIMENT = """
dataset = "digits"
trainer = {{ name = "local", settings = {{ epochs = 1, min_steps = 10 }} }}
evidence = {{ floors = false }}
{line}
"""


def write_lab(folder, line='device = "rig.toml"'):
    folder.mkdir()
    (folder / "rig.toml").write_text(RIG)
    (folder / "mine.toml").write_text(EXPERIMENT.format(line=line))


@pytest.mark.parametrize("line", ['device = "rig.toml"', '[device]\nname = "rig.toml"', 'device = ["rig.toml"]'])
def test_the_path_of_a_device_file_is_stored_whole(tmp_path, monkeypatch, line):
    lab = tmp_path / "lab"
    write_lab(lab, line)
    (tmp_path / "other.toml").write_text('device = "optical-fibre"\n')
    monkeypatch.chdir(tmp_path)
    assert load_experiment("lab/mine.toml").device[0].name == str(lab / "rig.toml")
    given = load_experiment("lab/mine.toml", ["device=other.toml"])
    assert given.device[0].name == str(tmp_path / "other.toml")


@pytest.mark.parametrize("name", ["worker:", "worker:this"])
def test_a_path_among_a_devices_settings_counts_from_its_file(tmp_path, monkeypatch, name):
    lab = tmp_path / "lab"
    write_lab(lab, f'[device]\nname = "{name}"\nsettings = {{ target = "camera.py:Camera", port = "camera.py" }}')
    (lab / "camera.py").write_text("")
    (tmp_path / "other.py").write_text("")
    monkeypatch.chdir(tmp_path)

    def settings(*changes):
        return load_experiment("lab/mine.toml", changes).device[0].settings

    assert settings() == {"target": f"{lab / 'camera.py'}:Camera", "port": "camera.py"}
    assert settings("device.settings.target=other.py:Camera")["target"] == f"{tmp_path / 'other.py'}:Camera"
    assert settings("device.settings.target=camera:Camera")["target"] == "camera:Camera"


def test_it_is_resumed_from_another_folder(tmp_path, monkeypatch):
    write_lab(tmp_path / "lab")
    (tmp_path / "home").mkdir()

    def interrupt(event):
        if isinstance(event, StageFinished):
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(load_experiment("lab/mine.toml"), split, out="night", listeners=[interrupt])
    monkeypatch.chdir(tmp_path / "home")
    evidence = resume_experiment(tmp_path / "night", split)
    assert evidence.score("network").mean > 0.5
