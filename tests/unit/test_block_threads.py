"""Blocks shared among threads: each once, failures told, and the library's own threads back as they were."""

import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.threads import each_block, single_threaded_blas
from hwloop.simulators.torch_devices import single_threaded_torch


def blas_threads():
    """Of numpy's BLAS; scipy brings one of its own."""
    return {library["num_threads"] for library in threadpool_info() if "numpy" in library["filepath"]}


@pytest.fixture
def three_threads():
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    with threadpool_limits(limits=3, user_api="blas"):
        yield
    torch.set_num_threads(torch_threads)


every_library = pytest.mark.parametrize("alone", [single_threaded_blas, single_threaded_torch])


@every_library
@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 10])
def test_every_block_is_computed_once_by_a_thread_that_computes_alone(three_threads, alone, blocks):
    done, threads = [], set()
    together = threading.Barrier(min(3, blocks) or 1, timeout=10)

    def work(start):
        if start < 30:
            together.wait()  # passes only if there are as many threads as blocks, up to three
        assert blas_threads() == {1}
        assert alone is single_threaded_blas or torch.get_num_threads() == 1
        done.append(start)
        threads.add(threading.get_ident())

    each_block(work, range(0, 10 * blocks, 10), alone)
    assert sorted(done) == list(range(0, 10 * blocks, 10))
    assert len(threads) == min(3, blocks)
    assert blas_threads() == {3}
    assert torch.get_num_threads() == 3


@every_library
@pytest.mark.parametrize("bad", [0, 20])
def test_a_failure_in_any_thread_is_told_and_leaves_nothing_changed(three_threads, alone, bad):
    def work(start):
        if start == bad:
            raise ValueError(f"block {start}")

    with pytest.raises(ValueError, match=f"block {bad}"):
        each_block(work, range(0, 50, 10), alone)
    assert blas_threads() == {3}
    assert torch.get_num_threads() == 3


def test_two_sessions_at_a_time_leave_the_blas_as_it_was():
    before, failures = blas_threads(), []
    first_is_in, second_is_out = threading.Event(), threading.Event()

    def first():
        with single_threaded_blas():
            first_is_in.set()
            if not second_is_out.wait(10) or blas_threads() != {1}:
                failures.append("the second took the first one's limit away")

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(10)
    with single_threaded_blas() as threads:
        assert threads == 1
    second_is_out.set()
    thread.join()
    assert not failures
    assert blas_threads() == before


@pytest.mark.parametrize("encoding", ["amplitude", "phase"])
def test_no_bit_of_the_fibre_depends_on_the_threads(encoding):
    noise = {"drift_per_row": 1e-3, "full_well_electrons": 500.0, "glitch_rate": 0.1, "gain_jitter": 0.1}
    stimuli = np.random.default_rng(0).uniform(0, 1, (700, 60))
    found = []
    for threads in (1, 3):
        with threadpool_limits(limits=threads, user_api="blas"):
            found.append(OpticalFibre(n_inputs=60, n_outputs=301, encoding=encoding, **noise).measure(stimuli))
    np.testing.assert_array_equal(*found)
