"""A classifier on disk: it predicts the same to the last bit in another process, or says why it does not."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.checkpoint.estimators import SavedClassifier
from hwloop.errors import CheckpointError, HwloopWarning

ROWS = np.random.default_rng(0).normal(size=(60, 6)) * [1, 10, 100, 1, 1, 1] + [0, 0, 0, 5, 0, 0]
LABELS = np.arange(60) % 3
QUIET = {"n_outputs": 30, "read_noise": 0.0}


class Rig(hwloop.Device):
    """A lab's own device."""

    spec = hwloop.DeviceSpec(n_inputs=20, n_outputs=20, input_high=1.0)

    def __init__(self, gain: float = 1.0) -> None:
        self.matrix = gain * np.random.default_rng(3).normal(size=(20, 20))

    def _measure(self, inputs):
        return np.tanh(inputs @ self.matrix)


def classifier(device="optical-fibre", **options):
    settings = {"stages": 2, "width": 10, "trainer_settings": {"min_steps": 40, "epochs": 2}, "random_state": 0}
    if isinstance(device, str):
        settings["device_settings"] = QUIET
    return hwloop.PhysicalClassifier(device, **settings | options)


NAMES = {
    "text": np.array(["ant", "bee", "cat"]),
    "objects": np.array(["ant", "bee", "cat"], dtype=object),
    "whole": np.array([-3, 7, 1000]),
    "numbers": np.array([0.0, 1.0, 2.0]),
    "small": np.array([1, 2, 3], dtype=np.int8),
    "yes or no": np.array([False, True]),
}


@pytest.mark.parametrize("kind", each_row(NAMES, "text", "whole"))
def test_classes_options_and_predictions_come_back_as_they_were(tmp_path, kind):
    names, path = NAMES[kind], tmp_path / "model.safetensors"
    targets = names[LABELS % len(names)]
    model = classifier(budget=5000).fit(ROWS, targets)
    model.save(path)
    loaded = hwloop.PhysicalClassifier.load(path)
    assert loaded.get_params() == model.get_params()
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.classes_, model.classes_)
    np.testing.assert_array_equal(loaded.predict_proba(ROWS + 0.01), model.predict_proba(ROWS + 0.01))
    assert loaded.predict(ROWS).dtype == targets.dtype
    assert loaded.n_features_in_ == 6
    assert loaded.network_.sessions[0].budget == 5000
    with pytest.raises(ValueError, match="features"):
        loaded.predict(ROWS[:, :5])
    loaded.fit(ROWS, targets)


SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer", ["phyll", pytest.param("local", marks=SLOW), pytest.param("readout", marks=SLOW)]
)
def test_another_process_predicts_the_same(tmp_path, trainer):
    path = tmp_path / "model.safetensors"
    settings = {} if trainer == "readout" else {"min_steps": 40, "epochs": 2}
    model = classifier(trainer=trainer, trainer_settings=settings).fit(ROWS, NAMES["text"][LABELS])
    model.save(path)
    np.save(tmp_path / "rows.npy", ROWS + 0.01)
    script = (
        "import sys, json, numpy, hwloop; model = hwloop.PhysicalClassifier.load(sys.argv[1]);"
        "rows = numpy.load(sys.argv[2], allow_pickle=False);"
        "print(json.dumps([model.predict_proba(rows).tolist(), model.predict(rows).tolist()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "rows.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    probabilities, classes = json.loads(done.stdout)
    np.testing.assert_array_equal(np.array(probabilities), model.predict_proba(ROWS + 0.01))
    assert classes == model.predict(ROWS + 0.01).tolist()


def test_a_device_of_ones_own_is_given_again_and_compared(tmp_path):
    path = tmp_path / "model.safetensors"
    model = classifier(Rig()).fit(ROWS, LABELS)
    model.save(path)
    with pytest.raises(CheckpointError, match=r"Rig.*open the device yourself"):
        hwloop.PhysicalClassifier.load(path)
    rig = Rig()
    loaded = hwloop.PhysicalClassifier.load(path, rig)
    assert loaded.device is rig
    assert len(loaded.network_.distinct_sessions) == 1
    np.testing.assert_array_equal(loaded.predict_proba(ROWS), model.predict_proba(ROWS))
    with pytest.raises(CheckpointError, match=r"gain: 1, not 2"):
        hwloop.PhysicalClassifier.load(path, Rig(2.0))
    with pytest.warns(HwloopWarning, match=r"gain: 1, not 2"):
        hwloop.PhysicalClassifier.load(path, Rig(2.0), device_changed="warn")


def test_a_network_alone_is_no_classifier(tmp_path):
    path = tmp_path / "net.safetensors"
    hwloop.save_network(classifier().fit(ROWS, LABELS).network_, path)
    with pytest.raises(CheckpointError, match=r"no classifier.*hwloop\.load_network"):
        hwloop.PhysicalClassifier.load(path)


def test_what_no_file_can_hold_is_said(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.warns(HwloopWarning, match="RandomState, which no file keeps"):
        classifier(random_state=np.random.RandomState(0)).fit(ROWS, LABELS).save(path)
    assert hwloop.PhysicalClassifier.load(path).random_state is None
    model = classifier().fit(ROWS, LABELS)
    model.set_params(trainer_settings={"x": object()})
    with pytest.raises(CheckpointError, match="trainer_settings holds a object"):
        model.save(tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["options"].update(colour="red"),
        lambda said: said.update(extra=1),
        lambda said: said.update(classes={"dtype": "<U3", "values": ["a", "b"]}),
        lambda said: said.update(classes={"dtype": "<i8", "values": ["a", "b", "c"]}),
        lambda said: said.update(classes={"dtype": "V8", "values": [1, 2, 3]}),
        lambda said: said.update(classes=3),
        lambda said: said.update(options=None),
        lambda said: said.pop("feature_names"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, reseal, change):
    path = tmp_path / "model.safetensors"
    classifier().fit(ROWS, LABELS).save(path)
    described = json.loads(path.with_suffix(".json").read_text())
    change(described["details"]["classifier"])
    path.with_suffix(".json").write_text(json.dumps(described))
    reseal(path)
    with pytest.raises(CheckpointError):
        hwloop.PhysicalClassifier.load(path)


def test_names_of_columns_are_kept():
    saved = SavedClassifier({"width": np.int64(3), "device": "x"}, ("a", "b"), classes=np.array([1, 2]))
    described = json.loads(json.dumps({"details": saved.details()}))
    again = SavedClassifier.read(described, "file")
    assert (again.options, again.feature_names, again.classes.tolist()) == (
        {"width": 3, "device": "x"},
        ("a", "b"),
        [1, 2],
    )
