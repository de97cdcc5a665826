"""One thread for arithmetic, in every test.

The matrices of the tests are small. Where cores are shared, the threads of torch and of the BLAS wait for each
other by spinning, and a fit of seconds takes minutes. A number given from outside wins.
"""

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import zlib

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])  # numba would set OpenMP's, and torch's

# Modes that a cavity's simulation computes once are kept apart from the user's.
os.environ.setdefault("HWLOOP_CACHE", os.path.join(tempfile.gettempdir(), f"hwloop-tests-{os.getuid()}"))

# A shell starts its background jobs with Ctrl-C ignored, and so would every program that the tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: only a change of the code turns a test red, and a busy machine is no failure.
# The fast suite draws a quarter, .ci/run all of them (`-m hypothesis --hypothesis-profile=whole`);
# `pytest --hypothesis-profile=explore` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
hypothesis.settings.register_profile("whole", derandomize=True, deadline=None, max_examples=100)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser):
    parser.addoption(
        "--tenth",
        type=int,
        choices=range(10),
        help="of the slow tests in modules that are marked exhaustive, run this tenth (0 to 9); all by default",
    )


def pytest_collection_modifyitems(config, items):
    tenth = config.getoption("--tenth")
    if tenth is None:
        return
    left_out = [item for item in items if _is_exhaustive(item) and zlib.crc32(item.name.encode()) % 10 != tenth]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_exhaustive(item):
    slow = [mark for mark in item.iter_markers("slow") if not mark.kwargs.get("daily")]
    return item.get_closest_marker("exhaustive") is not None and bool(slow)


@pytest.fixture
def tenths(request):
    """Of a slow test's thousands of random cases, the tenths to try: all of them, or that of ``--tenth``."""
    tenth = request.config.getoption("--tenth")
    return range(10) if tenth is None else range(tenth, tenth + 1)


DEVICE_SETTINGS = "0123456789abcdef"
STARTED_SECONDS = 1_700_000_000.0


@pytest.fixture
def never_painted(monkeypatch):
    """The figures of a run's report are laid out but not painted, which takes most of a small run's time."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda figure, path, format: path.write_bytes(b""))


@pytest.fixture
def unpainted_figures(request):
    """The same, but slow tests paint them."""
    if request.node.get_closest_marker("slow") is None:
        request.getfixturevalue("never_painted")


@pytest.fixture(autouse=True)
def modules_of_other_tests_are_not_found():
    """Folders in which a test had modules of its own are forgotten with it."""
    before = list(sys.path)
    yield
    registry = sys.modules.get("hwloop.registry")
    if registry is not None and registry._FOLDERS:
        sys.path[:] = [folder for folder in sys.path if folder in before or folder not in registry._FOLDERS]
        registry._FOLDERS.clear()


@pytest.fixture
def make_run():
    """Writes a run's folder by hand: stimuli of 2 channels in V, responses of 3 in Pa."""
    return write_run


def write_run(folder, state="finished", seeds=1, calls=4, rows=5):
    """``calls`` calls of ``rows`` rows a seed; every value is 1000 * seed + its row's number, plus a third."""
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text('name = "by-hand"\n')
    (folder / "environment.json").write_text('{"hwloop": "0.1.0", "seeds": [0]}\n')
    write_state(folder, state)
    for seed in range(seeds):
        with_journal(folder / "journal" / f"seed-{seed}-device-0", 1000 * seed, calls, rows)
    lines = [{"time": STARTED_SECONDS, "event": "RunForecast", "rows": 100}]
    lines += [
        {"event": "SeedResult", "seed": seed, "scores": {"network": {"accuracy": 0.75 + 0.1 * seed}}}
        for seed in range(seeds)
    ]
    if state == "finished":
        lines.append({"event": "Evidence", "test_accuracy": {"mean": 0.9}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_checkpoint(folder / "checkpoints")
    return folder


def write_state(folder, state, **entries):
    described = {"state": state, "since_seconds": time.time(), "pid": 1, "detail": "", "experiment": "by-hand"}
    (folder / "state.json").write_text(json.dumps({**described, "device": "rig", **entries}))


def with_journal(folder, first_value, calls, rows):
    import numpy as np

    from hwloop.journal import DiskJournal, Note, Record

    spec = {"n_inputs": 2, "n_outputs": 3, "input_low": 0.0, "input_high": [1.0, 2.0]}
    units = {"input_unit": "V", "output_unit": "Pa"}
    journal = DiskJournal(folder)
    details = {"settings": DEVICE_SETTINGS, "identity": "rig no. 7", "spec": {**spec, **units}}
    journal.note(Note("device", details))
    for call in range(calls):
        numbers = np.arange(call * rows, (call + 1) * rows)
        values = first_value + numbers[:, None] + 1 / 3
        journal.append(
            Record(
                "train" if call % 2 == 0 else "evaluate",
                DEVICE_SETTINGS,
                journal.rows,
                STARTED_SECONDS + call,
                0.5,
                np.repeat(values, 2, axis=1),
                np.repeat(values, 3, axis=1),
                step=f"stage {call}",
            )
        )
    journal.close()


def write_checkpoint(folder):
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    save_file({"weight": np.ones((3, 2)), "bias": np.zeros(3)}, folder / "final.safetensors")
    (folder / "final.json").write_text('{"format": 1}\n')


@pytest.fixture
def reseal():
    """Gives a checkpoint that was changed by hand the checksums that belong to it, as a forger would."""
    from hwloop.runs.checkpoints import CHECKSUM, SUM_OF_TENSORS, checksum

    def sealed_again(path):
        beside = path.with_suffix(".json")
        try:
            described = json.loads(beside.read_text(encoding="utf-8"))
            described[SUM_OF_TENSORS] = hashlib.sha256(path.read_bytes()).hexdigest()
            described[CHECKSUM] = checksum(described)
        except (ValueError, RecursionError, TypeError):
            return  # no description any more: there is nothing to seal
        beside.write_text(json.dumps(described))

    return sealed_again


@pytest.fixture
def devices_closed():
    """A layer keeps its device open for the next batch; a later test may look for what is open."""
    yield
    from hwloop.shutdown import OPEN_DEVICES

    OPEN_DEVICES.close_at_exit()
