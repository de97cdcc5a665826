"""Stimuli and responses in files: found by name, or refused in one line; a twin in a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import hwloop
from hwloop.errors import ConfigError, DatasetError
from hwloop.experiments.own_data.pairs import read_pairs
from hwloop.passport.measured import measured_rows
from hwloop.twin import fit
from hwloop.twin.linear import AffineCandidate
from hwloop.twin.mlp import Perceptron
from hwloop.twin.modulus import Intensity, Modulus
from hwloop.twin.saved import load_twin, save_twin

ROWS = 40


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    stimuli = rng.uniform(-1, 1, (ROWS, 3))
    return stimuli, np.abs(stimuli @ rng.standard_normal((3, 2)) + 0.3) + 0.1


def frame(pairs, inputs="x{}", outputs="y{}"):
    values = np.hstack(pairs)
    names = [inputs.format(k) for k in range(3)] + [outputs.format(k) for k in range(2)]
    return pd.DataFrame(values, columns=names)


def written(folder, pairs, kind):
    path = folder / f"rows.{kind}"
    if kind == "csv":
        frame(pairs, "stimulus_{}", "Response {}").assign(time=range(ROWS)).to_csv(path, index=False)
    elif kind == "parquet":
        frame(pairs, "in{}", "out{}").to_parquet(path)
    elif kind == "npz":
        np.savez(path, stimuli=pairs[0], responses=pairs[1], t=np.arange(ROWS))
    elif kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as stored:
            stored["rig/stimuli"], stored["rig/responses"] = pairs
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "h5"])
def test_what_is_called_by_its_name_is_found(tmp_path, pairs, kind):
    found = read_pairs(written(tmp_path, pairs, kind))
    np.testing.assert_array_equal(found.inputs, pairs[0])
    np.testing.assert_array_equal(found.outputs, pairs[1])
    assert any("left out" in note for note in found.notes) == (kind in ("csv", "npz"))


@pytest.mark.parametrize(("inputs", "outputs"), [("a*", "b0,b1"), ("3", None), ("3", "2"), ("a0,a1,a2", "b?")])
def test_what_has_other_names_is_named(tmp_path, pairs, inputs, outputs):
    path = tmp_path / "rows.csv"
    frame(pairs, "a{}", "b{}").to_csv(path, index=False)
    found = read_pairs(path, inputs, outputs)
    np.testing.assert_array_equal(found.inputs, pairs[0])
    np.testing.assert_array_equal(found.outputs, pairs[1])


def test_a_table_without_names_is_counted(tmp_path, pairs):
    np.save(tmp_path / "rows.npy", np.hstack(pairs))
    assert read_pairs(tmp_path / "rows.npy", "3").outputs.shape == (ROWS, 2)
    with pytest.raises(DatasetError, match=r"no names of columns; say how many are stimuli \(--inputs 20\)"):
        read_pairs(tmp_path / "rows.npy")


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda f: f.rename(columns=lambda n: n.replace("x", "a")), {}, "no columns called as inputs"),
        (lambda f: f.rename(columns=lambda n: n.replace("y", "b")), {}, "no columns called as outputs"),
        (lambda f: f, {"inputs": "z*"}, r"no column 'z\*' \(--inputs\)"),
        (lambda f: f, {"inputs": "*"}, "would be inputs and outputs"),
        (lambda f: f, {"inputs": "9"}, "5 for --inputs 9"),
        (lambda f: f, {"inputs": "5"}, "all of them inputs"),
        (lambda f: f, {"inputs": "0"}, "5 for --inputs 0"),
        (lambda f: f.assign(x1="red"), {}, "'x1' holds no numbers"),
        (lambda f: f.assign(y1=[np.nan, *[0.5] * (ROWS - 1)]), {}, "line 2: 'y1' is missing"),
        (lambda f: f.assign(y0=[0.5, np.inf, *[0.5] * (ROWS - 2)]), {}, "'y0'"),
    ],
)
def test_what_is_not_clear_or_not_sound_is_one_line(tmp_path, pairs, change, options, said):
    path = tmp_path / "rows.csv"
    change(frame(pairs)).to_csv(path, index=False)
    with pytest.raises(DatasetError, match=said) as refused:
        read_pairs(path, **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "options", "said"),
    [
        ({"x": (4, 2), "inputs": (4, 2), "y": (4, 1)}, {}, "inputs is not clear, several: 'x', 'inputs'"),
        ({"a": (4, 2), "y": (4, 1)}, {}, "inputs is not clear, none among 'a', 'y'"),
        ({"x": (4, 2), "y": (5, 1)}, {}, "'x' has 4 rows, 'y' 5"),
        ({"x": (4, 2, 2), "y": (4, 1)}, {}, r"shape \(4, 2, 2\)"),
        ({"x": (4, 2), "y": (4, 1)}, {"inputs": "stim"}, "no array 'stim'"),
        ({"x": (4, 2), "y": (4, 1)}, {"inputs": "y"}, "cannot be inputs and outputs"),
    ],
)
def test_arrays_that_are_not_clear_are_one_line(tmp_path, arrays, options, said):
    path = tmp_path / "rows.npz"
    np.savez(path, **{name: np.zeros(shape) for name, shape in arrays.items()})
    with pytest.raises(DatasetError, match=said):
        read_pairs(path, **options)


@pytest.mark.parametrize("name", ["none.csv", "rows.xls", "rows", "broken.h5", "broken.npz", "."])
def test_files_that_are_none_are_one_line(tmp_path, name):
    for each in ("rows.xls", "rows", "broken.h5", "broken.npz"):
        (tmp_path / each).write_bytes(b"no such thing")
    with pytest.raises(DatasetError) as refused:
        read_pairs(tmp_path / name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "candidate", [AffineCandidate(), Modulus(), Intensity(), Perceptron()], ids=lambda each: each.name
)
def test_a_twin_from_its_file_answers_the_same(tmp_path, pairs, candidate, monkeypatch):
    monkeypatch.setattr("hwloop.twin.mlp.STEPS", 5)
    before = fit(*pairs, candidates=(candidate,))
    save_twin(before, tmp_path / "twin.safetensors")
    (tmp_path / "twin.toml").write_text('device = "twin"\n[settings]\nfile = "twin.safetensors"\n')
    after = hwloop.open_device(str(tmp_path / "twin.toml"))
    with before, after:
        np.testing.assert_array_equal(after.measure(pairs[0]), before.measure(pairs[0]))
    assert after.identify() == before.identify()
    assert str(after.report) == str(before.report)
    assert load_twin(tmp_path / "twin.safetensors", noise=False).spec.deterministic
    assert load_twin(tmp_path / "twin.safetensors", seed=7).seed == 7


def test_a_twin_that_is_damaged_is_one_line(tmp_path, pairs):
    path = tmp_path / "twin.safetensors"
    save_twin(fit(*pairs, candidates=(AffineCandidate(),)), path)
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:50],
        whole[:-3],
        whole[:-9] + b"\0" + whole[-8:],
        b"{}",
        whole.replace(b"linear", b"modulu"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="is no twin, or a damaged one"):
            load_twin(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_twin(tmp_path / "none")


def test_what_the_rows_themselves_tell():
    rng = np.random.default_rng(0)
    stimuli = rng.uniform(-1, 1, (300, 4))
    mixed = stimuli @ rng.standard_normal((4, 6))

    def figures(responses, stimuli=stimuli):
        return measured_rows(stimuli, responses, fit(stimuli, responses, candidates=(AffineCandidate(),)))

    noise = 0.05 * rng.standard_normal(mixed.shape)
    plain = figures(mixed + noise)
    assert plain.linear > 0.98
    assert plain.notes == ["the responses are linear in the stimuli: a digital matrix does the same"]
    before = np.vstack([mixed[:1], mixed[:-1]])
    assert figures(mixed + noise + 0.1 * before).memory > 0.5
    assert figures(mixed + noise + 0.3 * np.linspace(0, 1, 300)[:, None]).drift > 0.5
    assert any("unexplained" in note for note in figures(mixed**2).notes)
    twice = np.vstack([stimuli[:150], stimuli[:150]])
    seen = figures(np.vstack([mixed[:150]] * 2) + noise, twice)
    assert seen.repeats == 300
    assert seen.noise == pytest.approx(0.05 / mixed.std(), rel=0.3)


def test_rounding_is_no_memory_and_no_drift():
    stimuli = np.random.default_rng(0).uniform(-1, 1, (60, 1))
    responses = stimuli + 1e-14 * np.linspace(0, 1, 60)[:, np.newaxis]
    figures = measured_rows(stimuli, responses, fit(stimuli, responses, candidates=(AffineCandidate(),)))
    assert figures.unexplained < 1e-11
    assert not [note for note in replace(figures, memory=0.9, drift=0.9).notes if "linear in" not in note]


def test_what_never_varies_is_said_or_refused(tmp_path, pairs):
    path, table = tmp_path / "rows.csv", frame(pairs)
    table.assign(y1=5.0).to_csv(path, index=False)
    assert "the same in every row: 'y1'" in read_pairs(path).notes
    table.assign(y0=5.0, y1=0.1).to_csv(path, index=False)
    with pytest.raises(DatasetError, match=r"outputs \('y0', 'y1'\) are the same in all 40 rows"):
        read_pairs(path)
    np.savez(tmp_path / "rows.npz", x=np.ones((5, 2)), y=np.arange(5.0))
    with pytest.raises(DatasetError, match=r"the inputs .* are the same in all 5 rows"):
        read_pairs(tmp_path / "rows.npz")
