"""Checkpoints, TOML, state and metrics against random and hostile bytes: only hwloop's own errors, and no hang."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc

import pytest

import hwloop
from hwloop import CheckpointError, ConfigError, DatasetError, HwloopError
from hwloop.checkpoint import read_description, read_tensors
from hwloop.experiment.conclusion import recorded_results
from hwloop.experiment.config import load_experiment
from hwloop.experiment.run_folder import recorded_state
from hwloop.experiments.datasets import experiment_file
from hwloop.experiments.own_data import from_file
from hwloop.experiments.own_data.new_rows import read_new_rows
from hwloop.experiments.own_data.pairs import read_pairs
from hwloop.runs import layout
from hwloop.runs.files import UnreadableError, check_metrics, summarise_metrics
from hwloop.runs.summary import summary_of

FAST, SLOW = 20, pytest.mark.slow
DEVICE_TOML = b"""
device = "optical-fibre"

[settings]
n_inputs = 6
n_outputs = 4
read_noise = 0.01
seed = 3

[[wrap]]
name = "quantized"
dac_bits = 8

[[wrap]]
name = "averaged"
n = 2
"""


OWN_DATA_TOML = b"""
device = "optical-fibre"
trainer = "local"

[dataset]
file = "wine.csv"
test_file = "new.csv"
target = ["quality", "price"]
task = "regression"
drop = ["Id"]
group = "estate"
"""


def counts(slow):
    """A few inputs in every run of the tests, many in the slow ones."""
    return pytest.mark.parametrize("count", [FAST, pytest.param(slow, marks=SLOW)])


def session():
    return hwloop.Session(hwloop.open_device("optical-fibre", n_inputs=9, n_outputs=6))


@pytest.fixture
def saved(tmp_path):
    """A trained network on disk."""
    import numpy as np

    rng = np.random.default_rng(0)
    network = hwloop.PhysicalNetwork(session(), [hwloop.Stage(4)], seed=1)
    hwloop.trainer("readout").fit(network, rng.random((30, 5)), np.arange(30) % 3)
    hwloop.save_network(network, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@counts(10_000)
def test_tensors(saved, fuzz, count):
    def read(data):
        saved.write_bytes(data)
        read_tensors(saved)

    fuzz(read, [saved.read_bytes()], count, 11, CheckpointError)


@counts(4_000)
def test_a_network_of_damaged_tensors(saved, fuzz, count, reseal):
    whole, target = saved.read_bytes(), session()

    def read(data):
        saved.write_bytes(data)
        reseal(saved)
        hwloop.load_network(saved, target)

    fuzz(read, [whole], count, 12, CheckpointError)


@counts(4_000)
def test_a_network_of_another_description(saved, fuzz, count, reseal):
    beside, target = saved.with_suffix(".json"), session()

    def read(data):
        beside.write_bytes(data)
        reseal(saved)
        read_description(saved)
        hwloop.load_network(saved, target)

    fuzz(read, [beside.read_bytes()], count, 13, CheckpointError)


@pytest.mark.parametrize("length", [2**40, 2**62, 2**64 - 1])
def test_a_checkpoint_that_claims_more_than_it_holds_allocates_nothing(saved, length):
    tensor = {"dtype": "F32", "shape": [length // 8], "data_offsets": [0, length // 2]}
    header = json.dumps({"weight": tensor}).encode()
    for data in (struct.pack("<Q", length) + header, struct.pack("<Q", len(header)) + header + bytes(64)):
        saved.write_bytes(data)
        tracemalloc.start()
        with pytest.raises(CheckpointError, match=r"net\.safetensors"):
            hwloop.load_network(saved, session())
        assert tracemalloc.get_traced_memory()[1] < 8e6
        tracemalloc.stop()


@pytest.mark.parametrize("entry", ["width", "n_features"])
@pytest.mark.parametrize("size", [10**7, 10**12, 2**70, -1, 0, 1.5, True, None, "4", [4]])
def test_a_description_of_a_monstrous_network_is_refused(saved, entry, size, reseal):
    beside = saved.with_suffix(".json")
    described = json.loads(beside.read_text())
    if entry == "width":
        described["stages"][0]["width"] = size
    else:
        described["n_features"] = size
    beside.write_text(json.dumps(described))
    reseal(saved)
    with pytest.raises(CheckpointError, match="does not fit"):
        hwloop.load_network(saved, session())


@pytest.mark.parametrize("details", [{"x": object()}, {"x": {1, 2}}, {"x": b"bytes"}, {(1, 2): 3}])
def test_details_that_are_no_json_leave_the_checkpoint_as_it_was(saved, details):
    network = hwloop.load_network(saved, session())
    before = saved.read_bytes(), saved.with_suffix(".json").read_bytes()
    with pytest.raises(CheckpointError, match="plain JSON"):
        hwloop.save_network(network, saved, details)
    assert (saved.read_bytes(), saved.with_suffix(".json").read_bytes()) == before


@pytest.mark.parametrize(
    "name", ["", ".", "net", "net.json", "nul\0.safetensors", "folder.safetensors", "x/" * 5000]
)
def test_a_path_that_cannot_hold_a_checkpoint(saved, name):
    (saved.parent / "folder.safetensors").mkdir()
    network = hwloop.load_network(saved, session())
    with pytest.raises(CheckpointError):
        hwloop.save_network(network, f"{saved.parent}/{name}")


@counts(12_000)
def test_experiments(tmp_path, fuzz, count):
    path = tmp_path / "run.toml"
    shipped = [
        experiment_file(name).read_bytes() for name in ("digits-optical", "digits-phyll", "vowels-acoustic")
    ] + [OWN_DATA_TOML]

    def read(data):
        path.write_bytes(data)
        config = load_experiment(path)
        config.as_table()

    fuzz(read, shipped, count, 14, ConfigError)


@counts(6_000)
def test_device_files(tmp_path, fuzz, count):
    path = tmp_path / "rig.toml"

    def read(data):
        path.write_bytes(data)
        hwloop.open_device(path)

    fuzz(read, [DEVICE_TOML], count, 15, HwloopError)


@counts(10_000)
def test_states(make_run, tmp_path, fuzz, count):
    run = make_run(tmp_path / "night", "running")
    path = run / "state.json"

    def read(data):
        path.write_bytes(data)
        with contextlib.suppress(UnreadableError):
            layout.read_state(run)
        recorded_state(run)

    fuzz(read, [path.read_bytes()], count, 16, ConfigError)


@counts(8_000)
def test_metrics(make_run, tmp_path, fuzz, count):
    run = make_run(tmp_path / "night", seeds=2)
    path = run / "metrics.jsonl"

    def read(data):
        path.write_bytes(data)
        summarise_metrics(path)
        check_metrics(path)
        recorded_results(run)

    fuzz(read, [path.read_bytes()], count, 17, ConfigError)


@counts(1_000)
def test_a_run_in_the_table_whatever_lies_in_its_folder(make_run, tmp_path, fuzz, count):
    run = make_run(tmp_path / "night", "running")
    files = [run / "state.json", run / "metrics.jsonl", run / "lock", *run.glob("journal/*/*")]
    whole = {path: path.read_bytes() for path in files if path.exists()}
    turn = iter(range(10**9))

    def read(data):
        for path, content in whole.items():
            path.write_bytes(content)
        list(whole)[next(turn) % len(whole)].write_bytes(data)
        assert summary_of(run).state

    fuzz(read, list(whole.values()), count, 18, ())


def table_of_everything():
    """Numbers, text, gaps, truth values, a class."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"Id": range(20), "a": rng.normal(size=20).round(3), "b": rng.integers(0, 9, 20)})
    frame["sweet"] = rng.random(20) < 0.5
    frame["city"] = [*["Rome", "Oslo, north", 'the "Hague"'] * 6, None, "Rome"]
    frame.loc[3, "a"] = np.nan
    frame["kind"] = ["red", "white"] * 10
    return frame


def written(path, kind):
    """Valid files of a kind, as bytes."""
    import numpy as np

    frame = table_of_everything()
    numbers = frame[["a", "b"]].fillna(0.5).to_numpy()
    if kind == "csv":
        frame.to_csv(path, index=False)
        whole = path.read_bytes()
        frame.to_csv(path, sep=";", header=False)
        return [whole, path.read_bytes()]
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "npz":
        np.savez(path, X=numbers, y=frame["kind"].to_numpy(dtype=str), speaker=np.arange(20) // 2)
    elif kind == "npy":
        np.save(path, np.column_stack([numbers, np.arange(20) % 3]))
    else:
        path.write_text(ARFF)
    return [path.read_bytes()]


ARFF = """@RELATION wine
@ATTRIBUTE acid REAL
@ATTRIBUTE 'the city' {Rome, 'Oslo, north'}
@ATTRIBUTE kind {red, white}
@DATA
""" + "".join(f"{n * 0.37:.2f},{('Rome', '?')[n % 2]},{('red', 'white')[n // 2 % 2]}\n" for n in range(12))


@counts(10_000)
@pytest.mark.parametrize("kind", ["csv", "npz", "npy", "arff", "parquet"])
def test_data_of_the_users(tmp_path, fuzz, count, kind):
    path = tmp_path / f"table.{kind}"
    whole = written(path, kind)
    path.write_bytes(whole[0])
    prepared = from_file(str(path)).preparation
    prepared = prepared.fitted(from_file(str(path)).inputs)

    def read(data):
        path.write_bytes(data)
        refused = []
        for take in (lambda: from_file(str(path)), lambda: read_new_rows(path, prepared)):
            try:
                take()
            except DatasetError as error:
                refused.append(error)
        for error in refused:
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
        if refused:
            raise refused[0]

    outcomes = fuzz(read, whole, count, 21, DatasetError)
    assert outcomes["refused"]


@counts(2_000)
def test_images_of_the_users(tmp_path, fuzz, count):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    whole = []
    for number, ending in enumerate(["png", "bmp", "gif", "jpg", "tif"]):
        path = tmp_path / f"{('a', 'b')[number % 2]}" / f"{number}.{ending}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (5, 4), dtype=np.uint8)).save(path)
        whole.append(path.read_bytes())
    path = tmp_path / "a" / "0.png"

    def read(data):
        path.write_bytes(data)
        from_file(str(tmp_path))

    outcomes = fuzz(read, whole, count, 22, DatasetError)
    assert outcomes["read"]
    assert outcomes["refused"]


def one_line(take, kind):
    """Refused, if at all, in one line."""
    refused = None
    try:
        take()
    except kind as error:
        refused = error
    if refused is not None:
        assert "\n" not in str(refused)
        assert len(str(refused)) < 2000
        raise refused


@counts(2_000)
@pytest.mark.parametrize("kind", ["csv", "npz", "parquet", "h5"])
def test_measured_pairs_of_the_users(tmp_path, fuzz, count, kind):
    import h5py
    import numpy as np

    path, names = tmp_path / f"rows.{kind}", {"npz": ("X", "speaker"), "h5": (None, None)}.get(kind, ("a,b", "Id"))
    if kind == "h5":
        with h5py.File(path, "w") as stored:
            stored["x"], stored["y"] = np.arange(40.0).reshape(20, 2), np.arange(20.0)
        whole = [path.read_bytes()]
    else:
        whole = written(path, kind)

    def read(data):
        path.write_bytes(data)
        one_line(lambda: read_pairs(path, *names), DatasetError)

    assert fuzz(read, whole, count, 22, DatasetError)["refused"]


@counts(2_000)
def test_twins(tmp_path, fuzz, count):
    import numpy as np

    from hwloop.twin import fit
    from hwloop.twin.linear import AffineCandidate
    from hwloop.twin.saved import load_twin, save_twin

    path, rows = tmp_path / "twin.safetensors", np.random.default_rng(0).uniform(size=(30, 3))
    save_twin(fit(rows, rows[:, :2], candidates=(AffineCandidate(),)), path)

    def read(data):
        path.write_bytes(data)
        one_line(lambda: load_twin(path), ConfigError)

    assert fuzz(read, [path.read_bytes()], count, 23, ConfigError)["refused"]
