"""A product computes every row of a block alike, on every processor: simulated devices rely on it."""

import os
import subprocess
import sys

PROGRAM = """
import hwloop
import torch

torch.set_num_threads(1)
torch.manual_seed(0)
order = torch.randperm(32)
for inner, columns in ((10, 10), (16, 96), (64, 1000), (200, 10), (1000, 100)):
    for dtype in (torch.float32, torch.complex64):
        rows, matrix = torch.randn(32, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
        assert torch.equal((rows @ matrix)[order], rows[order] @ matrix), (dtype, inner, columns)
for count in (10, 96):
    added, rows, matrices = torch.randn(count, 32, 10), torch.randn(count, 32, 10), torch.randn(count, 10, 10)
    together = torch.baddbmm(added, rows, matrices)
    assert torch.equal(together[:, order], torch.baddbmm(added[:, order], rows[:, order], matrices)), count
"""


def run(code, environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


def test_where_a_row_stands_in_a_block_changes_none_of_its_bits():
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_a_users_own_choice_stands():
    code = "import hwloop, os; print(os.environ['MKL_CBWR'])"
    environment = {**os.environ, "MKL_CBWR": "COMPATIBLE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == "COMPATIBLE"
