"""What the command line says of errors that nobody raised on purpose."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import typer
from examples import each_row

from hwloop.cli.command import DEVICE_ERROR, reported
from hwloop.errors import JournalError


def _no_memory_in_numpy():
    np.empty(2**55)


def _no_memory_in_torch():
    torch.empty(2**55)


@pytest.mark.parametrize("step", [_no_memory_in_numpy, _no_memory_in_torch])
def test_memory_that_is_used_up_is_nothing_to_report(step, capsys):
    with pytest.raises(typer.Exit) as ended, reported(debug=False):
        step()
    said = capsys.readouterr().err
    assert ended.value.exit_code == DEVICE_ERROR
    assert said.startswith("hwloop: this computer's memory is used up (")
    assert "report" not in said


def test_an_error_of_ours_is(capsys):
    with pytest.raises(typer.Exit) as ended, reported(debug=False):
        raise RuntimeError("what was that")
    assert ended.value.exit_code == 1
    assert "please report it" in capsys.readouterr().err


def test_a_fault_of_a_recording_is_called_that(capsys):
    with pytest.raises(typer.Exit) as ended, reported(debug=False):
        raise JournalError("the replay differs from the recorded run")
    assert ended.value.exit_code == DEVICE_ERROR
    assert capsys.readouterr().err == "hwloop: journal error: the replay differs from the recorded run\n"


@pytest.mark.parametrize("number", each_row([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], signal.SIGINT))
def test_a_signal_behind_the_last_line_changes_no_exit_code(number):
    """The interpreter is ending: everything is said and done."""
    code = (
        f"import atexit, os, sys\natexit.register(lambda: os.kill(os.getpid(), {int(number)}))\n"
        "sys.argv = ['hwloop', 'info', 'no-such-name']\nfrom hwloop.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
