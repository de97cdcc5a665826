"""hwloop predict: what the run's own network says of new rows, to the last bit, and one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import hwloop
from hwloop.cli.app import app
from hwloop.experiment import seed_run
from hwloop.experiment.config import load_experiment
from hwloop.experiment.runner import run_experiment
from hwloop.experiments.datasets import split
from hwloop.experiments.own_data.new_rows import preparation_of, read_new_rows
from hwloop.journal import ReadOnlyJournal

pytestmark = pytest.mark.usefixtures("unpainted_figures")

EXPERIMENT = """
name = "digits"
dataset = "digits"
seeds = 2
[device]
name = "optical-fibre"
[device.settings]
n_outputs = 40
read_noise = 0.0
[trainer]
name = "{trainer}"
[network]
width = 12
[evidence]
floors = false
"""
ROWS = load_digits().data[:6]


def write(path, rows, header=""):
    lines = [",".join(map(repr, row)) for row in np.asarray(rows).tolist()]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, with what each seed's network said of some rows when it was trained."""
    base, said = tmp_path_factory.mktemp("predict"), {}
    (base / "digits.toml").write_text(EXPERIMENT.format(trainer="readout"))
    patch = pytest.MonkeyPatch()
    trained = seed_run.SeedRun._train_and_test

    def keep(self, *arguments):
        found = trained(self, *arguments)
        said[self.data.seed] = self.network.predict_proba(ROWS)
        return found

    patch.setattr(seed_run.SeedRun, "_train_and_test", keep)
    run_experiment(load_experiment(base / "digits.toml"), split, out=base / "run")
    patch.undo()
    return base, said


def predicted(*arguments, code=0):
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def probabilities(text):
    found = json.loads(text.splitlines()[-1])
    return found, np.array([list(each["probabilities"].values()) for each in found["predictions"]])


def test_another_process_says_what_the_run_would_have_said(finished, tmp_path):
    base, said = finished
    file = write(tmp_path / "new.csv", ROWS, ",".join(f"pixel {n}" for n in range(64)))
    command = [sys.executable, "-m", "hwloop.cli", "predict", str(base / "run"), str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, values = probabilities(done.stdout)
    np.testing.assert_array_equal(values, said[1])
    assert found["seed"] == 1
    assert [each["class"] for each in found["predictions"]] == [str(n) for n in said[1].argmax(axis=1)]
    assert "final.safetensors, seed 1" in done.stderr
    assert "12 evaluate" in done.stderr
    journal = ReadOnlyJournal(f"{found['journal']}/journal/seed-1-device-0")
    assert journal.rows == found["rows"]["evaluate"] == 12


def test_each_seed_and_every_final_checkpoint_can_be_asked(finished, tmp_path):
    base, said = finished
    file = write(tmp_path / "new.csv", ROWS)
    for options, seed in ((["--seed", "0"], 0), (["--checkpoint", "final-seed-0"], 0), (["--seed", "1"], 1)):
        result = predicted(base / "run", file, "--json", "--journal", tmp_path / "kept", *options)
        np.testing.assert_array_equal(probabilities(result.stdout)[1], said[seed])
    by_file = predicted(base / "run/checkpoints/final-seed-0.safetensors", file, "--json", "--journal", tmp_path)
    np.testing.assert_array_equal(probabilities(by_file.stdout)[1], said[0])


def test_images_are_named_in_what_is_said_of_them(finished, tmp_path):
    from PIL import Image

    (tmp_path / "new" / "sub").mkdir(parents=True)
    for name, row in (("b.png", ROWS[0]), ("a.png", ROWS[1]), ("sub/a.png", ROWS[2])):
        Image.fromarray(row.reshape(8, 8).astype(np.uint8)).save(tmp_path / "new" / name)
    ask = (finished[0] / "run", tmp_path / "new", "--journal", tmp_path / "kept")
    result = predicted(*ask, "--json")
    assert "note: 3 grey images of 8 x 8 pixels" in result.stderr
    found, values = probabilities(result.stdout)
    assert [each["file"] for each in found["predictions"]] == ["a.png", "b.png", "sub/a.png"]
    np.testing.assert_array_equal(values, finished[1][1][[1, 0, 2]])
    shown = [line.split("\t") for line in predicted(*ask).stdout.splitlines()]
    assert [line[:2] for line in shown] == [["row", "file"], ["1", "a.png"], ["2", "b.png"], ["3", "sub/a.png"]]
    assert all(len(line) == len(shown[0]) for line in shown)


def test_a_saved_classifier_is_asked_by_its_file(tmp_path):
    labels = np.array(["ant", "bee", "cat"])[np.arange(40) % 3]
    rows = np.random.default_rng(0).normal(size=(40, 5))
    model = hwloop.PhysicalClassifier(
        stages=1, width=8, random_state=0, trainer="readout", device_settings={"n_outputs": 20, "read_noise": 0.0}
    ).fit(rows, labels)
    model.save(tmp_path / "model.safetensors")
    file = write(tmp_path / "new.csv", rows[:7] + 0.01)
    found, values = probabilities(predicted(tmp_path / "model.safetensors", file, "--json").stdout)
    np.testing.assert_array_equal(values, model.predict_proba(rows[:7] + 0.01))
    assert found["classes"] == ["ant", "bee", "cat"]
    assert [each["class"] for each in found["predictions"]] == model.predict(rows[:7] + 0.01).tolist()
    model.save(tmp_path / "named.otherwise")
    shown = predicted(tmp_path / "named.otherwise", file).stdout.splitlines()
    assert shown[0] == "row\tclass\tant\tbee\tcat"
    assert [line.split("\t")[1] for line in shown[1:]] == model.predict(rows[:7] + 0.01).tolist()


def test_a_device_that_only_python_knew_is_named(tmp_path, monkeypatch):
    (tmp_path / "my_fibre.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_fibre

    labels, rows = np.arange(40) % 3, np.random.default_rng(0).normal(size=(40, 5))
    device = my_fibre.FailingFibre(n_inputs=9, n_outputs=20, read_noise=0.0)
    model = hwloop.PhysicalClassifier(device, stages=1, width=8, random_state=0, trainer="readout").fit(
        rows, labels
    )
    model.save(tmp_path / "model.safetensors")
    file, saved = write(tmp_path / "new.csv", rows[:7] + 0.01), tmp_path / "model.safetensors"
    assert "open the device yourself" in predicted(saved, file, code=2).stderr
    rig = tmp_path / "rig.toml"
    rig.write_text(
        'device = "my_fibre:FailingFibre"\n[settings]\nn_inputs = 9\nn_outputs = 20\nread_noise = 0.0\n'
    )
    found = predicted(saved, file, "--json", "--device", rig)
    np.testing.assert_array_equal(probabilities(found.stdout)[1], model.predict_proba(rows[:7] + 0.01))
    rig.write_text(rig.read_text() + "seed = 3\n")
    assert "seed: 0, not 3" in predicted(saved, file, "--device", rig, code=2).stderr


def test_a_budget_that_is_too_small_measures_nothing(finished, tmp_path):
    file = write(tmp_path / "new.csv", ROWS)
    result = predicted(finished[0] / "run", file, "--budget", "11", "--journal", tmp_path / "kept", code=2)
    assert "at least 12 rows," in result.stderr
    assert not list((tmp_path / "kept").iterdir())


FAILING = """
from pathlib import Path
from hwloop.simulators.optical_fibre import OpticalFibre

class FailingFibre(OpticalFibre):
    def _measure(self, inputs):
        count, fails = Path(__file__).with_name("measured"), Path(__file__).with_name("fails")
        done = count.stat().st_size if count.exists() else 0
        if fails.exists() and done + len(inputs) > int(fails.read_text()):
            fails.unlink()
            raise TimeoutError("no answer")
        with count.open("ab") as file:
            file.write(b"." * len(inputs))
        return super()._measure(inputs)
"""


@pytest.mark.slow
def test_predictions_that_fail_go_on_at_their_row(tmp_path, monkeypatch):
    (tmp_path / "failing_fibre.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "digits.toml").write_text(
        EXPERIMENT.format(trainer="readout")
        .replace('"optical-fibre"', '"failing_fibre:FailingFibre"')
        .replace("seeds = 2", "seeds = 1")
        + "[reference]\nevery_rows = 0\n"
    )
    run_experiment(load_experiment(tmp_path / "digits.toml"), split, out=tmp_path / "run")
    file, measured = (
        write(tmp_path / "new.csv", np.tile(ROWS, (100, 1)) + 0.01 * np.arange(600)[:, None]),
        tmp_path / "measured",
    )
    measured.unlink()
    assert "at least 1,208 rows," in predicted(tmp_path / "run", file, "--budget", "1207", code=2).stderr
    assert not measured.exists()
    (tmp_path / "fails").write_text("700")
    failed = predicted(tmp_path / "run", file, code=3)
    kept = measured.stat().st_size
    assert f"the {kept} rows measured are kept in" in failed.stderr
    result = predicted(tmp_path / "run", file, "--json")
    assert measured.stat().st_size == 1208
    found, values = probabilities(result.stdout)
    assert (found["rows"]["evaluate"], found["rows"]["reference"]) == (1200, 8)
    again = predicted(tmp_path / "run", file, "--json", "--journal", tmp_path / "anew")
    np.testing.assert_array_equal(probabilities(again.stdout)[1], values)
    assert measured.stat().st_size == 2 * 1208


@pytest.mark.slow
@pytest.mark.parametrize("device", ['name = "optical-fibre"\ncopies = 2', "two"])
def test_pools_and_a_device_a_stage_are_opened_as_the_run_had_them(tmp_path, device):
    text = EXPERIMENT.format(trainer="readout").replace("seeds = 2", "seeds = 1")
    if device == "two":
        one = '[[device]]\nname = "optical-fibre"\n[device.settings]\nn_outputs = 40\nread_noise = 0.0\n'
        start, end = text.index("[device]"), text.index("[trainer]")
        text = text[:start] + 2 * one + text[end:]
    else:
        text = text.replace('name = "optical-fibre"', device)
    (tmp_path / "digits.toml").write_text(text)
    run_experiment(load_experiment(tmp_path / "digits.toml"), split, out=tmp_path / "run")
    file = write(tmp_path / "new.csv", ROWS)
    found, _ = probabilities(predicted(tmp_path / "run", file, "--json").stdout)
    assert len(found["devices"]) == (2 if device == "two" else 1)
    assert found["rows"]["evaluate"] == 12


def test_a_device_file_edited_since_is_noticed(tmp_path):
    rig = tmp_path / "rig.toml"
    rig.write_text(
        'device = "optical-fibre"\n[settings]\nn_outputs = 40\nn_inputs = 80\nread_noise = 0.0\nseed = 3\n'
    )
    (tmp_path / "digits.toml").write_text(
        EXPERIMENT.format(trainer="readout")
        .split("[device]")[0]
        .replace("seeds = 2", 'seeds = 1\ndevice = "rig.toml"')
        + '[trainer]\nname = "readout"\n[network]\nwidth = 12\n[evidence]\nfloors = false\n'
    )
    run_experiment(load_experiment(tmp_path / "digits.toml"), split, out=tmp_path / "run")
    file = write(tmp_path / "new.csv", ROWS)
    predicted(tmp_path / "run", file)
    rig.write_text(rig.read_text().replace("seed = 3", "seed = 4"))
    assert "seed: 3, not 4" in predicted(tmp_path / "run", file, code=2).stderr


THREE = preparation_of(None, 3, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2\n", r"has 2 columns, where the network takes 3"),
        ("a,b\n1,2,3\n", r"line 2: has 3 values, where the first line has 2"),
        ("a,b,c\n1,2,3\n4,5\n", r"line 3: has 2 values"),
        ("a,b,c\n1,,3\n", r"line 2, column 'b': the value is missing"),
        ("a,b,c\n1,NaN,3\n", r"line 2, column 'b': the value is missing"),
        ("1,2,x\n", r"line 1, column 'x3': 'x' is no number"),
        ("1,2,3\n1,two,3\n", r"line 2, column 'x2': 'two' is no number"),
        ('1,2,"3,5"\n', r"write a decimal point"),
        ("1,2,inf\n", r"line 1, column 'x3': the value is beyond all numbers"),
        ("1,2,1_000\n", r"'1_000' is no number"),
        ("1,2,1e999\n", r"beyond all numbers"),
        ("1,2,٣\n", r"is no number"),
        ("a,b,c\n", r"holds no rows"),
        ("", r"holds no rows"),
        ('1,2,"3\n', r"cannot be read as a table"),
        ("1,2,3\x00\n", r"cannot be read"),
    ],
)
def test_a_file_that_is_no_table_of_numbers_is_one_clear_line(tmp_path, content, message):
    file = tmp_path / "new.csv"
    file.write_text(content)
    with pytest.raises(hwloop.errors.DatasetError, match=message) as error:
        read_new_rows(file, THREE)
    assert "\n" not in str(error.value)


def test_a_file_in_another_encoding_or_none_at_all(tmp_path):
    file = tmp_path / "new.csv"
    file.write_bytes("1,2,\xe4".encode("latin-1"))
    for path in (file, tmp_path / "none.csv"):
        with pytest.raises(hwloop.errors.DatasetError, match="cannot be read"):
            read_new_rows(path, THREE)


@pytest.mark.parametrize(
    "content",
    ["1,2,3\n4,5,6", "a,b,c\r\n1,2,3\r\n\r\n4,5,6\r\n", '﻿"a","b","c"\n 1, 2 ,3\n4,5,+6.\n', "1;2;3\n4;5;6\n"],
)
def test_a_table_is_read_with_and_without_a_header(tmp_path, content):
    file = tmp_path / "new.csv"
    file.write_text(content, newline="")
    np.testing.assert_array_equal(read_new_rows(file, THREE).inputs, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["{run}", "--seed", "7"], "holds no final-seed-7.safetensors; it has: final, final-seed-0"),
        (["{run}", "--checkpoint", "../x"], "holds no ../x.safetensors"),
        (["{run}", "--seed", "0", "--checkpoint", "final"], "give one of them"),
        (["{run}/checkpoints/final.safetensors", "--seed", "0"], "is one checkpoint"),
        (["{run}", "--device-changed", "never"], "Known: refuse, warn"),
        (["{run}/run.toml"], "run"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(finished, tmp_path, arguments, message):
    run, *options = (argument.format(run=finished[0] / "run") for argument in arguments)
    file = write(tmp_path / "new.csv", ROWS)
    result = predicted(run, file, "--journal", tmp_path / "kept", *options, code=2)
    assert message in result.stderr
