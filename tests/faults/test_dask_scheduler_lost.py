"""A Dask scheduler that dies or is started anew: one plain line, and the same command goes on."""

from __future__ import annotations

import contextlib
import gc
import importlib
import socket
import subprocess
import sys
import time

import pytest

from hwloop.errors import ConfigError
from hwloop.experiments.arena.jobs import WorkersLost, workers

JOB = "import time\n\ndef job(number):\n    time.sleep(0.5)\n    return number\n"


def started(stack, *words):
    command = [sys.executable, "-m", *words, "--no-dashboard"]
    process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    stack.callback(process.kill)
    return process


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Starts scheduler and worker on one port, again and again; everything ends with the test."""
    pytest.importorskip("distributed")
    (tmp_path / "jobs.py").write_text(JOB)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:

        def scheduler():
            process = started(stack, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port))
            end = time.monotonic() + 60
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    return process
                time.sleep(0.1)
            raise AssertionError("the scheduler does not start")

        def worker():
            return started(
                stack,
                *("distributed.cli.dask_worker", address, "--nworkers", "1", "--nthreads", "1", "--no-nanny"),
                *("--resources", "rig=1"),
            )

        yield address, scheduler, worker
    gc.collect()  # sockets that Dask lost with its scheduler: in a later test their warning would be an error


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Dask's own, as it loses its connection
@pytest.mark.parametrize("started_anew", [True, False])
def test_a_lost_scheduler_is_named_and_the_same_command_goes_on(cluster, started_anew):
    address, scheduler, worker = cluster
    job = importlib.import_module("jobs").job
    first, _ = scheduler(), worker()
    done = []

    def measure():
        with workers(2, address) as there:
            for result in there.run(job, range(len(done), 12)):
                done.append(result)
                if len(done) == 2:
                    first.kill()
                    first.wait()
                    if started_anew:
                        scheduler()

    with pytest.raises(WorkersLost, match=rf"scheduler at {address} was lost.*10 of 12 jobs"):
        measure()
    assert len(done) == 2
    if not started_anew:
        scheduler()
    worker()
    measure()
    assert len(done) == 12


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_where_no_scheduler_answers_one_line_says_so(cluster, monkeypatch):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(ConfigError, match=f"no Dask scheduler answers at {cluster[0]}"),
    ):
        workers(2, cluster[0])
